"""What claims allow and headers choose: never more than the token, and never a value in a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from starlette.datastructures import Headers

from db.caller import Caller, Profile, PurposeOfUse, Reach
from db.errors import Forbidden
from db.policy import ROLES, purposes_of
from graph.claims import caller_of, needed_claim
from tests.identity.issuer import ELSEWHERE, FACILITY

THIRD = UUID("00000000-0000-4000-8000-000000000003")
ID = UUID("00000000-0000-4000-8000-0000000000aa")
TREAT, ETREAT, HOPERAT, HRESCH = (PurposeOfUse[name] for name in ("TREAT", "ETREAT", "HOPERAT", "HRESCH"))


def made(headers: Mapping[str, str] | None = None, **changes: Any) -> Caller:
    """The caller of a physician's claims with changes; one that is None is left out."""
    usual = {"sub": "s", "roles": ["physician"], "facility": str(FACILITY), "purposes": ["TREAT"]}
    claims = {name: value for name, value in {**usual, **changes}.items() if value is not None}
    return caller_of(claims, headers or {})


def refusal(headers: Mapping[str, str] | None = None, **changes: Any) -> str:
    """The message of a refusal."""
    with pytest.raises(Forbidden) as refused:
        made(headers, **changes)
    assert refused.value.code == "FORBIDDEN"
    return refused.value.message


@pytest.mark.parametrize(
    ("roles", "wanted", "role"),
    [
        (["physician"], None, "physician"),
        (["nurse", "physician"], None, "nurse"),
        (["offline_access", "uma", "nurse"], None, "nurse"),
        (["nurse", "physician"], "physician", "physician"),
        (["nurse", "physician"], "registrar", None),
        (["nurse", "offline_access"], "offline_access", None),
        (["nurse"], "", None),
        (["nurse"], "NURSE", None),
        (["offline_access"], None, None),
        ([], None, None),
        (None, None, None),
    ],
)
def test_roles(roles: list[str] | None, wanted: str | None, role: str | None) -> None:
    headers = {} if wanted is None else {"caregraph-role": wanted}
    if role is None:
        assert "Caregraph-Role" in refusal(headers, roles=roles)
    else:
        assert made(headers, roles=roles).role is ROLES[role]


@pytest.mark.parametrize(
    ("claims", "wanted", "facility"),
    [
        ({}, None, FACILITY),
        ({"facility": None, "facilities": [str(ELSEWHERE), str(FACILITY)]}, None, ELSEWHERE),
        ({"facilities": [str(ELSEWHERE), str(FACILITY)]}, None, FACILITY),
        ({"facilities": [str(ELSEWHERE)]}, str(ELSEWHERE), ELSEWHERE),
        ({"facilities": [str(ELSEWHERE)]}, str(FACILITY), FACILITY),
        ({"facility": str(FACILITY).upper()}, str(FACILITY), FACILITY),
        ({"facilities": [str(ELSEWHERE)]}, str(THIRD), None),
        ({}, str(ELSEWHERE), None),
        ({}, "RIVERSIDE", None),
        ({}, "", None),
        ({}, "*", None),
        ({"facility": None}, None, None),
        ({"facility": None}, str(FACILITY), None),
        ({"facility": None, "facilities": []}, None, None),
    ],
)
def test_facilities(claims: dict[str, Any], wanted: str | None, facility: UUID | None) -> None:
    headers = {} if wanted is None else {"caregraph-facility": wanted}
    if facility is None:
        assert "Caregraph-Facility" in refusal(headers, **claims)
    else:
        assert made(headers, **claims).facility_id == facility


