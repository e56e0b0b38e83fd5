"""A client of GraphQL over WebSocket that sees every message and every close code."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

from graph.websocket import PROTOCOL
from tests.http.serving import Served

TIMEOUT_S = 20


class Socket:
    """One open socket."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket

    async def send(self, **message: Any) -> None:
        """Sends a message."""
        await self.websocket.send_str(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """The next message."""
        received = await asyncio.wait_for(self.websocket.receive(), TIMEOUT_S)
        assert received.type is aiohttp.WSMsgType.TEXT, (received, self.websocket.close_code)
        return json.loads(received.data)

    async def closed(self) -> int:
        """The close code, once the server has closed."""
        while not self.websocket.closed:
            await asyncio.wait_for(self.websocket.receive(), TIMEOUT_S)
        assert self.websocket.close_code is not None
        return self.websocket.close_code

    async def subscribe(self, query: str, id: str = "1", **variables: Any) -> None:
        """Starts an operation."""
        await self.send(type="subscribe", id=id, payload={"query": query, "variables": variables})

    async def ask(self, query: str, id: str = "1", **variables: Any) -> list[dict[str, Any]]:
        """Every message of an operation, to the one that ends it."""
        await self.subscribe(query, id, **variables)
        return await self.rest(id)

    async def rest(self, id: str = "1") -> list[dict[str, Any]]:
        """The messages of an operation that are still to come."""
        messages = [await self.receive()]
        while messages[-1]["type"] == "next":
            messages.append(await self.receive())
        assert {message["id"] for message in messages} == {id}
        return messages


class Sockets:
    """Opens sockets to the small graph."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._http: aiohttp.ClientSession | None = None

    async def connect(self, protocols: tuple[str, ...] = (PROTOCOL,), path: str = "/graphql", **headers: str) -> Socket:
        """A socket before connection_init. Raises aiohttp.WSServerHandshakeError where the handshake is refused."""
        self._http = self._http or aiohttp.ClientSession()
        url = f"http://127.0.0.1:{self.served.port}{path}"
        return Socket(await self._http.ws_connect(url, protocols=protocols, headers=headers, max_msg_size=0))

    async def open(self, persona: str = "physician", **payload: str) -> Socket:
        """An initialised socket of a persona."""
        socket = await self.connect()
        await socket.send(
            type="connection_init", payload={"Authorization": f"Bearer {self.served.token(persona)}", **payload}
        )
        assert await socket.receive() == {"type": "connection_ack"}
        return socket

    async def close(self) -> None:
        """Closes them all."""
        if self._http:
            await self._http.close()
