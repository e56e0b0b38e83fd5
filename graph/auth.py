"""Authentication: a bearer token becomes the Caller, signed by the configured issuer or, in the demo, by its own.

The algorithm in a token's header says which issuer it must be from, and so which keys may verify it: a public key is
never the secret of an HMAC. Keys and places of keys in the header (`jwk`, `jku`, `x5c`, `x5u`) are not read (RFC 8725).
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import jwt

from db.caller import Caller, PurposeOfUse, Role
from db.context import derive
from db.errors import InvalidArgument, Unauthenticated
from db.policy import ROLES, purposes_of
from db.settings import Settings
from graph.claims import FACILITY_HEADER, PURPOSE_HEADER, ROLE_HEADER, caller_of, header_of, needed_claim
from graph.jwks import ALGORITHMS, Fetcher, KeySet

DEMO_ALGORITHM = "HS256"
DEMO_ISSUER = "caregraph-demo"
DEMO_AUDIENCE = "caregraph"
LIFETIME_S = 8 * 3600

LEEWAY_S = 30
"""Seconds by which the clock of the issuer may be off, for `exp`, `nbf` and `iat`."""
LAST_SECOND = 253_402_300_799
"""End of the year 9999, in seconds since 1970: what a time may be at most."""
TOKEN_CHARACTERS_MAX = 8192
TYPES = ("jwt", "at+jwt")
"""What `typ` may be, where there is one: other kinds of token (RFC 8725, section 3.11) are not for reading."""
REQUIRED_CLAIMS = ["iss", "aud", "exp", "iat", "sub"]

VERIFIED_MAX = 4096
"""Tokens that are remembered as good; who asked longest ago is verified again. A token holds some 2 KB of claims."""
CALLERS_MAX = 16
"""Callers that are remembered of one token."""
NARROWING = (ROLE_HEADER, FACILITY_HEADER, PURPOSE_HEADER)
"""Headers that choose among what a token allows."""

REASONS: Mapping[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "EXPIRED",
    jwt.ImmatureSignatureError: "NOT_YET_VALID",
    jwt.InvalidSignatureError: "BAD_SIGNATURE",
    jwt.InvalidAlgorithmError: "BAD_ALGORITHM",
    jwt.InvalidIssuerError: "WRONG_ISSUER",
    jwt.InvalidAudienceError: "WRONG_AUDIENCE",
    jwt.MissingRequiredClaimError: "MISSING_CLAIM",
}
"""Reasons of Unauthenticated by PyJWT's error; MALFORMED for every other one."""


@dataclass(frozen=True, slots=True)
class Persona:
    """A user of the demo network: role, and the purpose of use that is usual for it."""

    name: str
    display: str
    role: Role

    @property
    def purpose(self) -> PurposeOfUse:
        """Usual purpose of the role."""
        return purposes_of(self.role.profile)[0]

    @property
    def claim(self) -> str | None:
        """Claim that the persona's role needs: `provider`, `department`, `patient` or none."""
        return needed_claim(self.role)


PERSONAS = {
    persona.name: persona
    for persona in (
        Persona("physician", "Physician", ROLES["physician"]),
        Persona("consultant", "Consultant", ROLES["consultant"]),
        Persona("psychotherapist", "Psychotherapist", ROLES["psychotherapist"]),
        Persona("nurse", "Nurse", ROLES["nurse"]),
        Persona("ward_nurse", "Ward nurse", ROLES["ward_nurse"]),
        Persona("registrar", "Registrar", ROLES["registrar"]),
        Persona("biller", "Biller", ROLES["biller"]),
        Persona("cds", "CDS service", ROLES["cds"]),
        Persona("analyst", "Analyst", ROLES["analyst"]),
        Persona("privacy", "Privacy officer", ROLES["privacy_officer"]),
        Persona("patient", "Patient", ROLES["patient"]),
    )
}


def persona_of(settings: Settings, name: object) -> Persona:
    """The persona of a name. Raises InvalidArgument for one that is not one, or where the demo is off."""
    if not settings.demo:
        raise InvalidArgument("persona", "needs the demo")
    known = PERSONAS.get(name) if isinstance(name, str) else None
    if known is None:
        raise InvalidArgument("persona", f"must be one of {', '.join(PERSONAS)}")
    return known


