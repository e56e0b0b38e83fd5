"""Reads for research: of one project, in transactions that say which, as a login that row-level security holds to the
facilities that approved it, to patients who do not refuse, and to labels that it may get (clinical/0051)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import LiteralString
from uuid import UUID

import asyncpg

from db.postgres import Postgres, Record, statement_name
from db.roles import RESEARCH

# Without parallel workers: a cohort takes one core, and leaves the others to charts.
READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL max_parallel_workers_per_gather = 0; "
WRITE = "BEGIN"

Sink = Callable[[bytes], Awaitable[None]]
"""Takes what COPY sends, some bytes at a time; the server waits while it does."""


class Research:
    """The clinical database, or a replica of it, as projects may read it."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres

    def project(self, project_id: UUID, record: Record | None = None) -> AbstractAsyncContextManager[Reading]:
        """A snapshot of what a project may read. Raises StoreError, also for what the block's statements do.

        `record` takes each statement that is fetched.
        """
        # A UUID is safe as a literal.
        return self._transaction(f"{READ}SET LOCAL app.research_project = '{project_id}'", record)

    def facilities(self, ids: Sequence[UUID]) -> AbstractAsyncContextManager[Reading]:
        """A snapshot of what is of these facilities, for a database that knows no approvals. Raises as `project`."""
        return self._transaction(f"{READ}SET LOCAL app.research_facilities = '{','.join(map(str, ids))}'")

    def notes(self) -> AbstractAsyncContextManager[Reading]:
        """A transaction that keeps what extractions note: it reads no record. Raises StoreError as `project`."""
        return self._transaction(WRITE)

    @asynccontextmanager
    async def _transaction(self, begin: str, record: Record | None = None) -> AsyncGenerator[Reading]:
        connection = await self.postgres.run(lambda: self.postgres.connections.acquire(RESEARCH))
        ended = False
        try:
            await self.postgres.run(lambda: connection.execute(begin))
            yield Reading(self.postgres, connection, record)
            await self.postgres.run(lambda: connection.execute("COMMIT"))
            ended = True
        finally:
            if ended:
                self.postgres.connections.release(RESEARCH, connection)
            else:
                await self.postgres.connections.end(RESEARCH, connection)


class Reading:
    """A transaction for one project."""

    def __init__(self, postgres: Postgres, connection: asyncpg.Connection, record: Record | None) -> None:
        self._postgres = postgres
        self._connection = connection
        self._record = record

    async def fetch(self, sql: LiteralString, *args: object) -> Sequence[asyncpg.Record]:
        """Rows of one statement. Raises StoreError."""
        if self._record:
            self._record(self._postgres.name, statement_name(sql))
        return await self._postgres.run(lambda: self._connection.fetch(sql, *args))

    async def copy(self, sql: LiteralString, sink: Sink, *args: object) -> None:
        """Sends the rows of a query as CSV with a header, however many they are. Raises StoreError.

        NULL is the empty field, an empty text a quoted one.
        """
        await self._postgres.run(
            lambda: self._connection.copy_from_query(sql, *args, output=sink, format="csv", header=True)
        )
