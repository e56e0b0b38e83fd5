"""What `make run` does: embedded stores, migrations, the demo, then API and workers, until a signal or a death."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from db.errors import AppError, SettingsError
from db.settings import Settings, load
from workers.embedded.child import Child
from workers.embedded.directory import HOST, port_is_free, python_program
from workers.embedded.server import http_status
from workers.embedded.stores import Stores, stores

API_TIMEOUT_S = 60.0
WATCH_S = 0.5
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(argv: list[str]) -> int:
    """Runs until SIGINT, SIGTERM or SIGHUP (status 0). Raises AppError when something does not start or dies."""
    if argv:
        raise SettingsError("run takes no arguments; see README.md for the environment variables.")
    started = time.monotonic()
    for number in SIGNALS:
        signal.signal(number, _leave)
    data, port = Path(os.environ.get("CAREGRAPH_DATA") or ".caregraph"), _port()
    with stores(data, os.environ, progress=_say) as running:
        try:
            _serve(running, data.resolve(), port, started)
        finally:
            _ignore_signals()  # what follows stops the stores and must not be interrupted
            _say("Stopping …")
    return 0


def _serve(running: Stores, data: Path, port: int, started: float) -> None:
    environ = running.env | {"CAREGRAPH_DATA": str(data), "CAREGRAPH_PORT": str(port)}
    settings = load(os.environ | environ)
    _say("Migrating …")
    _finish(running, "migrate", environ)
    if settings.demo:
        _say("Loading the demo hospital network (the first time takes a few minutes) …")
        _finish(running, "demo", environ)
    api = _api(running, settings, environ)
    beside = [["sync"], ["research", "work"], *([["monitors"]] if settings.demo_live else [])]
    workers = [Child(python_program("workers", *one, **environ), running.directory.pid_file(one[0])) for one in beside]
    processes = [*api, *workers]
    try:
        if not api[0].wait_until(lambda: http_status(port, "GET", "/healthz") == 200, API_TIMEOUT_S):
            raise AppError("The API did not start; its output is above.")
        where = f"http://{HOST}:{port}/graphql, in {len(api)} processes,"
        _say(f"Caregraph is at {where} after {time.monotonic() - started:.0f} s. Ctrl-C stops it.")
        _watch(running, processes)
    finally:
        _ignore_signals()
        for process in processes:
            process.ask_to_stop()
        for process in processes:
            process.stop()


def _api(running: Stores, settings: Settings, environ: Mapping[str, str]) -> Sequence[Child]:
    program = python_program("graph.server", **environ)
    return [Child(program, running.directory.pid_file(f"api-{number}")) for number in range(1, settings.processes + 1)]


def _watch(running: Stores, processes: Sequence[Child]) -> None:
    """Returns never: a signal ends it, or the death of a child, as an AppError."""
    while True:
        time.sleep(WATCH_S)
        if not all(process.running for process in processes):
            raise AppError("A process of the API, or a worker, has ended by itself; its output is above.")
        if ended := running.ended():
            logs = running.directory.log(next(iter(ended))).parent
            raise AppError(f"Embedded store has ended by itself: {', '.join(ended)}; see {logs}.")


def _finish(running: Stores, worker: str, environ: Mapping[str, str]) -> None:
    """Runs another worker to its end. Raises AppError when it fails, after its own message."""
    child = Child(python_program("workers", worker, **environ), running.directory.pid_file(worker))
    try:
        if child.wait() != 0:
            raise AppError(f"`python -m workers {worker}` failed.")
    finally:
        child.stop()


def _port() -> int:
    """The API's port, known to be free. Raises SettingsError before anything is started."""
    raw = os.environ.get("CAREGRAPH_PORT") or "8000"
    if not raw.isascii() or not raw.isdigit() or not 1 <= int(raw) <= 65535:
        raise SettingsError("CAREGRAPH_PORT must be a whole number from 1 to 65535.")
    if not port_is_free(int(raw)):
        raise SettingsError(f"Port {raw} is in use; set CAREGRAPH_PORT to another one.")
    return int(raw)


def _leave(number: int, frame: FrameType | None) -> None:
    """Signal handler: unwinds to the end of every `with`, once."""
    _ignore_signals()
    raise SystemExit(0)


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
