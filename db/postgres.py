"""PostgreSQL: one read-only snapshot for each request and database, as the caller's profile, inside its facility.

A profile logs in as its own role and sees the masked views of its own schema; the signed context says which facility.
asyncpg has no pipeline mode, so BEGIN and the context travel as one simple-protocol message; ROLLBACK, another one,
is waited for by nobody but the connection's next user.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from decimal import Decimal
from typing import LiteralString, TypeAlias, TypeVar, cast
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import orjson

from db.caller import Caller, Patients
from db.connections import CLOSE_S, Connections
from db.context import prove, role_password, sign, sign_patients
from db.errors import ConstraintViolated, StoreConflict, StoreError, StoreTimeout, StoreUnavailable
from db.guard import Guard
from db.notifications import Notifications
from db.policy import view_of
from db.roles import WORKER
from db.seen import Seen
from db.settings import CONNECTIONS_MAX, Pooler

T = TypeVar("T")
Record = Callable[[str, str], None]
"""Takes the store and the name of each statement that is sent."""
AskPatients: TypeAlias = Callable[[], Awaitable[Patients]]
"""Asks the clinical database whose records the caller may see: for the databases beside it, which can't know."""

SPARE = 2
"""Connections beyond those of snapshots: for writes, and for what the process asks for itself."""
STATEMENTS_MAX = 500
"""Statements that stay prepared on one connection."""

PLANNING = {"plan_cache_mode": "force_generic_plan", "jit": "off"}
"""Settings of a connection. A statement is planned once: through views and policies that takes longer than most of
them run, and an index condition on a parameter serves every value (tests/access/test_explain.py)."""

BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "

_INEXACT = re.compile(rb"\d\.\d|\d{19}")
"""Numbers, or what looks like them, that orjson would round: it is ten times as fast as a parser that keeps digits."""

DOWN = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,  # the server's farewell came while a statement was being sent
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


def _parsed(raw: bytes) -> object:
    """jsonb in its binary form, a version and the text. PostgreSQL writes numbers without exponent."""
    return json.loads(raw[1:], parse_float=Decimal) if _INEXACT.search(raw) else orjson.loads(raw[1:])


def _digits(value: object) -> orjson.Fragment:
    """A decimal as it is written, digit by digit. Raises TypeError for what JSON has no number for."""
    if not isinstance(value, Decimal) or not value.is_finite():
        raise TypeError
    return orjson.Fragment(f"{value:f}")


