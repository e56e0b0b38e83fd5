"""Days of the feed are dropped whole, once every consumer has done them, and never with an event that one awaits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest_asyncio

from db.feed import Feed
from db.postgres import Postgres
from db.settings import Settings

EVENT = "INSERT INTO feed.event (occurred_at, table_name, operation) VALUES ($1, 'patient', 'UPDATE')"
DAYS = "SELECT right(inhrelid::regclass::text, 10) FROM pg_inherits WHERE inhparent = 'feed.event'::regclass ORDER BY 1"
WAITS = "SELECT count(*) FROM pg_locks WHERE relation = 'feed.event'::regclass AND NOT granted"
NOW = datetime.now(UTC)
OLD, OLDER = NOW - timedelta(days=5), NOW - timedelta(days=6)


def day(at: datetime) -> str:
    """Name of a day's partition, from the right."""
    return f"{at:%Y_%m_%d}"


@pytest_asyncio.fixture
async def owner(alone: Settings) -> AsyncIterator[asyncpg.Connection]:
    """A connection that writes events of days long ago."""
    connection = await asyncpg.connect(alone.clinical_url)
    await connection.execute("SET ROLE caregraph_owner")
    for at in (OLDER, OLD):
        await connection.execute("SELECT feed.ensure_day($1)", at)
        await connection.execute(EVENT, at)
    await connection.execute("RESET ROLE")
    yield connection
    await connection.execute("DELETE FROM feed.consumer")
    await connection.close()


async def days(connection: asyncpg.Connection) -> set[str]:
    """Days that the feed has."""
    return {row[0] for row in await connection.fetch(DAYS)}


async def caught_up(feed: Feed, consumer: str) -> None:
    """Reads all and says so."""
    place, more = await feed.join(consumer), True
    while more:
        page = await feed.read(place, 100)
        place, more = page.place, page.more
    await feed.acknowledge(consumer, place)


async def until_it_waits(owner: asyncpg.Connection) -> None:
    """Returns when somebody waits for the feed's lock."""
    while not await owner.fetchval(WAITS):  # noqa: ASYNC110 - the server knows it, and tells nobody
        await asyncio.sleep(0.01)


async def test_a_day_goes_when_every_consumer_has_done_it(owner: asyncpg.Connection, clinical: Postgres) -> None:
    feed = Feed(clinical)
    await feed.join("quick")
    await feed.join("slow")
    await owner.execute(EVENT, OLD)
    await caught_up(feed, "quick")
    assert await feed.drop_done(timedelta(days=2)) == 1
    assert {day(OLD), day(OLDER)} & await days(owner) == {day(OLD)}
    await caught_up(feed, "slow")
    assert await feed.drop_done(timedelta(days=7)) == 0
    assert await feed.drop_done(timedelta(days=2)) == 1
    assert not {day(OLD), day(OLDER)} & await days(owner)


async def test_a_transaction_that_commits_while_its_day_is_about_to_go_keeps_it(
    alone: Settings, owner: asyncpg.Connection, clinical: Postgres
) -> None:
    feed = Feed(clinical)
    await feed.join("reader")
    late = await asyncpg.connect(alone.clinical_url)
    await late.execute("BEGIN")
    await late.execute(EVENT, OLD)
    dropping = asyncio.create_task(feed.drop_done(timedelta(days=2)))
    async with asyncio.timeout(5):
        await until_it_waits(owner)
    await late.execute("COMMIT")
    await late.close()
    await dropping
    assert {day(OLD), day(OLDER)} & await days(owner) == {day(OLD)} or await feed.drop_done(timedelta(days=2)) == 1
    page = await feed.read(await feed.join("reader"), 10)
    assert [event.table for event in page.events] == ["patient"]


async def test_an_open_transaction_is_waited_for_by_the_next_pass(
    alone: Settings, owner: asyncpg.Connection, clinical: Postgres
) -> None:
    feed = Feed(clinical)
    late = await asyncpg.connect(alone.clinical_url)
    await late.execute("BEGIN")
    await late.execute(EVENT, OLDER)
    assert await feed.drop_done(timedelta(days=2)) == 0  # and says so, though it had begun
    assert {day(OLD), day(OLDER)} <= await days(owner)
    await late.execute("ROLLBACK")
    await late.close()
    assert await feed.drop_done(timedelta(days=2)) == 2


async def test_the_partition_of_tomorrow_is_there_before_tomorrow(
    owner: asyncpg.Connection, clinical: Postgres
) -> None:
    await Feed(clinical).prepare_days()
    assert {day(NOW), day(NOW + timedelta(days=1))} <= await days(owner)
