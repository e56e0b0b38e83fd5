"""A relay in front of PostgreSQL that counts round trips: each answer that ends with ReadyForQuery is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit


@dataclass
class Relay:
    """A running relay; `round_trips` grows."""

    url: str
    round_trips: int = 0


@asynccontextmanager
async def relayed(url: str) -> AsyncGenerator[Relay]:
    """A relay to the server of a URL, without TLS, so that it can read along."""
    there = urlsplit(url)
    relay = Relay("")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(there.hostname, there.port)
        sending = asyncio.create_task(_copy(reader, to_server))
        try:
            await _count(relay, from_server, writer)
        except asyncio.IncompleteReadError:
            sending.cancel()
        finally:
            writer.close()
            to_server.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    user = there.netloc.rpartition("@")[0]
    relay.url = urlunsplit(there._replace(netloc=f"{user}@{host}:{port}", query="sslmode=disable"))
    try:
        yield relay
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
    writer.close()


async def _count(relay: Relay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Passes messages of the server on: a type, the length of the rest with itself, the rest."""
    while True:
        head = await reader.readexactly(5)
        writer.write(head + await reader.readexactly(int.from_bytes(head[1:]) - 4))
        relay.round_trips += head[:1] == b"Z"
