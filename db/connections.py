"""Connections of this process to one PostgreSQL database: opened when needed, lent to login roles, bounded in total."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

IDLE_S = 600
"""Seconds after which a connection that nobody used is closed: a new one has all its statements to plan."""
CLOSE_S = 1
"""Seconds that the end of a transaction or of a connection may take; then the connection is dropped."""

LOST = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError)
"""What a connection that is not worth keeping raises."""


@dataclass(frozen=True, slots=True)
class _Idle:
    role: str
    connection: asyncpg.Connection
    since: float
    """Of the event loop's clock."""


class Connections:
    """At most `limit` connections, whoever holds them; `connect` opens one for a login role.

    A role takes the connection that it used last, whose prepared statements are warm. Where all are open, the one that
    has been idle longest, of whichever role, makes room.
    """

    def __init__(self, limit: int, connect: Callable[[str], Awaitable[asyncpg.Connection]]) -> None:
        self._limit = limit
        self._connect = connect
        self._open = 0
        self._idle: list[_Idle] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ending: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """Connections that are open or being opened."""
        return self._open

    async def acquire(self, role: str) -> asyncpg.Connection:
        """A connection of a role, outside of any transaction. Raises what `connect` raises."""
        while True:
            warm = self._warm(role)
            if warm is not None:
                return warm
            if self._open < self._limit:
                return await self._opened(role)
            if self._idle:
                await self._closed(self._idle.pop(0).connection)
                continue
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            try:
                await freed
            except asyncio.CancelledError:
                if not freed.cancelled():
                    self._wake()
                raise

    def release(self, role: str, connection: asyncpg.Connection) -> None:
        """Gives back a connection that is outside of any transaction, or closed."""
        if connection.is_closed():
            self._open -= 1
        else:
            loop = asyncio.get_running_loop()
            self._idle.append(_Idle(role, connection, loop.time()))
            if self._sweeper is None:
                self._sweeper = loop.call_later(IDLE_S, self._sweep)
        self._wake()

    def end(self, role: str, connection: asyncpg.Connection) -> asyncio.Task[None]:
        """Rolls back what the connection is in and gives it back, in a task that need not be waited for."""
        return self._ends(self._ended(role, connection))

    @asynccontextmanager
    async def lent(self, role: str) -> AsyncGenerator[asyncpg.Connection]:
        """A connection of a role for the length of a block, which leaves no transaction open."""
        connection = await self.acquire(role)
        try:
            yield connection
        except BaseException:
            await self.end(role, connection)
            raise
        self.release(role, connection)

    async def settled(self) -> None:
        """Returns when every transaction that was told to end has ended."""
        if self._ending:
            await asyncio.wait(set(self._ending))

    async def close(self) -> None:
        """Closes what is idle, after what is ending; connections that do not end in time are dropped."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self.settled()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(self._closed(one.connection) for one in idle))

    def _warm(self, role: str) -> asyncpg.Connection | None:
        for place in range(len(self._idle) - 1, -1, -1):
            if self._idle[place].role == role:
                connection = self._idle.pop(place).connection
                if not connection.is_closed():
                    return connection
                self._open -= 1
        return None

    async def _opened(self, role: str) -> asyncpg.Connection:
        self._open += 1
        try:
            return await self._connect(role)
        except BaseException:
            self._open -= 1
            self._wake()
            raise

    def _ends(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that `settled` waits for."""
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def _closed(self, connection: asyncpg.Connection) -> None:
        """Closes a connection and makes its room free."""
        try:
            with _or_dropped(connection):
                await connection.close(timeout=CLOSE_S)
        finally:
            self._open -= 1
            self._wake()

    async def _ended(self, role: str, connection: asyncpg.Connection) -> None:
        try:
            with _or_dropped(connection):
                async with asyncio.timeout(CLOSE_S):
                    # asyncpg first waits until the server has cancelled what was under way: no statement runs on.
                    await connection.execute("ROLLBACK")
        finally:
            self.release(role, connection)

    def _wake(self) -> None:
        while self._waiting:
            freed = self._waiting.popleft()
            if not freed.done():
                freed.set_result(None)
                return

    def _sweep(self) -> None:
        """Closes what has been idle for too long, and looks again when the next one will have been."""
        loop = asyncio.get_running_loop()
        stale = [one for one in self._idle if loop.time() - one.since >= IDLE_S]
        self._idle = [one for one in self._idle if one not in stale]
        for one in stale:
            self._ends(self._closed(one.connection))
        self._sweeper = loop.call_later(IDLE_S, self._sweep) if self._idle else None


@contextmanager
def _or_dropped(connection: asyncpg.Connection) -> Generator[None]:
    """Drops a connection with which something goes wrong; raises only what says more than that it is lost."""
    try:
        yield
    except LOST:
        connection.terminate()
    except BaseException:
        connection.terminate()
        raise
