"""Server-Sent Events: subscriptions as streams, and who gets JSON although a stream would be taken too."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

import pytest

from graph import sse
from graph.auth import issue
from tests.http.serving import FACILITY, STAND_IN, Client, Served
from tests.http.small_graph import PATIENT_VALUE

EVENTS = "text/event-stream"
URQL = (
    "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"
)
"""What urql takes for every operation."""
URQL_SUBSCRIPTION = "text/event-stream, multipart/mixed"


def events_of(body: bytes) -> list[tuple[str, Any]]:
    """Events of a whole stream with their data; comments are passed over."""
    found: list[tuple[str, Any]] = []
    for block in body.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            event, data = (line.partition(":")[2].strip() for line in lines)
            found.append((event, json.loads(data) if data else None))
    return found


@pytest.mark.parametrize("accept", [EVENTS, URQL, URQL_SUBSCRIPTION, f"{EVENTS};q=0.1, application/json"])
def test_a_subscription_is_a_stream(client: Client, accept: str) -> None:
    answer = client.ask("subscription { counted(to: 2) }", accept)
    assert (answer.status, answer.media_type, answer.headers["cache-control"]) == (200, EVENTS, "no-store")
    assert answer.body.startswith(b":\n\n"), "the client learns at once that it is connected"
    assert events_of(answer.body) == [
        ("next", {"data": {"counted": 0}}),
        ("next", {"data": {"counted": 1}}),
        ("complete", None),
    ]


@pytest.mark.parametrize("accept", [URQL, "*/*", f"application/json, {EVENTS}"])
def test_plain_operations_stay_json(client: Client, accept: str) -> None:
    answer = client.ask("{ __typename }", accept)
    assert "json" in answer.media_type
    assert answer.json == {"data": {"__typename": "Query"}}


def test_who_takes_nothing_else_gets_every_operation_as_a_stream(client: Client) -> None:
    answer = client.ask("{ __typename }", EVENTS)
    assert events_of(answer.body) == [("next", {"data": {"__typename": "Query"}}), ("complete", None)]


def test_a_subscription_for_who_takes_no_stream_is_refused(client: Client) -> None:
    answer = client.ask("subscription { counted(to: 1) }", "application/json")
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


def test_what_can_not_begin_is_json_with_its_status(client: Client) -> None:
    answer = client.ask("subscription { nothing }", EVENTS)
    assert (answer.status, answer.code) == (400, "GRAPHQL_VALIDATION_FAILED")
    answer = client.send(b"{}", headers={"accept": EVENTS, "authorization": None})
    assert (answer.status, answer.code) == (401, "UNAUTHENTICATED")


def test_what_fails_on_the_way_is_the_last_message(client: Client, served: Served) -> None:
    answer = client.ask("subscription { exhausted }", EVENTS)
    [first, last, end] = events_of(answer.body)
    assert first == ("next", {"data": {"exhausted": "one"}})
    assert last[1]["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert end == ("complete", None)
    assert PATIENT_VALUE not in answer.body.decode() + "".join(served.log)


def test_what_the_caller_may_not_have_ends_the_stream(client: Client) -> None:
    [only, end] = events_of(client.ask("subscription { forbidden }", EVENTS).body)
    assert only[1]["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert end == ("complete", None)


def test_every_message_is_witnessed_before_it_leaves(client: Client, served: Served) -> None:
    client.ask("subscription { counted(to: 3) }", EVENTS)
    assert served.witnessed == [("demo-physician", True)] * 3


def test_a_stream_ends_with_its_token(client: Client, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.auth.LIFETIME_S", 2)
    token = issue(served.settings, "physician", FACILITY, STAND_IN)
    body = json.dumps({"query": "subscription { endless }"}).encode()
    answer = client.send(body, headers={"accept": EVENTS, "authorization": f"Bearer {token}"})
    [_, last, end] = events_of(answer.body)
    assert last[1]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert end == ("complete", None)


def test_streams_of_one_caller_are_bounded_and_free_again(client: Client, served: Served) -> None:
    opened: list[http.client.HTTPConnection] = []

    def status() -> int:
        body = json.dumps({"query": "subscription { endless }"})
        headers = {"content-type": "application/json", "accept": EVENTS, "authorization": f"Bearer {served.token()}"}
        opened.append(http.client.HTTPConnection("127.0.0.1", served.port, timeout=20))
        opened[-1].request("POST", "/graphql", body, headers)
        return opened[-1].getresponse().status

    try:
        assert [status() for _ in range(sse.STREAMS_PER_CALLER_MAX)] == [200] * sse.STREAMS_PER_CALLER_MAX
        assert status() == 503
        assert client.ask("subscription { counted(to: 1) }", EVENTS, "nurse").status == 200
    finally:
        for connection in opened:
            connection.close()
    deadline = time.monotonic() + 20
    while client.ask("subscription { counted(to: 1) }", EVENTS).status != 200:
        assert time.monotonic() < deadline, "streams that were left count no longer"
        time.sleep(0.05)
