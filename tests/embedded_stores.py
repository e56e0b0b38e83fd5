"""Pytest plugin: the embedded stores, started once per test session in a directory of their own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from workers.embedded.stores import Stores, stores


@pytest.fixture(scope="session")
def embedded() -> Iterator[Stores]:
    """All stores running, whatever the environment says of them; each name can be stopped and started alone.

    `stop`, `start` and `kill` block for up to some seconds and are called alike from sync and async tests. Who stops a
    store starts it again: the URLs in `env` stay the same. Not in pytest's temporary directory, which every other
    session of the same user closes again to the user that PostgreSQL runs as. CAREGRAPH_TEST_DATA may name a directory
    that holds data already (tests/mutations).
    """
    kept = os.environ.get("CAREGRAPH_TEST_DATA")
    with (
        nullcontext(kept) if kept else tempfile.TemporaryDirectory(prefix="caregraph-") as data,
        stores(Path(data), {}, separate=("imaging", "vitals")) as running,
    ):
        yield running
