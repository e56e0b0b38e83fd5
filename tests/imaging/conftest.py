"""Fixtures: the migrated imaging database and its archive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from db.archive import Archive
from db.postgres import Postgres
from db.settings import Settings


@pytest_asyncio.fixture
async def imaging(configured: Settings) -> AsyncIterator[Postgres]:
    """The imaging database."""
    store = Postgres("imaging", configured.imaging_url, configured.secret, 5)
    yield store
    await store.close()


@pytest_asyncio.fixture
async def archive(configured: Settings) -> AsyncIterator[Archive]:
    """The archive."""
    store = Archive("archive", configured.archive_url, 5)
    yield store
    await store.close()


@pytest.fixture
def facility_id() -> UUID:
    """A facility of this test alone."""
    return uuid4()


@pytest.fixture
def sent() -> list[tuple[str, str]]:
    """Store and name of everything that `record` was told."""
    return []


@pytest.fixture
def record(sent: list[tuple[str, str]]) -> Callable[[str, str], None]:
    """What sessions tell of each statement or request that they send."""
    return lambda store, name: sent.append((store, name))
