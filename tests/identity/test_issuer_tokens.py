"""Tokens of the configured issuer: which are believed, and why the others are not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from db.caller import Caller, PurposeOfUse
from db.errors import Forbidden, Unauthenticated
from db.policy import ROLES
from graph.auth import LEEWAY_S, TOKEN_CHARACTERS_MAX, Authenticator, issue
from tests.identity.conftest import Door
from tests.identity.issuer import AUDIENCE, DISCOVERY, EC, ED, FACILITY, JWKS, RSA, STRANGER, Issuer, Key


def raw(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """A token whose header and signature are whatever a forger likes."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signature = base64.urlsafe_b64encode(sign(b".".join(parts))).rstrip(b"=")
    return b".".join([*parts, signature]).decode()


def hmacked(secret: bytes) -> Callable[[bytes], bytes]:
    """Signs as HS256 with any secret."""
    return lambda signed: hmac.digest(secret, signed, hashlib.sha256)


async def reason(door: Door, token: str) -> str:
    """Why a token is refused, for the audit."""
    with pytest.raises(Unauthenticated) as refused:
        await door.enter(token)
    assert refused.value.message == "A valid bearer token is required."
    return refused.value.reason


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=lambda key: key.algorithm)
async def test_each_algorithm_is_believed(door: Door, issuer: Issuer, key: Key) -> None:
    caller = await door.enter(key.sign(issuer.claims()))
    assert caller == Caller("9c7b", ROLES["physician"], FACILITY, PurposeOfUse.TREAT)


async def test_the_end_of_a_token_is_told(door: Door, issuer: Issuer) -> None:
    claims = issuer.claims()
    _, expires = await door.authenticator.session({"authorization": f"bearer {EC.sign(claims)}"})
    assert expires == claims["exp"]


async def test_a_token_that_was_good_ends(door: Door, issuer: Issuer) -> None:
    """Remembered as good, it is refused all the same once its time is over, leeway included."""
    ends = int(time.time()) + 2
    token = EC.sign(issuer.claims(exp=ends - LEEWAY_S))
    assert await door.enter(token)
    await asyncio.sleep(ends - time.time() + 0.1)
    assert await reason(door, token) == "EXPIRED"


async def test_a_remembered_token_is_narrowed_by_each_request(door: Door, issuer: Issuer) -> None:
    token = EC.sign(issuer.claims(purposes=["TREAT", "ETREAT"]))
    usual = await door.enter(token)
    emergency = await door.enter(token, **{"caregraph-purpose": "ETREAT"})
    assert (usual.purpose, emergency.purpose) == (PurposeOfUse.TREAT, PurposeOfUse.ETREAT)
    assert await door.enter(token) is usual
    with pytest.raises(Forbidden):
        await door.enter(token, **{"caregraph-purpose": "HRESCH"})


async def test_a_bounded_number_of_tokens_is_remembered(
    door: Door, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.auth.VERIFIED_MAX", 2)
    tokens = [EC.sign(issuer.claims(sub=f"somebody-{number}")) for number in range(3)]
    first, *_ = [await door.enter(token) for token in tokens]
    assert door.authenticator.remembered == 2
    again = await door.enter(tokens[0])
    assert again == first
    assert again is not first, "verified again"


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "application/at+jwt"])
async def test_types_of_token(door: Door, issuer: Issuer, typ: str | None) -> None:
    assert await door.enter(EC.sign(issuer.claims(), typ=typ))


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", "secevent+jwt", "application/x", " JWT"])
async def test_other_types_of_token(door: Door, issuer: Issuer, typ: str) -> None:
    assert await reason(door, EC.sign(issuer.claims(), typ=typ)) == "BAD_HEADER"


