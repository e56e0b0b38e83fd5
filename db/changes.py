"""Rows before and after a change, as the audit recorded them: read by the login of the export alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from db.errors import StoreError
from db.feed import Event
from db.postgres import Postgres
from db.roles import EXPORT

CHANGES = """/* feed_changes */
SELECT seq, place, transaction_id, occurred_at, patient_id, schema_name, table_name, key, before, after
FROM feed.changes($1::bigint[])"""


@dataclass(frozen=True, slots=True)
class Change:
    """That a row was inserted (no `before`), updated or deleted (no `after`); key and rows are JSON, whole."""

    seq: int
    """Of the event, and in `place`, from 1, which of its rows: of two changes of one row the later has the greater."""
    place: int
    transaction_id: int
    occurred_at: datetime
    patient_id: UUID | None
    schema: str
    table: str
    key: str
    before: str | None
    after: str | None


async def changes(postgres: Postgres, events: Sequence[Event]) -> Sequence[Change]:
    """Every change that the events are about, in order. Raises StoreError, also where one is recorded no more."""

    async def call() -> Sequence[asyncpg.Record]:
        async with postgres.connections.lent(EXPORT) as connection:
            return await connection.fetch(CHANGES, [event.seq for event in events])

    found = [Change(*row) for row in await postgres.run(call)]
    if len(found) != sum(len(event.row_keys) for event in events):
        raise StoreError(postgres.name, f"The record of changes lacks some that the feed names: {postgres.name}.")
    return found
