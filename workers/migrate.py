"""`python -m workers migrate`: brings every database up to date."""

from __future__ import annotations

import asyncio

from db import settings
from db.migrate import migrate


async def migrate_all(configured: settings.Settings) -> None:
    """Migrates clinical, imaging and vitals, one after the other, saying what was applied."""
    urls = {
        "clinical": configured.clinical_url,
        "imaging": configured.imaging_url,
        "vitals": configured.vitals_url,
    }
    for database, url in urls.items():
        applied = await migrate(database, url, configured.secret)
        print(f"{database}: {len(applied)} migrations applied", flush=True)


def main(argv: list[str]) -> int:
    """Entry point; takes no arguments."""
    asyncio.run(migrate_all(settings.load()))
    return 0
