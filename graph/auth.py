"""Authentication: a bearer token becomes the Caller; the demo's own issuer is the only one so far."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt

from db.caller import Caller, Profile, PurposeOfUse
from db.context import derive
from db.errors import InvalidArgument, Unauthenticated
from db.settings import Settings

ALGORITHM = "HS256"
LIFETIME_S = 8 * 3600
REQUIRED_CLAIMS = ["iss", "aud", "exp", "iat", "sub", "profile", "facility", "purpose"]


@dataclass(frozen=True, slots=True)
class Persona:
    """A user of the demo network: role and purpose of use."""

    name: str
    display: str
    profile: Profile
    purpose: PurposeOfUse


PERSONAS = {
    persona.name: persona
    for persona in (
        Persona("physician", "Physician", Profile.CLINICIAN, PurposeOfUse.TREAT),
        Persona("nurse", "Nurse", Profile.NURSE, PurposeOfUse.TREAT),
        Persona("registrar", "Registrar", Profile.REGISTRAR, PurposeOfUse.HOPERAT),
        Persona("biller", "Biller", Profile.BILLING, PurposeOfUse.HPAYMT),
        Persona("cds", "CDS service", Profile.CDS, PurposeOfUse.TREAT),
        Persona("analyst", "Analyst", Profile.ANALYST, PurposeOfUse.HOPERAT),
        Persona("privacy", "Privacy officer", Profile.PRIVACY_OFFICER, PurposeOfUse.HOPERAT),
    )
}


def issue(settings: Settings, persona: str, facility_id: UUID, facility_code: str) -> str:
    """A demo token of 8 hours. Raises InvalidArgument for a persona that is not one, or where the demo is off."""
    known = PERSONAS.get(persona)
    if known is None or not settings.demo:
        raise InvalidArgument("persona", f"must be one of {', '.join(PERSONAS)}" if settings.demo else "needs the demo")
    now = int(time.time())
    claims = {
        "iss": settings.issuer,
        "aud": settings.audience,
        "iat": now,
        "exp": now + LIFETIME_S,
        "sub": f"demo-{known.name}",
        "profile": known.profile.value,
        "purpose": known.purpose.value,
        "facility": str(facility_id),
        "facility_code": facility_code,
    }
    return jwt.encode(claims, _demo_key(settings), ALGORITHM)


def authenticate(settings: Settings, authorization: str | None) -> Caller:
    """The caller that an Authorization header names. Raises Unauthenticated, whatever is wrong with it."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token or not settings.demo:
        raise Unauthenticated
    try:
        claims = jwt.decode(
            token.strip(),
            _demo_key(settings),
            algorithms=[ALGORITHM],
            issuer=settings.issuer,
            audience=settings.audience,
            options={"require": REQUIRED_CLAIMS},
        )
        return _caller(claims)
    # PyJWT raises its own errors; a claim of the wrong type or outside its list fails in _caller.
    except (jwt.PyJWTError, ValueError, TypeError):
        raise Unauthenticated from None


def _caller(claims: dict[str, Any]) -> Caller:
    department = claims.get("department")
    return Caller(
        subject=claims["sub"],
        profile=Profile(claims["profile"]),
        facility_id=_uuid(claims["facility"]),
        purpose=PurposeOfUse(claims["purpose"]),
        department_id=None if department is None else _uuid(department),
    )


def _uuid(claim: object) -> UUID:
    if not isinstance(claim, str):
        raise TypeError("claim is not a string")
    return UUID(claim)


def _demo_key(settings: Settings) -> bytes:
    """Key of the demo issuer, apart from every other use of the secret."""
    return derive(settings.secret, "demo-token")
