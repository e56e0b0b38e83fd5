"""`python -m workers rollup`: brings the hourly and daily rollups of vital signs up to date.

Idempotent, and safe beside imports. Run it after an import and at least every hour while devices deliver: trends read
the last two hours from the readings themselves, everything older from the rollups (loaders/vital_sign.py).
"""

from __future__ import annotations

import asyncio

from db import settings
from db.rollup import roll_up


async def rollup(configured: settings.Settings) -> None:
    """Computes the hours and days anew whose readings changed. Raises StoreUnavailable."""
    await roll_up(configured.vitals_url, configured.secret)


def main(argv: list[str]) -> int:
    """Entry point; takes no arguments."""
    asyncio.run(rollup(settings.load()))
    return 0
