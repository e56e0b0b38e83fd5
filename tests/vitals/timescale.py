"""Real TimescaleDB in WebAssembly for the contract: the server as a child process."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).parent


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
