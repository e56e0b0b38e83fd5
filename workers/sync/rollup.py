"""Hourly and daily roll-ups of readings, where TimescaleDB does not keep them by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from db.feed import Event, Feed
from db.lease import Lease
from db.postgres import Postgres
from db.rollup import HAS_TIMESCALEDB, NOTES_MAX, ROLL_UP
from db.stores import Stores


class Rollup:
    """Consumer that computes anew the hours of which an event tells; see workers.sync.following.

    Which hours those are, a trigger has noted in the same transaction.
    """

    name = "rollup"

    def __init__(self, stores: Stores) -> None:
        self.feeds: Sequence[Feed] = (Feed(stores.vitals),)
        self.home: Postgres = stores.vitals

    async def build(self, held: Lease) -> None:
        """See Consumer."""
        if not (await held.fetch(HAS_TIMESCALEDB))[0][0]:
            while (await held.fetch(ROLL_UP, NOTES_MAX))[0][0]:
                pass

    async def apply(self, held: Lease, events: Sequence[Event]) -> None:
        """See Consumer."""
        if any(event.table == "vital_sign" for event in events):
            await self.build(held)

    async def complete(self, held: Lease, as_of: datetime) -> None:
        """Trends read the last hours from the readings themselves: nobody asks up to when roll-ups are complete."""
