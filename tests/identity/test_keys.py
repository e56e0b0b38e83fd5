"""The issuer's keys: fetched once, rotated, never in a storm, good for a while without the issuer, and not for ever."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from db.errors import IssuerUnavailable, Unauthenticated
from graph.auth import Authenticator
from graph.jwks import DOCUMENT_BYTES_MAX, FRESH_S, RETRY_S, STALE_S, BadDocument, Fetcher, KeySet, usable
from tests.identity.conftest import Door
from tests.identity.issuer import DISCOVERY, EC, ED, JWKS, RSA, STRANGER, Issuer, Key, answer, json_answer

NEW = Key("ec-2", "ES256", ec.generate_private_key(ec.SECP256R1()))


async def why(door: Door, token: str) -> str:
    """Why a token is refused."""
    with pytest.raises(Unauthenticated) as refused:
        await door.enter(token)
    return refused.value.reason


async def test_fetched_once(door: Door, issuer: Issuer) -> None:
    """By discovery, when the first token comes; many at once share the fetch."""
    assert issuer.asked == []
    await asyncio.gather(*(door.enter(key.sign(issuer.claims())) for key in (RSA, EC, ED) * 20))
    assert issuer.asked == [DISCOVERY, JWKS]
    door.clock.now += FRESH_S
    await door.enter(EC.sign(issuer.claims()))
    assert issuer.asked == [DISCOVERY, JWKS]


async def test_a_given_address_needs_no_discovery(issuer: Issuer, door: Door) -> None:
    authenticator = Authenticator(replace(door.settings, oidc_jwks_url=f"{issuer.url}{JWKS}"))
    await authenticator.caller({"authorization": f"Bearer {EC.sign(issuer.claims())}"})
    await authenticator.close()
    assert issuer.asked == [JWKS]


async def test_a_new_key_is_fetched_when_a_token_names_it(door: Door, issuer: Issuer) -> None:
    await door.enter(EC.sign(issuer.claims()))
    issuer.keys.append(NEW.jwk)
    door.clock.now += RETRY_S
    assert await door.enter(NEW.sign(issuer.claims()))
    assert issuer.asked.count(JWKS) == 2


async def test_a_key_that_was_taken_back_stops_working(door: Door, issuer: Issuer) -> None:
    token = EC.sign(issuer.claims())
    await door.enter(token)
    issuer.keys = [NEW.jwk]
    door.clock.now += FRESH_S
    assert await door.enter(token), "fresh until then"
    door.clock.now += 1
    assert await why(door, token) == "UNKNOWN_KEY"


async def test_a_token_that_was_good_ends_with_its_key(door: Door, issuer: Issuer) -> None:
    """What is remembered of a token is no longer good when the issuer publishes another key by the same id."""
    token = EC.sign(issuer.claims())
    first = await door.enter(token)
    assert await door.enter(token) is first, "remembered"
    issuer.keys = [STRANGER.jwk]
    door.clock.now += FRESH_S + 1
    assert await why(door, token) == "BAD_SIGNATURE"
    assert await door.enter(STRANGER.sign(issuer.claims()))


async def test_a_remembered_token_needs_keys_that_are_good(door: Door, issuer: Issuer) -> None:
    token = EC.sign(issuer.claims())
    await door.enter(token)
    issuer.answers[JWKS] = answer(b"", 500)
    door.clock.now += STALE_S + 1
    with pytest.raises(IssuerUnavailable):
        await door.enter(token)


async def test_unknown_ids_make_no_storm(door: Door, issuer: Issuer) -> None:
    """A thousand forged ids within the pause: one fetch; good tokens go on meanwhile."""
    await door.enter(EC.sign(issuer.claims()))
    door.clock.now += RETRY_S
    forged = [replace(STRANGER, kid=f"forged-{number}").sign(issuer.claims()) for number in range(250)]
    for _ in range(4):
        reasons = await asyncio.gather(*(why(door, token) for token in forged))
        assert set(reasons) == {"UNKNOWN_KEY"}
        door.clock.now += RETRY_S / 5
        await door.enter(EC.sign(issuer.claims()))
    assert issuer.asked.count(JWKS) == 2


async def test_an_issuer_that_is_down_is_not_asked_again_and_again(door: Door, issuer: Issuer) -> None:
    issuer.answers[DISCOVERY] = answer(b"", 500)
    for _ in range(10):
        with pytest.raises(IssuerUnavailable):
            await door.enter(EC.sign(issuer.claims()))
        door.clock.now += RETRY_S / 10
    assert issuer.asked == [DISCOVERY]
    del issuer.answers[DISCOVERY]
    assert await door.enter(EC.sign(issuer.claims()))


async def test_old_keys_are_good_for_a_while(door: Door, issuer: Issuer) -> None:
    """While the issuer is down its last keys verify; after the bound nothing does, and then it comes back."""
    start = door.clock.now
    token = EC.sign(issuer.claims())
    await door.enter(token)
    issuer.answers[JWKS] = answer(b"", 503)
    for after in (FRESH_S + 1, STALE_S / 2, STALE_S):
        door.clock.now = start + after
        assert await door.enter(token)
        assert await why(door, NEW.sign(issuer.claims())) == "UNKNOWN_KEY"
    door.clock.now = start + STALE_S + RETRY_S
    with pytest.raises(IssuerUnavailable):
        await door.enter(token)
    issuer.answers.clear()
    door.clock.now += RETRY_S
    assert await door.enter(token)


async def test_an_issuer_that_nobody_can_reach(door: Door) -> None:
    issuer = "http://127.0.0.1:1"
    authenticator = Authenticator(replace(door.settings, oidc_issuer=issuer))
    with pytest.raises(IssuerUnavailable):
        await authenticator.caller({"authorization": f"Bearer {EC.sign({'iss': issuer})}"})
    await authenticator.close()


async def test_a_request_that_is_cancelled_leaves_the_fetch_to_others(door: Door, issuer: Issuer) -> None:
    held = asyncio.Event()
    arrived = asyncio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        arrived.set()
        await held.wait()
        return web.json_response({"keys": issuer.keys})

    issuer.answers[JWKS] = slow
    first, second = (asyncio.create_task(door.enter(EC.sign(issuer.claims()))) for _ in range(2))
    await arrived.wait()
    first.cancel()
    await asyncio.wait([first])
    held.set()
    assert await second
    assert issuer.asked == [DISCOVERY, JWKS]


BAD_KEYS: dict[str, Any] = {
    "no keys": {"keys": []},
    "keys no list": {"keys": {"ec-1": EC.jwk}},
    "no set": {},
    "no object": [EC.jwk],
    "a text": "keys",
    "only others": {"keys": [None, 1, "x", {}, {"kty": "EC"}, {"kid": "a"}]},
}


@pytest.mark.parametrize("content", BAD_KEYS.values(), ids=BAD_KEYS.keys())
async def test_sets_that_are_none(door: Door, issuer: Issuer, content: object) -> None:
    issuer.answers[JWKS] = json_answer(content)
    with pytest.raises(IssuerUnavailable):
        await door.enter(EC.sign(issuer.claims()))


ANSWERS = {
    "not JSON": answer(b"<html>"),
    "empty": answer(b""),
    "deep": answer(b"[" * 100_000),
    "not found": answer(b"{}", 404),
    "too large": answer(json.dumps({"keys": [EC.jwk], "x": "x" * DOCUMENT_BYTES_MAX}).encode()),
    "compressed": answer(gzip.compress(json.dumps({"keys": [EC.jwk]}).encode()), headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("path", [DISCOVERY, JWKS])
@pytest.mark.parametrize("given", ANSWERS.values(), ids=ANSWERS.keys())
async def test_answers_that_are_none(door: Door, issuer: Issuer, path: str, given: Any) -> None:
    issuer.answers[path] = given
    with pytest.raises(IssuerUnavailable):
        await door.enter(EC.sign(issuer.claims()))


async def test_a_document_that_never_ends_is_left(issuer: Issuer) -> None:
    """Read up to the bound, not to its end."""
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while sent < 100 * DOCUMENT_BYTES_MAX:
                await response.write(b" " * 10_000)
                sent += 10_000
        except ConnectionResetError:
            pass
        return response

    issuer.answers[JWKS] = endless
    fetcher = Fetcher()
    with pytest.raises(BadDocument):
        await fetcher(f"{issuer.url}{JWKS}")
    await fetcher.close()
    assert sent < 100 * DOCUMENT_BYTES_MAX


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", [DISCOVERY, JWKS])
async def test_redirects_are_not_followed(door: Door, issuer: Issuer, path: str, status: int) -> None:
    issuer.answers[path] = answer(b"", status, {"Location": f"{issuer.url}/elsewhere"})
    with pytest.raises(IssuerUnavailable):
        await door.enter(EC.sign(issuer.claims()))
    assert "/elsewhere" not in issuer.asked


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://elsewhere.example"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": ["https://elsewhere.example/keys"]},
        {"jwks_uri": "http://elsewhere.example/keys"},
        {"jwks_uri": "http://localhost:{port}/keys"},
        {"jwks_uri": "http://user@127.0.0.1:{port}/keys"},
        {"jwks_uri": "http://127.0.0.1.elsewhere.example/keys"},
        {"jwks_uri": "http://127.0.0.1@elsewhere.example/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://[elsewhere"},
    ],
)
async def test_discovery_that_is_not_believed(door: Door, issuer: Issuer, changes: dict[str, Any]) -> None:
    """Even where somebody would answer."""
    found = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}{JWKS}", **changes}
    if isinstance(found["jwks_uri"], str):
        found["jwks_uri"] = found["jwks_uri"].replace("{port}", issuer.url.rpartition(":")[2])
    issuer.answers[DISCOVERY] = json_answer(found)
    with pytest.raises(IssuerUnavailable):
        await door.enter(EC.sign(issuer.claims()))
    assert issuer.asked == [DISCOVERY]


def test_keys_that_are_left_out() -> None:
    """Each for a reason; those beside them stay."""
    small = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    p384 = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
    private = ECAlgorithm.to_jwk(EC.private, as_dict=True)
    unnamed = {name: value for name, value in EC.jwk.items() if name != "kid"}
    others: list[dict[str, Any]] = [
        unnamed,
        {**small, "kid": "small"},
        {**p384, "kid": "p384"},
        {**private, "kid": "private"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {**RSA.jwk, "kid": "secret too", "alg": "HS256"},
        {**RSA.jwk, "kid": "another algorithm", "alg": "RS512"},
        {**RSA.jwk, "kid": "encryption", "use": "enc"},
        {**RSA.jwk, "kid": "wrapping", "key_ops": ["wrapKey"]},
        {**RSA.jwk, "kid": "operations no list", "key_ops": 1},
        {**RSA.jwk, "kid": 1},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "no point"},
        {"kty": "XX", "kid": "unheard of"},
    ]
    assert usable([*others, RSA.jwk, EC.jwk, ED.jwk]).keys() == {RSA.kid, EC.kid, ED.kid}
    for other in others:
        with pytest.raises(BadDocument):
            usable([other])


async def test_the_log_says_that_and_nothing_of_what_came(
    door: Door, issuer: Issuer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("caregraph"), "propagate", True)
    issuer.answers[JWKS] = answer(b'{"keys": ["Lovelace"')
    token = EC.sign(issuer.claims())
    with caplog.at_level(logging.DEBUG, "caregraph"), pytest.raises(IssuerUnavailable):
        await door.enter(token)
    said = {record.getMessage() for record in caplog.records if record.name.startswith("caregraph")}
    assert said == {"keys of the issuer could not be fetched: JSONDecodeError"}


async def test_the_clock_of_the_process(issuer: Issuer) -> None:
    """What an instance uses unless a test sets it: one that nobody can set back."""
    fetcher = Fetcher()
    keys = KeySet(issuer.url, None, fetcher)
    assert (await keys.key(EC.kid)).key_id == EC.kid
    await fetcher.close()
