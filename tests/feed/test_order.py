"""The change feed: however transactions overlap, none is skipped or doubled, and changes of a row keep their order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.context import role_password
from db.feed import Feed
from db.postgres import Postgres, login_url
from db.roles import WORKER
from db.settings import Settings
from tests.feed.interleaving import ID, Follower, Transactions

WRITERS, ROWS, FOLLOWERS = 4, 3, 2
PATIENT = "INSERT INTO clinical.patient (id) VALUES ($1)"

writer = st.integers(0, WRITERS - 1)
follower = st.integers(0, FOLLOWERS - 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("update"), writer, st.integers(0, ROWS - 1)),
        st.tuples(st.just("update"), writer, st.integers(0, ROWS - 1)),
        st.tuples(st.just("savepoint"), writer, st.just(0)),
        st.tuples(st.just("back"), writer, st.just(0)),
        st.tuples(st.just("commit"), writer, st.just(0)),
        st.tuples(st.just("rollback"), writer, st.just(0)),
        st.tuples(st.just("read"), follower, st.integers(1, 4)),
        st.tuples(st.just("read"), follower, st.integers(1, 4)),
        st.tuples(st.just("acknowledge"), follower, st.just(0)),
        st.tuples(st.just("crash"), follower, st.just(0)),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """A loop for tests whose examples are made by hypothesis, which calls no coroutine."""
    with asyncio.Runner() as runner:
        yield runner


class World:
    """Connections and readers that the examples share."""

    def __init__(self, configured: Settings) -> None:
        self._configured = configured
        self.store = Postgres("clinical", configured.clinical_url, configured.secret, 10)
        self.feed = Feed(self.store)
        self.connections: list[asyncpg.Connection] = []

    async def open(self) -> World:
        """Opens a connection for each writer."""
        url = login_url(self._configured.clinical_url, WORKER, role_password(self._configured.secret, WORKER))
        self.connections = [await asyncpg.connect(url) for _ in range(WRITERS)]
        return self

    async def rows(self) -> list[UUID]:
        """New rows."""
        made = [uuid4() for _ in range(ROWS)]
        for row in made:
            await self.connections[0].execute(PATIENT, row)
        return made

    async def follower(self) -> Follower:
        """A new reader, whose place is here."""
        made = Follower(self.feed, f"test-{''.join(chr(97 + int(digit, 16)) for digit in uuid4().hex)}")
        await made.read(1)
        await made.acknowledge()
        return made

    async def close(self) -> None:
        """Closes all connections."""
        for connection in self.connections:
            await connection.close()
        await self.store.close()


@pytest.fixture(scope="module")
def world(loop: asyncio.Runner, alone: Settings) -> Iterator[World]:
    """Writers and a feed in a loop of their own."""
    made = loop.run(World(alone).open())
    yield made
    loop.run(made.close())


async def play(world: World, script: list[tuple[str, int, int]]) -> None:
    """Carries out the steps, then commits and reads what is left, and compares."""
    rows = await world.rows()
    transactions = Transactions(world.connections, rows)
    followers = [await world.follower() for _ in range(FOLLOWERS)]
    for verb, who, what in script:
        match verb:
            case "update":
                await transactions.update(who, what)
            case "savepoint":
                await transactions.savepoint(who)
            case "back":
                await transactions.roll_back_to_savepoint(who)
            case "commit" | "rollback":
                await transactions.end(who, verb.upper())
            case "read":
                await followers[who].read(what)
            case "acknowledge":
                await followers[who].acknowledge()
            case _:
                followers[who].crash()
    await transactions.end_all()
    for one in followers:
        while await one.read(2):
            pass
        assert {row: one.changes_of(row) for row in rows} == transactions.committed


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(script=steps)
def test_no_event_is_skipped_doubled_or_turned_round(
    loop: asyncio.Runner, world: World, script: list[tuple[str, int, int]]
) -> None:
    loop.run(play(world, script))


@pytest.mark.parametrize(
    "script",
    [
        # The transaction that began first commits last, after the reader has gone past the other.
        [("update", 0, 0), ("update", 1, 1), ("commit", 1, 0), ("read", 0, 4), ("acknowledge", 0, 0), ("commit", 0, 0)],
        # One stays open over many reads.
        [("update", 0, 0), *[("update", 1, 1), ("commit", 1, 0), ("read", 0, 4), ("acknowledge", 0, 0)] * 5],
        # What a rolled back savepoint did, and what a rolled back transaction did, is nothing.
        [
            ("update", 0, 0), ("savepoint", 0, 0), ("update", 0, 1), ("back", 0, 0), ("update", 0, 2), ("commit", 0, 0),
            ("update", 1, 0), ("rollback", 1, 0), ("read", 0, 4),
        ],
        # Pages smaller than a transaction, another one committing between them, and a reader that dies in between.
        [
            *[("update", 0, 0)] * 3, ("update", 1, 1), ("commit", 0, 0), ("read", 0, 1), ("acknowledge", 0, 0),
            ("commit", 1, 0), ("read", 0, 1), ("crash", 0, 0), ("read", 0, 1), ("acknowledge", 0, 0),
        ],
        # Two changes of one row, the second waiting for the first.
        [("update", 0, 0), ("update", 1, 0), ("commit", 0, 0), ("read", 0, 1), ("commit", 1, 0), ("read", 0, 1)],
    ],
    ids=["commit-order", "long-running", "rolled-back", "small-pages", "one-row"],
)  # fmt: skip
def test_interleavings_that_readers_get_wrong(
    loop: asyncio.Runner, world: World, script: list[tuple[str, int, int]]
) -> None:
    loop.run(play(world, script))


async def storm(world: World, seed: int) -> None:
    """Writers who commit when they like, beside readers who read all the time."""
    rows, chance = await world.rows(), random.Random(seed)
    followers = [await world.follower() for _ in range(FOLLOWERS)]
    committed: list[tuple[int, UUID]] = []
    writing = True

    async def write(connection: asyncpg.Connection) -> None:
        for _ in range(30):
            mine = sorted(chance.sample(rows, chance.randint(1, ROWS)))  # in one order: no deadlock
            async with connection.transaction():
                number: int = await connection.fetchval(ID) or 0
                for row in mine:
                    await connection.execute(
                        "UPDATE clinical.patient SET multiple_birth = $2 WHERE id = $1", row, number % 2**31
                    )
                await asyncio.sleep(chance.random() / 200)
            committed.extend((number, row) for row in mine)

    async def read(one: Follower) -> None:
        while writing:
            await one.read(3)
            await one.acknowledge()
            if chance.random() < 0.05:
                one.crash()

    reading = [asyncio.create_task(read(one)) for one in followers]
    await asyncio.gather(*(write(connection) for connection in world.connections))
    writing = False
    await asyncio.gather(*reading)
    for one in followers:
        while await one.read(50):
            pass
        assert sorted(one.read_so_far) == sorted(committed)


def test_nothing_is_lost_beside_writers_at_full_speed(loop: asyncio.Runner, world: World) -> None:
    for seed in range(3):
        loop.run(storm(world, seed))
