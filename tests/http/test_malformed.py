"""Malformed requests: always a 4xx with a GraphQL-shaped error and its code, never a 500, never a session."""

from __future__ import annotations

import gzip
import http.client
import zlib
from collections.abc import Iterable

import pytest

from graph.body import BODY_BYTES_MAX
from tests.http.serving import Client

QUERY = b'{"query": "{ __typename }"}'
ANSWER = {"data": {"__typename": "Query"}}

BODIES = {
    "nothing": b"",
    "null": b"null",
    "a string": b'"{ name }"',
    "a number": b"1",
    "true": b"true",
    "an array": b'[{"query": "{ name }"}]',
    "an empty array": b"[]",
    "no query": b"{}",
    "query null": b'{"query": null}',
    "query a number": b'{"query": 1}',
    "query an object": b'{"query": {}}',
    "operationName a list": b'{"query": "{ name }", "operationName": ["A"]}',
    "variables a string": b'{"query": "{ name }", "variables": "{}"}',
    "variables a list": b'{"query": "{ name }", "variables": []}',
    "extensions false": b'{"query": "{ name }", "extensions": false}',
    "cut off": QUERY[:-2],
    "two documents": QUERY + QUERY,
    "GraphQL itself": b"{ name }",
    "Latin-1": '{"query": "{ né }"}'.encode("latin-1"),
    "UTF-16": '{"query": "{ name }"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + QUERY,
    "an overlong sequence": b'{"query": "\xc0\xaf"}',
    "half a surrogate": b'{"query": "\\ud800"}',
    "NaN": b'{"query": "{ name }", "variables": {"a": NaN}}',
    "deep": b"[" * 100_000,
    "gzip without saying so": gzip.compress(QUERY),
    "a form": b"query=%7B+name+%7D",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_body_that_is_not_a_request(client: Client, body: bytes) -> None:
    answer = client.send(body)
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert "data" not in answer.json
    assert client.served.sessions == []


GZIPPED = {
    "plain": QUERY,
    "cut off": gzip.compress(QUERY)[:-6],
    "damaged": gzip.compress(QUERY)[:-8] + b"\0" * 8,
    "two members": gzip.compress(QUERY) * 2,
    "zlib": zlib.compress(QUERY),
    "empty": b"",
}


@pytest.mark.parametrize("body", GZIPPED.values(), ids=GZIPPED.keys())
def test_bad_gzip(client: Client, body: bytes) -> None:
    answer = client.send(body, headers={"content-encoding": "gzip"})
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


def test_gzip_is_read(client: Client) -> None:
    assert client.send(gzip.compress(QUERY), headers={"content-encoding": "gzip"}).json == ANSWER


TOO_LARGE = {
    "10 MB": (b"x" * 10_000_000, None),
    "10 MB in chunks": ([b" " * 100_000] * 100, None),
    "one byte too many": (QUERY + b" " * (BODY_BYTES_MAX + 1 - len(QUERY)), None),
    "a gzip bomb": (gzip.compress(b" " * 100_000_000), "gzip"),
    "gzip that expands one byte too far": (gzip.compress(b" " * (BODY_BYTES_MAX + 1)), "gzip"),
    # Empty stored blocks: megabytes that inflate to nothing.
    "gzip of nothing": (gzip.compress(b"")[:10] + b"\0\0\0\xff\xff" * 300_000, "gzip"),
}


@pytest.mark.parametrize(("body", "encoding"), TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_body_too_large(client: Client, body: bytes | Iterable[bytes], encoding: str | None) -> None:
    answer = client.send(body, headers={"content-encoding": encoding})
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")


def test_largest_body_is_read(client: Client) -> None:
    body = QUERY + b" " * (BODY_BYTES_MAX - len(QUERY))
    assert client.send(body).status == 200
    assert client.send(gzip.compress(body), headers={"content-encoding": "gzip"}).status == 200


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_other_content_encoding(client: Client, encoding: str) -> None:
    answer = client.send(QUERY, headers={"content-encoding": encoding})
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/graphql",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=iso-8859-1",
        "application/json garbage",
        "application/jsonp",
    ],
)
def test_other_content_type(client: Client, content_type: str | None) -> None:
    answer = client.send(QUERY, headers={"content-type": content_type})
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=UTF-8", 'Application/JSON;charset="utf-8"', "application/json; x=y"]
)
def test_json_content_type(client: Client, content_type: str) -> None:
    assert client.send(QUERY, headers={"content-type": content_type}).json == ANSWER


@pytest.mark.parametrize(
    "query_string",
    [
        "",
        "query=%ff",
        "query={name}&query={name}",
        "query={name}&variables={",
        "query={name}&variables=[]",
        "query={name}&variables=",
        "query={name}&extensions=1",
        "&".join(f"p{number}=1" for number in range(100)),
    ],
)
def test_malformed_url(client: Client, query_string: str) -> None:
    answer = client.send(method="GET", path=f"/graphql?{query_string}", headers={"content-type": None})
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


DOCUMENTS = {
    "empty": "",
    "only a comment": "# nothing",
    "a control character": "{ \x07 }",
    "deep": "{ chart " * 3_000,
    "long": "{" + " name" * 20_000 + "}",
    "comments": "{ name }" + "\n#" * 5_000,
    "a cycle of fragments": "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    "no such field": "{ nothing }",
    "only a fragment": "fragment A on Query { name }",
    "a subscription": "subscription { name }",
    "not executable": "type Query { name: String }",
    "two without a name": "query A { name } query B { name }",
}


@pytest.mark.parametrize("query", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_document_that_is_not_executed(client: Client, query: str) -> None:
    """400 for a client that knows the GraphQL type, a 200 without data for one of plain JSON."""
    answer = client.ask(query)
    assert answer.status == 400
    assert answer.media_type == "application/graphql-response+json"
    assert answer.json.keys() == {"errors"}
    assert all(error["extensions"]["code"] for error in answer.json["errors"])
    plain = client.ask(query, accept="application/json")
    assert (plain.status, plain.json) == (200, answer.json)
    assert client.served.sessions == []


def test_connection_can_be_used_again(client: Client) -> None:
    """What is left of a refused body is not taken for the next request."""
    connection = http.client.HTTPConnection("127.0.0.1", client.served.port, timeout=20)
    headers = {"content-type": "application/json", "authorization": f"Bearer {client.served.token()}"}
    for body, status in ((b"x" * 2_000_000, 413), (QUERY, 200)):
        connection.request("POST", "/graphql", body, headers)
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (status, True)
    connection.close()
    assert len(client.served.lines(2)) == 2
