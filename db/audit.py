"""The audit of accesses: events that are durable before what they tell of leaves the process (45 CFR 164.312(b)).

Events that come at the same time share one statement, one transaction and one fsync (group commit). The writer's login
may append and nothing else. The database chains the events by hash; the application signs places of the chain.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson

from db.audit_chain import signature
from db.caller import Caller
from db.context import role_password
from db.errors import AuditUnavailable
from db.policy import Phi
from db.postgres import login_url
from db.roles import AUDIT

QUEUE_MAX = 1_000
"""Answers whose events may wait for their flush, and who are in memory meanwhile; with more, callers are turned away
at once."""
BATCH_MAX = 500
"""Answers of one flush."""
CROWD = 8
"""Operations under way from which a flush waits for their events, too: they wait for each other anyway."""
GATHER_S = 0.005
"""Seconds for which it waits, as PostgreSQL with `commit_siblings` and `commit_delay`. One event in a flush takes
PostgreSQL 0.35 ms of CPU, each of four 0.15 ms."""
ATTEMPTS = 2
"""Tries of one flush: the second for a connection that broke; an event that got through the first time stays one."""
CHECKPOINT_EVENTS = 1000
"""Events after which the writer signs the head of the chain."""
TEXT_MAX = 200
"""Characters of one text of an event."""

APPEND = "SELECT seq, hash FROM audit.append($1::text::jsonb)"
ADD_CHECKPOINT = "SELECT audit.add_checkpoint($1::bigint, $2::bytea, $3::timestamptz, $4::bytea)"

_log = logging.getLogger("caregraph.audit")


class EventKind(Enum):
    """What an event tells of."""

    QUERY = "QUERY"
    MUTATION = "MUTATION"
    SUBSCRIPTION = "SUBSCRIPTION"
    """One message of a subscription."""
    PRESIGN = "PRESIGN"
    """URLs that let their bearer fetch objects of the archive."""
    REFUSAL = "REFUSAL"
    LOGIN_FAILED = "LOGIN_FAILED"
    BREAK_GLASS = "BREAK_GLASS"
    EXCHANGE = "EXCHANGE"
    """Records of one facility read from another."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, without a value of any patient: kinds of PHI, ids of patients and of releases only.

    `document`: SHA-256 of the GraphQL document in hex. `result`: OK, or the code of the first error. `releases`:
    versions of research datasets that were read; of a PRESIGN event, those whose files were presigned (db/seen.py).
    """

    kind: EventKind
    result: str
    request_id: str
    caller: Caller | None = None
    """None where nobody was authenticated."""
    document: str | None = None
    shown: frozenset[Phi] = frozenset()
    masked: frozenset[Phi] = frozenset()
    patients: frozenset[UUID] = frozenset()
    releases: frozenset[UUID] = frozenset()
    client_ip: str | None = None
    user_agent: str | None = None
    """What the client calls itself; its digest is kept."""
    id: UUID = field(default_factory=uuid4)

    def columns(self) -> dict[str, Any]:
        """Columns of `audit.event` that the application gives."""
        caller = self.caller
        return {
            "id": str(self.id),
            "kind": self.kind.value,
            "subject": _text(caller.subject) if caller else None,
            "role": caller.role.name if caller else None,
            "profile": caller.profile.value if caller else None,
            "purpose": caller.purpose.value if caller else None,
            "facility_id": str(caller.facility_id) if caller else None,
            "home_facility_id": str(caller.home_facility_id) if caller and caller.home_facility_id else None,
            "document": self.document,
            "shown": _names(self.shown),
            "masked": _names(self.masked),
            # Nobody's facility, nobody's patients and releases: the indexes of accesses are by facility.
            "patients": sorted(str(patient) for patient in self.patients) if caller else [],
            "releases": sorted(str(release) for release in self.releases) if caller else [],
            "result": _text(self.result),
            "request_id": _text(self.request_id),
            "client_ip": _address(self.client_ip),
            "user_agent": _digest(self.user_agent) if self.user_agent else None,
        }


def _text(value: str) -> str:
    """The start of a text, as PostgreSQL can hold it."""
    return value[:TEXT_MAX].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


@lru_cache(maxsize=1024)
def _names(kinds: frozenset[Phi]) -> Sequence[str]:
    return sorted(kind.value for kind in kinds)


@lru_cache(maxsize=1024)
def _digest(text: str) -> str:
    return hashlib.sha256(_text(text).encode()).hexdigest()


@lru_cache(maxsize=1024)
def _address(value: str | None) -> str | None:
    """The address of a peer, None for what is not one (a test client, a socket)."""
    try:
        return str(ipaddress.ip_address(value or ""))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What one answer tells: on disk as a whole."""

    columns: Sequence[dict[str, Any]]
    durable: asyncio.Future[None]
    limit: asyncio.TimerHandle

    def settle(self, error: AuditUnavailable | None = None) -> None:
        """Tells who waits, unless that is over."""
        self.limit.cancel()
        if self.durable.done():
            return
        if error is None:
            self.durable.set_result(None)
        else:
            self.durable.set_exception(error)


