"""Answers in parts: framing of multipart/mixed, order, errors, and the reader that stays open to the end."""

from __future__ import annotations

import http.client
import json
import re
from typing import Any

import pytest

from tests.http.serving import Answer, Client

MULTIPART = "multipart/mixed"
DEFERRED = 'query Deferred { name chart { title ... @defer(label: "slow") { notes vitals broken } } }'


def parts(answer: Answer) -> list[Any]:
    """Bodies of the parts, read strictly by RFC 2046."""
    found = re.fullmatch(r'multipart/mixed; boundary="([^"]+)"; incrementalSpec=v0\.2', answer.headers["content-type"])
    assert found is not None
    delimiter = b"--" + found[1].encode()
    assert answer.body.startswith(delimiter + b"\r\n")
    assert answer.body.endswith(b"\r\n" + delimiter + b"--\r\n")
    inner = answer.body.removeprefix(delimiter).removesuffix(b"\r\n" + delimiter + b"--\r\n")
    bodies: list[Any] = []
    for part in inner.split(b"\r\n" + delimiter):
        head, body = part.removeprefix(b"\r\n").split(b"\r\n\r\n")
        assert head == b"Content-Type: application/json; charset=utf-8"
        bodies.append(json.loads(body))
    return bodies


@pytest.mark.parametrize("accept", [MULTIPART, "multipart/mixed;incrementalSpec=v0.2, application/json;q=0.9"])
def test_defer(client: Client, accept: str) -> None:
    answer = client.ask(DEFERRED, accept=accept)
    first, last = parts(answer)
    assert answer.status == 200
    assert first == {
        "data": {"name": "***", "chart": {"title": "chart"}},
        "pending": [{"id": "0", "path": ["chart"], "label": "slow"}],
        "hasNext": True,
        "extensions": {"phi": [{"field": "Query.name", "kind": "NAME", "reason": "POLICY"}]},
    }
    (deferred,) = last["incremental"]
    assert (last["hasNext"], last["completed"], deferred["id"]) == (False, [{"id": "0"}], "0")
    assert deferred["data"] == {"notes": "notes", "vitals": None, "broken": None}
    codes = {tuple(error["path"]): error["extensions"]["code"] for error in deferred["errors"]}
    assert codes == {("chart", "vitals"): "STORE_UNAVAILABLE", ("chart", "broken"): "INTERNAL"}
    assert client.served.sessions == ["open", "closed"]


def test_stream(client: Client) -> None:
    answer = client.ask("{ counted(to: 4) @stream(initialCount: 1) }", accept=f"{MULTIPART}, application/json")
    bodies = parts(answer)
    assert bodies[0]["data"] == {"counted": [0]}
    assert [item for body in bodies[1:] for part in body.get("incremental", []) for item in part["items"]] == [1, 2, 3]
    assert [body["hasNext"] for body in bodies] == [True] * (len(bodies) - 1) + [False]


def test_parts_come_one_by_one(client: Client) -> None:
    """The first part can be read while the session still works on the second, which waits for us."""
    connection = http.client.HTTPConnection("127.0.0.1", client.served.port, timeout=20)
    headers = {
        "accept": MULTIPART,
        "content-type": "application/json",
        "authorization": f"Bearer {client.served.token()}",
    }
    query = json.dumps({"query": "{ chart { title ... @defer { held } } }"})
    connection.request("POST", "/graphql", query, headers)
    response = connection.getresponse()
    first = response.read1()
    assert b'"title":"chart"' in first
    assert first.endswith(b"\r\n---")
    assert client.served.sessions == ["open"]
    client.served.released.set()
    assert b'"held":"held"' in response.read()
    connection.close()
    assert client.served.lines(1)
    assert client.served.sessions == ["open", "closed"]


def test_client_that_leaves(client: Client) -> None:
    """The reader is closed although nobody waits for the rest."""
    connection = http.client.HTTPConnection("127.0.0.1", client.served.port, timeout=20)
    headers = {
        "accept": MULTIPART,
        "content-type": "application/json",
        "authorization": f"Bearer {client.served.token()}",
    }
    connection.request("POST", "/graphql", json.dumps({"query": "{ chart { title ... @defer { held } } }"}), headers)
    connection.getresponse().read1()
    connection.close()
    client.served.released.set()
    assert client.served.lines(1)
    assert client.served.sessions == ["open", "closed"]


@pytest.mark.parametrize("accept", ["application/json", "multipart/mixed;deferSpec=20220824, application/json"])
def test_whole_for_who_takes_no_parts(client: Client, accept: str) -> None:
    """Deferred fields come with the others."""
    answer = client.ask("{ chart { title ... @defer { notes } } counted(to: 2) @stream }", accept=accept)
    assert answer.media_type == "application/json"
    assert answer.json == {"data": {"chart": {"title": "chart", "notes": "notes"}, "counted": [0, 1]}}


def test_nothing_deferred(client: Client) -> None:
    """One piece where one piece will do; one part for a client that takes nothing else."""
    query = "query ($late: Boolean!) { chart { title ... @defer(if: $late) { notes } } }"
    whole = client.ask(query, accept=f"{MULTIPART}, application/json", variables={"late": False})
    assert whole.json == {"data": {"chart": {"title": "chart", "notes": "notes"}}}
    (only,) = parts(client.ask(query, accept=MULTIPART, variables={"late": False}))
    assert only == {"data": {"chart": {"title": "chart", "notes": "notes"}}, "hasNext": False}


def test_request_errors_are_not_parts(client: Client) -> None:
    for query, variables in (("{ nothing }", {}), ("query ($v: Int!) { record(first: $v) }", {})):
        answer = client.ask(query, accept=f"{MULTIPART}, application/graphql-response+json", variables=variables)
        assert (answer.status, answer.media_type) == (400, "application/graphql-response+json")


def test_answer_that_breaks_off(client: Client) -> None:
    """A part that can't be written ends the connection: no client takes what came for all of it."""
    with pytest.raises(http.client.IncompleteRead):
        client.ask("{ chart { title ... @defer { row } } }", accept=MULTIPART)
    logged = client.served.lines(3)  # the error, the request, and uvicorn's own
    assert client.served.sessions == ["open", "closed"]
    assert "builtins.TypeError at graph/encoding.py:" in logged[0]
    assert [line for line in logged if "Lovelace" in line] == []
