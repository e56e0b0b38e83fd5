"""Fills the embedded stores with a network of this size: set by set, indexes last, so that it takes minutes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from db.notes_schema import CLINICAL_NOTES
from db.settings import Settings
from db.stores import Stores
from tests.bench.scale import beside, chart, people
from tests.bench.scale.bulk import make_indexes, take_indexes
from tests.bench.scale.sizes import Sizes
from workers.migrate import migrate_all

SCHEMAS = ("clinical", "imaging", "vitals")
SESSION = """
SET timezone = 'UTC'; SET work_mem = '256MB'; SET maintenance_work_mem = '1GB'; SET synchronous_commit = off;
SET max_parallel_workers_per_gather = 0; SET max_parallel_maintenance_workers = 0; SET jit = off;
SET session_replication_role = replica"""
"""No triggers: labels and words of search are made set by set, and foreign keys are known to hold."""

Say = Callable[[str], object]


class Timer:
    """Says how many seconds each step took, one after the other."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._started = self._last = time.monotonic()

    def step(self, name: str) -> None:
        """Ends a step."""
        now = time.monotonic()
        self._say(f"{now - self._started:6.0f} s  {name}: {now - self._last:.0f} s")
        self._last = now


@asynccontextmanager
async def sessions(url: str, count: int) -> AsyncGenerator[list[asyncpg.Connection]]:
    """Sessions of the administrator that write in bulk."""
    opened = [await asyncpg.connect(url) for _ in range(count)]
    try:
        for connection in opened:
            await connection.execute(SESSION)
        yield opened
    finally:
        for connection in opened:
            await connection.close()


async def load(settings: Settings, sizes: Sizes, say: Say = print) -> None:
    """Migrates the stores and fills them; they must be empty. Raises what a statement raises."""
    timer = Timer(say)
    await migrate_all(settings)
    timer.step("migrations")
    async with sessions(settings.clinical_url, 2) as opened:
        made = await take_indexes(opened[0], ["clinical"])
        visits = await _fill_clinical(opened, sizes, timer)
        await make_indexes(opened, made)
        timer.step("clinical indexes")
        await opened[0].execute("VACUUM (ANALYZE)")
        timer.step("clinical vacuum")
    await _fill_imaging(settings.imaging_url, sizes, visits)
    await _fill_vitals(settings.vitals_url, sizes, visits)
    timer.step("imaging and vitals")
    await _fill_notes(settings, sizes, visits)
    timer.step("notes")


async def _fill_clinical(opened: Sequence[asyncpg.Connection], sizes: Sizes, timer: Timer) -> Sequence[Any]:
    """Fills the clinical database, with two sessions where the sets are large; the visits that other stores know."""
    words = sizes.words()
    first, second = opened
    for script in (people.HELPERS, people.NAMES, people.PLACES, people.PERSONS, chart.CONCEPTS, chart.VISITS):
        await first.execute(script.format(**words))
    timer.step("people and visits")
    await asyncio.gather(
        first.execute((chart.ENCOUNTERS + "".join(chart.FACTS) + chart.MEDICATIONS).format(**words)),
        second.execute((people.SEARCH + chart.PANELS + chart.TESTS + chart.SCHEDULE).format(**words)),
    )
    await first.execute(f"SET session_replication_role = origin; {chart.CONSENTS.format(**words)}")
    await first.execute("SET session_replication_role = replica")
    timer.step("charts and reports")
    halves = ("<", ">=")
    await asyncio.gather(
        *(one.execute(chart.LABS.format(**words, half=half)) for one, half in zip(opened, halves, strict=True))
    )
    timer.step("laboratory results")
    visits = await first.fetch(beside.VISITS, int(words["beside"]))
    await first.execute("SET client_min_messages = warning; DROP SCHEMA scale CASCADE")
    return visits


async def _fill(url: str, schema: str, script: str, visits: Sequence[Any], words: Mapping[str, object]) -> None:
    async with sessions(url, 2) as opened:
        first = opened[0]
        made = await take_indexes(first, [schema])
        await first.execute(beside.STAGE.format(**words))
        await first.copy_records_to_table("visit", schema_name="scale", records=[tuple(visit) for visit in visits])
        await first.execute(script.format(**words))
        await make_indexes(opened, made)
        await first.execute("SET client_min_messages = warning; DROP SCHEMA scale CASCADE")
        await first.execute("VACUUM (ANALYZE)")


async def _fill_imaging(url: str, sizes: Sizes, visits: Sequence[Any]) -> None:
    known = [visit for visit in visits if visit["n"] % int(sizes.words()["beside"]) == 0]
    await _fill(url, "imaging", beside.IMAGING, known, sizes.words())


async def _fill_vitals(url: str, sizes: Sizes, visits: Sequence[Any]) -> None:
    beds = max(1, sum(visit["ended"] is None for visit in visits))
    await _fill(url, "vitals", beside.VITALS, visits, {**sizes.words(), "beds": beds})


async def _fill_notes(settings: Settings, sizes: Sizes, visits: Sequence[Any]) -> None:
    stores = Stores(settings)
    try:
        await stores.notes.worker_upsert(CLINICAL_NOTES, list(beside.notes(visits, sizes.notes)))
    finally:
        await stores.close()
