"""Databases and a bucket of their own on the running servers, for tests whose data must not show up in the demo."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from db.settings import Settings
from workers.migrate import migrate_all

DATABASES = ("clinical", "imaging", "vitals")


def _renamed(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def apart(configured: Settings, label: str) -> Settings:
    """Settings of new, migrated databases, collections and a bucket, named by the label; the warehouse is shared."""
    urls: dict[str, str] = {}
    for name in DATABASES:
        url: str = getattr(configured, f"{name}_url")
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE DATABASE {label}_{name}")
        await connection.close()
        urls[f"{name}_url"] = _renamed(url, f"{label}_{name}")
    bucket = label.replace("_", "-")  # S3 takes no underscore
    notes_url, archive_url = _renamed(configured.notes_url, label), _renamed(configured.archive_url, bucket)
    urls["clinical_direct_url"] = urls["research_url"] = urls["clinical_url"]
    own = replace(configured, notes_url=notes_url, archive_url=archive_url, **urls)
    await migrate_all(own)
    return own
