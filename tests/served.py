"""Pytest plugin: the API as `make run` starts it, a server process over the small demo network."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest

from db.settings import Settings
from graph.server import OPTIONS
from workers.embedded.stores import Stores as Embedded

ROOT = Path(__file__).parents[1]
UVICORN = (sys.executable, "-m", "uvicorn", "--factory", "graph.app:create_app", "--host", "127.0.0.1", *OPTIONS)
START_S = 30
"""Seconds that the API may take to start on a busy machine."""


@dataclass(frozen=True, slots=True)
class Api:
    """A running API, and the file that takes what it writes to stdout and stderr."""

    url: str
    log: Path


@pytest.fixture(scope="session")
def api(embedded: Embedded, network: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API on a free port, in demo mode."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("api") / "log"
    with log.open("wb") as output:
        server = _start(embedded, network, port, output)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, server)
        yield Api(url, log)
    finally:
        server.terminate()
        server.wait(10)


def _start(embedded: Embedded, network: Settings, port: int, output: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*UVICORN, "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, **embedded.env, "CAREGRAPH_DATA": str(network.data), "CAREGRAPH_DEMO": "1"},
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert server.poll() is None, "the API ended while it started"
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError("the API did not start")
