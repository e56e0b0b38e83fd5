"""Fixtures: a chart of canaries, and the API over it in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from db.settings import Settings, load
from db.stores import Stores
from graph.app import create_app
from tests.leaks.chart import Chart
from tests.leaks.listening import Listening, listening
from workers.embedded.stores import Stores as Embedded


@pytest_asyncio.fixture(scope="session")
async def chart(network: Settings) -> AsyncIterator[Chart]:
    """A patient each of whose values is a canary."""
    stores = Stores(network)
    made = Chart(network, stores)
    await made.write()
    yield made
    await stores.close()


@pytest_asyncio.fixture(scope="session")
async def listened(embedded: Embedded, configured: Settings, chart: Chart) -> AsyncIterator[Listening]:
    """The application as uvicorn gets it, over the embedded stores."""
    given = {
        **embedded.env,
        "CAREGRAPH_DATA": str(configured.data),
        "CAREGRAPH_DEMO": "1",
        "CAREGRAPH_REQUESTS_PER_MINUTE": "100000",
        "CAREGRAPH_STORE_TIMEOUT_S": "60",
        "CAREGRAPH_REQUEST_DEADLINE_S": "60",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        settings, app = load(), create_app()
    async with app.router.lifespan_context(app), listening(app, settings, chart) as running:
        yield running
