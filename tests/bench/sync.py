"""`python -m tests.bench.sync [--rate N] [--seconds S] [--patients P]`: how far copies are behind a stream of writes.

The sync worker keeps summaries and series while rows of patients chosen at random are written at a steady rate, each in
a transaction of its own. Printed is the lag of each consumer as `/metrics` has it, looked at five times a second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID, uuid4

from db.errors import AppError
from db.feed import Feed
from db.settings import Settings, load
from db.stores import Stores
from tests.bench.engines.servers import cpu_ms
from tests.people import DIABETES, People
from workers.embedded.child import Child
from workers.embedded.directory import python_program
from workers.embedded.stores import stores
from workers.migrate import migrate_all

FACILITY = "INSERT INTO clinical.facility (id, code, name) VALUES ($1, 'SYNC', 'Sync Hospital')"
WRITE = "UPDATE clinical.condition SET note = $3 WHERE facility_id = $1 AND patient_id = $2 AND code = $4"
CONSUMERS = {"series", "summaries"}
"""Those of the clinical database. One joins when it has made its copy from nothing, which is no lag."""
LOOK_S = 0.2
START_S, END_S = 60.0, 30.0
"""Seconds until the copies must have caught up with what was there, and with what was written."""
LANES = 8
"""Connections that write."""


async def write(database: Stores, facility_id: UUID, patients: Sequence[UUID], asked: argparse.Namespace) -> float:
    """Writes at a steady rate; writes a second that came of it."""
    count, began = round(asked.rate * asked.seconds), time.perf_counter()
    numbers = iter(range(count))

    async def lane(chances: random.Random) -> None:
        for number in numbers:
            await asyncio.sleep(max(0, began + number / asked.rate - time.perf_counter()))
            patient = chances.choice(patients)
            await database.clinical.worker_fetch(WRITE, facility_id, patient, str(number), DIABETES)

    await asyncio.gather(*(lane(random.Random(n)) for n in range(LANES)))
    return count / (time.perf_counter() - began)


async def look(feed: Feed, seen: Mapping[str, list[tuple[float, int]]]) -> None:
    """Notes the lag of each consumer until it is cancelled."""
    while True:
        for lag in await feed.lag():
            seen[lag.consumer].append((lag.seconds, lag.events))
        await asyncio.sleep(LOOK_S)


async def settled(feed: Feed, within_s: float) -> float:
    """Seconds until every consumer has joined and done everything. Raises AppError where that takes too long."""
    began = time.monotonic()
    while {lag.consumer: lag.events for lag in await feed.lag()} != dict.fromkeys(CONSUMERS, 0):
        if time.monotonic() - began > within_s:
            raise AppError("The copies did not catch up.")
        await asyncio.sleep(LOOK_S / 4)
    return time.monotonic() - began


async def run(settings: Settings, environ: Mapping[str, str], data: Path, asked: argparse.Namespace) -> None:
    """Prints the table. Raises AppError where the copies don't catch up."""
    await migrate_all(settings)
    async with AsyncExitStack() as stack:
        database = Stores(settings)
        stack.push_async_callback(database.close)
        facility_id, people, feed = uuid4(), People(database), Feed(database.clinical)
        await database.clinical.worker_fetch(FACILITY, facility_id)
        patients = [await people.patient(facility_id) for _ in range(asked.patients)]
        program = python_program("workers", "sync", **environ, CAREGRAPH_DATA=str(data))
        worker = Child(program, data / "sync.pid", data / "sync.log")
        stack.callback(worker.stop)
        await settled(feed, START_S)
        seen: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        looking = asyncio.create_task(look(feed, seen))
        used = cpu_ms([worker.process.pid])
        rate = await write(database, facility_id, patients, asked)
        rest = await settled(feed, END_S)
        looking.cancel()
        cpu = (cpu_ms([worker.process.pid]) - used) / (asked.seconds * 10)
    print(
        "| writes a second | consumer | lag p50 ms | p99 ms | max ms | events at most | worker CPU % | caught up ms |"
    )
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    for consumer, lags in sorted(seen.items()):
        ordered = sorted(seconds * 1000 for seconds, _ in lags)
        p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.99))
        most = max(events for _, events in lags)
        print(
            f"| {rate:.0f} | {consumer} | {p50:.0f} | {p99:.0f} | {ordered[-1]:.0f} | {most:,} "
            f"| {cpu:.0f} | {rest * 1000:.0f} |"
        )


def main() -> int:
    """Entry point; the status is 1 where the copies don't catch up."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sync", description=__doc__)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--patients", type=int, default=1000)
    asked = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="caregraph-") as folder, stores(Path(folder) / "data", {}) as started:
            settings = load({**os.environ, **started.env, "CAREGRAPH_DATA": str(started.directory.path)})
            asyncio.run(run(settings, started.env, started.directory.path, asked))
    except AppError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