async def test_a_public_key_is_not_a_secret(door: Door, issuer: Issuer) -> None:
    """Algorithm confusion: each form of a published key as the secret of an HMAC."""
    public = RSA.private.public_key()
    secrets = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(RSA.jwk).encode(),
        b"",
    ]
    with_demo = replace(door.settings, demo=True)
    for secret in secrets:
        for kid in (RSA.kid, EC.kid, None):
            for algorithm in ("HS256", "HS384", "HS512"):
                header = {"alg": algorithm, "kid": kid, "typ": "JWT"}
                header = {name: value for name, value in header.items() if value}
                token = raw(header, issuer.claims(), hmacked(secret))
                assert await reason(door, token) == "BAD_ALGORITHM"
                # Beside the demo, HS256 means its own issuer's key and nobody else's.
                with pytest.raises(Unauthenticated):
                    await Authenticator(with_demo).caller({"authorization": f"Bearer {token}"})


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, [], ["ES256"], {"ES256": 1}])
async def test_no_signature(door: Door, issuer: Issuer, algorithm: object) -> None:
    token = raw({"alg": algorithm, "kid": EC.kid}, issuer.claims())
    assert await reason(door, token) == "BAD_ALGORITHM"


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "ES384", "ES256K"])
async def test_algorithms_that_are_not_listed(door: Door, issuer: Issuer, algorithm: str) -> None:
    key = EC if algorithm.startswith("ES") else RSA
    token = raw({"alg": algorithm, "kid": key.kid}, issuer.claims(), lambda signed: b"x" * 64)
    assert await reason(door, token) == "BAD_ALGORITHM"


async def test_a_key_verifies_its_own_algorithm_only(door: Door, issuer: Issuer) -> None:
    token = RSA.sign(issuer.claims(), kid=EC.kid)
    assert await reason(door, token) == "BAD_ALGORITHM"


async def test_a_key_of_somebody_else(door: Door, issuer: Issuer) -> None:
    assert await reason(door, STRANGER.sign(issuer.claims())) == "BAD_SIGNATURE"


async def test_keys_in_the_header_are_not_read(door: Door, issuer: Issuer) -> None:
    """The forger's own key, embedded or by its address: neither used nor fetched."""
    for kid in (EC.kid, "forged"):
        headers: dict[str, Any] = {
            "jwk": {**STRANGER.jwk, "kid": kid},
            "jku": f"{issuer.url}/forged",
            "x5u": f"{issuer.url}/forged",
            "x5c": ["AAAA"],
            "kid": kid,
        }
        await reason(door, STRANGER.sign(issuer.claims(), **headers))
    assert set(issuer.asked) == {DISCOVERY, JWKS}


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": True},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"b64": True},
    ],
)
async def test_extensions_that_must_be_understood(door: Door, issuer: Issuer, header: dict[str, Any]) -> None:
    def sign(signed: bytes) -> bytes:
        return jwt.get_algorithm_by_name("EdDSA").sign(signed, ED.private)

    good = {"alg": "EdDSA", "kid": ED.kid}
    assert await door.enter(raw(good, issuer.claims(), sign))
    assert await reason(door, raw({**good, **header}, issuer.claims(), sign)) in ("BAD_HEADER", "MALFORMED")


@pytest.mark.parametrize("kid", [None, "", "../../dev/null", "ec-1\0", "' OR 1=1", 1, ["ec-1"]])
async def test_ids_of_keys(door: Door, issuer: Issuer, kid: object) -> None:
    header = {"alg": "ES256", "kid": kid} if kid is not None else {"alg": "ES256"}
    token = raw(header, issuer.claims(), lambda signed: b"x" * 64)
    assert await reason(door, token) in ("UNKNOWN_KEY", "MALFORMED")


