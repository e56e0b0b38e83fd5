"""Fixtures: the small graph of tests/http, and sockets to it that speak graphql-transport-ws."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.http.serving import Served, serving
from tests.websocket.sockets import Sockets


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """The small graph on a free port."""
    with serving() as running:
        yield running


@pytest_asyncio.fixture
async def sockets(served: Served) -> AsyncIterator[Sockets]:
    """Sockets to the small graph, closed at the end; what it keeps starts empty."""
    served.clear()
    opened = Sockets(served)
    yield opened
    await opened.close()
