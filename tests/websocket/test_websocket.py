"""GraphQL over WebSocket: messages, close codes, tokens over time, bounds, and errors that tell nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import jwt
import pytest

from db.context import derive
from db.errors import AuditUnavailable
from graph.websocket import MESSAGE_BYTES_MAX, OPERATIONS_MAX, PROTOCOL, SOCKETS_PER_CALLER_MAX
from tests.http.serving import ALLOWED_ORIGIN, serving
from tests.http.small_graph import CANCELLED, PATIENT_VALUE, WAITING
from tests.websocket.sockets import Socket, Sockets

NAME = {"data": {"name": "***"}, "extensions": {"phi": [{"field": "Query.name", "kind": "NAME", "reason": "POLICY"}]}}


def code(message: dict[str, Any]) -> str:
    """Code of an error message."""
    assert message["type"] == "error"
    return message["payload"][0]["extensions"]["code"]


async def waiting(socket: Socket, id: str = "1") -> None:
    """Starts an operation that never ends, and returns when it is under way."""
    WAITING.clear()
    await socket.subscribe("{ stuck }", id)
    assert await asyncio.to_thread(WAITING.wait, 20)


async def test_query(sockets: Sockets) -> None:
    socket = await sockets.open()
    assert socket.websocket.protocol == PROTOCOL
    assert await socket.ask("{ name }") == [
        {"id": "1", "type": "next", "payload": NAME},
        {"id": "1", "type": "complete"},
    ]
    assert sockets.served.sessions == ["open", "closed"]
    assert sockets.served.witnessed == [("demo-physician", True)]


async def test_mutation(sockets: Sockets) -> None:
    messages = await (await sockets.open()).ask("mutation { touch }")
    assert [message.get("payload") for message in messages] == [{"data": {"touch": True}}, None]


async def test_subscription_reads_each_event_in_a_session_of_its_own(sockets: Sockets) -> None:
    messages = await (await sockets.open()).ask("subscription { counted(to: 3) }")
    assert [message["payload"]["data"]["counted"] for message in messages[:-1]] == [0, 1, 2]
    assert messages[-1] == {"id": "1", "type": "complete"}
    assert sockets.served.sessions == ["open", "closed"] * 4, "one in which it began, one for each event"
    assert sockets.served.witnessed == [("demo-physician", True)] * 3


async def test_subscription_that_waits_holds_no_session(sockets: Sockets) -> None:
    socket = await sockets.open()
    await socket.subscribe("subscription { endless }")
    assert (await socket.receive())["type"] == "next"
    assert sockets.served.sessions == ["open", "closed"] * 2
    assert await socket.ask("{ name }", "2") != []


async def test_operations_under_way_at_once(sockets: Sockets) -> None:
    socket = await sockets.open()
    await waiting(socket)
    assert len(await socket.ask("{ name }", "2")) == 2


async def test_deferred_fields_come_with_the_others(sockets: Sockets) -> None:
    messages = await (await sockets.open()).ask("{ chart { title ... @defer { notes } } }")
    assert messages[0]["payload"] == {"data": {"chart": {"title": "chart", "notes": "notes"}}}


async def test_ping(sockets: Sockets) -> None:
    socket = await sockets.connect()
    await socket.send(type="pong")
    await socket.send(type="ping", payload={"at": 1})
    assert await socket.receive() == {"type": "pong"}


async def test_complete_cancels(sockets: Sockets) -> None:
    socket = await sockets.open()
    await waiting(socket)
    await socket.send(type="complete", id="1")
    assert await asyncio.to_thread(CANCELLED.wait, 20)
    assert sockets.served.logged("status=CANCELLED"), "and not by the deadline"
    assert len(await socket.ask("{ name }", "1")) == 2, "the id is free again"
    assert sockets.served.sessions.count("closed") == 2


async def test_leaving_cancels(sockets: Sockets) -> None:
    socket = await sockets.open()
    await waiting(socket)
    await socket.websocket.close()
    assert await asyncio.to_thread(CANCELLED.wait, 20)
    assert sockets.served.logged("status=CANCELLED"), "and not by the deadline"


async def test_deadline_cancels(sockets: Sockets) -> None:
    socket = await sockets.open()
    await waiting(socket)
    [last] = await socket.rest()
    assert (code(last), last["payload"][0]["extensions"]["limit"]) == ("DEADLINE_EXCEEDED", "operationSeconds")
    assert CANCELLED.is_set()
    assert sockets.served.sessions == ["open", "closed"]


FRAMES: dict[str, tuple[str | bytes, int]] = {
    "not JSON": ("{", 4400),
    "binary": (b'{"type":"ping"}', 4400),
    "an array": ('[{"type":"ping"}]', 4400),
    "null": ("null", 4400),
    "no type": ("{}", 4400),
    "an unknown type": ('{"type":"start","id":"1"}', 4400),
    "deep": ("[" * 100_000, 4400),
    "half a surrogate": ('{"type":"\\ud800"}', 4400),
    "a payload that is a list": ('{"type":"connection_init","payload":[]}', 4400),
    "no token": ('{"type":"connection_init"}', 4401),
    "a bad token": ('{"type":"connection_init","payload":{"Authorization":"Bearer x.y.z"}}', 4401),
    "a token that is a number": ('{"type":"connection_init","payload":{"Authorization":1}}', 4401),
    "subscribe first": ('{"type":"subscribe","id":"1","payload":{"query":"{ name }"}}', 4401),
    "too large": ('{"type":"ping","payload":"' + "x" * MESSAGE_BYTES_MAX + '"}', 1009),
    "complete without an id": ('{"type":"complete"}', 4400),
}


@pytest.mark.parametrize(("frame", "expected"), FRAMES.values(), ids=FRAMES.keys())
async def test_frame_before_the_caller_is_known(sockets: Sockets, frame: str | bytes, expected: int) -> None:
    socket = await sockets.connect()
    await (socket.websocket.send_str(frame) if isinstance(frame, str) else socket.websocket.send_bytes(frame))
    assert await socket.closed() == expected
    assert sockets.served.sessions == []


MESSAGES: dict[str, tuple[dict[str, Any], int]] = {
    "init again": ({"type": "connection_init", "payload": {}}, 4429),
    "no id": ({"type": "subscribe", "payload": {"query": "{ name }"}}, 4400),
    "an empty id": ({"type": "subscribe", "id": "", "payload": {"query": "{ name }"}}, 4400),
    "an id that is a number": ({"type": "subscribe", "id": 1, "payload": {"query": "{ name }"}}, 4400),
    "a long id": ({"type": "subscribe", "id": "1" * 1_000, "payload": {"query": "{ name }"}}, 4400),
    "no payload": ({"type": "subscribe", "id": "1"}, 4400),
    "a batch": ({"type": "subscribe", "id": "1", "payload": [{"query": "{ name }"}]}, 4400),
    "variables in a list": ({"type": "subscribe", "id": "1", "payload": {"query": "{ name }", "variables": []}}, 4400),
}


@pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES.keys())
async def test_message_that_breaks_the_protocol(sockets: Sockets, message: dict[str, Any], expected: int) -> None:
    socket = await sockets.open()
    await socket.send(**message)
    assert await socket.closed() == expected
    assert len(await (await sockets.open()).ask("{ name }")) == 2, "the server still answers"


async def test_id_in_use(sockets: Sockets) -> None:
    socket = await sockets.open()
    await waiting(socket)
    await socket.subscribe("{ name }")
    assert await socket.closed() == 4409
    assert await asyncio.to_thread(CANCELLED.wait, 20)


async def test_slow_init(sockets: Sockets) -> None:
    assert await (await sockets.connect()).closed() == 4408


async def test_another_protocol(sockets: Sockets) -> None:
    for protocols in ((), ("graphql-ws",)):
        assert await (await sockets.connect(protocols)).closed() == 4406


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", f"{ALLOWED_ORIGIN}.evil"])
async def test_page_of_another_site(sockets: Sockets, origin: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await sockets.connect(Origin=origin)
    assert refused.value.status == 403
    assert sockets.served.refusals == [(None, "ORIGIN_FORBIDDEN", None)]


async def test_page_of_this_site_and_of_an_allowed_one(sockets: Sockets) -> None:
    for origin in (f"http://127.0.0.1:{sockets.served.port}", ALLOWED_ORIGIN):
        await (await sockets.connect(Origin=origin)).send(type="ping")


async def test_narrowing_that_the_token_does_not_allow(sockets: Sockets) -> None:
    socket = await sockets.connect()
    payload = {"Authorization": f"Bearer {sockets.served.token()}", "Caregraph-Purpose": "HRESCH"}
    await socket.send(type="connection_init", payload=payload)
    assert await socket.closed() == 4403
    assert [refusal[1] for refusal in sockets.served.refusals] == ["FORBIDDEN"]


async def test_token_that_ends(sockets: Sockets) -> None:
    """The socket ends with the token, although nothing is sent on it."""
    key = derive(sockets.served.settings.secret, "demo-token")
    claims = jwt.decode(sockets.served.token(), options={"verify_signature": False})
    token = jwt.encode({**claims, "exp": int(time.time()) + 2}, key, "HS256")
    socket = await sockets.connect()
    await socket.send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
    assert await socket.receive() == {"type": "connection_ack"}
    await socket.subscribe("subscription { endless }")
    assert (await socket.receive())["type"] == "next"
    assert await socket.closed() == 4401


async def test_token_that_is_taken_back(sockets: Sockets) -> None:
    """Each operation asks again; the first that is refused ends the socket, and what else is under way on it."""
    socket = await sockets.open()
    await waiting(socket)
    sockets.served.revoked = True
    await socket.subscribe("{ name }", "2")
    assert await socket.closed() == 4401
    assert await asyncio.to_thread(CANCELLED.wait, 20)
    assert sockets.served.refusals == [("demo-physician", "UNAUTHENTICATED", "REVOKED")]


async def test_operations_of_one_socket(sockets: Sockets) -> None:
    socket = await sockets.open()
    for number in range(OPERATIONS_MAX):
        await socket.subscribe("subscription { endless }", str(number))
        assert (await socket.receive())["type"] == "next"
    [refused] = await socket.ask("{ name }", "more")
    assert code(refused) == "OVERLOADED"
    assert refused["payload"][0]["extensions"]["limit"] == "operationsPerSocket"
    await socket.send(type="complete", id="0")
    assert len(await socket.ask("{ name }", "more")) == 2


async def test_sockets_of_one_caller(sockets: Sockets) -> None:
    opened = [await sockets.open("nurse") for _ in range(SOCKETS_PER_CALLER_MAX)]
    more = await sockets.connect()
    await more.send(type="connection_init", payload={"Authorization": f"Bearer {sockets.served.token('nurse')}"})
    assert await more.closed() == 4429
    await sockets.open("biller")
    await opened[0].websocket.close()
    await sockets.open("nurse")


ERRORS = {
    "{ nothing }": "GRAPHQL_VALIDATION_FAILED",
    "{": "GRAPHQL_PARSE_FAILED",
    "subscription { forbidden }": "FORBIDDEN",
    "query ($v: Int!) { record(first: $v) }": "BAD_USER_INPUT",
    "{ row }": "INTERNAL",
    "query ($patientName: String) { record(name: $patientName) }": "PHI_FILTER_FORBIDDEN",
}


@pytest.mark.parametrize(("query", "expected"), ERRORS.items(), ids=ERRORS.values())
async def test_operation_that_is_not_executed(sockets: Sockets, query: str, expected: str) -> None:
    socket = await sockets.open()
    [last] = await socket.ask(query, patientName=PATIENT_VALUE, v=PATIENT_VALUE)
    assert code(last) == expected
    assert PATIENT_VALUE not in str(last)
    assert len(await socket.ask("{ name }")) == 2, "the socket still answers"


async def test_mistake_of_ours(sockets: Sockets) -> None:
    """In a field, and in a source of events; the log has the type and the request id that the client got."""
    socket = await sockets.open()
    field, _ = await socket.ask("{ broken name }")
    event, source = await socket.ask("subscription { exhausted }")
    assert event["payload"]["data"] == {"exhausted": "one"}
    for errors in (field["payload"]["errors"], source["payload"]):
        extensions = errors[0]["extensions"]
        assert extensions["code"] == "INTERNAL"
        assert [line for line in sockets.served.log if extensions["requestId"] in line and "RuntimeError" in line]
    assert PATIENT_VALUE not in str((field, event, source, sockets.served.log))


async def test_no_payload_without_its_audit(sockets: Sockets) -> None:
    sockets.served.unwitnessed = AuditUnavailable()
    socket = await sockets.open()
    for query in ("{ name }", "subscription { counted(to: 2) }", "mutation { touch }", "{ nothing }"):
        [last] = await socket.ask(query)
        assert (code(last), len(last["payload"])) == ("AUDIT_UNAVAILABLE", 1)


async def test_log(sockets: Sockets) -> None:
    """A line for each operation and one for the socket; no URL, which a client writes."""
    socket = await sockets.connect(path=f"/graphql?name={PATIENT_VALUE}")
    await socket.send(type="connection_init", payload={"Authorization": f"Bearer {sockets.served.token()}"})
    await socket.receive()
    await socket.ask("query Ada { name }")
    await socket.websocket.close()
    [line] = sockets.served.logged(f"request={sockets.served.requests[0].request_id}")
    assert " status=OK ms=" in line
    assert sockets.served.logged("socket=")
    assert [line for line in sockets.served.log if PATIENT_VALUE in line or "Ada" in line or "Bearer" in line] == []


async def test_slow_event(sockets: Sockets) -> None:
    """An event has the deadline of an operation; the wait for it has none."""
    socket = await sockets.open()
    [last] = await socket.ask("subscription { charts { endless } }")
    assert code(last) == "DEADLINE_EXCEEDED"
    assert CANCELLED.is_set()
    assert sockets.served.sessions == ["open", "closed"] * 2


async def test_rate_limit() -> None:
    """Operations of a socket count as requests do."""
    with serving(per_minute=2) as limited:
        sockets = Sockets(limited)
        socket = await sockets.open()
        assert [len(await socket.ask("{ name }")) for _ in range(2)] == [2, 2]
        [refused] = await socket.ask("{ name }")
        await sockets.close()
    assert (code(refused), refused["payload"][0]["extensions"]["limit"]) == ("RATE_LIMITED", "requestsPerMinute")
