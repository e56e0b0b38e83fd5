"""How a consumer follows the feed: alone, from its own place on, woken by NOTIFY, and again after whatever failed.

Events come at least once: what a consumer makes of them it reads from the source, so that once more does no harm.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from db.errors import StoreError
from db.feed import CHANNEL, Event, Feed, Place
from db.lease import Lease, lease
from db.postgres import Postgres

PAGE = 1000
"""Events that are read at once."""
POLL_S = 1.0
"""Seconds between two looks at a feed of which nothing is heard; after each the copy is known to be complete."""
COALESCE_S = 0.05
"""Seconds from the first word of a change to the look at it: a chart that many statements write is made once."""
RETRY_S = (0.5, 10.0)
"""Seconds until a consumer whose store failed tries again, at first and at most."""


class Consumer(Protocol):
    """Who makes a copy of what the feeds are about."""

    @property
    def name(self) -> str:
        """Under which its places are kept: of a-z and dashes."""
        ...

    @property
    def feeds(self) -> Sequence[Feed]:
        """What it follows; one of them first in a round, and always the same."""
        ...

    @property
    def home(self) -> Postgres:
        """The database that lends the lease; where the copy is in it, the lease's connection writes the copy."""
        ...

    async def build(self, held: Lease) -> None:
        """Makes the copy from nothing, of what there is when it is called. Raises StoreError."""
        ...

    async def apply(self, held: Lease, events: Sequence[Event]) -> None:
        """Brings the copy up to date with what the events are about. Raises StoreError."""
        ...

    async def complete(self, held: Lease, as_of: datetime) -> None:
        """Notes that all that was committed before is in the copy. Raises StoreError."""
        ...


class Bell:
    """Wakes who follows a feed."""

    def __init__(self) -> None:
        self._sleeping: set[asyncio.Event] = set()

    async def hear(self, postgres: Postgres) -> None:
        """Rings whenever a transaction of a database left events; goes on until it is cancelled."""
        while True:
            with suppress(StoreError):
                async for _ in postgres.listen(CHANNEL):
                    self.ring()
            self.ring()
            await asyncio.sleep(POLL_S)

    def ring(self) -> None:
        """Wakes everybody."""
        for sleeper in self._sleeping:
            sleeper.set()

    def waiter(self) -> Callable[[], asyncio.Future[None]]:
        """A function that waits for a ring since it was called last, for POLL_S at most."""
        rung = asyncio.Event()
        self._sleeping.add(rung)

        async def wait() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await rung.wait()
                await asyncio.sleep(COALESCE_S)
            rung.clear()

        return lambda: asyncio.ensure_future(wait())


async def follow(consumer: Consumer, bell: Bell) -> None:
    """Keeps a consumer's copy until it is cancelled; while a store is down, its copy waits."""
    wait, pause = bell.waiter(), RETRY_S[0]
    while True:
        try:
            async with lease(consumer.home, f"feed {consumer.name}") as held:
                places = await _places(consumer, held)
                while True:
                    places, more = await step(consumer, held, places)
                    pause = RETRY_S[0]
                    if not more:
                        await wait()
        except StoreError as error:
            print(f"sync {consumer.name}: {error.message} Again in {pause:g} s.", file=sys.stderr, flush=True)
        # After a failure the places are asked for again: those in hand may be of a server that is no more (db/feed.py).
        await asyncio.sleep(pause)
        pause = min(pause * 2, RETRY_S[1])


async def catch_up(consumer: Consumer) -> None:
    """Does what there is to do, and ends. Raises StoreError."""
    async with lease(consumer.home, f"feed {consumer.name}") as held:
        places, more = await _places(consumer, held), True
        while more:
            places, more = await step(consumer, held, places)


async def rebuild(consumer: Consumer) -> None:
    """Makes the copy from nothing while reads go on, beside whoever follows the feed. Raises StoreError."""
    async with lease(consumer.home, f"rebuild {consumer.name}") as held:
        for feed, start in zip(consumer.feeds, await _build(consumer, held), strict=True):
            # What was read before a change and written after its follower did, once more: until there is nothing new.
            page = await feed.read(start, PAGE)
            while page.events or page.more:
                await consumer.apply(held, page.events)
                page = await feed.read(page.place, PAGE)


async def step(consumer: Consumer, held: Lease, places: Sequence[Place]) -> tuple[Sequence[Place], bool]:
    """A page of each feed: the places behind them, and whether more may wait. Raises StoreError."""
    reached: list[Place] = []
    more = False
    for feed, place in zip(consumer.feeds, places, strict=True):
        page = await feed.read(place, PAGE)
        if page.events:
            await consumer.apply(held, page.events)
        await feed.acknowledge(consumer.name, page.place)
        reached.append(page.place)
        more = more or page.more
    await consumer.complete(held, min(map(_time, reached)))
    return reached, more


async def _places(consumer: Consumer, held: Lease) -> Sequence[Place]:
    """Where the consumer goes on; one that is new to a feed makes its copy first, and goes on from where it began."""
    if None in [await feed.place(consumer.name) for feed in consumer.feeds]:
        starts = await _build(consumer, held)
        return [await feed.join(consumer.name, at) for feed, at in zip(consumer.feeds, starts, strict=True)]
    return [await feed.join(consumer.name) for feed in consumer.feeds]


async def _build(consumer: Consumer, held: Lease) -> Sequence[Place]:
    """Makes the copy, and gives the places from before that."""
    starts = [await feed.now() for feed in consumer.feeds]
    await consumer.build(held)
    await consumer.complete(held, min(map(_time, starts)))
    return starts


def _time(place: Place) -> datetime:
    assert place.as_of is not None
    return place.as_of
