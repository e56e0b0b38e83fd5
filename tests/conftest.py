"""Fixtures of all tests: running stores, a small demo network in them, the graph in process, the API as a server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from db.settings import Settings, load
from db.stores import Stores
from tests.asking import Graph
from workers.demo import load as load_demo
from workers.embedded.stores import Stores as Embedded
from workers.migrate import migrate_all
from workers.network.facilities import FACILITIES

pytest_plugins = ["tests.embedded_stores", "tests.served"]

POPULATION = 20
"""People in the catchment of each hospital of the tests' small network."""
MINUTES = 30
"""How long its bedside monitors have run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Golden answers come first: they are of the network as it was loaded, and other tests add people to it.

    The differential test comes last: it adds people whose records no source would give.
    """
    items.sort(key=lambda item: ("queries" not in item.path.parts) + ("differential" in item.path.parts))


@pytest_asyncio.fixture(scope="session")
async def configured(embedded: Embedded) -> Settings:
    """Settings of the embedded stores, migrated."""
    settings = load({**embedded.env, "CAREGRAPH_DATA": str(embedded.directory.path)})
    await migrate_all(settings)
    return settings


@pytest_asyncio.fixture(scope="session")
async def network(configured: Settings) -> Settings:
    """Settings of stores that hold the small demo network."""
    await load_demo(configured, population=POPULATION, minutes=MINUTES, progress=lambda line: None)
    return configured


@pytest_asyncio.fixture(scope="session")
async def graph(network: Settings) -> AsyncIterator[Graph]:
    """The graph over the small network, asked in process."""
    stores = Stores(network)
    known = {facility.code: facility for facility in await stores.facilities()}
    yield Graph(network, stores, [known[facility.code] for facility in FACILITIES])
    await stores.close()