class AuditLog:
    """The writer of one process; connects when the first event comes.

    `under_way` tells how many operations of this process will have an event soon. `statements` counts what was sent.
    """

    def __init__(self, url: str, secret: bytes, timeout_s: float, under_way: Callable[[], int] = lambda: 0) -> None:
        self.statements = 0
        self._under_way = under_way
        self._url = login_url(url, AUDIT, role_password(secret, AUDIT))
        self._secret = secret
        self._timeout_s = timeout_s
        self._connection: asyncpg.Connection | None = None
        self._queue: deque[_Waiting] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._signed: int | None = None

    def append(self, *events: Event) -> Awaitable[None]:
        """Begins to write. What it gives is done when the events are on disk, and raises AuditUnavailable when that
        can't be said in time.

        An event that could not be confirmed may be there all the same: the audit may tell of an answer that was never
        sent, never the other way round.
        """
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        if not events:
            durable.set_result(None)
        elif len(self._queue) >= QUEUE_MAX:
            durable.set_exception(AuditUnavailable())
        else:
            limit = loop.call_later(self._timeout_s, _late, durable)
            self._queue.append(_Waiting([event.columns() for event in events], durable, limit))
            if self._flusher is None:
                self._flusher = loop.create_task(self._flush())
        return durable

    async def checkpoint(self) -> None:
        """Signs the head of the chain now. Raises AuditUnavailable."""
        self._signed = None
        await self._write([])

    async def close(self) -> None:
        """Waits for what is under way, then drops the connection."""
        if self._flusher is not None:
            await self._flusher
        self._drop()

    async def _flush(self) -> None:
        """Writes until nothing waits: what came during one write is the next batch."""
        try:
            while self._queue:
                if len(self._queue) < BATCH_MAX and self._under_way() >= CROWD:
                    await asyncio.sleep(GATHER_S)
                batch = [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]
                await self._settle([one for one in batch if not one.durable.done()])
        finally:
            self._flusher = None

    async def _settle(self, batch: Sequence[_Waiting]) -> None:
        try:
            await self._write([columns for one in batch for columns in one.columns])
        except AuditUnavailable as error:
            for one in batch:
                one.settle(error)
            return
        for one in batch:
            one.settle()

    async def _write(self, events: Sequence[dict[str, Any]]) -> None:
        """One transaction for these events; a second try where the first one's outcome is not known."""
        text = orjson.dumps(events).decode()
        for attempt in range(ATTEMPTS):
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._send(text)
                return
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                # The class alone: a driver's text may quote what was sent.
                _log.error("the audit was not written (attempt %d): %s", attempt + 1, type(error).__name__)
                self._drop()
        raise AuditUnavailable

    async def _send(self, events: str) -> None:
        connection: Any = self._connection
        if connection is None:
            connection = await asyncpg.connect(self._url, server_settings={"synchronous_commit": "on"})
            self._connection = connection
        self.statements += 1
        head = await connection.fetchrow(APPEND, events)
        if self._signed is not None and head["seq"] < self._signed + CHECKPOINT_EVENTS:
            return
        at = datetime.now(UTC)
        signed = signature(self._secret, head["seq"], head["hash"], at)
        self.statements += 1
        await connection.execute(ADD_CHECKPOINT, head["seq"], head["hash"], at, signed)
        self._signed = head["seq"]
        # In the log too: who rewrites the chain and takes the checkpoints away does not reach there.
        _log.info("checkpoint seq=%d hash=%s", head["seq"], head["hash"].hex())

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _late(durable: asyncio.Future[None]) -> None:
    """An event whose write takes too long is not waited for."""
    if not durable.done():
        durable.set_exception(AuditUnavailable())


async def ensure_months(url: str, ahead: int) -> None:
    """Makes the partitions of this month and of so many to come. The URL is the owner's."""
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute("SET ROLE caregraph_owner")
        await connection.execute("SELECT audit.ensure_months($1::int)", ahead)
    finally:
        await connection.close()
