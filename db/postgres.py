"""PostgreSQL: one read-only snapshot for each request and database, as the caller's profile, inside its facility.

A profile logs in as its own role and sees the masked views of its own schema; the signed context says which facility.
asyncpg has no pipeline mode, so BEGIN and the context travel as one simple-protocol message.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any, LiteralString, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import orjson

from db.caller import Caller, Profile
from db.context import role_password, sign
from db.errors import StoreError, StoreTimeout, StoreUnavailable
from db.guard import Guard
from db.roles import WORKER

T = TypeVar("T")
Record = Callable[[str, str], None]
"""Takes the store and the name of each statement that is sent."""

POOL_MAX = 8
"""Connections of one profile to one database in this process."""

DOWN = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
"""What says that the server is not there, as opposed to that a statement is wrong."""


def login_url(url: str, role: str, password: str) -> str:
    """The owner's URL with another login."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password)}@{host}"))


def statement_name(sql: str) -> str:
    """Name of a statement: the comment that opens it, `/* encounters_of_patients */`."""
    found = re.match(r"\s*/\* (\w+) \*/", sql)
    if not found:
        raise ValueError("A statement must open with its name in a comment.")
    return found[1]


async def _prepare(connection: asyncpg.Connection) -> None:
    """jsonb from and to parsed JSON; a number with a fraction keeps its digits, which a float would not."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda raw: json.loads(raw[1:], parse_float=Decimal),
        format="binary",
    )


class Postgres:
    """One database: a pool for each access profile, opened when first used."""

    def __init__(self, name: str, url: str, secret: bytes, timeout_s: float) -> None:
        self.name = name
        self.guard = Guard(name, timeout_s)
        self._url = url
        self._secret = secret
        self._pools: dict[str, asyncpg.Pool] = {}
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Closes every pool; connections that do not end in time are dropped."""
        for pool in self._pools.values():
            try:
                await asyncio.wait_for(pool.close(), 2)
            except TimeoutError:
                pool.terminate()

    def session(self, caller: Caller, record: Record) -> Session:
        """One caller's snapshot; nothing is sent before its first statement."""
        return Session(self, caller, record)

    async def worker_fetch(self, sql: LiteralString, *args: object) -> Sequence[asyncpg.Record]:
        """Rows of one statement as the worker role, which sees every facility: for processes, never for a caller."""
        return await self.run(lambda: self._worker_fetch(sql, args))

    async def _worker_fetch(self, sql: str, args: Sequence[object]) -> Sequence[asyncpg.Record]:
        pool = await self.pool(WORKER)
        return await pool.fetch(sql, *args)

    async def ready(self) -> None:
        """Returns when the database answers and is migrated. Raises StoreError."""
        await self.worker_fetch("SELECT count(*) FROM access.column_kind WHERE false")

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call under this store's guard, with the driver's failures as StoreError."""

        async def mapped() -> T:
            try:
                return await call()
            except asyncpg.QueryCanceledError:
                raise StoreTimeout(self.name) from None
            except DOWN:
                raise StoreUnavailable(self.name) from None

        return await self.guard.run(mapped)

    async def pool(self, role: str) -> asyncpg.Pool:
        """Pool of a login role, opened once."""
        async with self._opening:
            if role not in self._pools:
                url = login_url(self._url, role, role_password(self._secret, role))
                self._pools[role] = await asyncpg.create_pool(
                    url, min_size=0, max_size=POOL_MAX, init=_prepare, reset=_keep, max_inactive_connection_lifetime=60
                )
            return self._pools[role]

    def begin(self, caller: Caller) -> str:
        """Opens the snapshot: every part is an enum's value or made by db.context.sign, so it is safe as a literal."""
        return (
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
            f"SET LOCAL search_path = {Profile(caller.profile).value}, public; "
            f"SET LOCAL app.context = '{sign(self._secret, caller)}'"
        )


async def _keep(connection: asyncpg.Connection) -> None:
    """Nothing to reset: all that a request sets is local to its transaction."""


class Session:
    """One caller's read-only transaction in one database; statements queue behind each other."""

    def __init__(self, postgres: Postgres, caller: Caller, record: Record) -> None:
        self._postgres = postgres
        self._caller = caller
        self._record = record
        self._lock = asyncio.Lock()
        self._pool: asyncpg.Pool | None = None
        self._connection: Any = None
        self._failed: StoreError | None = None

    async def fetch(self, sql: LiteralString, *args: object) -> Sequence[asyncpg.Record]:
        """Rows of one statement, in the caller's snapshot. Raises StoreError."""
        async with self._lock:
            if self._failed:
                raise self._failed
            self._record(self._postgres.name, statement_name(sql))
            try:
                return await self._postgres.run(lambda: self._fetch(sql, args))
            except StoreError as error:
                self._failed = error
                raise

    async def _fetch(self, sql: str, args: Sequence[object]) -> Sequence[asyncpg.Record]:
        if self._connection is None:
            self._pool = await self._postgres.pool(f"caregraph_{self._caller.profile.value}")
            self._connection = await self._pool.acquire()
            await self._connection.execute(self._postgres.begin(self._caller))
        return await self._connection.fetch(sql, *args)

    async def close(self) -> None:
        """Ends the snapshot and gives the connection back; a broken connection is dropped."""
        if self._connection is None or self._pool is None:
            return
        connection, self._connection = self._connection, None
        try:
            if self._failed:
                connection.terminate()
            else:
                await connection.execute("ROLLBACK", timeout=1)
        except (*DOWN, TimeoutError, asyncpg.PostgresError):
            connection.terminate()
        finally:
            await self._pool.release(connection)
