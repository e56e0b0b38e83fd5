"""`python -m workers research work | watch EXTRACTION | aggregates | hierarchy FILE`.

work        works on extractions until a signal; as many processes and machines as wanted share them
watch       shows how far an extraction is, until it has ended
aggregates  publishes the counts of the network that all profiles see (workers/research/aggregates.py)
hierarchy   replaces the codes below codes by those of a CSV file with the columns system, code, descendant
"""

from __future__ import annotations

import asyncio
import csv
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

from tqdm import tqdm

from db import settings
from db.errors import SettingsError
from db.postgres import Postgres
from workers.research import aggregates
from workers.research.work import work
from workers.signals import until_signal

AT_ONCE = 2
"""Partitions that one worker makes at a time where its rate has no bound: one is read while another is computed."""
NICENESS = 19
"""How much a worker gives way to what else runs on its machine."""
LOOK_S = 0.5
"""Seconds between two looks at an extraction."""
MB = 1_000_000

PROGRESS = """/* research_progress */
SELECT state, stage, rows_done, rows_estimate, error FROM clinical.research_extraction WHERE id = $1::uuid"""
CLEAR_HIERARCHY = "/* clear_hierarchy */ DELETE FROM clinical.code_descendant WHERE system = $1::text"
ADD_HIERARCHY = """/* add_hierarchy */
INSERT INTO clinical.code_descendant (system, code, descendant)
SELECT $1::text, code, descendant FROM unnest($2::text[], $3::text[]) AS t (code, descendant)
ON CONFLICT DO NOTHING"""
UNDER_WAY = ("QUEUED", "RUNNING")


async def work_on(configured: settings.Settings) -> None:
    """Works until a signal.

    With a bound on its rate it takes one core and one partition at a time, and while the database sorts it waits: on
    a machine of two cores one stays free, without which a chart's commit waits for a tick of the scheduler (4 ms).
    """
    os.nice(NICENESS)  # before there are threads, which inherit both
    if configured.research_mb_per_s:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rate = configured.research_mb_per_s * MB or None
    await until_signal(work(configured, at_once=1 if rate else AT_ONCE, bytes_per_s=rate))


async def watch(configured: settings.Settings, extraction: UUID) -> None:
    """Shows a bar until an extraction has ended. Raises SettingsError for one that came to nothing, or that is none."""
    clinical = Postgres("clinical", configured.clinical_url, configured.secret, configured.store_timeout_s)
    try:
        with tqdm(unit=" rows", unit_scale=True) as bar:
            while True:
                rows = await clinical.worker_fetch(PROGRESS, extraction)
                if not rows:
                    raise SettingsError("There is no extraction of this id.")
                state, stage, done, estimate, error = rows[0]
                bar.total = max(done, estimate or 0) if state in UNDER_WAY else done
                bar.set_description(f"{state} {stage}" if state in UNDER_WAY else state, refresh=False)
                bar.n = done
                bar.refresh()
                if state not in UNDER_WAY:
                    break
                await asyncio.sleep(LOOK_S)
    finally:
        await clinical.close()
    if state != "PUBLISHED":
        raise SettingsError(f"The extraction ended as {state}{f': {error}' if error else ''}.")


async def load_hierarchy(configured: settings.Settings, path: Path) -> None:
    """Replaces what is known of the systems that a file names. Raises SettingsError for a file without its columns."""
    below: dict[str, list[tuple[str, str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                below.setdefault(row["system"], []).append((row["code"], row["descendant"]))
            except KeyError:
                raise SettingsError("The file must have the columns system, code and descendant.") from None
    clinical = Postgres("clinical", configured.clinical_url, configured.secret, configured.request_deadline_s)
    try:
        for system, pairs in below.items():
            codes, descendants = zip(*pairs, strict=True)
            await clinical.worker_fetch(CLEAR_HIERARCHY, system)
            await clinical.worker_fetch(ADD_HIERARCHY, system, list(codes), list(descendants))
    finally:
        await clinical.close()


def main(argv: list[str]) -> int:
    """Entry point. Raises SettingsError for anything but the commands above."""
    match argv:
        case ["aggregates"]:
            return aggregates.main([])
        case ["work"]:
            return _run(work_on)
        case ["watch", extraction]:
            try:
                id = UUID(extraction.rpartition("/")[2])
            except ValueError:
                raise SettingsError("An extraction is named by its id.") from None
            return _run(lambda configured: watch(configured, id))
        case ["hierarchy", path]:
            return _run(lambda configured: load_hierarchy(configured, Path(path)))
        case _:
            raise SettingsError("Use one of: work, watch EXTRACTION, aggregates, hierarchy FILE.")


def _run(command: Callable[[settings.Settings], Awaitable[None]]) -> int:
    async def run() -> None:
        await command(settings.load())

    asyncio.run(run())
    return 0
