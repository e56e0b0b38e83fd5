"""Hostile requests, byte by byte: each is refused with its code, and the server then answers the next one.

Cases that an ordinary HTTP client can send are in tests/http/test_malformed.py.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest

from graph.body import BODY_BYTES_MAX
from graph.server import HEAD_BYTES_MAX
from graph.websocket import PROTOCOL
from tests.http.serving import Client, Served, serving

QUERY = '{"query": "{ name }"}'
INVALID = b"Invalid HTTP request received."


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The small graph, behind the protocol and the bounds that the API is served with."""
    with serving() as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    """A client of the small graph, which must answer after every test as before."""
    served.clear()
    client = Client(served)
    yield client
    assert client.ask("{ name }").json["data"] == {"name": "***"}


def head(served: Served, start: str = "POST /graphql HTTP/1.1", *more: str) -> bytes:
    """A head with all that a good request has; more headers come last."""
    usual = (
        "Host: x",
        "Content-Type: application/json",
        f"Authorization: Bearer {served.token()}",
        "Connection: close",
    )
    return "\r\n".join((start, *usual, *more, "", "")).encode("latin-1")


def sent(served: Served, *pieces: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to bytes; the server may close before all of them are taken."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while chunk := connection.recv(65_536):
                answer += chunk
        except ConnectionResetError:
            assert answer
    first, _, body = answer.partition(b"\r\n\r\n")
    return int(first.split()[1]), body


def code_of(body: bytes) -> str:
    """Code of the first error."""
    return json.loads(body)["errors"][0]["extensions"]["code"]


LENGTH = f"Content-Length: {len(QUERY)}"
HEADS = {
    "two lengths": (LENGTH, "Content-Length: 3"),
    "a length and chunks, the way to smuggle a request": (LENGTH, "Transfer-Encoding: chunked"),
    "a negative length": ("Content-Length: -1",),
    "a length beyond 64 bits": (f"Content-Length: {10**30}",),
    "a length in hexadecimal": ("Content-Length: 0x15",),
    "a header on two lines": (LENGTH, "X-Folded: a\r\n b"),
    "a zero byte": (LENGTH, "X-Zero: a\0b"),
    "a header without a name": (LENGTH, ": value"),
    "one long header": (LENGTH, "X-Long: " + "a" * 10_000_000),
    "many headers": (LENGTH, *(f"X-Header-{number}: a" for number in range(200_000))),
}


@pytest.mark.parametrize("headers", HEADS.values(), ids=HEADS.keys())
def test_head(client: Client, headers: tuple[str, ...]) -> None:
    served = client.served
    assert sent(served, head(served, "POST /graphql HTTP/1.1", *headers), QUERY.encode()) == (400, INVALID)
    assert served.sessions == []


def test_head_without_an_end(client: Client) -> None:
    """The server closes once the head is too long, whatever else comes: memory holds no more than the bound."""
    with socket.create_connection(("127.0.0.1", client.served.port), timeout=20) as connection:
        connection.sendall(b"POST /graphql HTTP/1.1\r\nX-Endless: ")
        taken = 0
        with suppress(BrokenPipeError, ConnectionResetError):
            while taken < 1_000 * HEAD_BYTES_MAX:
                taken += connection.send(b"a" * HEAD_BYTES_MAX)
    assert taken < 1_000 * HEAD_BYTES_MAX


STARTS = {
    "a method in small letters": ("post /graphql HTTP/1.1", 400),
    "a method that nobody knows": ("STEAL /graphql HTTP/1.1", 400),
    "another version": ("POST /graphql HTTP/3.7", 400),
    "CONNECT": ("CONNECT /graphql HTTP/1.1", 405),
    "TRACE": ("TRACE /graphql HTTP/1.1", 405),
    "HEAD": ("HEAD /graphql?query={name} HTTP/1.1", 405),
    "a way up": ("POST /healthz/../graphql HTTP/1.1", 404),
    "a way up, encoded": ("POST /graphiql/%2e%2e/%2e%2e/etc/passwd HTTP/1.1", 404),
    "an encoded slash": ("POST /demo%2ftoken%2f HTTP/1.1", 404),
    "two slashes": ("POST //graphql HTTP/1.1", 404),
    "a slash at the end": ("POST /graphql/ HTTP/1.1", 404),
    "a zero byte": ("POST /graphql%00 HTTP/1.1", 404),
    "an overlong dot": ("GET /graphiql/%c0%ae%c0%ae/app.py HTTP/1.1", 404),
    "a file of the page's package": ("GET /graphiql/../graphiql.py HTTP/1.1", 404),
    "a long address": ("GET /graphql?query=" + "a" * 1_000_000 + " HTTP/1.1", 400),
}


@pytest.mark.parametrize(("start", "status"), STARTS.values(), ids=STARTS.keys())
def test_start(client: Client, start: str, status: int) -> None:
    answered, body = sent(client.served, head(client.served, start, LENGTH), QUERY.encode())
    assert answered == status
    assert b"Traceback" not in body
    assert client.served.sessions == []


def test_method_override_is_no_method(client: Client) -> None:
    """A GET stays a GET for what it may do, whatever its headers say."""
    start = "GET /graphql?query=mutation{touch} HTTP/1.1"
    override = ("GraphQL-Require-Preflight: 1", "X-HTTP-Method-Override: POST", "X-Method-Override: POST")
    status, body = sent(client.served, head(client.served, start, *override))
    assert (status, code_of(body)) == (405, "METHOD_NOT_ALLOWED")


def test_host_is_not_believed(client: Client) -> None:
    """No answer leads to where a request says that it is."""
    served = client.served
    status, body = sent(
        served, head(served, "POST /graphql/ HTTP/1.1", LENGTH).replace(b"Host: x", b"Host: evil.example")
    )
    assert status == 404
    assert b"evil" not in body


def chunk(data: bytes) -> bytes:
    """A chunk of a body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def test_body_without_an_end(client: Client) -> None:
    """Refused once it is too large, not when it ends."""
    chunks = [chunk(b" " * 100_000)] * (BODY_BYTES_MAX // 100_000 + 2)
    status, body = sent(
        client.served, head(client.served, "POST /graphql HTTP/1.1", "Transfer-Encoding: chunked"), *chunks
    )
    assert (status, code_of(body)) == (413, "PAYLOAD_TOO_LARGE")


def test_announced_body(client: Client) -> None:
    """Refused by what it announces: none of it is waited for."""
    status, body = sent(client.served, head(client.served, "POST /graphql HTTP/1.1", f"Content-Length: {10**12}"))
    assert (status, code_of(body)) == (413, "PAYLOAD_TOO_LARGE")


def test_gzip_bomb_in_chunks(client: Client) -> None:
    """A thousandfold: a hundred bytes more of it would not be inflated."""
    bomb = gzip.compress(b" " * 50_000_000)
    pieces = [chunk(bomb[start : start + 1_000]) for start in range(0, len(bomb), 1_000)]
    headers = ("Transfer-Encoding: chunked", "Content-Encoding: gzip")
    status, body = sent(client.served, head(client.served, "POST /graphql HTTP/1.1", *headers), *pieces)
    assert (status, code_of(body)) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("size", ["ZZ", "-1", "1" * 40])
def test_chunk_of_no_size(client: Client, size: str) -> None:
    served = client.served
    begun = head(served, "POST /graphql HTTP/1.1", "Transfer-Encoding: chunked")
    assert sent(served, begun, f"{size}\r\n".encode())[0] == 400


BODIES: dict[str, tuple[str, str]] = {
    "a batch": ("[" + ",".join([QUERY] * 1_000) + "]", "BAD_REQUEST"),
    "a batch inside": (json.dumps({"query": ["{ name }", "{ name }"]}), "BAD_REQUEST"),
    "variables a thousand deep": (
        '{"query":"{ name }","variables":{"v":' + "[" * 2_000 + "]" * 2_000 + "}}",
        "BAD_REQUEST",
    ),
    "many keys": ('{"variables":{' + ",".join(f'"v{n}":1' for n in range(50_000)) + "}}", "BAD_REQUEST"),
    "infinity": ('{"query":"{ name }","variables":{"a":Infinity}}', "BAD_REQUEST"),
    "a number beyond any": ('{"query":"{ name }","variables":{"a":' + "9" * 5_000 + "e}}", "BAD_REQUEST"),
    "a comment": ('{"query":"{ name }"/**/}', "BAD_REQUEST"),
    "a comma at the end": ('{"query":"{ name }",}', "BAD_REQUEST"),
    "single quotes": ("{'query':'{ name }'}", "BAD_REQUEST"),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES.keys())
def test_body(client: Client, body: str, expected: str) -> None:
    answer = client.send(body.encode())
    assert (answer.status, answer.code) == (400, expected)
    assert client.served.sessions == []


def test_keys_that_are_doubled(client: Client) -> None:
    """The last one counts, for the operation as for what a GET may do: there is one reading, so no two can differ."""
    answer = client.send(b'{"query": "mutation { touch }", "query": "{ name }", "variables": 1, "variables": null}')
    assert answer.json["data"] == {"name": "***"}


@pytest.mark.parametrize("charset", ["utf-7", "utf-16", "utf-32", "ibm037", "shift_jis", "x-user-defined"])
def test_charset(client: Client, charset: str) -> None:
    """What a filter on the way would read as something else."""
    answer = client.send(QUERY.encode(), headers={"content-type": f"application/json; charset={charset}"})
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


def handshake(served: Served) -> socket.socket:
    """A connection on which a WebSocket is open."""
    key = base64.b64encode(os.urandom(16)).decode()
    wanted = (
        "GET /graphql HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Protocol: {PROTOCOL}", "", "",
    )  # fmt: skip
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=20)
    connection.sendall("\r\n".join(wanted).encode())
    assert connection.recv(4096).startswith(b"HTTP/1.1 101 ")
    return connection


def frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = True) -> bytes:
    """A frame of RFC 6455 with a mask of zeros."""
    first = (0x80 if final else 0) | opcode
    mask = 0x80 if masked else 0
    size = len(payload)
    length = struct.pack(">BB", first, mask | size) if size < 126 else struct.pack(">BBQ", first, mask | 127, size)
    return length + (b"\0" * 4 if masked else b"") + payload


FRAMES = {
    "without a mask": (frame(1, b"{}", masked=False), 1002),
    "an unknown opcode": (frame(3, b""), 1002),
    "a reserved bit": (b"\xf1\x80\0\0\0\0", 1002),
    "a long ping": (frame(9, b"a" * 200), 1002),
    "a ping in fragments": (frame(9, b"", final=False), 1002),
    "a fragment of nothing": (frame(0, b"{}"), 1002),
    "not UTF-8": (frame(1, b"\xff\xfe"), 1007),
    "an announced length of 2^62": (b"\x81\xff" + struct.pack(">Q", 1 << 62) + b"\0" * 4, 1009),
    "one byte too many": (frame(1, b" " * (BODY_BYTES_MAX + 1)), 1009),
    "too large in fragments": (frame(1, b" " * 600_000, final=False) + frame(0, b" " * 600_000), 1009),
    "binary": (frame(2, b"{}"), 4400),
    "not JSON": (frame(1, b"{"), 4400),
    "a message of no type": (frame(1, b'{"id":"1"}'), 4400),
}


@pytest.mark.parametrize(("sent_frame", "expected"), FRAMES.values(), ids=FRAMES.keys())
def test_frame(client: Client, sent_frame: bytes, expected: int) -> None:
    with handshake(client.served) as connection:
        connection.sendall(sent_frame)
        assert closed(connection) == expected


def closed(connection: socket.socket) -> int:
    """Code of the close frame that ends what the server sends."""
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
        if received[-2 - received[-1] :][:1] == b"\x88":
            break
    at = received.rindex(b"\x88")
    return struct.unpack(">H", received[at + 2 : at + 4])[0]


def test_flood_of_pings(client: Client) -> None:
    """Each is answered, and none makes the others wait."""
    with handshake(client.served) as connection:
        connection.sendall(frame(1, b'{"type":"ping"}') * 2_000)
        expected = len(b'\x81\x0f{"type":"pong"}') * 2_000
        received = 0
        while received < expected:
            received += len(connection.recv(65_536))


def test_flood_of_operations(client: Client) -> None:
    """More than may be under way: each of the others is refused by name, and all end with their socket."""
    init = {"type": "connection_init", "payload": {"Authorization": f"Bearer {client.served.token('nurse')}"}}
    messages = [{"type": "subscribe", "id": str(n), "payload": {"query": "{ stuck }"}} for n in range(200)]
    with handshake(client.served) as connection:
        connection.sendall(b"".join(frame(1, json.dumps(message).encode()) for message in (init, *messages)))
        received = b""
        while received.count(b"operationsPerSocket") < 2 * 180:
            received += connection.recv(65_536)
    client.served.logged("socket=")
    assert client.served.sessions.count("open") == client.served.sessions.count("closed") <= 20


@pytest.mark.parametrize("path", ["/healthz", "/graphiql", "/demo/token", "/nowhere"])
def test_socket_where_there_is_none(client: Client, path: str) -> None:
    wanted = ("Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
    start = head(client.served, f"GET {path} HTTP/1.1", *wanted).replace(b"Connection: close", b"Connection: Upgrade")
    assert sent(client.served, start)[0] == 403


async def test_many_at_once(client: Client) -> None:
    """Good and bad requests side by side: every one has its own answer."""
    good = [asyncio.to_thread(client.ask, "{ name }") for _ in range(20)]
    bad = [asyncio.to_thread(client.send, b"[" * 50_000) for _ in range(20)]
    answers = await asyncio.gather(*good, *bad)
    assert [answer.status for answer in answers] == [200] * 20 + [400] * 20