async def _prepare(connection: asyncpg.Connection) -> None:
    """jsonb from and to parsed JSON; a number with a fraction keeps its digits, which a float would not."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + orjson.dumps(value, default=_digits),
        decoder=_parsed,
        format="binary",
    )


class Postgres:
    """One database. `connections_max`: snapshots that may be open at once; what is over waits (see db.places).

    `direct_url` leads past the pooler, for what listens.
    """

    def __init__(
        self,
        name: str,
        url: str,
        secret: bytes,
        timeout_s: float,
        connections_max: int = CONNECTIONS_MAX,
        pooler: Pooler = Pooler.NONE,
        direct_url: str | None = None,
    ) -> None:
        self.name = name
        self.guard = Guard(name, timeout_s)
        self.connections = Connections(connections_max + SPARE, self._connect)
        self._url = url
        self._secret = secret
        self._pooler = pooler
        self._direct_url = direct_url or url
        self._notifications = Notifications(name, self.direct)

    async def close(self) -> None:
        """Closes every connection; those that do not end in time are dropped."""
        await self._notifications.close()
        await self.connections.close()

    def session(
        self, caller: Caller, record: Record, patients: AskPatients | None = None, seen: Seen | None = None
    ) -> Session:
        """One caller's snapshot; nothing is sent before its first statement.

        `patients` is needed where the database holds no registrations, consents and relationships of its own.
        """
        return Session(self, caller, record, patients, seen or Seen())

    async def worker_fetch(self, sql: LiteralString, *args: object) -> Sequence[asyncpg.Record]:
        """Rows of one statement as the worker role, which sees every facility: for processes, never for a caller.

        Raises ConstraintViolated, StoreError.
        """
        rows = await self.run(lambda: self._worker_fetch(sql, args))
        if isinstance(rows, ConstraintViolated):  # an answer of a store that is well
            raise rows
        return rows

    async def _worker_fetch(self, sql: str, args: Sequence[object]) -> Sequence[asyncpg.Record] | ConstraintViolated:
        async with self.connections.lent(WORKER) as connection:
            try:
                return await connection.fetch(sql, *args)
            # Their texts quote values.
            except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
                return ConstraintViolated(self.name, getattr(error, "constraint_name", None) or "")

    def listen(self, channel: str) -> AsyncGenerator[str, None]:
        """Messages that the database sends on a channel, from now on: ids, never values. Raises StoreError."""
        return self._notifications.listen(channel)

    async def direct(self) -> asyncpg.Connection:
        """A connection of the worker past any pooler, for what belongs to a session; whoever asks closes it.

        Raises StoreError.
        """
        url = login_url(self._direct_url, WORKER, role_password(self._secret, WORKER))
        return await self.run(lambda: asyncpg.connect(url))

    async def _connect(self, role: str) -> asyncpg.Connection:
        connection = await asyncpg.connect(
            login_url(self._url, role, role_password(self._secret, role)),
            # A pooler shares its connections among clients, and takes settings of a start-up packet for nobody.
            server_settings=PLANNING if self._pooler is Pooler.NONE else None,
            statement_cache_size=0 if self._pooler is Pooler.TRANSACTION else STATEMENTS_MAX,
            max_cached_statement_lifetime=0,  # of no end
            max_cacheable_statement_size=0,  # of any length
        )
        await _prepare(connection)
        return connection

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
            # SQLSTATE class 40: a deadlock, or on a replica rows that the primary has removed since the snapshot.
            except asyncpg.TransactionRollbackError:
                raise StoreConflict(self.name) from None
            except DOWN:
                raise StoreUnavailable(self.name) from None

        return await self.guard.run(mapped)

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

    async def begin(
        self,
        connection: asyncpg.Connection,
        caller: Caller,
        patients: Patients | None = None,
        begin: str = BEGIN,
        then: str = "",
    ) -> None:
        """Begins a transaction and says who asks in it, in one message; with an empty `begin` it goes on for another.

        `then` is what follows in the same message.

        The context is bound to the server's process. Behind a pooler that is known inside the transaction only, so that
        it is asked for first.
        """
        pid = connection.get_server_pid()
        if self._pooler is not Pooler.NONE:
            if begin:
                await connection.execute(begin + "; ".join(f"SET LOCAL {name} = {to}" for name, to in PLANNING.items()))
            begin, pid = "", cast("int", await connection.fetchval("SELECT pg_backend_pid()"))
        await connection.execute(begin + self.context(caller, pid, patients) + then)


def login_of(caller: Caller) -> str:
    """Login role of the caller's profile."""
    return f"caregraph_{caller.profile.value}"


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
            if snapshot.closed:
                raise StoreUnavailable(self._postgres.name)
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
        connection = snapshot.connection
        if connection is None:
            snapshot.role = login_of(self._caller)
            connection = snapshot.connection = await self._postgres.connections.acquire(snapshot.role)
        if snapshot.caller is not self._caller:
            await self._postgres.begin(connection, self._caller, patients, "" if snapshot.caller else BEGIN)
            snapshot.caller = self._caller
        return await connection.fetch(sql, *args)

    async def renew(self) -> None:
        """Lets what is read next be read in a new snapshot, which sees what has been committed meanwhile."""
        snapshot = self._snapshot
        async with snapshot.lock:
            connection, snapshot.connection = snapshot.connection, None
            snapshot.caller = None
            if connection is not None:
                await self._postgres.connections.end(snapshot.role, connection)

    async def close(self) -> None:
        """Ends the snapshot, and the statement that is under way in it. Nothing is read after it.

        Of a snapshot that is as it should be the end is not waited for: its connection is nobody's until then.
        """
        snapshot = self._snapshot
        snapshot.closed = True
        connection, snapshot.connection = snapshot.connection, None
        if connection is None:
            return
        ending = self._postgres.connections.end(snapshot.role, connection)
        if snapshot.failed or snapshot.lock.locked():
            await ending


class Snapshot:
    """A connection in its transaction, once the first statement has opened it, and for whom it speaks now."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.role = ""
        self.connection: asyncpg.Connection | None = None
        self.caller: Caller | None = None
        self.failed: StoreError | None = None
        self.closed = False
