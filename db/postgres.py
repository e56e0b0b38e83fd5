"""PostgreSQL: one read-only snapshot for each request and database, as the caller's profile, inside its facility.

A profile logs in as its own role and sees the masked views of its own schema; the signed context says which facility.
asyncpg has no pipeline mode, so BEGIN and the context travel as one simple-protocol message.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any, LiteralString, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import orjson

from db.caller import Caller, Patients
from db.context import prove, role_password, sign, sign_patients
from db.errors import StoreError, StoreTimeout, StoreUnavailable
from db.guard import Guard
from db.notifications import Notifications
from db.policy import view_of
from db.roles import WORKER
from db.seen import Seen

T = TypeVar("T")
Record = Callable[[str, str], None]
"""Takes the store and the name of each statement that is sent."""
AskPatients: TypeAlias = Callable[[], Awaitable[Patients]]
"""Asks the clinical database whose records the caller may see: for the databases beside it, which can't know."""

POOL_MAX = 8
"""Connections of one profile to one database in this process."""

CLOSE_S = 1
"""Seconds that the end of a snapshot may take; then its connection is dropped."""

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
        self._notifications = Notifications(name, self._connect)

    async def close(self) -> None:
        """Closes every pool; connections that do not end in time are dropped."""
        await self._notifications.close()
        for pool in self._pools.values():
            try:
                await asyncio.wait_for(pool.close(), 2)
            except TimeoutError:
                pool.terminate()

    def session(
        self, caller: Caller, record: Record, patients: AskPatients | None = None, seen: Seen | None = None
    ) -> Session:
        """One caller's snapshot; nothing is sent before its first statement.

        `patients` is needed where the database holds no registrations, consents and relationships of its own.
        """
        return Session(self, caller, record, patients, seen or Seen())

    async def worker_fetch(self, sql: LiteralString, *args: object) -> Sequence[asyncpg.Record]:
        """Rows of one statement as the worker role, which sees every facility: for processes, never for a caller."""
        return await self.run(lambda: self._worker_fetch(sql, args))

    async def _worker_fetch(self, sql: str, args: Sequence[object]) -> Sequence[asyncpg.Record]:
        pool = await self.pool(WORKER)
        return await pool.fetch(sql, *args)

    def listen(self, channel: str) -> AsyncGenerator[str, None]:
        """Messages that the database sends on a channel, from now on: ids, never values. Raises StoreError."""
        return self._notifications.listen(channel)

    async def _connect(self) -> asyncpg.Connection:
        url = login_url(self._url, WORKER, role_password(self._secret, WORKER))
        return await self.run(lambda: asyncpg.connect(url))

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

    def context(self, caller: Caller, pid: int, patients: Patients | None = None) -> str:
        """Statements that say who asks, until the transaction ends.

        Every part is a name of the policy or made by db.context, so it is safe as a literal.
        """
        reached = f"; SET LOCAL app.patients = '{sign_patients(self._secret, patients, pid)}'" if patients else ""
        return (
            f"SET LOCAL search_path = {view_of(caller).name}, public; "
            f"SET LOCAL app.context = '{sign(self._secret, caller, pid)}'; "
            f"SET LOCAL app.proof = '{prove(self._secret, pid)}'{reached}; "
            # A second guard: the first is the deadline of the request, or of the store, which cancels the statement.
            f"SET LOCAL statement_timeout = {int((self.guard.timeout_s + CLOSE_S) * 1000)}"
        )

    async def write(
        self, caller: Caller, record: Record, sql: LiteralString, *args: object
    ) -> Sequence[asyncpg.Record]:
        """Rows of one statement that writes, as the caller, in a transaction of its own. Raises StoreError."""

        async def call() -> Sequence[asyncpg.Record]:
            pool = await self.pool(f"caregraph_{caller.profile.value}")
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(self.context(caller, connection.get_server_pid()))
                return await connection.fetch(sql, *args)

        record(self.name, statement_name(sql))
        return await self.run(call)


async def _keep(connection: asyncpg.Connection) -> None:
    """Nothing to reset: all that a request sets is local to its transaction."""


class Session:
    """One caller's read-only transaction in one database; statements queue behind each other."""

    def __init__(
        self,
        postgres: Postgres,
        caller: Caller,
        record: Record,
        patients: AskPatients | None,
        seen: Seen,
        snapshot: Snapshot | None = None,
    ) -> None:
        self._postgres = postgres
        self._caller = caller
        self._record = record
        self._patients = patients
        self._seen = seen
        self._snapshot = snapshot or Snapshot()

    def beside(self, caller: Caller, patients: AskPatients | None = None) -> Session:
        """A session of another caller in the same snapshot: the same person, reading another facility's records."""
        return Session(self._postgres, caller, self._record, patients, self._seen, self._snapshot)

    async def fetch(self, sql: LiteralString, *args: object) -> Sequence[asyncpg.Record]:
        """Rows of one statement, in the caller's snapshot. Raises StoreError."""
        patients = await self._patients() if self._patients else None
        snapshot = self._snapshot
        async with snapshot.lock:
            if snapshot.failed:
                raise snapshot.failed
            self._record(self._postgres.name, statement_name(sql))
            try:
                rows = await self._postgres.run(lambda: self._fetch(sql, args, patients))
            except StoreError as error:
                snapshot.failed = error
                raise
            # The statement is being cancelled on the server, and its transaction with it.
            except asyncio.CancelledError:
                snapshot.failed = StoreUnavailable(self._postgres.name)
                raise
        self._seen.rows(self._caller.facility_id, rows)
        return rows

    async def _fetch(self, sql: str, args: Sequence[object], patients: Patients | None) -> Sequence[asyncpg.Record]:
        snapshot = self._snapshot
        if snapshot.connection is None:
            snapshot.pool = await self._postgres.pool(f"caregraph_{self._caller.profile.value}")
            snapshot.connection = await snapshot.pool.acquire()
            begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
        else:
            begin = ""
        if snapshot.caller is not self._caller:
            context = self._postgres.context(self._caller, snapshot.connection.get_server_pid(), patients)
            await snapshot.connection.execute(begin + context)
            snapshot.caller = self._caller
        return await snapshot.connection.fetch(sql, *args)

    async def close(self) -> None:
        """Ends the snapshot and gives the connection back; a broken connection is dropped. Nothing is read after it."""
        self._snapshot.failed = self._snapshot.failed or StoreUnavailable(self._postgres.name)
        await self._snapshot.close()


class Snapshot:
    """A connection in its transaction, once the first statement has opened it, and for whom it speaks now."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.pool: asyncpg.Pool | None = None
        self.connection: Any = None
        self.caller: Caller | None = None
        self.failed: StoreError | None = None

    async def close(self) -> None:
        """Ends the transaction and gives the connection back; a broken one is dropped."""
        if self.connection is None or self.pool is None:
            return
        connection, self.connection = self.connection, None
        try:
            async with asyncio.timeout(CLOSE_S):
                # asyncpg first waits until the server has cancelled what was under way, so that no statement runs on.
                await connection.execute("ROLLBACK")
        except (*DOWN, TimeoutError, asyncpg.PostgresError):
            connection.terminate()
        finally:
            await self.pool.release(connection)
