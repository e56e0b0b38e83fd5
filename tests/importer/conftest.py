"""Databases of the importer's own tests, emptied before each, beside those that other tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from db.settings import Settings
from tests.apart import apart
from tests.importer.importing import Importing


@pytest_asyncio.fixture(scope="session")
async def own_stores(configured: Settings) -> Settings:
    """Settings of empty, migrated databases on the same servers."""
    return await apart(configured, "importing")


@pytest_asyncio.fixture
async def importing(own_stores: Settings, tmp_path: Path) -> AsyncIterator[Importing]:
    """Empty stores and a folder for files."""
    found = Importing(own_stores, tmp_path)
    await found.empty()
    yield found
    await found.close()
