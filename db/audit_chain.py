"""The chain of audit events: how one is hashed, how a place is signed, and the walk to the first broken link.

Each hash is SHA-256 of the hash before it and the event's canonical bytes, a JSON array of its columns. The signatures
are made with a key that the database server never has: who rewrites the whole chain can't sign it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from db.context import derive

GENESIS = bytes(32)
"""Hash before the first event."""
ROWS = 1000
"""Events that are in memory at a time."""
UNSIGNED_MAX = 10_000
"""Events without a checkpoint among them; the writer signs after a tenth of it (db.audit.CHECKPOINT_EVENTS)."""

COLUMNS = (
    "seq occurred_at id kind subject role profile purpose facility_id home_facility_id document shown masked patients "
    "result grants request_id client_ip user_agent"
).split()
"""Columns in the order in which they are hashed; after them `releases`, of events that have been told of them."""

EVENTS = """
SELECT e.*, ARRAY(
    SELECT p.patient_id::text FROM audit.event_patient AS p
    WHERE p.seq = e.seq AND p.occurred_at = e.occurred_at AND p.facility_id = e.facility_id) AS indexed
FROM audit.event AS e
ORDER BY e.seq"""
INDEXED = "SELECT count(*) FROM audit.event_patient"
CHECKPOINTS = "SELECT seq, hash, signed_at, signature FROM audit.checkpoint ORDER BY seq"
HEAD = "SELECT seq, hash FROM audit.chain_head"
START = "SELECT last_seq, last_hash FROM audit.detached WHERE last_seq IS NOT NULL ORDER BY last_seq DESC LIMIT 1"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Broken:
    """The first link that does not hold: `what` is HASH, GAP, PATIENTS, SIGNATURE or UNSIGNED."""

    seq: int
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a walk: how many events and checkpoints were seen, and what is broken, if anything."""

    events: int
    checkpoints: int
    broken: Broken | None


def signature(secret: bytes, seq: int, hash: bytes, at: datetime) -> bytes:
    """HMAC-SHA-256 of a place of the chain."""
    text = f"{seq}|{hash.hex()}|{_microseconds(at)}"
    return hmac.digest(derive(secret, "audit-checkpoint"), text.encode(), hashlib.sha256)


def canonical(event: Mapping[str, Any]) -> bytes:
    """What is hashed of an event: the JSON array that PostgreSQL prints for jsonb_build_array of its columns.

    `releases` is None of events that are older than this column (clinical/0054): they are hashed as they were.
    """
    names = COLUMNS if event["releases"] is None else [*COLUMNS, "releases"]
    return json.dumps([_plain(event[name]) for name in names], ensure_ascii=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return _microseconds(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, int | str) else str(value)


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


class _Walk:
    """Where a walk stands: the event before, and the checkpoints that are still ahead."""

    def __init__(self, secret: bytes, seq: int, hash: bytes, checkpoints: list[asyncpg.Record]) -> None:
        self.seq, self.hash = seq, hash
        self.events = 0
        self.indexed = 0
        self._secret = secret
        self._signed = seq
        self._ahead = [one for one in reversed(checkpoints) if one["seq"] > seq]

    def step(self, event: Mapping[str, Any]) -> Broken | None:
        """Goes on to an event; what is broken there."""
        seq: int = event["seq"]
        if seq != self.seq + 1:
            return Broken(self.seq + 1, "GAP", "this event is missing")
        if hashlib.sha256(self.hash + canonical(event)).digest() != event["hash"]:
            return Broken(seq, "HASH", "this event, or its place, was changed")
        if sorted(event["indexed"]) != sorted(str(patient) for patient in event["patients"]):
            return Broken(seq, "PATIENTS", "the access logs of its patients do not have this event")
        self.seq, self.hash = seq, event["hash"]
        self.events += 1
        self.indexed += len(event["indexed"])
        if self._ahead and self._ahead[-1]["seq"] == seq:
            return self._checkpoint(self._ahead.pop())
        if seq - self._signed > UNSIGNED_MAX:
            return Broken(seq, "UNSIGNED", f"no checkpoint among the {UNSIGNED_MAX} events before it")
        return None

    def _checkpoint(self, place: asyncpg.Record) -> Broken | None:
        expected = signature(self._secret, place["seq"], place["hash"], place["signed_at"])
        if not hmac.compare_digest(expected, place["signature"]):
            return Broken(place["seq"], "SIGNATURE", "the checkpoint was not signed by the application")
        if place["hash"] != self.hash:
            return Broken(place["seq"], "SIGNATURE", "the chain up to here is not the one that was signed")
        self._signed = place["seq"]
        return None

    def end(self, head: asyncpg.Record | None, indexed: int) -> Broken | None:
        """What is broken at the end: events that are known to have been there, entries of no event."""
        if self._ahead or head is None or head["seq"] > self.seq:
            return Broken(self.seq + 1, "GAP", "this event is missing: the chain went on")
        if head["seq"] < self.seq:
            return Broken(head["seq"] + 1, "HASH", "this event was not appended by the writer")
        if head["hash"] != self.hash:
            return Broken(self.seq, "HASH", "the head of the chain is another")
        if indexed != self.indexed:
            return Broken(self.seq, "PATIENTS", "access logs have entries that no event has")
        return None


async def verify(url: str, secret: bytes) -> Verdict:
    """Walks over all events in one snapshot, in bounded memory. The URL is the owner's."""
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute("SET ROLE caregraph_owner")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            checkpoints = await connection.fetch(CHECKPOINTS)
            start = await connection.fetchrow(START)
            walk = _Walk(secret, *((start["last_seq"], start["last_hash"]) if start else (0, GENESIS)), checkpoints)
            broken = await _first_broken(walk, connection.cursor(EVENTS, prefetch=ROWS))
            if broken is None:
                broken = walk.end(await connection.fetchrow(HEAD), await connection.fetchval(INDEXED))
        return Verdict(walk.events, len(checkpoints), broken)
    finally:
        await connection.close()


async def _first_broken(walk: _Walk, events: AsyncIterator[Any]) -> Broken | None:
    async for event in events:
        broken = walk.step(event)
        if broken is not None:
            return broken
    return None
