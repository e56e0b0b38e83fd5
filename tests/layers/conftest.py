"""A hospital of its own for each test of a layer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from db.settings import Settings
from db.stores import Stores
from tests.layers.hospital import Hospital


@pytest_asyncio.fixture
async def hospital(configured: Settings) -> AsyncIterator[Hospital]:
    """An empty hospital."""
    stores = Stores(configured)
    made = Hospital(configured, stores)
    await made.open()
    yield made
    await stores.close()