def issue(settings: Settings, persona: str, facility_id: UUID, bound_to: UUID | None = None) -> str:
    """A demo token of 8 hours, for every purpose of the persona's role.

    `bound_to`: id of the provider, department or patient that the persona is or works for. Raises InvalidArgument for a
    persona that is not one, one that needs such an id and has none, or where the demo is off.
    """
    known = persona_of(settings, persona)
    if known.claim is not None and bound_to is None:
        raise InvalidArgument("persona", f"needs a {known.claim} of the facility, and there is none")
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": DEMO_ISSUER,
        "aud": DEMO_AUDIENCE,
        "iat": now,
        "exp": now + LIFETIME_S,
        "sub": f"demo-{known.name}",
        "roles": [known.role.name],
        "facility": str(facility_id),
        "purposes": [purpose.value for purpose in purposes_of(known.role.profile)],
    }
    if known.claim is not None:
        claims[known.claim] = str(bound_to)
    return jwt.encode(claims, _demo_key(settings), DEMO_ALGORITHM)


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token that was good, by which key, and the callers that headers made of it."""

    claims: dict[str, Any]
    expires: float
    kid: str | None
    """None for a token of the demo."""
    key: jwt.PyJWK | bytes
    callers: dict[tuple[str | None, ...], Caller] = field(default_factory=dict[tuple[str | None, ...], Caller])


class Authenticator:
    """Tells who asks, from the headers of a request; `keys` are those of the configured issuer."""

    def __init__(self, settings: Settings, keys: KeySet | None = None) -> None:
        self._settings = settings
        self._fetcher = Fetcher()
        self._keys = keys
        if keys is None and settings.oidc_issuer is not None:
            self._keys = KeySet(settings.oidc_issuer, settings.oidc_jwks_url, self._fetcher)
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    @property
    def remembered(self) -> int:
        """Tokens that are remembered as good."""
        return len(self._verified)

    async def caller(self, headers: Mapping[str, str]) -> Caller:
        """The caller that the headers name; see `session`."""
        caller, _ = await self.session(headers)
        return caller

    async def session(self, headers: Mapping[str, str]) -> tuple[Caller, float]:
        """The caller that the headers (names in lower case) name, and when the token is over, in seconds since 1970.

        Raises Unauthenticated for no token or a bad one, Forbidden for a token that allows nothing here and for a
        header that asks for more than it allows, IssuerUnavailable where the keys to check it can't be had.
        """
        token = _bearer(headers)
        try:
            verified = await self._known(token)
        except jwt.PyJWTError as error:
            raise Unauthenticated(_reason(error)) from None
        narrowing = tuple(header_of(headers, name) for name in NARROWING)
        caller = verified.callers.get(narrowing)
        if caller is None:
            caller = caller_of(verified.claims, headers)
            if len(verified.callers) < CALLERS_MAX:
                verified.callers[narrowing] = caller
        return caller, verified.expires

    async def close(self) -> None:
        """Closes the connections to the issuer."""
        await self._fetcher.close()

    async def _known(self, token: str) -> _Verified:
        """What was found of a token when it was verified, as long as its key is the issuer's and its time is not over.

        Keys are new ones after each fetch of theirs: a token is verified again then, so that a key that was taken back
        is good for as long as graph.jwks says and no longer.
        """
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is None or not await self._is_good(known):
            self._verified.pop(digest, None)
            known = self._verified[digest] = await self._verify(token)
            if len(self._verified) > VERIFIED_MAX:
                self._verified.popitem(last=False)
        else:
            self._verified.move_to_end(digest)
        return known

    async def _is_good(self, known: _Verified) -> bool:
        if time.time() - LEEWAY_S >= int(known.expires):
            return False
        return known.kid is None or (self._keys is not None and await self._keys.key(known.kid) is known.key)

    async def _verify(self, token: str) -> _Verified:
        """A token whose signature, issuer, audience and times are right. Raises jwt.PyJWTError, Unauthenticated."""
        header = jwt.get_unverified_header(token)
        kind = str(header.get("typ", "JWT")).lower().removeprefix("application/")
        # No extension is understood here, so none may be critical (RFC 7515, section 4.1.11); b64 needs to be.
        if kind not in TYPES or {"crit", "b64"} & header.keys():
            raise Unauthenticated("BAD_HEADER")
        algorithm = header.get("alg")
        if algorithm == DEMO_ALGORITHM and self._settings.demo:
            key = _demo_key(self._settings)
            claims = _decoded(token, key, [DEMO_ALGORITHM], DEMO_ISSUER, DEMO_AUDIENCE)
            return _Verified(claims, _expires(claims["exp"]), None, key)
        if algorithm not in ALGORITHMS or self._keys is None or self._settings.oidc_issuer is None:
            raise Unauthenticated("BAD_ALGORITHM")
        kid = header.get("kid")
        if kid is None:
            raise Unauthenticated("UNKNOWN_KEY")
        key = await self._keys.key(kid)
        claims = _decoded(token, key, ALGORITHMS, self._settings.oidc_issuer, self._settings.oidc_audience)
        return _Verified(claims, _expires(claims["exp"]), kid, key)


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("NO_TOKEN")
    if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
        raise Unauthenticated("MALFORMED")
    return token


def _decoded(
    token: str, key: jwt.PyJWK | bytes, algorithms: Sequence[str], issuer: str, audience: str
) -> dict[str, Any]:
    return jwt.decode(
        token,
        key,
        algorithms=algorithms,
        issuer=issuer,
        audience=audience,
        leeway=LEEWAY_S,
        options={"require": REQUIRED_CLAIMS},
    )


def _expires(claim: object) -> float:
    if isinstance(claim, bool) or not isinstance(claim, int | float) or claim > LAST_SECOND:
        raise Unauthenticated("BAD_CLAIM")
    return float(claim)


def _reason(error: jwt.PyJWTError) -> str:
    return next((reason for kind, reason in REASONS.items() if isinstance(error, kind)), "MALFORMED")


def _demo_key(settings: Settings) -> bytes:
    """Key of the demo issuer, apart from every other use of the secret."""
    return derive(settings.secret, "demo-token")
