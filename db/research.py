"""Reads for research: of one project, in transactions that say which, as a login that row-level security holds to the
facilities that approved it, to patients who do not refuse, and to labels that it may get (clinical/0051)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import LiteralString
from uuid import UUID

import asyncpg

from db.postgres import Postgres
from db.roles import RESEARCH

READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
WRITE = "BEGIN; "

Sink = Callable[[bytes], Awaitable[None]]
"""Takes what COPY sends, some bytes at a time; the server waits while it does."""


class Research:
    """The clinical database, or a replica of it, as projects may read it."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres

    @asynccontextmanager
    async def project(self, project_id: UUID, *, writes: bool = False) -> AsyncGenerator[Reading]:
        """One transaction for a project: a snapshot, or with `writes` one that keeps the machinery's own notes.

        Raises StoreError, also for what the block's statements do.
        """
        connection = await self.postgres.run(lambda: self.postgres.connections.acquire(RESEARCH))
        ended = False
        try:
            # A UUID is safe as a literal.
            begin = f"{WRITE if writes else READ}SET LOCAL app.research_project = '{project_id}'"
            await self.postgres.run(lambda: connection.execute(begin))
            yield Reading(self.postgres, connection)
            await self.postgres.run(lambda: connection.execute("COMMIT"))
            ended = True
        finally:
            if ended:
                self.postgres.connections.release(RESEARCH, connection)
            else:
                await self.postgres.connections.end(RESEARCH, connection)


class Reading:
    """A transaction for one project."""

    def __init__(self, postgres: Postgres, connection: asyncpg.Connection) -> None:
        self._postgres = postgres
        self._connection = connection

    async def fetch(self, sql: LiteralString, *args: object) -> Sequence[asyncpg.Record]:
        """Rows of one statement. Raises StoreError."""
        return await self._postgres.run(lambda: self._connection.fetch(sql, *args))

    async def copy(self, sql: LiteralString, sink: Sink, *args: object) -> None:
        """Sends the rows of a query as CSV with a header, however many they are. Raises StoreError.

        NULL is the empty field, an empty text a quoted one.
        """
        await self._postgres.run(
            lambda: self._connection.copy_from_query(sql, *args, output=sink, format="csv", header=True)
        )
