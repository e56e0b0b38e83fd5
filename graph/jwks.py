"""The public keys of the OpenID Connect issuer: fetched, cached for minutes, and for an hour when the issuer is down.

OpenID Connect Discovery 1.0 and RFC 7517. One fetch at a time and at most one in RETRY_S, whatever tokens come in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import aiohttp
import jwt
import orjson

from db.errors import IssuerUnavailable, Unauthenticated
from db.settings import is_trusted_url

ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""What the issuer may sign with: public keys only, so that no key that is published can make a token."""

FRESH_S = 300
"""Seconds after which the keys are fetched anew; until then a key that the issuer took back still works."""
STALE_S = 3600
"""Seconds for which the last keys are good while the issuer can't be reached; then no token of it can be checked."""
RETRY_S = 10
"""Seconds between two fetches at least, failed or not: unknown key ids can't make a storm of them."""
FETCH_S = 3
"""Seconds that one document may take."""
DOCUMENT_BYTES_MAX = 131_072
"""Size of a document of the issuer; a hundred keys with their certificates fit in."""

_log = logging.getLogger("caregraph.identity")


class BadDocument(ValueError):
    """A document of the issuer is not what its specification says."""


class Fetch(Protocol):
    """Gets a JSON object by its URL."""

    async def __call__(self, url: str) -> Mapping[str, Any]:
        """The object. Raises OSError, TimeoutError, aiohttp.ClientError or ValueError."""
        ...


class KeySet:
    """Keys of one issuer by their id; `jwks_url` is found by discovery where it is None."""

    def __init__(
        self, issuer: str, jwks_url: str | None, fetch: Fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key of an id. Raises Unauthenticated for an unknown one, IssuerUnavailable where no keys are good."""
        if kid not in self._keys or self._age > FRESH_S:
            await self._refreshed()
        if self._age > STALE_S:
            raise IssuerUnavailable
        if kid not in self._keys:
            raise Unauthenticated("UNKNOWN_KEY")
        return self._keys[kid]

    @property
    def _age(self) -> float:
        """Seconds since the keys were fetched."""
        return self._clock() - self._fetched

    async def _refreshed(self) -> None:
        """Returns after the fetch that is under way, or a new one where it is time for one."""
        if self._refreshing is None or self._refreshing.done():
            if self._clock() - self._tried < RETRY_S:
                return
            self._tried = self._clock()
            self._refreshing = asyncio.create_task(self._refresh())
        # Others wait for it too: it goes on when the request that began it is cancelled.
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        try:
            url = self._jwks_url or await self._discovered()
            keys = usable((await self._fetch(url)).get("keys"))
        except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
            # Its type only: the text may quote what the issuer sent.
            _log.warning("keys of the issuer could not be fetched: %s", type(error).__name__)
            return
        self._keys, self._fetched = keys, self._clock()

    async def _discovered(self) -> str:
        """Address of the keys. Raises BadDocument unless the issuer calls itself what it is called here."""
        found = await self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        url = found.get("jwks_uri")
        if found.get("issuer") != self._issuer or not isinstance(url, str) or not is_trusted_url(url):
            raise BadDocument("discovery")
        return url


def usable(listed: object) -> Mapping[str, jwt.PyJWK]:
    """The keys of a set that verify signatures of ALGORITHMS, by id. Raises BadDocument for a set without any.

    Others are left out: those without an id, for encryption, symmetric, too short, or private by mistake.
    """
    entries = cast("list[object]", listed) if isinstance(listed, list) else []
    keys = {str(key.key_id): key for entry in entries if (key := _key(entry))}
    if not keys:
        raise BadDocument("keys")
    return keys


def _key(entry: object) -> jwt.PyJWK | None:
    if not isinstance(entry, dict):
        return None
    known = cast("dict[str, Any]", entry)
    operations = known.get("key_ops", ["verify"])
    if not isinstance(known.get("kid"), str) or known.get("use", "sig") != "sig" or "d" in known:
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key = jwt.PyJWK(known)
        fits = key.algorithm_name in ALGORITHMS and not key.Algorithm.check_key_length(key.key)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return key if fits else None


class Fetcher:
    """Fetches documents of the issuer over HTTP: in time, bounded, without redirects, cookies and proxies."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, url: str) -> Mapping[str, Any]:
        """The JSON object of a URL. Raises BadDocument for any other answer."""
        session = self._opened()
        async with session.get(url, allow_redirects=False) as response:
            # Unasked for compression: a small body that becomes a large one.
            if response.status != 200 or "Content-Encoding" in response.headers:
                raise BadDocument("answer")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > DOCUMENT_BYTES_MAX:
                    raise BadDocument("size")
        found = orjson.loads(body)
        if not isinstance(found, dict):
            raise BadDocument("object")
        return cast("dict[str, Any]", found)

    async def close(self) -> None:
        """Closes its connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        """The session, opened in the event loop that uses it."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=FETCH_S),
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session
