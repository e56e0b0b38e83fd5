"""Live changes: events of the feeds as they are committed, to whoever listens in this process.

One reader for each database serves all listeners, from the first one on. A listener that does not keep up gets what has
gathered as one change; it never holds more than EVENTS_MAX events, and is told when that is not enough. Each change has
a place from which another process goes on without a gap.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from uuid import UUID

from db.errors import CursorExpired, SlowConsumer, StoreError
from db.feed import CHANNEL, Event, Feed, Place
from db.postgres import Postgres

EVENTS_MAX = 500
"""Events that wait for one listener at most."""
PAGE = 1000
"""Events that are read at once."""
POLL_S = 5.0
"""Seconds after which a feed is read though nobody said that there is something: notifications may get lost."""
PAUSE_S = 1.0
"""Seconds until a database that failed is asked again."""

MISSED = """/* missed_feed_events */
SELECT seq, transaction_id::text::bigint, occurred_at, facility_id, patient_id, department_ids, table_name, operation,
    row_keys, since, until
FROM feed.event
WHERE transaction_id >= pg_snapshot_xmin($1::text::pg_snapshot)
    AND NOT pg_visible_in_snapshot(transaction_id, $1::text::pg_snapshot)
    AND NOT ($2::text IS NOT NULL
        AND pg_visible_in_snapshot(transaction_id, $2::text::pg_snapshot) AND seq <= $3::bigint)
    AND (pg_visible_in_snapshot(transaction_id, $4::text::pg_snapshot)
        OR $5::text IS NOT NULL AND pg_visible_in_snapshot(transaction_id, $5::text::pg_snapshot) AND seq <= $6::bigint)
    AND (facility_id = $7::uuid OR facility_id IS NULL)
    AND ($8::uuid IS NULL OR patient_id = $8::uuid)
    AND ($9::uuid IS NULL OR $9::uuid = ANY (department_ids))
    AND ($10::text[] IS NULL OR table_name = ANY ($10::text[]))
ORDER BY seq
LIMIT $11::int"""


@dataclass(frozen=True, slots=True)
class Topic:
    """What a listener wants of one database: events of a facility, of one patient or department of it, of tables."""

    facility_id: UUID
    patient_id: UUID | None = None
    department_id: UUID | None = None
    tables: frozenset[str] | None = None

    @property
    def key(self) -> Hashable:
        """What its events are found by: the patient, the department, or the facility."""
        return self.patient_id or self.department_id or self.facility_id

    def takes(self, event: Event) -> bool:
        """Whether an event is of this topic; what has no facility is of each at which its patient is registered."""
        return (
            event.facility_id in (self.facility_id, None)
            and self.patient_id in (event.patient_id, None)
            and (self.department_id is None or self.department_id in event.department_ids)
            and (self.tables is None or event.table in self.tables)
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What has happened since the change before it: events by database, and the place behind them in each."""

    events: Mapping[str, Sequence[Event]]
    places: Mapping[str, Place]


class Listener:
    """One subscription: what it hears, and what waits for it."""

    def __init__(self, hubs: Mapping[str, _Hub]) -> None:
        self._hubs = hubs
        self._heard: set[tuple[str, Topic]] = set()
        self._events: dict[str, list[Event]] = {}
        self._places: dict[str, Place] = {}
        self._waiting = 0
        self._something = asyncio.Event()

    async def hear(self, database: str, topic: Topic, after: Place | None = None) -> None:
        """Hears a topic from now on, or from the place of an earlier change.

        Raises StoreError, CursorExpired for a place after which there was too much.
        """
        here = await self._hubs[database].join(self, topic)
        self._heard.add((database, topic))
        self._places.setdefault(database, here)
        if after is not None:
            missed = await self._hubs[database].missed(topic, after, here)
            if len(missed) > EVENTS_MAX:
                raise CursorExpired("after", "is too far behind; read anew")
            self._events.setdefault(database, [])[:0] = missed
            self._count(len(missed))

    def ignore(self, database: str, topic: Topic) -> None:
        """Hears a topic no longer."""
        self._heard.discard((database, topic))
        self._hubs[database].leave(self, topic)

    def tell(self, database: str, event: Event, place: Place) -> None:
        """Takes an event, with the place behind it."""
        self._places[database] = place
        if self._waiting < EVENTS_MAX:
            self._events.setdefault(database, []).append(event)
        self._count(1)

    async def change(self) -> Change:
        """What has gathered, once there is something. Raises SlowConsumer where it was more than is kept."""
        await self._something.wait()
        self._something.clear()
        if self._waiting > EVENTS_MAX:
            raise SlowConsumer("eventsWaiting", EVENTS_MAX)
        change = Change(self._events, dict(self._places))
        self._events, self._waiting = {}, 0
        return change

    def close(self) -> None:
        """Hears nothing any more."""
        for database, topic in list(self._heard):
            self.ignore(database, topic)

    def _count(self, events: int) -> None:
        self._waiting += events
        if events:
            self._something.set()


