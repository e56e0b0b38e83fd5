"""Fixtures: the small graph, served once, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.http.serving import Client, Served, serving


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """The small graph on a free port, for the length of the test run."""
    with serving() as running:
        yield running


@pytest.fixture
def client(served: Served) -> Client:
    """A client of the small graph; its log and sessions start empty."""
    served.clear()
    return Client(served)
