"""`python -m workers sync [--rebuild] [CONSUMER…]`: keeps the copies, all of them or those named, until a signal.

With --rebuild it makes them from nothing and ends; reads, and the worker that keeps them, go on meanwhile. As many
processes as wanted may run: of each consumer one works and the others wait to take over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from db import settings
from db.archive import Archive
from db.errors import SettingsError
from db.stores import Stores
from workers.signals import until_signal
from workers.sweep import TIMEOUT_S as SWEEP_TIMEOUT_S
from workers.sync.export import EXPORTS, Export, export_to
from workers.sync.following import Bell, Consumer, follow, rebuild
from workers.sync.passes import keep, passes
from workers.sync.rollup import Rollup
from workers.sync.series import Series
from workers.sync.summaries import Summaries

CONSUMERS: Mapping[str, Callable[[Stores], Consumer]] = {
    "summaries": Summaries,
    "series": Series,
    "rollup": Rollup,
}
"""Who keeps which copy, by name."""

TIMEOUT_S = 30.0
"""Seconds until a store is given up: a batch may take longer than a caller would wait."""


async def sync(configured: settings.Settings, names: Sequence[str]) -> None:
    """Keeps the copies of these consumers until it is cancelled."""
    stores, bell = Stores(replace(configured, store_timeout_s=TIMEOUT_S)), Bell()
    archive = Archive("archive", configured.archive_url, SWEEP_TIMEOUT_S)
    consumers: list[Consumer] = []
    try:
        consumers += [_consumer(name, configured, stores) for name in names]
        async with asyncio.TaskGroup() as tasks:
            for store in (stores.clinical, stores.vitals):
                tasks.create_task(bell.hear(store))
            for one in passes(stores, archive):
                tasks.create_task(keep(one))
            for consumer in consumers:
                tasks.create_task(follow(consumer, bell))
    finally:
        for consumer in consumers:
            if isinstance(consumer, Export):
                await consumer.close()
        await archive.close()
        await stores.close()


def _consumer(name: str, configured: settings.Settings, stores: Stores) -> Consumer:
    if name in EXPORTS:
        return export_to(configured.export_url, EXPORTS[name](stores))
    return CONSUMERS[name](stores)


async def make_anew(configured: settings.Settings, names: Sequence[str]) -> None:
    """Makes the copies of these consumers from nothing. Raises StoreError."""
    stores = Stores(replace(configured, store_timeout_s=TIMEOUT_S))
    try:
        for name in names:
            await rebuild(CONSUMERS[name](stores))
    finally:
        await stores.close()


def main(argv: list[str]) -> int:
    """Entry point; names of consumers, or none for all. Raises SettingsError for an unknown one."""
    anew = argv[:1] == ["--rebuild"]
    names, known = argv[anew:], [*CONSUMERS] if anew else [*CONSUMERS, *EXPORTS]
    if unknown := set(names) - set(known):
        raise SettingsError(f"There is no consumer {min(unknown)!r}; there are {', '.join(known)}.")
    configured = settings.load()
    every = [name for name in known if name in CONSUMERS or configured.export_url]
    chosen = names or every
    asyncio.run(make_anew(configured, chosen) if anew else until_signal(sync(configured, chosen)))
    return 0
