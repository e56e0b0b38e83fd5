"""What both limits share: a bare ASGI endpoint that answers known operations over pooled asyncpg, and nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import orjson

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Answer: TypeAlias = Callable[[Any, Mapping[str, Any]], Awaitable[bytes]]
"""From a connection in its transaction and the variables to the JSON of `data`."""

BEGIN = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = engines, public; "
    f"SET LOCAL app.context = '{os.environ.get('BENCH_CONTEXT', '')}'"
)
LAST_TIME, LAST_ID = "9999-12-31", "ffffffff-ffff-ffff-ffff-ffffffffffff"


class Bare:
    """The ASGI application: answers by `operationName`, which stands for the document."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = answers
        self._pool: Any = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request, or the life of the process."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message.get("more_body"):
                break
        asked = orjson.loads(body)
        async with self._transaction() as connection:
            data = await self._answers[asked["operationName"]](connection, asked["variables"])
        content = b'{"data":' + data + b"}"
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Any]:
        connection = await self._pool.acquire()
        try:
            await connection.execute(BEGIN)
            yield connection
            await connection.execute("COMMIT")
        finally:
            await self._pool.release(connection)

    async def _live(self, receive: Receive, send: Send) -> None:
        async def keep(connection: asyncpg.Connection) -> None:
            """Nothing to reset: all that is set is local to the transaction."""

        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                size = int(os.environ["BENCH_CONNECTIONS"])
                self._pool = await asyncpg.create_pool(os.environ["BENCH_URL"], min_size=1, max_size=size, reset=keep)
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._pool.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def before(after: str | None) -> tuple[str, str]:
    """Position before the first row of a ward's page, from `time|id`."""
    time, _, key = (after or f"{LAST_TIME}|{LAST_ID}").partition("|")
    return time, key
