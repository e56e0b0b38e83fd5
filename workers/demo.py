"""`python -m workers demo`: loads a network of three hospitals into all stores, the same one for the same seed.

What clinosim simulates and what workers.network adds goes through the importer as FHIR files; then come DICOM objects,
summaries, rollups and research datasets. A load that ended is not repeated; one that was interrupted starts again and
writes the same rows.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable

from db import settings
from db.postgres import Postgres
from db.settings import Settings
from workers.network.facilities import FACILITIES
from workers.network.resource import AS_OF

POPULATION = 60
"""People in the catchment of each hospital; about half of them come as patients within the year."""

SEED = 42
MONITOR_MINUTES = 360
"""How long the bedside monitors have run, up to now."""

LOADED = "/* demo_loaded */ SELECT seed FROM clinical.demo_load"
RECORD = """/* record_demo_load */
INSERT INTO clinical.demo_load (seed, population) VALUES ($1::int, $2::int) ON CONFLICT (only_row) DO NOTHING"""


async def load(
    configured: Settings,
    population: int = POPULATION,
    seed: int = SEED,
    minutes: int = MONITOR_MINUTES,
    progress: Callable[[str], object] = print,
) -> bool:
    """Loads the network unless one was loaded before; whether it did. Raises StoreError, SimulationFailed.

    `population` is the catchment of each hospital, `minutes` how long its bedside monitors have run.
    """
    clinical = Postgres("clinical", configured.clinical_url, configured.secret, configured.store_timeout_s)
    try:
        if await clinical.worker_fetch(LOADED):
            return False
        # Imported now: the drivers of all stores take a second, which every start would wait for.
        from workers.network.loading import fill

        await fill(configured, population, seed, minutes, progress)
        await clinical.worker_fetch(RECORD, seed, population)
        return True
    finally:
        await clinical.close()


def main(argv: list[str]) -> int:
    """Entry point; prints how to use the network."""
    parser = argparse.ArgumentParser(prog="python -m workers demo", description="Loads the demo hospital network.")
    parser.add_argument("--population", type=int, default=POPULATION, help="people in the catchment of each hospital")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed makes another network")
    asked = parser.parse_args(argv)
    started = time.monotonic()

    def say(line: str) -> None:
        print(line, flush=True)

    loaded = asyncio.run(load(settings.load(), asked.population, asked.seed, progress=say))
    codes = ", ".join(item.code for item in FACILITIES)
    state = f"loaded in {time.monotonic() - started:.0f} s" if loaded else "loaded before"
    say(f"Demo network {state}: {codes}; its records end on {AS_OF:%Y-%m-%d}.")
    say(f"A token: python -m workers token physician --facility {FACILITIES[0].code}")
    return 0
