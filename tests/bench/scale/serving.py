"""The embedded stores on data that was kept, and the API in front of them as `make run` starts it."""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from db.settings import Settings, load
from workers.embedded.child import Child
from workers.embedded.directory import HOST, python_program
from workers.embedded.postgres import CONFIGURATION
from workers.embedded.stores import Stores, stores

START_S = 60
DEADLINE_S = 600
"""A measurement of a slow statement must end with its time, not with a store's deadline."""
QUARTER_MB = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 // 1_048_576
SIZED = {"shared_buffers": f"{QUARTER_MB}MB"}
"""A quarter of the memory, as PostgreSQL's manual says of a server: with the 128 MB of the embedded one, copies
from the system's cache cost more than the statements."""
UNLIMITED = {"CAREGRAPH_REQUESTS_PER_MINUTE": "1000000"}
"""One caller measures: the quota of a person would be what is measured."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Running stores and their settings."""

    running: Stores
    settings: Settings


@contextmanager
def kept(folder: Path) -> Generator[Kept]:
    """Starts the embedded stores under a folder, and stops them at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    with patch.dict(CONFIGURATION, SIZED), stores(folder, {}) as running:
        patience = {"CAREGRAPH_DATA": str(folder.resolve()), "CAREGRAPH_STORE_TIMEOUT_S": str(DEADLINE_S)}
        yield Kept(running, load({**running.env, **patience}))


@contextmanager
def api(store: Kept) -> Generator[str]:
    """Starts the API in demo mode on a free port, with a process for each core; its URL."""
    directory = store.running.directory
    port = directory.port("scale-api")
    given = {"CAREGRAPH_DATA": str(directory.path), "CAREGRAPH_PORT": str(port), "CAREGRAPH_DEMO": "1"}
    program = python_program("graph.server", **store.running.env, **given, **UNLIMITED)
    numbers = range(1, store.settings.processes + 1)
    names = [f"scale-api-{number}" for number in numbers]
    processes = [Child(program, directory.pid_file(name), directory.log(name)) for name in names]
    url = f"http://{HOST}:{port}"
    try:
        _wait(url, processes)
        yield url
    finally:
        for process in processes:
            process.ask_to_stop()
        for process in processes:
            process.stop()


def serve(store: Kept) -> None:
    """The API until SIGINT or SIGTERM."""
    with api(store) as url:
        print(f"Caregraph is at {url}/graphql; Ctrl-C stops it.", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def _wait(url: str, processes: Sequence[Child]) -> None:
    deadline = time.monotonic() + START_S
    while all(process.running for process in processes) and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError("the API did not start")
