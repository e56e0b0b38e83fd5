"""GraphQL over Server-Sent Events, by the protocol of graphql-sse in its mode of distinct connections.

One request, one operation, one stream: an event `next` for each payload, then `complete`. Comments in between keep
proxies from ending a stream in which nothing happens.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias
from uuid import UUID

from starlette.types import Send

from db.caller import Caller
from db.errors import Overloaded, Unauthenticated
from graph.encoding import encoded
from graph.errors import FormattedError
from graph.media import EVENT_STREAM

STREAMS_PER_CALLER_MAX = 20
"""Open streams of one subject at one facility in this process."""
KEEP_ALIVE_S = 12.0
"""Seconds of silence after which a comment is sent."""
SEND_S = 30.0
"""Seconds in which a client must take a message; for who does not, the stream ends."""

Explain: TypeAlias = Callable[[Exception], Awaitable[list[FormattedError]]]
"""From what broke a stream off to the errors that its client is told."""

_HEADERS = (
    (b"content-type", f"{EVENT_STREAM}; charset=utf-8".encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
)
_KEEP_ALIVE = b":\n\n"
_COMPLETE = b"event: complete\ndata:\n\n"


class EventStreams:
    """The streams of this process, counted by caller."""

    def __init__(self) -> None:
        self._open: Counter[tuple[str, UUID]] = Counter()

    async def serve(
        self,
        send: Send,
        caller: Caller,
        expires_at: float,
        payloads: AsyncGenerator[dict[str, Any], None],
        explain: Explain,
    ) -> None:
        """Sends each payload until there are no more, or the token is over (`expires_at`, in Unix seconds).

        `explain` gives the errors with which a stream ends that breaks off. Raises Overloaded before anything is sent,
        TimeoutError for a client that does not take its messages.
        """
        key = (caller.subject, caller.facility_id)
        if self._open[key] >= STREAMS_PER_CALLER_MAX:
            await payloads.aclose()
            raise Overloaded("streamsPerCaller", STREAMS_PER_CALLER_MAX)
        self._open[key] += 1
        try:
            await _serve(send, expires_at, payloads, explain)
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


async def _serve(
    send: Send, expires_at: float, payloads: AsyncGenerator[dict[str, Any], None], explain: Explain
) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
    valid = asyncio.timeout(expires_at - time.time())
    try:
        async with aclosing(payloads), valid:
            await _each(send, payloads)
    except TimeoutError:
        if not valid.expired():
            raise
        await _send(send, _next({"errors": await explain(Unauthenticated("EXPIRED"))}))
    # The last frame of ours, as of a WebSocket's operation: a stream has begun, so its end must say what went wrong.
    except Exception as error:
        await _send(send, _next({"errors": await explain(error)}))
    await send({"type": "http.response.body", "body": _COMPLETE})


async def _each(send: Send, payloads: AsyncGenerator[dict[str, Any], None]) -> None:
    """Sends payloads, and comments while there are none."""
    await _send(send, _KEEP_ALIVE)  # the client learns at once that it is connected
    while True:
        coming = asyncio.ensure_future(anext(payloads))
        try:
            while not (await asyncio.wait([coming], timeout=KEEP_ALIVE_S))[0]:
                await _send(send, _KEEP_ALIVE)
            await _send(send, _next(coming.result()))
        except StopAsyncIteration:
            return
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.wait([coming])


async def _send(send: Send, body: bytes) -> None:
    async with asyncio.timeout(SEND_S):
        await send({"type": "http.response.body", "body": body, "more_body": True})


def _next(payload: dict[str, Any]) -> bytes:
    """An event; JSON has no line breaks."""
    return b"event: next\ndata: " + encoded(payload) + b"\n\n"
