"""Transactions over real connections, step by step, and what a reader of the feed must make of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

import asyncpg

from db.feed import Feed, Place

Change: TypeAlias = tuple[int, UUID]
"""A change of a row by a transaction."""

UPDATE = "UPDATE clinical.patient SET multiple_birth = coalesce(multiple_birth, 0) + 1 WHERE id = $1"
ID = "SELECT pg_current_xact_id()::text::bigint"


@dataclass
class Writer:
    """One connection and what its open transaction has changed; a savepoint remembers how much that was."""

    connection: asyncpg.Connection
    id: int | None = None
    changes: list[Change] = field(default_factory=list[Change])
    savepoints: list[int] = field(default_factory=list[int])
    waiting: asyncio.Task[str] | None = None
    waits_for: Writer | None = None


class Transactions:
    """Writers who take turns; `committed` has the changes of each row in the order in which they were made."""

    def __init__(self, connections: Sequence[asyncpg.Connection], rows: Sequence[UUID]) -> None:
        self._writers = [Writer(connection) for connection in connections]
        self._rows = rows
        self._holders: dict[UUID, Writer] = {}
        self.committed: dict[UUID, list[Change]] = {row: [] for row in rows}

    async def update(self, number: int, row_number: int) -> None:
        """Changes a row, in a transaction that is begun where none is open; waits where another has the row."""
        writer, row = self._writers[number], self._rows[row_number]
        if writer.waiting:
            return
        holder = self._holders.get(row)
        if holder not in (None, writer):
            assert holder is not None
            # Never in a circle, and only one for each row: the second would have it in an order of its own.
            if holder.waiting or any(one.waits_for is holder for one in self._writers):
                return
        if writer.id is None:
            await writer.connection.execute("BEGIN")
            writer.id = await writer.connection.fetchval(ID)
        assert writer.id is not None
        if holder in (None, writer):
            await writer.connection.execute(UPDATE, row)
            self._changed(writer, row)
            return
        writer.waiting = asyncio.create_task(writer.connection.execute(UPDATE, row))
        writer.waits_for = holder
        writer.waiting.set_name(str(row))
        await asyncio.sleep(0)

    async def savepoint(self, number: int) -> None:
        """Sets a savepoint in an open transaction."""
        writer = self._writers[number]
        if writer.id is not None and not writer.waiting:
            writer.savepoints.append(len(writer.changes))
            await writer.connection.execute(f"SAVEPOINT s{len(writer.savepoints)}")

    async def roll_back_to_savepoint(self, number: int) -> None:
        """Takes back what the transaction did since its last savepoint; its locks, for this test, stay."""
        writer = self._writers[number]
        if writer.savepoints and not writer.waiting and not any(one.waits_for is writer for one in self._writers):
            await writer.connection.execute(f"ROLLBACK TO SAVEPOINT s{len(writer.savepoints)}")
            kept = writer.savepoints.pop()
            lost = {row for _, row in writer.changes[kept:]} - {row for _, row in writer.changes[:kept]}
            writer.changes = writer.changes[:kept]
            for row in lost:
                del self._holders[row]

    async def end(self, number: int, verb: str) -> None:
        """COMMIT or ROLLBACK; who waited for the transaction goes on."""
        writer = self._writers[number]
        if writer.id is None or writer.waiting:
            return
        await writer.connection.execute(verb)
        if verb == "COMMIT":
            for change in writer.changes:
                self.committed[change[1]].append(change)
        self._holders = {row: holder for row, holder in self._holders.items() if holder is not writer}
        writer.id, writer.changes, writer.savepoints = None, [], []
        for other in self._writers:
            if other.waits_for is writer and other.waiting:
                row = UUID(other.waiting.get_name())
                await other.waiting
                other.waiting = other.waits_for = None
                self._changed(other, row)

    async def end_all(self) -> None:
        """Commits all that is open."""
        while any(writer.id is not None for writer in self._writers):
            for number in range(len(self._writers)):
                await self.end(number, "COMMIT")

    def _changed(self, writer: Writer, row: UUID) -> None:
        assert writer.id is not None
        self._holders[row] = writer
        writer.changes.append((writer.id, row))


class Follower:
    """A reader that may lose what it has not acknowledged."""

    def __init__(self, feed: Feed, name: str) -> None:
        self._feed = feed
        self._name = name
        self._place: Place | None = None
        self._sure = 0
        self.read_so_far: list[Change] = []

    async def read(self, at_most: int) -> bool:
        """Reads a page; whether others wait already."""
        if self._place is None:
            self._place = await self._feed.join(self._name)
        page = await self._feed.read(self._place, at_most)
        self.read_so_far += [(event.transaction_id, UUID(key)) for event in page.events for key in event.row_keys]
        self._place = page.place
        return page.more

    async def acknowledge(self) -> None:
        """What was read so far will not be read again."""
        if self._place is not None:
            await self._feed.acknowledge(self._name, self._place)
            self._sure = len(self.read_so_far)

    def crash(self) -> None:
        """Forgets what was not acknowledged, and the place."""
        del self.read_so_far[self._sure :]
        self._place = None

    def changes_of(self, row: UUID) -> list[Change]:
        """What it read of a row, in its order."""
        return [change for change in self.read_so_far if change[1] == row]
