"""Passes of the sync worker: again and again, one process at a time, and on after a store was down."""

from __future__ import annotations

import asyncio

from db.archive import Archive
from db.errors import StoreUnavailable
from db.postgres import Postgres
from db.settings import Settings
from db.stores import Stores
from workers.sync.passes import Pass, keep, passes

LASTS_S, ENOUGH = 0.05, 4


async def test_a_pass_goes_on_after_a_store_was_down_and_is_never_run_twice_at_once(clinical: Postgres) -> None:
    begun = under_way = 0
    enough = asyncio.Event()

    async def run() -> None:
        nonlocal begun, under_way
        begun, under_way = begun + 1, under_way + 1
        assert under_way == 1
        await asyncio.sleep(LASTS_S)
        under_way -= 1
        if begun == ENOUGH:
            enough.set()
        if begun == 1:
            raise StoreUnavailable("clinical")

    one = Pass("probe", 0.01, clinical, run)
    keeping = [asyncio.ensure_future(keep(one)) for _ in range(2)]
    try:
        await asyncio.wait_for(enough.wait(), 30)
    finally:
        for task in keeping:
            task.cancel()
        ended = await asyncio.gather(*keeping, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)


async def test_every_pass_runs_over_stores_where_nothing_is_to_do(alone: Settings) -> None:
    stores, archive = Stores(alone), Archive("archive", alone.archive_url, 10)
    try:
        for one in passes(stores, archive):
            await one.run()
    finally:
        await archive.close()
        await stores.close()
    assert {one.name for one in passes(stores, archive)} == {"retention", "notes", "uploads"}
