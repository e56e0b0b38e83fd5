"""Whatever comes as a token, nothing but Unauthenticated comes of it (and Forbidden of what is signed)."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.caller import Caller
from db.errors import Forbidden, Unauthenticated
from graph.auth import DEMO_AUDIENCE, DEMO_ISSUER, REASONS, Authenticator
from graph.claims import caller_of
from tests.http.serving import small_settings
from tests.identity.issuer import FACILITY

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SEGMENT = st.text("ABCabc019-_=.~ ü\0", max_size=20) | st.binary(max_size=40).map(
    lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
)
HEADER = st.fixed_dictionaries(
    {"alg": st.sampled_from(["HS256", "ES256", "RS256", "EdDSA", "none"]) | JSON},
    optional={"typ": st.just("JWT") | JSON, "kid": JSON, "crit": JSON, "b64": JSON, "jwk": JSON},
)
NAMES = ("sub", "roles", "facility", "facilities", "purpose", "purposes", "department", "provider", "patient", "scope")
VALUES = JSON | st.sampled_from(
    ["physician", ["physician"], ["patient", "ward_nurse"], str(FACILITY), [str(FACILITY)], ["TREAT"], "user/*.rs"]
)
CLAIMS = st.fixed_dictionaries(
    {"sub": st.just("s") | JSON, "roles": VALUES, "facility": VALUES, "purposes": VALUES},
    optional={name: VALUES for name in NAMES[4:] if name != "purposes"} | {"facilities": VALUES},
)
KNOWN = {*REASONS.values(), "NO_TOKEN", "MALFORMED", "BAD_HEADER", "BAD_CLAIM", "UNKNOWN_KEY"}
MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
AUTHENTICATOR = Authenticator(small_settings())


def segment(part: Any) -> str:
    """A part of a token, as JSON in base64url."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


async def refused(authorization: str) -> None:
    """Demands that nobody is let in, for a reason that has a code."""
    with pytest.raises(Unauthenticated) as refusal:
        await AUTHENTICATOR.session({"authorization": authorization})
    assert refusal.value.reason in KNOWN


@MANY
@given(authorization=st.text() | st.lists(SEGMENT, max_size=5).map(lambda parts: f"Bearer {'.'.join(parts)}"))
async def test_any_text(authorization: str) -> None:
    await refused(authorization)


@MANY
@given(header=HEADER, claims=JSON, signature=st.binary(max_size=70))
async def test_any_header_and_claims(header: Any, claims: Any, signature: bytes) -> None:
    tail = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    await refused(f"Bearer {segment(header)}.{segment(claims)}.{tail}")


@MANY
@given(claims=CLAIMS, headers=st.dictionaries(st.sampled_from(["caregraph-role", "caregraph-purpose"]), st.text()))
def test_any_claims(claims: dict[str, Any], headers: dict[str, str]) -> None:
    """Even of a good signature: a caller, or one of two refusals."""
    try:
        caller = caller_of(claims, headers)
    except (Unauthenticated, Forbidden):
        return
    assert isinstance(caller, Caller)
    assert caller.facility_id == FACILITY
    assert caller.role.name in claims["roles"]
    assert caller.purpose.value in [*claims["purposes"], claims.get("purpose")]


@MANY
@given(changes=st.dictionaries(st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "jti"]), JSON, min_size=1))
async def test_any_registered_claims(changes: dict[str, Any]) -> None:
    """Signed by the demo's own issuer."""
    from graph.auth import _demo_key  # pyright: ignore[reportPrivateUsage] - a forger inside the house

    now = int(time.time())
    usual = {"iss": DEMO_ISSUER, "aud": DEMO_AUDIENCE, "exp": now + 60, "iat": now, "sub": "s"}
    key = _demo_key(small_settings())
    token = jwt.PyJWS().encode(json.dumps({**usual, **changes}).encode(), key, "HS256")
    # Forbidden: good times, and no role.
    with pytest.raises((Unauthenticated, Forbidden)) as refusal:
        await AUTHENTICATOR.session({"authorization": f"Bearer {token}"})
    assert getattr(refusal.value, "reason", "NO_ROLE") in {*KNOWN, "NO_ROLE"}
