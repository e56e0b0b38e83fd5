"""Fixtures: an issuer that listens, and an authenticator that believes it, whose clock a test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from db.caller import Caller
from db.settings import Settings
from graph.auth import Authenticator
from graph.jwks import Fetcher, KeySet
from tests.http.serving import small_settings
from tests.identity.issuer import AUDIENCE, Issuer, issuing


@dataclass
class Clock:
    """Seconds that pass only when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@dataclass(frozen=True)
class Door:
    """What a token is shown to."""

    authenticator: Authenticator
    settings: Settings
    clock: Clock

    async def enter(self, token: str, **headers: str) -> Caller:
        """The caller of a token. Raises what the authenticator does."""
        return await self.authenticator.caller({"authorization": f"Bearer {token}", **headers})


@pytest_asyncio.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An issuer of its own for each test."""
    async with issuing() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    """The clock of the keys."""
    return Clock()


@pytest_asyncio.fixture
async def door(issuer: Issuer, clock: Clock) -> AsyncIterator[Door]:
    """An authenticator of an instance with the issuer, without the demo."""
    settings = replace(small_settings(), demo=False, oidc_issuer=issuer.url, oidc_audience=AUDIENCE)
    fetcher = Fetcher()
    keys = KeySet(issuer.url, None, fetcher, clock)
    authenticator = Authenticator(settings, keys)
    yield Door(authenticator, settings, clock)
    await authenticator.close()
    await fetcher.close()
