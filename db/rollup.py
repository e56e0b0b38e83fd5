"""Hourly and daily rollups of vital signs: TimescaleDB's continuous aggregates, or plain PostgreSQL's tables."""

from __future__ import annotations

import asyncpg

from db.context import role_password
from db.errors import StoreUnavailable
from db.postgres import DOWN, login_url
from db.roles import WORKER

TIMESCALEDB = (
    "SELECT pg_advisory_lock(4201338)",  # one rollup at a time, until its connection ends
    "CALL refresh_continuous_aggregate('vitals.vital_sign_by_hour', NULL, NULL)",
    "CALL refresh_continuous_aggregate('vitals.vital_sign_by_day', NULL, NULL)",
    "CALL vitals.widen_chunks('day')",
    "CALL vitals.widen_chunks('month')",
)
"""In this order: hours feed days. None of them may run inside a transaction."""

NOTES_MAX = 5000
"""Touched hours that one transaction computes anew."""

HAS_TIMESCALEDB = """/* has_timescaledb */
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"""

ROLL_UP = """/* roll_up */
SELECT vitals.roll_up($1::int)"""


async def roll_up(url: str, secret: bytes) -> None:
    """Computes anew what changed since the last time; `url` is the owner's. Raises StoreUnavailable.

    TimescaleDB finds the changed ranges by itself, and only the owner may refresh. On plain PostgreSQL the workers'
    role takes the notes that a trigger left; a rollup that dies leaves the rest of them for the next.
    """
    try:
        connection = await asyncpg.connect(url, timeout=30)
        try:
            if await connection.fetchval(HAS_TIMESCALEDB):
                for statement in TIMESCALEDB:
                    await connection.execute(statement)
                return
        finally:
            await connection.close()
        await _take_notes(login_url(url, WORKER, role_password(secret, WORKER)))
    except DOWN:
        raise StoreUnavailable("vitals") from None


async def _take_notes(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        while await connection.fetchval(ROLL_UP, NOTES_MAX):
            pass
    finally:
        await connection.close()
