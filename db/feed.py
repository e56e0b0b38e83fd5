"""The change feed of one PostgreSQL database: what was committed, in order, for readers that keep their place.

A reader goes from snapshot to snapshot. What the next one sees and the last one did not has been committed between
them, whenever it began: nothing is skipped, nothing read twice, and nobody waits for another's long transaction.
Between two snapshots events come in the order in which they were written: two changes of one row never turned round.
NOTIFY only says that there may be something to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from db.postgres import Postgres

CHANNEL = "feed"
"""Channel on which a transaction says that it left events."""

NOW = """/* feed_now */
SELECT pg_current_snapshot()::text, coalesce((SELECT max(transaction_id)::text::bigint FROM feed.event), 0),
    statement_timestamp()"""

EVENTS = """/* feed_events */
SELECT seq, transaction_id::text::bigint, occurred_at, facility_id, patient_id, department_ids, table_name, operation,
    row_keys, since, until
FROM feed.event
WHERE transaction_id >= pg_snapshot_xmin($1::text::pg_snapshot)
    AND NOT pg_visible_in_snapshot(transaction_id, $1::text::pg_snapshot)
    AND pg_visible_in_snapshot(transaction_id, $2::text::pg_snapshot)
    AND seq > $3::bigint
ORDER BY seq
LIMIT $4::int"""

JOIN_CONSUMER = """/* join_feed_consumer */
INSERT INTO feed.consumer (name, done, as_of) VALUES ($1::text, $2::text::pg_snapshot, $3::timestamptz)
ON CONFLICT DO NOTHING"""

PLACE_OF_CONSUMER = """/* place_of_feed_consumer */
SELECT done::text, reading::text, seq, as_of, reading_as_of FROM feed.consumer WHERE name = $1::text"""

ACKNOWLEDGE = """/* acknowledge_feed */
UPDATE feed.consumer
SET done = $2::text::pg_snapshot, reading = $3::text::pg_snapshot, seq = $4::bigint,
    as_of = coalesce($5::timestamptz, as_of), reading_as_of = $6::timestamptz, acknowledged_at = clock_timestamp()
WHERE name = $1::text"""

LAG = """/* feed_lag */
SELECT c.name, count(e.seq), coalesce(extract(epoch FROM clock_timestamp() - min(e.occurred_at)), 0)::float8
FROM feed.consumer AS c
LEFT JOIN feed.event AS e ON e.transaction_id >= pg_snapshot_xmin(c.done)
    AND NOT pg_visible_in_snapshot(e.transaction_id, c.done)
    AND NOT (c.reading IS NOT NULL AND pg_visible_in_snapshot(e.transaction_id, c.reading) AND e.seq <= c.seq)
GROUP BY c.name
ORDER BY c.name"""

DROP_DONE = """/* drop_done_days */
SELECT feed.drop_done(clock_timestamp() - $1::interval)"""

PREPARE_DAYS = """/* prepare_feed_days */
SELECT feed.prepare_days()"""


@dataclass(frozen=True, slots=True)
class Event:
    """That one statement wrote rows of one patient in one table; whose, which, and no value.

    `facility_id` is None for what belongs to a patient wherever registered, `patient_id` for what is nobody's.
    """

    seq: int
    transaction_id: int
    occurred_at: datetime
    facility_id: UUID | None
    patient_id: UUID | None
    department_ids: Sequence[UUID]
    table: str
    operation: str
    row_keys: Sequence[str]
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader has come: all that snapshot `done` sees, and of what `reading` sees beyond it, up to `seq`.

    Snapshots are PostgreSQL's own text of pg_snapshot. A place is good for as long as the server runs: after a crash it
    gives numbers of transactions that left nothing behind again, so that a reader who lost the connection goes on from
    the place that it acknowledged, which the server has kept.
    """

    done: str
    reading: str | None = None
    seq: int = 0
    as_of: datetime | None = None
    """By the database's clock: what was committed before then is done. None where nobody asked."""
    reading_as_of: datetime | None = None
    """The same of `reading`."""


@dataclass(frozen=True, slots=True)
class Page:
    """Events, and the place behind the last one of them; `more` says that others may wait already."""

    events: Sequence[Event]
    place: Place
    more: bool


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a consumer is behind: events that it has not acknowledged, and the age of the oldest in seconds."""

    consumer: str
    events: int
    seconds: float


def lasting(snapshot: str, newest: int) -> str:
    """A snapshot cut off behind the newest transaction that left an event: it has the same events.

    Transaction ids that were given out, but not written to disk, are given out again after a crash. A place that names
    them as over would pass over those who get them then. An event that is seen has its transaction on disk.
    """
    xmin, xmax, running = snapshot.split(":")
    end = newest + 1
    if int(xmax) <= end:
        return snapshot
    before = [one for one in running.split(",") if one and int(one) < end]
    return f"{min(int(xmin), end)}:{end}:{','.join(before)}"


class Feed:
    """Events of one database, read as the worker role."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def now(self) -> Place:
        """The place behind all that is committed. Raises StoreError."""
        [(snapshot, newest, at)] = await self._postgres.worker_fetch(NOW)
        return Place(lasting(snapshot, newest), as_of=at)

    async def read(self, place: Place, at_most: int) -> Page:
        """The next events behind a place. Raises StoreError."""
        target = Place(place.reading, as_of=place.reading_as_of) if place.reading else await self.now()
        rows = await self._postgres.worker_fetch(EVENTS, place.done, target.done, place.seq, at_most + 1)
        events = [Event(*row) for row in rows[:at_most]]
        if len(rows) > at_most:
            reached = Place(place.done, target.done, events[-1].seq, place.as_of, target.as_of)
            return Page(events, reached, True)
        # Since a snapshot that was taken for an earlier page others may have committed, and told so long ago.
        return Page(events, target, place.reading is not None)

    async def place(self, consumer: str) -> Place | None:
        """Where a consumer goes on: where it acknowledged last; None of one that never joined. Raises StoreError."""
        rows = await self._postgres.worker_fetch(PLACE_OF_CONSUMER, consumer)
        return Place(*rows[0]) if rows else None

    async def join(self, consumer: str, at: Place | None = None) -> Place:
        """Where a consumer goes on; a new one at this place, or here. Raises StoreError."""
        start = at or await self.now()
        await self._postgres.worker_fetch(JOIN_CONSUMER, consumer, start.done, start.as_of)
        place = await self.place(consumer)
        assert place is not None
        return place

    async def acknowledge(self, consumer: str, place: Place) -> None:
        """Keeps a consumer's place: what is before it will not be read again, and may be dropped. Raises StoreError."""
        await self._postgres.worker_fetch(
            ACKNOWLEDGE, consumer, place.done, place.reading, place.seq, place.as_of, place.reading_as_of
        )

    async def lag(self) -> Sequence[Lag]:
        """How far each consumer is behind, by name. Raises StoreError."""
        return [Lag(*row) for row in await self._postgres.worker_fetch(LAG)]

    async def drop_done(self, older_than: timedelta) -> int:
        """Drops the partitions of days that ended so long ago and that every consumer has done. Raises StoreError."""
        [(dropped,)] = await self._postgres.worker_fetch(DROP_DONE, older_than)
        return dropped

    async def prepare_days(self) -> None:
        """Makes the partitions of today and tomorrow where they are missing. Raises StoreError."""
        await self._postgres.worker_fetch(PREPARE_DAYS)
