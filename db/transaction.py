"""One caller's transaction that writes to one PostgreSQL database, as the writer role of the caller's profile.

What it may touch is decided by grants (db/migrate.py, from the policy file) and policies (access.open_to_writers).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString, TypeAlias

import asyncpg

from db.caller import Caller, Patients
from db.errors import AppError, ConstraintViolated, Forbidden
from db.postgres import Postgres, Record, login_of, statement_name
from db.roles import writer_of

_Call: TypeAlias = Callable[[], Awaitable[Any]]

BEGIN = "BEGIN; "
"""Read committed: a writer waits for a row's lock and then sees what the one before it wrote."""


class Transaction:
    """Statements of one open transaction; they queue behind each other."""

    def __init__(self, postgres: Postgres, connection: asyncpg.Connection, record: Record) -> None:
        self._postgres = postgres
        self._connection = connection
        self._record = record

    async def fetch(self, sql: LiteralString, *args: object) -> Sequence[asyncpg.Record]:
        """Rows of one statement; what it reads of base tables is unmasked and must not leave as it is.

        Raises ConstraintViolated, Forbidden where a policy refuses what is written, StoreError.
        """
        self._record(self._postgres.name, statement_name(sql))
        return await self._run(lambda: self._connection.fetch(sql, *args))

    @asynccontextmanager
    async def attempt(self) -> AsyncGenerator[None]:
        """A part of the transaction that is taken back where it raises; the rest can go on."""
        await self._run(lambda: self._connection.execute("SAVEPOINT attempt"))
        try:
            yield
        except Exception:
            await self._run(lambda: self._connection.execute("ROLLBACK TO SAVEPOINT attempt"))
            raise

    async def _run(self, call: _Call) -> Any:
        async def mapped() -> Any:
            try:
                return await call()
            except asyncpg.IntegrityConstraintViolationError as error:
                return ConstraintViolated(self._postgres.name, getattr(error, "constraint_name", None) or "")
            except asyncpg.InsufficientPrivilegeError:
                return Forbidden()

        result = await self._postgres.run(mapped)
        if isinstance(result, AppError):  # an answer of a store that is well
            raise result
        return result


@asynccontextmanager
async def transaction(
    postgres: Postgres, caller: Caller, record: Record, patients: Patients | None = None
) -> AsyncGenerator[Transaction]:
    """A transaction that is committed at the end of the block, and rolled back where that raises.

    `patients` is needed where the database holds no registrations, consents and relationships of its own.
    """
    role = f"; SET LOCAL ROLE {writer_of(caller.profile)}; SET LOCAL search_path = {postgres.name}, public"
    async with postgres.connections.lent(login_of(caller)) as connection:
        await postgres.run(lambda: postgres.begin(connection, caller, patients, BEGIN, role))
        yield Transaction(postgres, connection, record)
        await postgres.run(lambda: connection.execute("COMMIT"))
