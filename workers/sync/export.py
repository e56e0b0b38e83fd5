"""The export: each change of a row as an event of Debezium's PostgreSQL connector, to a file or Kafka.

The fields are those of https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events,
types those of its data type mappings, without schemas (schemas.enable=false); see docs/decisions/0016-export.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import orjson

from db.changes import Change, changes
from db.errors import SettingsError
from db.feed import Event, Feed
from db.lease import Lease
from db.postgres import Postgres
from db.sink import Message, Sink, sink_of
from db.stores import Stores

VERSION = "caregraph-1"
"""Of the writer of an event, where Debezium has its own."""
SERVER = "caregraph"
"""Logical name of the source (topic.prefix)."""
ROWS = 2000
"""Rows that are read at once, but for a statement that wrote more of one patient."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

STILL_HELD = """/* export_still_held */
SELECT 1"""


EXPORTS: Mapping[str, Callable[[Stores], Postgres]] = {
    "export-clinical": lambda stores: stores.clinical,
    "export-imaging": lambda stores: stores.imaging,
}
"""Databases whose changes are recorded row by row, by name of the consumer."""


class Export:
    """Consumer that passes on the changes of one database; see workers.sync.following.

    Each at least once: after a crash some come again, with the same `source.sequence`.
    """

    def __init__(self, postgres: Postgres, sink: Sink) -> None:
        self.name = f"export-{postgres.name}"
        self.feeds: Sequence[Feed] = (Feed(postgres),)
        self.home = postgres
        self._sink = sink

    async def build(self, held: Lease) -> None:
        """See Consumer: an export begins with the first change after it joined."""

    async def apply(self, held: Lease, events: Sequence[Event]) -> None:
        """See Consumer."""
        for batch in _batches(events):
            found = await changes(self.home, batch)
            await held.fetch(STILL_HELD)  # who lost the lease may not write behind who has it
            await self._sink.put([message(self.home.name, change, datetime.now(UTC)) for change in found])

    async def close(self) -> None:
        """Ends what is open to where the changes go."""
        await self._sink.close()

    async def complete(self, held: Lease, as_of: datetime) -> None:
        """See Consumer: nobody reads the export here."""


def export_to(url: str | None, postgres: Postgres) -> Export:
    """The export of a database to CAREGRAPH_EXPORT_URL. Raises SettingsError."""
    if url is None:
        raise SettingsError("CAREGRAPH_EXPORT_URL is not set.")
    return Export(postgres, sink_of(url, postgres.name))


def _batches(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """The events that are about rows, in order, some at a time."""
    batch, rows = list[Event](), 0
    for event in events:
        if batch and rows + len(event.row_keys) > ROWS:
            yield batch
            batch, rows = [], 0
        batch.append(event)
        rows += len(event.row_keys)
    if rows:
        yield batch


def message(database: str, change: Change, at: datetime) -> Message:
    """A change for the sink, passed on at this time; what is about no patient stays in order row by row."""
    group = str(change.patient_id) if change.patient_id else f"{change.table} {change.key}"
    return Message(group, change.key.encode(), envelope(database, change, at))


def envelope(database: str, change: Change, at: datetime) -> bytes:
    """Debezium's envelope. There is no position in the log here: `sequence` has that of the change in the feed."""
    source = {
        "version": VERSION,
        "connector": "postgresql",
        "name": SERVER,
        **_times(change.occurred_at),
        "snapshot": "false",
        "db": database,
        "sequence": orjson.dumps([str(change.seq), str(change.place)]).decode(),
        "schema": change.schema,
        "table": change.table,
        "txId": change.transaction_id,
        "lsn": None,
        "xmin": None,
    }
    return orjson.dumps(
        {
            "before": _json(change.before),
            "after": _json(change.after),
            "source": source,
            "transaction": {"id": str(change.transaction_id)},
            "op": "c" if change.before is None else "d" if change.after is None else "u",
            **_times(at),
        }
    )


def _json(row: str | None) -> orjson.Fragment | None:
    return None if row is None else orjson.Fragment(row)


def _times(at: datetime) -> dict[str, int]:
    """An instant in milli-, micro- and nanoseconds since 1970."""
    micros = (at - EPOCH) // timedelta(microseconds=1)
    return {"ts_ms": micros // 1000, "ts_us": micros, "ts_ns": micros * 1000}
