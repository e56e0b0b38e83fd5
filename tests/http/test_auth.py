"""Who is let in: only the bearer of a token that the demo issuer signed for this audience and that is not over."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import Any
from uuid import UUID

import jwt
import pytest

from db.caller import Caller, Profile, PurposeOfUse
from db.errors import InvalidArgument, Unauthenticated
from graph.auth import PERSONAS, authenticate, issue
from tests.http.serving import FACILITY, Client, small_settings

SETTINGS = small_settings()
QUERY = b'{"query": "{ name }"}'


def claims_of(token: str) -> dict[str, Any]:
    """Claims, unverified."""
    return jwt.decode(token, options={"verify_signature": False})


def signed(changes: dict[str, Any]) -> str:
    """A token of the demo issuer with other claims; None leaves one out."""
    from graph.auth import _demo_key  # pyright: ignore[reportPrivateUsage] - a forger inside the house

    claims = {**claims_of(issue(SETTINGS, "physician", FACILITY, "MAIN")), **changes}
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, _demo_key(SETTINGS), "HS256")


def unsigned() -> str:
    """A token that says that it needs no signature."""
    claims = claims_of(issue(SETTINGS, "physician", FACILITY, "MAIN"))
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "none"}, claims)
    )
    return f"{head}.{body}."


NOW = int(time.time())
TOKENS = {
    "nothing": "",
    "not a token": "abc",
    "no signature": unsigned(),
    "another secret": issue(replace(SETTINGS, secret=b"x" * 32), "physician", FACILITY, "MAIN"),
    "the bare secret": jwt.encode(claims_of(signed({})), SETTINGS.secret, "HS256"),
    "another algorithm": jwt.encode(claims_of(signed({})), b"x" * 64, "HS512"),
    "a changed claim": signed({})[:-4] + "AAAA",
    "over": signed({"exp": NOW - 1}),
    "issued tomorrow": signed({"iat": NOW + 86_400}),
    "another audience": signed({"aud": "elsewhere"}),
    "another issuer": signed({"iss": "elsewhere"}),
    "no expiry": signed({"exp": None}),
    "no issue time": signed({"iat": None}),
    "no subject": signed({"sub": None}),
    "no facility": signed({"facility": None}),
    "no purpose": signed({"purpose": None}),
    "no profile": signed({"profile": None}),
    "unknown profile": signed({"profile": "root"}),
    "unknown purpose": signed({"purpose": "CURIOSITY"}),
    "facility not an id": signed({"facility": "MAIN"}),
    "facility a number": signed({"facility": 1}),
    "facility a list": signed({"facility": [str(FACILITY)]}),
    "profile a list": signed({"profile": ["clinician"]}),
    "department not an id": signed({"department": "ICU"}),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS.keys())
def test_refused(client: Client, token: str) -> None:
    answer = client.send(QUERY, headers={"authorization": f"Bearer {token}"})
    assert (answer.status, answer.code) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json.keys() == {"errors"}
    assert client.served.sessions == []


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic abc", issue(SETTINGS, "nurse", FACILITY, "MAIN")])
def test_refused_without_bearer(client: Client, authorization: str | None) -> None:
    assert client.send(QUERY, headers={"authorization": authorization}).status == 401


def test_body_is_not_read_before(client: Client) -> None:
    """Who is not let in learns nothing about what he sent."""
    assert client.send(b"null", headers={"authorization": None}).status == 401


def test_caller() -> None:
    department = "00000000-0000-4000-8000-0000000000aa"
    caller = authenticate(SETTINGS, f"bearer {signed({'department': department})}")
    assert caller == Caller("demo-physician", Profile.CLINICIAN, FACILITY, PurposeOfUse.TREAT, UUID(department))


@pytest.mark.parametrize(
    ("persona", "profile", "purpose"),
    [
        ("physician", Profile.CLINICIAN, PurposeOfUse.TREAT),
        ("nurse", Profile.NURSE, PurposeOfUse.TREAT),
        ("registrar", Profile.REGISTRAR, PurposeOfUse.HOPERAT),
        ("biller", Profile.BILLING, PurposeOfUse.HPAYMT),
        ("cds", Profile.CDS, PurposeOfUse.TREAT),
        ("analyst", Profile.ANALYST, PurposeOfUse.HOPERAT),
        ("privacy", Profile.PRIVACY_OFFICER, PurposeOfUse.HOPERAT),
    ],
)
def test_personas(persona: str, profile: Profile, purpose: PurposeOfUse) -> None:
    token = issue(SETTINGS, persona, FACILITY, "MAIN")
    caller = authenticate(SETTINGS, f"Bearer {token}")
    assert (caller.profile, caller.purpose, caller.facility_id) == (profile, purpose, FACILITY)
    claims = claims_of(token)
    assert claims["exp"] - claims["iat"] == 8 * 3600
    assert claims["facility_code"] == "MAIN"


def test_no_demo_no_tokens() -> None:
    """Outside the demo its issuer neither issues nor is believed."""
    token = issue(SETTINGS, "physician", FACILITY, "MAIN")
    real = replace(SETTINGS, demo=False)
    with pytest.raises(Unauthenticated):
        authenticate(real, f"Bearer {token}")
    with pytest.raises(InvalidArgument):
        issue(real, "physician", FACILITY, "MAIN")


def test_picker(client: Client) -> None:
    """The personas and facilities that the page offers, and a token that lets in."""
    anonymous = {"authorization": None}
    offered = client.send(method="GET", path="/demo/personas", headers=anonymous).json
    assert offered["facilities"] == [{"code": "MAIN", "name": "Main Hospital"}]
    assert [persona["name"] for persona in offered["personas"]] == list(PERSONAS)
    chosen = json.dumps({"persona": "nurse", "facility": "MAIN"}).encode()
    token = client.send(chosen, path="/demo/token", headers=anonymous).json["token"]
    assert authenticate(client.served.settings, f"Bearer {token}").profile is Profile.NURSE


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
