"""What the sync worker does from time to time beside following the feeds: it tidies, and mends what died half-way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from db.archive import Archive
from db.errors import StoreError
from db.lease import lease
from db.postgres import Postgres
from db.stores import Stores
from workers.sweep import sweep
from workers.sweep_notes import announce_unannounced
from workers.sync.retention import tidy


@dataclass(frozen=True, slots=True)
class Pass:
    """One kind of pass: of one process at a time, whose lease is in a database."""

    name: str
    every_s: float
    leased_in: Postgres
    run: Callable[[], Awaitable[object]]


def passes(stores: Stores, archive: Archive) -> Sequence[Pass]:
    """Every kind; `archive` takes requests that last as long as a copy of gigabytes."""
    clinical, imaging = stores.clinical, stores.imaging
    return [
        *(
            Pass("retention", 3600, store, lambda store=store: tidy(store))
            for store in (clinical, imaging, stores.vitals)
        ),
        Pass("notes", 60, clinical, lambda: announce_unannounced(clinical, stores.notes)),
        Pass("uploads", 600, imaging, lambda: sweep(archive, imaging, clinical, datetime.now(UTC))),
    ]


async def keep(one: Pass) -> None:
    """Runs a pass again and again until it is cancelled; what a store that is down keeps undone, the next one does."""
    while True:
        try:
            async with lease(one.leased_in, one.name):
                await one.run()
        except StoreError as error:
            print(f"sync {one.name}: {error.message}", file=sys.stderr, flush=True)
        await asyncio.sleep(one.every_s)
