"""`python -m tests.mutations.template DIRECTORY`: stores that hold the tests' small network, stopped, to be copied."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from db.settings import Settings, load
from tests.conftest import MINUTES, POPULATION
from workers.demo import load as load_demo
from workers.embedded.stores import stores
from workers.migrate import migrate_all


async def _fill(configured: Settings) -> None:
    await migrate_all(configured)
    await load_demo(configured, population=POPULATION, minutes=MINUTES, progress=lambda line: None)


if __name__ == "__main__":
    data = Path(sys.argv[1])
    with stores(data, {}, separate=("imaging", "vitals")) as running:
        asyncio.run(_fill(load({**running.env, "CAREGRAPH_DATA": str(running.directory.path)})))
