"""Fixtures: databases of these tests alone, whose feed has the events of nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest_asyncio

from db.postgres import Postgres
from db.settings import Settings
from db.stores import Stores
from tests.apart import apart


@pytest_asyncio.fixture(scope="module")
async def alone(configured: Settings) -> Settings:
    """Settings of databases of one test module."""
    return await apart(configured, f"feed_{uuid4().hex[:8]}")


@pytest_asyncio.fixture(scope="module")
async def clinical(alone: Settings) -> AsyncIterator[Postgres]:
    """The clinical one of them, as the worker."""
    store = Postgres("clinical", alone.clinical_url, alone.secret, 10)
    yield store
    await store.close()


@pytest_asyncio.fixture(scope="module")
async def stores(alone: Settings) -> AsyncIterator[Stores]:
    """Stores of these tests alone."""
    made = Stores(alone)
    yield made
    await made.close()
