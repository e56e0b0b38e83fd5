"""Fixtures: an imaging database and an archive apart from the demo's, whose objects the lifecycle tests would move."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from db.archive import Archive
from db.postgres import Postgres
from db.settings import Settings
from tests.apart import apart


@pytest_asyncio.fixture(scope="session")
async def own(configured: Settings) -> Settings:
    """Settings of databases and a bucket of these tests."""
    return await apart(configured, "imagingtests")


@pytest_asyncio.fixture
async def imaging(own: Settings) -> AsyncIterator[Postgres]:
    """The imaging database."""
    store = Postgres("imaging", own.imaging_url, own.secret, 5)
    yield store
    await store.close()


@pytest_asyncio.fixture
async def archive(own: Settings) -> AsyncIterator[Archive]:
    """The archive."""
    store = Archive("archive", own.archive_url, 5)
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
