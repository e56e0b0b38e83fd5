"""Work of which one process does its kind at a time: whoever has the lease; the others wait and take over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import LiteralString

import asyncpg

from db.postgres import Postgres

ASK_AGAIN_S = 0.5
"""Seconds after which who waits asks again."""

TAKE = """/* take_lease */
SELECT pg_try_advisory_lock(hashtextextended('lease ' || $1::text, 0))"""

KEEPALIVE = """/* lease_keepalive */
SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '3', false)"""


class Lease:
    """A lock of PostgreSQL for as long as its connection lives: what is sent over that is sent by the holder alone."""

    def __init__(self, postgres: Postgres, connection: asyncpg.Connection) -> None:
        self._postgres = postgres
        self._connection = connection

    async def fetch(self, sql: LiteralString, *args: object) -> Sequence[asyncpg.Record]:
        """Rows of one statement, as the worker role. Raises StoreError, also where the lease is lost."""

        return await self._postgres.run(lambda: self._connection.fetch(sql, *args))


@asynccontextmanager
async def lease(postgres: Postgres, name: str) -> AsyncGenerator[Lease]:
    """Waits for a lease and holds it for the length of a block. Raises StoreError."""
    connection = await postgres.direct()
    try:
        held = Lease(postgres, connection)
        await held.fetch(KEEPALIVE)
        while not (await held.fetch(TAKE, name))[0][0]:  # noqa: ASYNC110 - the other holder is another process
            await asyncio.sleep(ASK_AGAIN_S)
        yield held
    finally:
        connection.terminate()
