"""Claims of a verified token become the Caller; headers choose among what the token allows, and never more.

| claim | what |
|---|---|
| `roles` | roles of the policy; others are not ours and are passed over |
| `facility`, `facilities` | ids of facilities; the single one is the usual one |
| `purpose`, `purposes` | purposes of use (HL7 v3-PurposeOfUse) |
| `department`, `provider` | ids of the department that a role is bound to, and of the caller as a provider |
| `patient` | id of the one patient to see: the caller, or the patient of a SMART launch |
| `scope` | SMART on FHIR v2 scopes among others, see graph.scopes |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

from db.caller import Caller, Profile, PurposeOfUse, Reach, Role
from db.errors import Forbidden, Unauthenticated
from db.policy import ROLES, purposes_of
from graph.scopes import Grant, granted

T = TypeVar("T")

ROLE_HEADER = "Caregraph-Role"
FACILITY_HEADER = "Caregraph-Facility"
PURPOSE_HEADER = "Caregraph-Purpose"

SUBJECT_CHARACTERS_MAX = 255
"""Length of `sub`, OpenID Connect Core 1.0, section 2."""


def caller_of(claims: Mapping[str, Any], headers: Mapping[str, str]) -> Caller:
    """The caller that claims and headers name; names of headers are in any case, or all small.

    Raises Unauthenticated for claims that are malformed, Forbidden for a token that allows no role, facility or purpose
    and for a header that asks for another than it allows.
    """
    scopes = granted(_text(claims, "scope"))
    role = _role(claims, headers)
    return Caller(
        subject=_subject(claims),
        role=role,
        facility_id=_chosen(headers, FACILITY_HEADER, _facilities(claims)),
        purpose=_purpose(claims, headers, role),
        department_id=_id(claims, "department"),
        provider_id=_id(claims, "provider"),
        patient_id=_patient(claims, role, scopes),
        types=None if scopes is None else scopes.types,
    )


def needed_claim(role: Role) -> str | None:
    """The claim without which a role reaches nobody: a token must have it."""
    if role.profile is Profile.PATIENT:
        return "patient"
    return {Reach.DEPARTMENT: "department", Reach.RELATIONSHIP: "provider"}.get(role.reach)


def _role(claims: Mapping[str, Any], headers: Mapping[str, str]) -> Role:
    held = {name: ROLES[name] for name in _texts(claims, "roles") if name in ROLES}
    role = _chosen(headers, ROLE_HEADER, held)
    claim = needed_claim(role)
    if claim is not None and claims.get(claim) is None:
        raise Forbidden(f"The role needs a token with the claim '{claim}'.")
    return role


def _facilities(claims: Mapping[str, Any]) -> Mapping[str, UUID]:
    ids = [_uuid(text) for text in [*_single(claims, "facility"), *_texts(claims, "facilities")]]
    return {str(facility_id): facility_id for facility_id in ids}


def _purpose(claims: Mapping[str, Any], headers: Mapping[str, str], role: Role) -> PurposeOfUse:
    """The purpose that a header names, or the usual one; an emergency (ETREAT) is never the usual one."""
    allowed = {*_single(claims, "purpose"), *_texts(claims, "purposes")}
    purposes = {purpose.value: purpose for purpose in purposes_of(role.profile) if purpose.value in allowed}
    if header_of(headers, PURPOSE_HEADER) is None:
        purposes.pop(PurposeOfUse.ETREAT.value, None)
    return _chosen(headers, PURPOSE_HEADER, purposes)


def _patient(claims: Mapping[str, Any], role: Role, scopes: Grant | None) -> UUID | None:
    """The one patient whom the token is bound to.

    With scopes on the user's or system's level only, the patient of a launch is where an app opens, not all it may see.
    """
    patient_id = _id(claims, "patient")
    if scopes is not None and scopes.of_patient and patient_id is None:
        raise Forbidden("Scopes of a patient need a token with the claim 'patient'.")
    bound = role.profile is Profile.PATIENT or scopes is None or scopes.of_patient
    return patient_id if bound else None


def _chosen(headers: Mapping[str, str], header: str, allowed: Mapping[str, T]) -> T:
    """The value that a header names, without it the first one. Raises Forbidden; the header's value is not repeated."""
    if not allowed:
        raise Forbidden(f"The token allows nothing that '{header}' could choose.")
    wanted = header_of(headers, header)
    if wanted is None:
        return next(iter(allowed.values()))
    if wanted not in allowed:
        raise Forbidden(f"Header '{header}' asks for what the token or its role does not allow.")
    return allowed[wanted]


def header_of(headers: Mapping[str, str], name: str) -> str | None:
    """A header whose name is in any case, or all small."""
    return headers.get(name, headers.get(name.lower()))


def _subject(claims: Mapping[str, Any]) -> str:
    subject = _text(claims, "sub")
    if not subject or len(subject) > SUBJECT_CHARACTERS_MAX or not subject.isprintable():
        raise Unauthenticated("BAD_CLAIM")
    return subject


def _single(claims: Mapping[str, Any], name: str) -> Sequence[str]:
    text = _text(claims, name)
    return [] if text is None else [text]


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is not None and not isinstance(value, str):
        raise Unauthenticated("BAD_CLAIM")
    return value


def _texts(claims: Mapping[str, Any], name: str) -> Sequence[str]:
    value = claims.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in cast("list[object]", value)):
        raise Unauthenticated("BAD_CLAIM")
    return cast("list[str]", value)


def _id(claims: Mapping[str, Any], name: str) -> UUID | None:
    text = _text(claims, name)
    return None if text is None else _uuid(text)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Unauthenticated("BAD_CLAIM") from None