@pytest.mark.parametrize(
    ("role", "claims", "wanted", "purpose"),
    [
        ("physician", {"purposes": ["TREAT"]}, None, TREAT),
        ("physician", {"purposes": ["ETREAT", "TREAT"]}, None, TREAT),
        ("physician", {"purposes": None, "purpose": "TREAT"}, None, TREAT),
        ("physician", {"purposes": ["ETREAT"], "purpose": "TREAT"}, "ETREAT", ETREAT),
        ("physician", {"purposes": ["TREAT"]}, "ETREAT", None),
        ("physician", {"purposes": ["ETREAT"]}, None, None),
        ("physician", {"purposes": ["ETREAT"]}, "ETREAT", ETREAT),
        ("physician", {"purposes": ["TREAT", "HRESCH"]}, "HRESCH", None),
        ("physician", {"purposes": ["HOPERAT"]}, None, None),
        ("physician", {"purposes": ["CURIOSITY"]}, "CURIOSITY", None),
        ("physician", {"purposes": ["TREAT"]}, "treat", None),
        ("physician", {"purposes": []}, None, None),
        ("physician", {"purposes": None}, None, None),
        ("analyst", {"purposes": ["HRESCH", "HOPERAT"]}, None, HOPERAT),
        ("analyst", {"purposes": ["HRESCH"]}, None, HRESCH),
        ("analyst", {"purposes": ["HRESCH", "HOPERAT"]}, "HRESCH", HRESCH),
        ("analyst", {"purposes": ["HOPERAT"]}, "HRESCH", None),
        ("biller", {"purposes": ["TREAT", "ETREAT"]}, "ETREAT", None),
    ],
)
def test_purposes(role: str, claims: dict[str, Any], wanted: str | None, purpose: PurposeOfUse | None) -> None:
    headers = {} if wanted is None else {"caregraph-purpose": wanted}
    if purpose is None:
        assert "Caregraph-Purpose" in refusal(headers, roles=[role], **claims)
    else:
        assert made(headers, roles=[role], **claims).purpose is purpose


@pytest.mark.parametrize("header", ["Caregraph-Role", "Caregraph-Facility", "Caregraph-Purpose"])
def test_a_refusal_names_the_header_and_not_its_value(header: str) -> None:
    message = refusal({header: "Lovelace-1815"})
    assert header in message
    assert "Lovelace" not in message


def test_a_header_in_any_case_of_a_request() -> None:
    headers = Headers({"CAREGRAPH-PURPOSE": "ETREAT"})
    assert made(headers, purposes=["TREAT", "ETREAT"]).purpose is ETREAT


@pytest.mark.parametrize("role", ROLES.values(), ids=ROLES.keys())
def test_what_a_role_needs(role: Any) -> None:
    """A role that reaches nobody without a claim is refused without it, and keeps what it says."""
    usual = purposes_of(role.profile)[0]
    claims: dict[str, Any] = {"roles": [role.name], "purposes": [usual.value]}
    needed = needed_claim(role)
    assert needed == {
        Reach.DEPARTMENT: "department",
        Reach.RELATIONSHIP: "provider",
        Reach.FACILITY: "patient" if role.profile is Profile.PATIENT else None,
    }.get(role.reach)
    if needed is None:
        assert made(**claims) == Caller("s", role, FACILITY, usual)
        return
    assert f"'{needed}'" in refusal(**claims)
    claims[needed] = str(ID)
    assert getattr(made(**claims), f"{needed}_id") == ID


def test_the_role_that_is_chosen_decides_what_is_needed() -> None:
    roles = ["physician", "ward_nurse"]
    assert made(roles=roles).role is ROLES["physician"]
    assert "'department'" in refusal({"caregraph-role": "ward_nurse"}, roles=roles)


@pytest.mark.parametrize(
    ("role", "scope", "bound"),
    [
        ("physician", None, True),
        ("physician", "openid", True),
        ("physician", "user/*.rs", False),
        ("cds", "system/*.rs", False),
        ("physician", "user/*.rs patient/Patient.rs", True),
        ("physician", "patient/*.rs", True),
        ("physician", "launch/patient openid", False),
        ("patient", "user/*.rs", True),
        ("patient", None, True),
    ],
)
def test_the_patient_of_a_token(role: str, scope: str | None, bound: bool) -> None:
    """Bound to it, unless all scopes are on the user's or the system's level: then it is where an app was opened."""
    usual = purposes_of(ROLES[role].profile)[0].value
    caller = made(roles=[role], purposes=[usual], scope=scope, patient=str(ID))
    assert caller.patient_id == (ID if bound else None)


@pytest.mark.parametrize("scope", ["patient/*.rs", "user/*.rs patient/Patient.rs", "patient/Patient.read"])
def test_scopes_of_a_patient_need_one(scope: str) -> None:
    assert "'patient'" in refusal(scope=scope)
