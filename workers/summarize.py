"""`python -m workers summarize [--rebuild]`: makes the summary of each registered patient from nothing.

Reads go on meanwhile, and so may `python -m workers sync`, which keeps the summaries from then on.
"""

from __future__ import annotations

import asyncio

from db import settings
from db.errors import SettingsError
from db.stores import Stores
from workers.sync.following import rebuild
from workers.sync.summaries import Summaries


async def summarize(configured: settings.Settings) -> tuple[int, int]:
    """Makes all summaries: how many were new or have changed, how many said the same. Raises StoreError."""
    stores = Stores(configured)
    try:
        summaries = Summaries(stores)
        await rebuild(summaries)
        return summaries.written, summaries.unchanged
    finally:
        await stores.close()


def main(argv: list[str]) -> int:
    """Entry point."""
    if argv not in ([], ["--rebuild"]):
        raise SettingsError("summarize takes no arguments but --rebuild.")
    written, unchanged = asyncio.run(summarize(settings.load()))
    print(f"patient_summaries: {written} written, {unchanged} unchanged", flush=True)
    return 0
