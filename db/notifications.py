"""Notifications of PostgreSQL (LISTEN): one connection of this process, whoever waits."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import asyncpg

from db.errors import StoreUnavailable

WAITING_MAX = 1000
"""Messages that may wait for one listener; one that falls further behind is dropped, and asks again."""


class Notifications:
    """Messages of channels, each to everybody who listens at that moment."""

    def __init__(self, store: str, connect: Callable[[], Awaitable[asyncpg.Connection]]) -> None:
        self._store = store
        self._connect = connect
        self._opening = asyncio.Lock()
        self._connection: asyncpg.Connection | None = None
        self._listeners: defaultdict[str, set[asyncio.Queue[str | None]]] = defaultdict(set)

    async def listen(self, channel: str) -> AsyncGenerator[str, None]:
        """Messages of a channel from now on. Raises StoreUnavailable when the connection is lost."""
        queue: asyncio.Queue[str | None] = asyncio.Queue(WAITING_MAX)
        await self._open(channel)
        self._listeners[channel].add(queue)
        try:
            while (message := await queue.get()) is not None:
                yield message
            raise StoreUnavailable(self._store)
        finally:
            self._listeners[channel].discard(queue)

    async def close(self) -> None:
        """Ends the connection, and with it what listens."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            await connection.close(timeout=2)

    async def _open(self, channel: str) -> None:
        async with self._opening:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
                self._connection.add_termination_listener(self._lost)
                self._listeners.clear()
            if channel not in self._listeners:
                await self._connection.add_listener(channel, self._heard)
                self._listeners[channel] = set()

    def _heard(self, _connection: Any, _pid: int, channel: str, payload: Any) -> None:
        for queue in list(self._listeners[channel]):
            self._put(queue, str(payload))

    def _lost(self, _connection: Any) -> None:
        for queues in self._listeners.values():
            for queue in queues:
                self._put(queue, None)

    def _put(self, queue: asyncio.Queue[str | None], message: str | None) -> None:
        if queue.full():
            queue.get_nowait()
            message = None
        queue.put_nowait(message)
