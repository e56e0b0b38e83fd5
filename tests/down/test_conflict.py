"""Transactions that PostgreSQL ends for another's sake: an error of the store says so, without a word of the driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import asyncpg
import pytest
import pytest_asyncio
from graphql import GraphQLError

from db.caller import Profile
from db.errors import StoreConflict
from db.guard import FAILURES_MAX
from db.postgres import Postgres
from db.roles import WORKER
from db.settings import Settings
from db.stores import Stores
from graph.errors import execution_errors
from tests.asking import Graph
from tests.down.standby import Standby, following, until
from workers.embedded.stores import Stores as Embedded

VALUE = "Lovelace"
LOCK = "SELECT pg_advisory_xact_lock($1)"
SLOW = "/* slow_read */ SELECT pg_sleep(120)"
"""Longer than a store may take: only a conflict ends it in time."""
READS = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* slow_read */%' AND wait_event = 'PgSleep'"
FACILITIES = "/* facilities_seen */ SELECT id FROM facility"
CHART = (
    "{ patients(first: 5) { nodes { id mrn conditions { nodes { id code { text } } } encounters { nodes { id } } } } }"
)

# The driver's own classes, whose texts quote values: what nobody expects is INTERNAL.
UNEXPECTED = {
    "42P01": f'SELECT * FROM "{VALUE}"',
    "42703": f'SELECT "{VALUE}" FROM clinical.facility',
}


@pytest_asyncio.fixture(loop_scope="session")
async def stores(configured: Settings) -> AsyncIterator[Stores]:
    """Stores with connections of their own."""
    opened = Stores(configured)
    yield opened
    await opened.close()


def unrecorded(store: str, statement: str) -> None:
    """Where statements are recorded that no test counts."""


async def crossing(postgres: Postgres, first: int, second: int, both: asyncio.Barrier) -> None:
    """Takes two locks, the second once another transaction has it."""

    async def call() -> None:
        async with postgres.connections.lent(WORKER) as connection:
            await connection.execute("BEGIN")
            await connection.fetch(LOCK, first)
            await both.wait()
            await connection.fetch(LOCK, second)
            await connection.execute("ROLLBACK")

    await postgres.run(call)


async def test_one_of_a_deadlock_is_told_and_the_other_goes_on(stores: Stores) -> None:
    both = asyncio.Barrier(2)
    ends = [crossing(stores.clinical, first, second, both) for first, second in ((1, 2), (2, 1))]
    ended = await asyncio.gather(*ends, return_exceptions=True)
    [error] = [one for one in ended if one is not None]
    assert isinstance(error, StoreConflict)
    assert (error.code, error.store, error.__cause__) == ("STORE_UNAVAILABLE", "clinical", None)
    assert "deadlock" not in error.message


@pytest.mark.parametrize("sql", UNEXPECTED.values(), ids=UNEXPECTED.keys())
async def test_no_text_of_the_driver_reaches_a_client(stores: Stores, sql: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await stores.clinical.worker_fetch(sql)  # pyright: ignore[reportArgumentType] - constants above
    assert VALUE in str(caught.value)
    raised = GraphQLError(str(caught.value), path=["patient"], original_error=caught.value)
    [told] = execution_errors([raised], "1234")
    assert told == {
        "message": "Internal error.",
        "path": ["patient"],
        "extensions": {"code": "INTERNAL", "requestId": "1234"},
    }


@pytest.fixture(scope="module")
def standby(embedded: Embedded, network: Settings) -> Iterator[Standby]:
    """A replica of the clinical database."""
    with following(embedded.directory, network.clinical_url) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def reading(standby: Standby, graph: Graph) -> AsyncIterator[Graph]:
    """The graph, which reads clinical facts from the replica."""
    await standby.caught_up()
    settings = replace(graph.settings, clinical_url=standby.url, clinical_direct_url=standby.primary_url)
    stores = Stores(settings)
    yield Graph(settings, stores, graph.facilities)
    await stores.close()


async def test_a_replica_answers_as_its_primary_does(reading: Graph, graph: Graph) -> None:
    for profile in (Profile.CLINICIAN, Profile.NURSE, Profile.ANALYST):
        answer, expected = await reading.ask(CHART, profile), await graph.ask(CHART, profile)
        assert answer.data["patients"]["nodes"]
        # A chart that another test has closed is refused alike.
        assert (answer.data, answer.errors) == (expected.data, expected.errors)


async def removed(standby: Standby) -> None:
    """Rows that a snapshot of the replica still sees are removed at the primary, once a statement runs in one."""
    primary, replica = await asyncpg.connect(standby.primary_url), await asyncpg.connect(standby.url)
    try:
        await until(replica, f"SELECT ({READS}) = 1")
        await primary.execute("CREATE TABLE public.passing AS SELECT 1 AS id")
        await primary.execute("DELETE FROM public.passing")
        await primary.execute("VACUUM public.passing")
        await primary.execute("DROP TABLE public.passing")
    finally:
        await primary.close()
        await replica.close()


async def test_a_read_that_a_replica_cancels_is_worth_asking_again(reading: Graph, standby: Standby) -> None:
    """So often that a breaker would open, if this counted as a failure of the store."""
    for _ in range(FAILURES_MAX + 1):
        session = reading.stores.clinical.session(reading.caller(), unrecorded)
        running = asyncio.create_task(session.fetch(SLOW))
        await removed(standby)
        with pytest.raises(StoreConflict) as caught:
            await running
        assert "recovery" not in caught.value.message
        await session.close()
    await standby.caught_up()  # with what was removed for this, or the next read is cancelled for it as well
    assert await asked_again(reading) == 1


async def asked_again(reading: Graph) -> int:
    """Facilities that a caller sees, asked for until the primary vacuums nothing meanwhile. Raises StoreUnavailable."""
    while True:
        session = reading.stores.clinical.session(reading.caller(), unrecorded)
        try:
            return len(await session.fetch(FACILITIES))
        except StoreConflict:
            continue
        finally:
            await session.close()
