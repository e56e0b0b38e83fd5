"""Methods, media types and statuses beyond what the audit suite asks."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from graph.media import GRAPHQL_JSON, JSON
from tests.http.serving import Client

QUERY = b'{"query": "{ name }"}'


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (GRAPHQL_JSON, GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}, {JSON}", GRAPHQL_JSON),
        (f"{JSON}, {GRAPHQL_JSON}", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON};q=0.5, {JSON};q=0.9", JSON),
        (f"{GRAPHQL_JSON};q=0.5, */*;q=0.1", GRAPHQL_JSON),
        (f"{JSON};q=0, */*", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON};q=0, */*", JSON),
        (f"{GRAPHQL_JSON}; charset=utf-8", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}; charset=latin1, {JSON}", JSON),
        ("APPLICATION/JSON", JSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
        ("multipart/mixed;deferSpec=20220824, application/json", JSON),
    ],
)
def test_media_type_of_the_answer(client: Client, accept: str | None, media_type: str) -> None:
    answer = client.send(QUERY, headers={"accept": accept})
    assert answer.status == 200
    assert answer.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/json;q=0",
        "application/json; charset=latin1",
        "application/xml, image/*",
        "multipart/mixed;deferSpec=20220824",
        "multipart/mixed;subscriptionSpec=1.0",
        "multipart/mixed;q=0",
        "multipart/mixed;incrementalSpec=v9",
        "json",
    ],
)
def test_nothing_acceptable(client: Client, accept: str) -> None:
    answer = client.send(QUERY, headers={"accept": accept})
    assert (answer.status, answer.code) == (406, "NOT_ACCEPTABLE")
    assert client.served.sessions == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"])
def test_other_methods(client: Client, method: str) -> None:
    answer = client.send(QUERY, method=method)
    assert (answer.status, answer.code) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET, POST"


def test_no_origin_is_let_in(client: Client) -> None:
    """A page of another origin is not named in any header, neither asking first nor asking."""
    origin = {"origin": "https://elsewhere.example", "access-control-request-method": "POST"}
    for method in ("OPTIONS", "POST"):
        answer = client.send(QUERY, method=method, headers=origin)
        assert "access-control-allow-origin" not in answer.headers


def get(client: Client, **parameters: str) -> str:
    """The path of a GET request."""
    return f"/graphql?{urlencode(parameters)}"


def test_get_reads(client: Client) -> None:
    path = get(client, query="query A($f: Int!) { record(first: $f) }", operationName="A", variables='{"f": 7}')
    answer = client.send(method="GET", path=path, headers={"content-type": None})
    assert (answer.status, answer.json) == (200, {"data": {"record": "None 7 ACTIVE"}})


def test_get_never_writes(client: Client) -> None:
    """Nor does a document whose chosen operation is a mutation among queries."""
    for parameters in (
        {"query": "mutation { touch }"},
        {"query": "query A { name } mutation B { touch }", "operationName": "B"},
    ):
        answer = client.send(method="GET", path=get(client, **parameters))
        assert (answer.status, answer.code) == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == "POST"
    assert client.served.sessions == []


def test_post_writes(client: Client) -> None:
    assert client.ask("mutation { touch }").json == {"data": {"touch": True}}


def test_data_means_200(client: Client) -> None:
    """Even null, when a field that may not be null failed: that is an answer."""
    answer = client.ask("{ required }")
    assert (answer.status, answer.json["data"], answer.code) == (200, None, "STORE_UNAVAILABLE")


def test_statuses_that_do_not_depend_on_the_media_type(client: Client) -> None:
    query, variables = "query ($patientName: String) { record(name: $patientName) }", {"patientName": "x"}
    for media_type in (JSON, GRAPHQL_JSON):
        forbidden = client.ask(query, accept=media_type, variables=variables)
        assert (forbidden.status, forbidden.code) == (403, "PHI_FILTER_FORBIDDEN")
        assert forbidden.json["errors"][0]["extensions"]["argument"] == "name"
        assert forbidden.json.keys() == {"errors"}


def test_every_answer_has_its_own_request_id(client: Client) -> None:
    answers = [client.send(QUERY), client.send(b"null"), client.send(QUERY, path="/nothing"), client.ask("{ row }")]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == len(answers)
    assert all(any(f"request={request_id} " in line for line in client.served.log) for request_id in ids)


def test_masked_fields_are_named(client: Client) -> None:
    masked = [{"field": "Query.name", "kind": "NAME", "reason": "POLICY"}]
    assert client.ask("{ name }").json == {"data": {"name": "***"}, "extensions": {"phi": masked}}
    assert client.ask("{ name }", persona="privacy").json == {"data": {"name": "***"}}