class Live:
    """The feeds of several databases, by name; nothing is read before somebody listens."""

    def __init__(self, databases: Sequence[Postgres]) -> None:
        self._hubs = {postgres.name: _Hub(postgres) for postgres in databases}

    def listener(self) -> Listener:
        """Somebody who hears nothing yet, and is closed by whoever asked."""
        return Listener(self._hubs)

    async def close(self) -> None:
        """Ends the readers."""
        await asyncio.gather(*(hub.close() for hub in self._hubs.values()))


class _Hub:
    """The reader of one database's feed, and who listens to which key of it."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._feed = Feed(postgres)
        self._turn = asyncio.Lock()
        self._place: Place | None = None
        self._reading: asyncio.Task[None] | None = None
        self._listeners: defaultdict[Hashable, set[tuple[Listener, Topic]]] = defaultdict(set)

    async def join(self, listener: Listener, topic: Topic) -> Place:
        """Lets a listener hear a topic from now on: the place after which that is. Raises StoreError."""
        async with self._turn:  # not in the middle of a page
            if self._place is None or self._reading is None or self._reading.done():
                self._place = await self._feed.now()
                self._reading = asyncio.create_task(self._read())
            self._listeners[topic.key].add((listener, topic))
            return self._place

    def leave(self, listener: Listener, topic: Topic) -> None:
        """Lets a listener hear a topic no longer; the reader goes on until nobody listens."""
        at = self._listeners[topic.key]
        at.discard((listener, topic))
        if not at:
            del self._listeners[topic.key]
        if not self._listeners and self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def close(self) -> None:
        """Ends the reader."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    async def missed(self, topic: Topic, after: Place, here: Place) -> list[Event]:
        """Events of a topic between two places, one too many where there are too many. Raises StoreError."""
        places = (after.done, after.reading, after.seq, here.done, here.reading, here.seq)
        tables = None if topic.tables is None else sorted(topic.tables)
        wanted = (topic.facility_id, topic.patient_id, topic.department_id, tables)
        rows = await self._postgres.worker_fetch(MISSED, *places, *wanted, EVENTS_MAX + 1)
        return [Event(*row) for row in rows]

    async def _read(self) -> None:
        """Reads on and on; what fails is tried again from the same place."""
        woken = asyncio.Event()
        waking = asyncio.create_task(self._wake(woken))
        try:
            while True:
                try:
                    more = await self._page()
                except StoreError:
                    await asyncio.sleep(PAUSE_S)
                    continue
                if not more:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(POLL_S):
                            await woken.wait()
                    woken.clear()
        finally:
            waking.cancel()

    async def _page(self) -> bool:
        """Tells the next events to their listeners; whether there are more."""
        async with self._turn:
            before = self._place
            assert before is not None
            page = await self._feed.read(before, PAGE)
            reading = page.place.reading or page.place.done
            for event in page.events:
                self._tell(event, Place(before.done, reading, event.seq))
            self._place = page.place
            return page.more

    def _tell(self, event: Event, place: Place) -> None:
        keys = (event.patient_id, *event.department_ids, event.facility_id)
        heard = {listener for key in keys for listener, topic in self._listeners.get(key, ()) if topic.takes(event)}
        for listener in heard:
            listener.tell(self._postgres.name, event, place)

    async def _wake(self, woken: asyncio.Event) -> None:
        while True:
            try:
                async with aclosing(self._postgres.listen(CHANNEL)) as messages:
                    async for _ in messages:
                        woken.set()
            except StoreError:
                await asyncio.sleep(PAUSE_S)
