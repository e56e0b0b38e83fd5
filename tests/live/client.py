"""A subscription as a client has it: messages one at a time, and silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from db.caller import Caller
from tests.asking import Answer, Graph

TOLD_S = 10
"""Seconds after which a message that should have come counts as missing."""
QUIET_S = 0.5
"""Seconds without a message that count as silence."""


class Client:
    """One subscription, whose messages are taken one at a time."""

    def __init__(self, answers: AsyncGenerator[Answer, None]) -> None:
        self._answers = answers
        self._next: asyncio.Future[Answer] | None = None

    async def next(self) -> Answer:
        """The next message."""
        coming = self._coming()
        try:
            return await asyncio.wait_for(coming, TOLD_S)
        finally:
            self._next = None

    async def silent(self) -> bool:
        """Whether nothing comes for a while; what comes, then or later, is the next message."""
        done, _ = await asyncio.wait([self._coming()], timeout=QUIET_S)
        return not done

    async def aclose(self) -> None:
        """Ends the subscription, in the middle of waiting for a message too."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])
        await self._answers.aclose()

    def _coming(self) -> asyncio.Future[Answer]:
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._answers))
        return self._next


@asynccontextmanager
async def listening(graph: Graph, caller: Caller, query: str, **variables: Any) -> AsyncGenerator[Client]:
    """A subscription that hears what is committed from here on."""
    async with aclosing(Client(graph.subscribe_as(caller, query, **variables))) as client:
        assert await client.silent()
        yield client
