"""Who is let in over HTTP: the bearer of a token of the demo issuer, for this audience, that is not over."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import Any
from uuid import UUID

import jwt
import pytest

from db.caller import Caller, PurposeOfUse
from db.errors import InvalidArgument, Unauthenticated
from db.policy import ROLES, purposes_of
from graph.auth import DEMO_AUDIENCE, DEMO_ISSUER, PERSONAS, Authenticator, issue
from tests.http.serving import FACILITY, STAND_IN, Client, small_settings

SETTINGS = small_settings()
QUERY = b'{"query": "{ name }"}'


def claims_of(token: str) -> dict[str, Any]:
    """Claims, unverified."""
    return jwt.decode(token, options={"verify_signature": False})


def signed(changes: dict[str, Any]) -> str:
    """A token of the demo issuer with other claims; None leaves one out."""
    from graph.auth import _demo_key  # pyright: ignore[reportPrivateUsage] - a forger inside the house

    claims = {**claims_of(issue(SETTINGS, "physician", FACILITY)), **changes}
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, _demo_key(SETTINGS), "HS256")


def unsigned() -> str:
    """A token that says that it needs no signature."""
    claims = claims_of(issue(SETTINGS, "physician", FACILITY))
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "none"}, claims)
    )
    return f"{head}.{body}."


NOW = int(time.time())
TOKENS = {
    "nothing": "",
    "not a token": "abc",
    "no signature": unsigned(),
    "another secret": issue(replace(SETTINGS, secret=b"x" * 32), "physician", FACILITY),
    "the bare secret": jwt.encode(claims_of(signed({})), SETTINGS.secret, "HS256"),
    "another algorithm": jwt.encode(claims_of(signed({})), b"x" * 64, "HS512"),
    "a changed claim": signed({})[:-4] + "AAAA",
    "over": signed({"exp": NOW - 60}),
    "issued tomorrow": signed({"iat": NOW + 86_400}),
    "another audience": signed({"aud": "elsewhere"}),
    "another issuer": signed({"iss": "elsewhere"}),
    "no expiry": signed({"exp": None}),
    "no issue time": signed({"iat": None}),
    "no subject": signed({"sub": None}),
    "facility not an id": signed({"facility": "MAIN"}),
    "roles a text": signed({"roles": "physician"}),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS.keys())
def test_refused(client: Client, token: str) -> None:
    answer = client.send(QUERY, headers={"authorization": f"Bearer {token}"})
    assert (answer.status, answer.code) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == ('Bearer error="invalid_token"' if token else "Bearer")
    assert answer.json == {
        "errors": [{"message": "A valid bearer token is required.", "extensions": {"code": "UNAUTHENTICATED"}}]
    }
    assert client.served.sessions == []


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic abc", issue(SETTINGS, "nurse", FACILITY)])
def test_refused_without_bearer(client: Client, authorization: str | None) -> None:
    answer = client.send(QUERY, headers={"authorization": authorization})
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


FORBIDDEN: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "no role": ({"roles": None}, {}),
    "unknown role": ({"roles": ["root"]}, {}),
    "no facility": ({"facility": None}, {}),
    "no purpose": ({"purposes": None}, {}),
    "unknown purpose": ({"purposes": ["CURIOSITY"]}, {}),
    "no department": ({"roles": ["ward_nurse"]}, {}),
    "another role": ({}, {"caregraph-role": "privacy_officer"}),
    "another facility": ({}, {"caregraph-facility": str(STAND_IN)}),
    "another purpose": ({}, {"caregraph-purpose": "HRESCH"}),
}


@pytest.mark.parametrize(("changes", "headers"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_forbidden(client: Client, changes: dict[str, Any], headers: dict[str, str]) -> None:
    """Somebody, but nobody here, or not as who he wants to be."""
    answer = client.send(QUERY, headers={"authorization": f"Bearer {signed(changes)}", **headers})
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert answer.json.keys() == {"errors"}
    assert client.served.sessions == []


def test_body_is_not_read_before(client: Client) -> None:
    """Who is not let in learns nothing about what he sent."""
    assert client.send(b"null", headers={"authorization": None}).status == 401


async def caller_of(token: str) -> Caller:
    """The caller of a token."""
    return await Authenticator(SETTINGS).caller({"authorization": f"bearer {token}"})


async def test_caller() -> None:
    department = "00000000-0000-4000-8000-0000000000aa"
    caller = await caller_of(signed({"department": department}))
    assert caller == Caller("demo-physician", ROLES["physician"], FACILITY, PurposeOfUse.TREAT, UUID(department))


@pytest.mark.parametrize("persona", PERSONAS.values(), ids=PERSONAS.keys())
async def test_personas(persona: Any) -> None:
    """One for each role of the policy, for each of its purposes."""
    token = issue(SETTINGS, persona.name, FACILITY, STAND_IN)
    caller = await caller_of(token)
    assert (caller.role, caller.purpose, caller.facility_id) == (persona.role, persona.purpose, FACILITY)
    bound = {"department": caller.department_id, "provider": caller.provider_id, "patient": caller.patient_id}
    assert bound == {name: STAND_IN if name == persona.claim else None for name in bound}
    claims = claims_of(token)
    assert claims["exp"] - claims["iat"] == 8 * 3600
    assert (claims["iss"], claims["aud"]) == (DEMO_ISSUER, DEMO_AUDIENCE)
    assert claims["purposes"] == [purpose.value for purpose in purposes_of(persona.role.profile)]


def test_every_role_has_a_persona() -> None:
    assert [persona.role for persona in PERSONAS.values()] == list(ROLES.values())


@pytest.mark.parametrize("persona", ["consultant", "psychotherapist", "ward_nurse", "patient"])
def test_a_persona_who_stands_for_nobody(persona: str) -> None:
    with pytest.raises(InvalidArgument, match="there is none"):
        issue(SETTINGS, persona, FACILITY)


async def test_no_demo_no_tokens() -> None:
    """Outside the demo its issuer neither issues nor is believed."""
    token = issue(SETTINGS, "physician", FACILITY)
    real = replace(SETTINGS, demo=False)
    with pytest.raises(Unauthenticated):
        await Authenticator(real).caller({"authorization": f"Bearer {token}"})
    with pytest.raises(InvalidArgument):
        issue(real, "physician", FACILITY)


@pytest.mark.parametrize("persona", ["nurse", "ward_nurse", "patient"])
async def test_picker(client: Client, persona: str) -> None:
    """The personas and facilities that the page offers, and a token that lets in."""
    anonymous = {"authorization": None}
    offered = client.send(method="GET", path="/demo/personas", headers=anonymous).json
    assert offered["facilities"] == [{"code": "MAIN", "name": "Main Hospital"}]
    assert [persona["name"] for persona in offered["personas"]] == list(PERSONAS)
    chosen = json.dumps({"persona": persona, "facility": "MAIN"}).encode()
    token = client.send(chosen, path="/demo/token", headers=anonymous).json["token"]
    assert (await caller_of(token)).role is ROLES[persona]


@pytest.mark.parametrize(
    ("asked", "argument"),
    [
        ({"persona": "root", "facility": "MAIN"}, "persona"),
        ({"persona": ["nurse"], "facility": "MAIN"}, "persona"),
        ({"facility": "MAIN"}, "persona"),
        ({"persona": "nurse", "facility": "ELSEWHERE"}, "facility"),
        ({"persona": "nurse"}, "facility"),
        ([], "facility"),
    ],
)
def test_picker_refuses(client: Client, asked: object, argument: str) -> None:
    answer = client.send(json.dumps(asked).encode(), path="/demo/token", headers={"authorization": None})
    assert (answer.status, answer.code) == (400, "INVALID_ARGUMENT")
    assert answer.json["errors"][0]["extensions"]["argument"] == argument


def test_picker_takes_json_only(client: Client) -> None:
    """A form of another site can't sign a clinician in."""
    answer = client.send(b"persona=nurse", path="/demo/token", headers={"content-type": "text/plain"})
    assert answer.status == 415
