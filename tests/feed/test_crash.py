"""Kill -9 of the worker, of MongoDB and of PostgreSQL in the middle of a load: then copies equal their sources."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from db.errors import StoreError
from db.feed import Feed
from db.guard import PAUSE_S
from db.settings import Settings
from db.stores import Stores
from tests.feed.charts import (
    CORRECT,
    RESOLVE,
    Chart,
    series_of_copy,
    series_of_source,
    summaries_of_copy,
    summaries_of_source,
)
from workers.embedded.child import Child
from workers.embedded.directory import python_program
from workers.embedded.stores import Stores as Embedded

CHARTS, ROUNDS = 6, 25


def environ(settings: Settings) -> dict[str, str]:
    """Variables of a worker of these databases."""
    urls = {
        "CLINICAL": settings.clinical_url,
        "CLINICAL_DIRECT": settings.clinical_direct_url,
        "IMAGING": settings.imaging_url,
        "VITALS": settings.vitals_url,
        "NOTES": settings.notes_url,
        "ARCHIVE": settings.archive_url,
        "WAREHOUSE": settings.warehouse_url,
    }
    named = {f"CAREGRAPH_{name}_URL": url for name, url in urls.items()}
    return {**os.environ, **named, "CAREGRAPH_SECRET": settings.secret.decode()}


@pytest.fixture
def worker(alone: Settings, tmp_path: Path) -> Iterator[list[Child]]:
    """Sync workers, of which the first is started."""
    started = [start(alone, tmp_path)]
    yield started
    for one in started:
        one.stop()


def start(settings: Settings, folder: Path) -> Child:
    """A sync worker."""
    program = python_program("workers", "sync", **environ(settings))
    return Child(program, folder / "sync.pid", folder / "sync.log")


async def load(stores: Stores, alone: Settings, middle: asyncio.Event) -> None:
    """Writes to charts, and says when it is in the middle; what a store that is down refuses was not written."""
    chance, made, results = random.Random(5), list[Chart](), list[UUID]()
    while len(made) < CHARTS:
        made.append(await Chart(stores, alone).register())
    for turn in range(ROUNDS):
        if turn == ROUNDS // 3:
            middle.set()
        chart = chance.choice(made)
        with suppress(StoreError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            condition = await chart.condition()
            results.append(await chart.result(chance.randrange(100), hour=turn))
            await chart.reading(60 + turn)
            if chance.random() < 0.4:
                await stores.clinical.worker_fetch(RESOLVE, condition)
                await stores.clinical.worker_fetch(CORRECT, chance.choice(results), "corrected", turn)
        await asyncio.sleep(0.05)


async def until_caught_up(alone: Settings) -> None:
    """Returns when every consumer has done all that was committed before this was called."""
    stores = Stores(alone)
    try:
        async with asyncio.timeout(90):
            while not await caught_up(stores):  # noqa: ASYNC110 - the worker is another process
                await asyncio.sleep(0.2)
    finally:
        await stores.close()


async def caught_up(stores: Stores) -> bool:
    """Whether all consumers are there and none has anything to do."""
    lags = [lag for store in (stores.clinical, stores.vitals) for lag in await Feed(store).lag()]
    return len(lags) == 4 and not any(lag.events for lag in lags)


async def the_copies_equal_their_sources(alone: Settings) -> None:
    """Compares all."""
    stores = Stores(alone)
    assert await summaries_of_copy(stores) == await summaries_of_source(stores)
    assert await series_of_copy(stores) == await series_of_source(stores)
    assert len(await series_of_copy(stores)) > ROUNDS // 4
    await stores.close()


async def test_the_worker_dies(stores: Stores, alone: Settings, worker: list[Child], tmp_path: Path) -> None:
    middle = asyncio.Event()
    loading = asyncio.create_task(load(stores, alone, middle))
    await middle.wait()
    for _ in range(3):
        worker[-1].kill()
        worker.append(start(alone, tmp_path))
        await asyncio.sleep(1.5)  # until it works
    await loading
    await until_caught_up(alone)
    await the_copies_equal_their_sources(alone)


@pytest.mark.parametrize("name", ["notes", "clinical", "vitals"])
async def test_a_store_dies(
    stores: Stores, alone: Settings, embedded: Embedded, worker: list[Child], name: str
) -> None:
    middle = asyncio.Event()
    loading = asyncio.create_task(load(stores, alone, middle))
    await middle.wait()
    embedded.kill(name)
    await asyncio.sleep(1)
    embedded.start(name)
    await loading
    await asyncio.sleep(PAUSE_S)
    await until_caught_up(alone)
    assert worker[0].running
    await the_copies_equal_their_sources(alone)