NOW = int(time.time())
CLAIMS: list[tuple[str, dict[str, Any], str]] = [
    ("over", {"exp": NOW - 3600}, "EXPIRED"),
    ("over beyond the leeway", {"exp": NOW - LEEWAY_S - 1}, "EXPIRED"),
    ("not yet", {"nbf": NOW + 3600}, "NOT_YET_VALID"),
    ("issued tomorrow", {"iat": NOW + 86_400}, "NOT_YET_VALID"),
    ("another issuer", {"iss": "https://elsewhere.example"}, "WRONG_ISSUER"),
    ("the demo's issuer", {"iss": "caregraph-demo"}, "WRONG_ISSUER"),
    ("several issuers", {"iss": ["https://elsewhere.example"]}, "WRONG_ISSUER"),
    ("another audience", {"aud": "https://elsewhere.example"}, "WRONG_AUDIENCE"),
    ("part of the audience", {"aud": AUDIENCE[:-1]}, "WRONG_AUDIENCE"),
    ("audience no text", {"aud": {AUDIENCE: True}}, "WRONG_AUDIENCE"),
    *((f"no {name}", {name: None}, "MISSING_CLAIM") for name in ("iss", "aud", "exp", "iat", "sub")),
    ("end no number", {"exp": "tomorrow"}, "MALFORMED"),
    ("end a text of a number", {"exp": str(NOW + 86_400)}, "BAD_CLAIM"),
    ("end true", {"exp": True}, "EXPIRED"),
    ("end too large for a float", {"exp": 10**400}, "BAD_CLAIM"),
    ("endless", {"exp": float("inf")}, "MALFORMED"),
    ("subject a number", {"sub": 1}, "MALFORMED"),
    ("subject empty", {"sub": ""}, "BAD_CLAIM"),
    ("subject too long", {"sub": "x" * 256}, "BAD_CLAIM"),
    ("subject of two lines", {"sub": "a\nb"}, "BAD_CLAIM"),
    ("subject half a character", {"sub": "\ud800"}, "BAD_CLAIM"),
    ("roles a text", {"roles": "physician"}, "BAD_CLAIM"),
    ("roles of numbers", {"roles": [1]}, "BAD_CLAIM"),
    ("facility a code", {"facility": "MAIN"}, "BAD_CLAIM"),
    ("facility a list", {"facility": [str(FACILITY)]}, "BAD_CLAIM"),
    ("facilities a text", {"facilities": str(FACILITY)}, "BAD_CLAIM"),
    ("purposes a text", {"purposes": "TREAT"}, "BAD_CLAIM"),
    ("department a code", {"department": "ICU"}, "BAD_CLAIM"),
    ("provider a number", {"provider": 1}, "BAD_CLAIM"),
    ("patient a reference", {"patient": f"Patient/{FACILITY}"}, "BAD_CLAIM"),
    ("scope a list", {"scope": ["user/*.rs"]}, "BAD_CLAIM"),
]


@pytest.mark.parametrize(("changes", "why"), [case[1:] for case in CLAIMS], ids=[case[0] for case in CLAIMS])
async def test_claims(door: Door, issuer: Issuer, changes: dict[str, Any], why: str) -> None:
    assert await reason(door, EC.sign(issuer.claims(**changes))) == why


async def test_audience_among_others(door: Door, issuer: Issuer) -> None:
    assert await door.enter(EC.sign(issuer.claims(aud=["https://elsewhere.example", AUDIENCE])))


async def test_clocks_may_differ_a_little(door: Door, issuer: Issuer) -> None:
    now = int(time.time())
    token = EC.sign(issuer.claims(exp=now - LEEWAY_S // 2, iat=now + LEEWAY_S // 2, nbf=now + LEEWAY_S // 2))
    assert await door.enter(token)


@pytest.mark.parametrize(
    ("authorization", "why"),
    [
        ("", "NO_TOKEN"),
        ("Bearer", "NO_TOKEN"),
        ("Bearer  ", "NO_TOKEN"),
        ("Basic dXNlcjpwYXNz", "NO_TOKEN"),
        ("Bearer null", "MALFORMED"),
        ("Bearer x.y.z", "MALFORMED"),
        ("Bearer ü.ü.ü", "MALFORMED"),
        (f"Bearer {'x' * (TOKEN_CHARACTERS_MAX + 1)}", "MALFORMED"),
        (f"Bearer {'[' * 8000}.e30.", "MALFORMED"),
    ],
)
async def test_what_is_no_token(door: Door, authorization: str, why: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await door.authenticator.caller({"authorization": authorization})
    assert refused.value.reason == why


async def test_without_a_header(door: Door) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await door.authenticator.caller({})
    assert refused.value.reason == "NO_TOKEN"


async def test_tokens_of_the_demo(door: Door, issuer: Issuer) -> None:
    """Beside the issuer only where the demo is on."""
    with_demo = replace(door.settings, demo=True)
    token = issue(with_demo, "nurse", FACILITY)
    assert await reason(door, token) == "BAD_ALGORITHM"
    both = Authenticator(with_demo)
    try:
        assert (await both.caller({"authorization": f"Bearer {token}"})).role is ROLES["nurse"]
        assert (await both.caller({"authorization": f"Bearer {ED.sign(issuer.claims())}"})).role is ROLES["physician"]
    finally:
        await both.close()


async def test_without_an_issuer_only_the_demo(door: Door, issuer: Issuer) -> None:
    alone = replace(door.settings, demo=True, oidc_issuer=None, oidc_audience="")
    with pytest.raises(Unauthenticated) as refused:
        await Authenticator(alone).caller({"authorization": f"Bearer {EC.sign(issuer.claims())}"})
    assert refused.value.reason == "BAD_ALGORITHM"
    assert issuer.asked == []
