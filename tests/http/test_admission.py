"""Limits of a request: how often one caller asks, how long an operation takes, and what ends with its client."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from db.caller import Profile
from db.errors import AuditUnavailable, Overloaded, RateLimited
from db.stores import Stores
from graph.admission import CALLERS_MAX, Quota
from graph.request import Transport
from tests.callers import caller_of
from tests.http.serving import Client, serving, small_settings
from tests.http.small_graph import CANCELLED, WAITING

FACILITY, OTHER = UUID(int=1), UUID(int=2)
NURSE = caller_of(Profile.NURSE, FACILITY)


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def served(quota: Quota, subject: str = "test", facility: UUID = FACILITY) -> int:
    """How many requests are served until one is not."""
    caller = caller_of(Profile.NURSE, facility, subject)
    for count in range(10_000):
        try:
            quota.take(caller)
        except RateLimited:
            return count
    raise AssertionError("no limit")


def test_quota_of_a_minute() -> None:
    clock = Clock()
    quota = Quota(60, clock)
    assert served(quota) == 60
    clock.now += 0.5
    with pytest.raises(RateLimited) as refused:
        quota.take(NURSE)
    assert (refused.value.limit, refused.value.retry_after_s) == ("requestsPerMinute", 1)
    clock.now += 2.5
    assert served(quota) == 3
    clock.now += 3_600
    assert served(quota) == 60, "an hour saves up no more than a minute's worth"


def test_quota_is_each_caller_s_own() -> None:
    quota = Quota(5, Clock())
    assert [served(quota), served(quota, "another"), served(quota, facility=OTHER), served(quota)] == [5, 5, 5, 0]


def test_quota_remembers_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked longest ago is forgotten first, so that a crowd does not reset the one who asks all the time."""
    monkeypatch.setattr("graph.admission.CALLERS_MAX", 100)
    assert CALLERS_MAX > 1_000
    quota = Quota(300, Clock())
    for number in range(250):
        quota.take(caller_of(Profile.NURSE, FACILITY, f"one of many {number}"))
        quota.take(NURSE)
    assert quota.remembered == 100
    assert served(quota) == 50


def test_rate_limit() -> None:
    with serving(per_minute=3) as limited:
        client = Client(limited)
        assert [client.ask("{ name }").status for _ in range(3)] == [200] * 3
        refused = client.ask("{ name }")
        assert (refused.status, refused.code) == (429, "RATE_LIMITED")
        assert refused.json["errors"][0]["extensions"]["limit"] == "requestsPerMinute"
        assert int(refused.headers["retry-after"]) == 20
        assert client.ask("{ name }", persona="nurse").status == 200
        assert limited.sessions == ["open", "closed"] * 4
        assert limited.refusals == [("demo-physician", "RATE_LIMITED", None)]


def test_deadline(client: Client) -> None:
    """What is under way is cancelled, its session is closed, and the server answers the next request."""
    WAITING.clear()
    answer = client.ask("{ name stuck }")
    assert (answer.status, answer.code) == (504, "DEADLINE_EXCEEDED")
    assert answer.json["errors"][0]["extensions"]["limit"] == "operationSeconds"
    assert WAITING.is_set()
    assert CANCELLED.is_set()
    assert client.served.sessions == ["open", "closed"]
    assert client.ask("{ name }").status == 200


def test_deadline_of_parts(client: Client) -> None:
    """An answer that has begun breaks off: no client takes what came for all of it."""
    with pytest.raises(http.client.IncompleteRead):
        client.ask("{ chart { title ... @defer { endless } } }", accept="multipart/mixed")
    assert CANCELLED.is_set()


def test_deadline_of_a_body(client: Client) -> None:
    """A client that sends its body for ever is answered."""
    with socket.create_connection(("127.0.0.1", client.served.port), timeout=20) as connection:
        connection.sendall(
            b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
            + f"Authorization: Bearer {client.served.token()}\r\n\r\n{{".encode()
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 504 ")


def test_client_that_leaves_cancels(client: Client) -> None:
    WAITING.clear()
    connection = http.client.HTTPConnection("127.0.0.1", client.served.port, timeout=20)
    headers = {"content-type": "application/json", "authorization": f"Bearer {client.served.token()}"}
    connection.request("POST", "/graphql", json.dumps({"query": "{ stuck }"}), headers)
    assert WAITING.wait(20)
    connection.close()
    assert CANCELLED.wait(20)
    assert client.served.logged(" status=- ")
    assert client.served.sessions == ["open", "closed"]


def test_every_payload_has_a_witness(client: Client) -> None:
    client.ask("{ name }")
    client.ask("{ chart { title ... @defer { notes } } }", accept="multipart/mixed")
    client.ask("query ($v: Int!) { record(first: $v) }")
    assert [first for _, first in client.served.witnessed] == [True, True, False, True]
    request = client.served.requests[0]
    assert (request.transport, request.client_ip) == (Transport.HTTP, "127.0.0.1")
    assert client.served.refusals == []


def test_no_data_without_its_audit(client: Client) -> None:
    client.served.unwitnessed = AuditUnavailable()
    for query in ("{ name }", "mutation { touch }", "{ nothing }"):
        answer = client.ask(query)
        assert (answer.status, answer.code) == (503, "AUDIT_UNAVAILABLE")
        assert "data" not in answer.json


def test_every_refusal_is_noted(client: Client) -> None:
    client.send(b"{}", headers={"authorization": "Bearer x.y.z"})
    client.send(b"[]")
    client.send(method="DELETE")
    client.ask("{ nothing }")
    assert [(subject, code) for subject, code, _ in client.served.refusals] == [
        (None, "UNAUTHENTICATED"),
        ("demo-physician", "BAD_REQUEST"),
        (None, "METHOD_NOT_ALLOWED"),
        ("demo-physician", "GRAPHQL_VALIDATION_FAILED"),
    ]
    assert client.served.refusals[0][2] == "MALFORMED"


def test_subscription_over_http(client: Client) -> None:
    answer = client.ask("subscription { counted(to: 1) }")
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


async def test_reserved_places_of_decision_support() -> None:
    """While a hundred analysts wait, CDS gets its place at once: without giving up control a single time."""
    stores = Stores(small_settings())
    analysts = [asyncio.create_task(_held(stores, Profile.ANALYST)) for _ in range(100)]
    await asyncio.sleep(0)
    place = stores.place(caller_of(Profile.CDS, FACILITY))
    with pytest.raises(StopIteration):
        place.__aenter__().__await__().__next__()
    with pytest.raises(StopIteration):
        place.__aexit__(None, None, None).__await__().__next__()
    await _ended(analysts)


async def test_requests_in_flight() -> None:
    """One more than the bound is refused at once, by its name; another profile's is not, and a place comes back."""
    stores = Stores(replace(small_settings(), in_flight_max=20))
    waiting = [asyncio.create_task(_held(stores, Profile.ANALYST)) for _ in range(20)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await _held(stores, Profile.ANALYST)
    assert (refused.value.code, refused.value.limit, refused.value.retry_after_s) == (
        "OVERLOADED",
        "inFlightPerProfile",
        1,
    )
    async with stores.place(caller_of(Profile.NURSE, FACILITY)):
        await _ended(waiting)
    async with stores.place(caller_of(Profile.ANALYST, FACILITY)):
        pass


async def _held(stores: Stores, profile: Profile) -> None:
    async with stores.place(caller_of(profile, FACILITY)):
        await asyncio.Event().wait()


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
