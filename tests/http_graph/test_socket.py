"""The real application over WebSocket: a query, a mutation, and the privacy officer who is told of it at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

from graph.websocket import PROTOCOL
from tests.asking import Graph
from tests.served import Api

FIRST = "{ patients(first: 1) { nodes { id } } }"
BREAK = 'mutation ($id: ID!) { breakGlass(patient: $id, reason: "Unconscious in the emergency department") { id } }'
TOLD = "subscription { breakGlassGrants { grants { id reason patient { id } } } }"


class Socket:
    """A socket of one persona."""

    def __init__(self, api: Api, http: aiohttp.ClientSession) -> None:
        self._api = api
        self._http = http

    async def open(self, persona: str, facility: str) -> Socket:
        """Opens it with a token of the demo."""
        body = {"persona": persona, "facility": facility}
        async with self._http.post(f"{self._api.url}/demo/token", json=body) as response:
            token = (await response.json())["token"]
        self._socket = await self._http.ws_connect(f"{self._api.url}/graphql", protocols=(PROTOCOL,))
        await self.send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
        assert (await self.receive())["type"] == "connection_ack"
        return self

    async def send(self, **message: Any) -> None:
        """Sends a message."""
        await self._socket.send_str(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """The next message."""
        return json.loads(await self._socket.receive_str(timeout=20))

    async def ask(self, query: str, **variables: Any) -> Any:
        """Data of an operation that succeeds."""
        await self.send(type="subscribe", id="1", payload={"query": query, "variables": variables})
        answer, end = await self.receive(), await self.receive()
        assert (answer["type"], end["type"]) == ("next", "complete"), answer
        assert "errors" not in answer["payload"], answer
        return answer["payload"]["data"]


async def broken_until_told(officer: Socket, physician: Socket) -> tuple[str, list[str], dict[str, Any]]:
    """Whose glass the physician broke, the grants, and the message that the officer got of one of them."""
    patient = (await physician.ask(FIRST))["patients"]["nodes"][0]["id"]
    await officer.send(type="subscribe", id="told", payload={"query": TOLD})
    telling = asyncio.create_task(officer.receive())
    grants: list[str] = []
    for _ in range(100):  # nobody says when the officer's source listens
        grants.append((await physician.ask(BREAK, id=patient))["breakGlass"]["id"])
        if (await asyncio.wait([telling], timeout=0.2))[0]:
            break
    return patient, grants, await telling


async def test_privacy_officer_is_told(api: Api, graph: Graph) -> None:
    """Over two sockets: one subscribes, on the other the glass is broken."""
    code = graph.facilities[0].code
    async with aiohttp.ClientSession() as http:
        officer, physician = (
            await Socket(api, http).open("privacy", code),
            await Socket(api, http).open("physician", code),
        )
        patient, grants, message = await broken_until_told(officer, physician)
        assert (message["id"], message["type"]) == ("told", "next")
        told = message["payload"]["data"]["breakGlassGrants"]["grants"][0]
        assert told["id"] in grants
        assert told["patient"]["id"] == patient


async def test_others_are_not_told(api: Api, graph: Graph) -> None:
    async with aiohttp.ClientSession() as http:
        nurse = await Socket(api, http).open("nurse", graph.facilities[0].code)
        await nurse.send(type="subscribe", id="1", payload={"query": TOLD})
        refused = await nurse.receive()
    assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "FORBIDDEN")
