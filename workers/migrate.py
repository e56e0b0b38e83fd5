"""`python -m workers migrate`: brings every store up to date; safe to run again, and beside another run."""

from __future__ import annotations

import asyncio

from db import settings
from db.migrate import migrate
from db.stores import Stores
from db.warehouse import migrate_warehouse


async def migrate_all(configured: settings.Settings) -> None:
    """Migrates the databases and the warehouse, and makes what notes and archive need, saying what was applied."""
    urls = {
        "clinical": configured.clinical_url,
        "imaging": configured.imaging_url,
        "vitals": configured.vitals_url,
    }
    for database, url in urls.items():
        applied = await migrate(database, url, configured.secret)
        print(f"{database}: {len(applied)} migrations applied", flush=True)
    print(f"warehouse: {len(await migrate_warehouse(configured))} migrations applied", flush=True)
    stores = Stores(configured)
    try:
        await stores.notes.ensure()
        await stores.archive.worker_ensure_bucket()
    finally:
        await stores.close()


def main(argv: list[str]) -> int:
    """Entry point; takes no arguments."""
    asyncio.run(migrate_all(settings.load()))
    return 0
