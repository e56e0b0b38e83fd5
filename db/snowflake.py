"""Connections to Snowflake over the connector's native asyncio: the only module that imports it, and imported late."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import aiohttp
from snowflake.connector.aio import SnowflakeConnection
from snowflake.connector.errors import Error, HttpError, ProgrammingError

from db.errors import StoreError, StoreUnavailable

T = TypeVar("T")
Connection: TypeAlias = Any
"""A SnowflakeConnection, whose methods have no complete types."""

CLOSE_S = 0.5
"""Seconds that a goodbye to the server may take; it must not delay what failed."""

logging.getLogger("snowflake.connector").setLevel(logging.CRITICAL + 1)  # its records quote statements and addresses


class Snowflake:
    """A small pool of connections with one login, each opened when first used."""

    def __init__(self, store: str, login: Mapping[str, Any]) -> None:
        self._store = store
        self._login = login
        self._idle: list[Connection] = []

    async def close(self) -> None:
        """Closes the idle connections."""
        while self._idle:
            await _close(self._idle.pop())

    async def rows(self, sql: str, params: Sequence[object], *, again: bool) -> Sequence[tuple[Any, ...]]:
        """Rows of one statement; see Warehouse.query for `again`. Raises StoreError without the driver's text."""

        async def attempt(connection: Connection) -> Sequence[tuple[Any, ...]]:
            cursor = connection.cursor()
            await cursor.execute(sql, tuple(params) or None)
            return [tuple(row) for row in await cursor.fetchall()]

        try:
            return await self._on_connection(attempt, again=again)
        except ProgrammingError as error:
            raise StoreError(self._store, f"Statement refused by {self._store} ({error.sqlstate}).") from None
        except (Error, aiohttp.ClientError, OSError):
            raise StoreUnavailable(self._store) from None

    async def _on_connection(self, call: Callable[[Connection], Awaitable[T]], *, again: bool) -> T:
        if again and self._idle:
            try:
                return await self._run(self._idle.pop(), call)
            except HttpError:  # 401: a server that has restarted knows none of the sessions
                await self.close()
        connection = self._idle.pop() if self._idle else SnowflakeConnection(**self._login)
        return await self._run(connection, call)

    async def _run(self, connection: Connection, call: Callable[[Connection], Awaitable[T]]) -> T:
        """The call's result; the connection is kept for the next one only when nothing went wrong on it."""
        try:
            if connection.is_closed():
                await connection.connect()
            result = await call(connection)
        except BaseException:
            await _close(connection)
            raise
        self._idle.append(connection)
        return result


async def _close(connection: Connection) -> None:
    """Closes without waiting for a server that may be gone."""
    try:
        await asyncio.wait_for(connection.close(retry=False), CLOSE_S)
    except (Error, aiohttp.ClientError, OSError, TimeoutError):
        return
