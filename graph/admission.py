"""Admission: how often one caller may ask, and how long one operation may take."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from uuid import UUID

from db.caller import Caller
from db.errors import DeadlineExceeded, RateLimited

CALLERS_MAX = 100_000
"""Callers who are remembered: 20 MB; who asked longest ago is forgotten first, with a bucket that is full again."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Quota:
    """A token bucket for each subject at each facility: a minute's requests at once, then as many as time brings.

    It counts what this process is asked; with several processes behind a balancer each has its own.
    """

    def __init__(self, requests_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = requests_per_minute
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, UUID], _Bucket] = OrderedDict()

    @property
    def remembered(self) -> int:
        """Callers whose buckets are kept."""
        return len(self._buckets)

    def take(self, caller: Caller) -> None:
        """Counts one request. Raises RateLimited, with the seconds until the next one would be served."""
        key = (caller.subject, caller.facility_id)
        now = self._clock()
        bucket = self._buckets.setdefault(key, _Bucket(self._per_minute, now))
        self._buckets.move_to_end(key)
        if len(self._buckets) > CALLERS_MAX:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self._per_minute, bucket.tokens + (now - bucket.at) * self._per_minute / 60)
        bucket.at = now
        if bucket.tokens < 1:
            wait_s = math.ceil((1 - bucket.tokens) * 60 / self._per_minute)
            raise RateLimited("requestsPerMinute", self._per_minute, wait_s)
        bucket.tokens -= 1


class Deadline:
    """Cancels a block when the time is over. Raises DeadlineExceeded."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._limit = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        """Begins the block."""
        await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the block; only this limit's own TimeoutError is another error here."""
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
            raise DeadlineExceeded("operationSeconds", math.ceil(self._seconds)) from None
