"""Fixtures: the vitals store in both flavours, plain PostgreSQL and TimescaleDB, behind one interface."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest

from db.caller import Profile
from db.migrate import migrate
from db.settings import Settings, load
from db.stores import Stores
from resolvers.context import Context
from tests.callers import OpenReader, caller_of
from tests.node import installed_node
from tests.vitals.timescale import FOLDER, timescale_server
from workers.embedded.stores import Stores as Embedded


@dataclass(frozen=True, slots=True)
class Vitals:
    """One flavour of the vitals store, migrated, with what stops and starts it."""

    flavour: str
    settings: Settings
    stop: Callable[[], Awaitable[None]]
    start: Callable[[], Awaitable[None]]

    @asynccontextmanager
    async def request(self, facility_id: UUID, profile: Profile = Profile.CLINICIAN) -> AsyncGenerator[Context, None]:
        """One request of a caller. The TimescaleDB of the tests serves one transaction at a time: don't nest them."""
        stores = Stores(self.settings)
        reader = OpenReader(stores, caller_of(profile, facility_id))
        try:
            yield Context(reader, b"k" * 32)
        finally:
            await reader.close()
            await stores.close()


@pytest.fixture(scope="session", params=["plain", "timescaledb"])
async def vitals(request: pytest.FixtureRequest, embedded: Embedded) -> AsyncIterator[Vitals]:
    """The contract runs once for each flavour."""
    if request.param == "plain":
        configured = load(embedded.env)

        async def stop() -> None:
            embedded.stop("vitals")

        async def start() -> None:
            embedded.start("vitals")

        await migrate("vitals", configured.vitals_url, configured.secret)
        yield Vitals("plain", configured, stop, start)
        return

    node = installed_node(FOLDER)
    async with AsyncExitStack() as running:
        port = running.enter_context(timescale_server(node))
        url = f"postgresql://postgres:any@127.0.0.1:{port}/postgres"
        configured = load(embedded.env | {"CAREGRAPH_VITALS_URL": url})

        async def restart() -> None:
            running.enter_context(timescale_server(node, port))
            await migrate("vitals", url, configured.secret)

        await migrate("vitals", url, configured.secret)
        yield Vitals("timescaledb", configured, running.aclose, restart)


@pytest.fixture
def facility() -> UUID:
    """A facility that no other test uses, so that tests need not clean up."""
    return uuid4()
