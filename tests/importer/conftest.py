"""Databases of the importer's own tests, emptied before each, beside those that other tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest_asyncio

from db.settings import Settings
from tests.importer.importing import Importing
from workers.migrate import migrate_all

DATABASES = ("clinical", "imaging", "vitals")


def _renamed(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest_asyncio.fixture(scope="session")
async def own_stores(configured: Settings) -> Settings:
    """Settings of empty, migrated databases on the same servers."""
    urls: dict[str, str] = {}
    for name in DATABASES:
        url: str = getattr(configured, f"{name}_url")
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE DATABASE importing_{name}")
        await connection.close()
        urls[f"{name}_url"] = _renamed(url, f"importing_{name}")
    own = replace(configured, notes_url=_renamed(configured.notes_url, "importing"), **urls)
    await migrate_all(own)
    return own


@pytest_asyncio.fixture
async def importing(own_stores: Settings, tmp_path: Path) -> AsyncIterator[Importing]:
    """Empty stores and a folder for files."""
    found = Importing(own_stores, tmp_path)
    await found.empty()
    yield found
    await found.close()
