"""What stands before every store: a deadline, a bound on concurrency, and a breaker that stops asking a dead one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from db.errors import StoreConflict, StoreError, StoreOverloaded, StoreTimeout, StoreUnavailable

T = TypeVar("T")

FAILURES_MAX = 3
"""Failures in a row after which the breaker opens."""

PAUSE_S = 2.0
"""Seconds for which an open breaker refuses at once; then one call is let through to try."""


class Guard:
    """Deadline, concurrency and breaker of one store, shared by all requests."""

    def __init__(self, store: str, timeout_s: float, concurrency_max: int = 64) -> None:
        self.store = store
        self.timeout_s = timeout_s
        self._slots = asyncio.Semaphore(concurrency_max)
        self._failures = 0
        self._closed_until = 0.0

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result within the deadline, waiting for a slot included. Raises StoreError."""
        if self._failures >= FAILURES_MAX:
            if time.monotonic() < self._closed_until:
                raise StoreUnavailable(self.store)
            self._closed_until = time.monotonic() + PAUSE_S
        try:
            result = await self._in_time(call)
        except (StoreOverloaded, StoreConflict):  # of a store that is there
            raise
        except StoreError:
            self._failures += 1
            self._closed_until = time.monotonic() + PAUSE_S
            raise
        self._failures = 0
        return result

    async def _in_time(self, call: Callable[[], Awaitable[T]]) -> T:
        admitted = False
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._slots.acquire()
                admitted = True
                return await call()
        except TimeoutError:
            raise (StoreTimeout if admitted else StoreOverloaded)(self.store) from None
        finally:
            if admitted:
                self._slots.release()
