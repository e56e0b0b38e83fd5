"""`python -m tests.bench.research [--patients N] [--chart-seconds S]`: a dataset from request to release.

Three ways in one run, over the same patients: the extraction as users get it, by a worker of its own; the same reads,
files and loads with no rules at all, which is the limit; and a straightforward pipeline that goes record by record
(tests/bench/research_naive.py), on a sample, scaled. Then charts are asked for at a steady rate: alone, while a process
of the lowest priority takes a core, and while another extraction reads at the rate that is the default. Prints
Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import polars as pl

from db.errors import AppError
from db.research_method import Method
from db.settings import Settings, load
from graph.auth import issue
from loaders.research_definition import parse
from tests.bench import research_data
from tests.bench.live import alive, free_port
from tests.bench.research_naive import naive
from tests.research.extractions import EVERYTHING, FACILITIES, Network, approved
from workers.embedded.child import Child
from workers.embedded.directory import python_program
from workers.embedded.stores import stores
from workers.migrate import migrate_all
from workers.research import vitals
from workers.research.facts import tables_of
from workers.research.job import Job, Stage, State
from workers.research.people import PEOPLE
from workers.research.people import TYPES as PEOPLE_TYPES
from workers.research.reading import Rate, read
from workers.research.release import TYPES
from workers.research.sources import Sources, staged_key
from workers.research.spill import MEMBERS_NAME, groups, spilled

CHART = """query ($id: ID!) { patient(id: $id) { id gender birthDate
    encounters(first: 10) { nodes { id class periodStart } }
    conditions(first: 20) { nodes { id code { coding { code display } } } }
    labResults(first: 20) { nodes { id effectiveDateTime valueQuantity { value unit } } } } }"""
SOME_PATIENTS = "SELECT patient_id FROM clinical.registration WHERE facility_id = $1 ORDER BY patient_id LIMIT 500"
JOB = """
SELECT d.id, d.definition, e.partitions
FROM clinical.research_extraction AS e JOIN clinical.research_dataset AS d ON d.id = e.dataset_id WHERE e.id = $1"""
LIMIT_S = 3600
"""Seconds that an extraction may take."""
LOOK_S = 0.2
"""Seconds between two looks at whether it is over."""
SAMPLE = 25
"""Patients that go record by record; 20 times as many where rows are inserted together."""
RATE = 15
"""Charts asked for in a second: well below what two cores serve, so that nothing waits for itself."""
AT_ONCE = 2


async def extraction(net: Network, mb_per_s: int) -> tuple[UUID, float, float]:
    """A release of everything by a worker of its own: its id, seconds, and the worker's peak memory in MB."""
    dataset = await net.dataset(Method.SAFE_HARBOR)
    worker = await net.worker(mb_per_s)
    await asyncio.sleep(3)  # the worker has started, and waits
    began = time.perf_counter()
    made = await net.extraction(dataset)
    try:
        await net.until(made, "state NOT IN ('QUEUED', 'RUNNING')", LIMIT_S, LOOK_S)
        lasted, peak = time.perf_counter() - began, peak_mb(worker.pid)
    finally:
        worker.terminate()
        await worker.wait()
    ended = await net.ended(made)
    if ended.state != "PUBLISHED":
        raise AppError(f"The extraction ended as {ended.state}: {ended.error or ended.report}.")
    return made, lasted, peak


def peak_mb(pid: int) -> float:
    """Most memory that a process has had, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


async def limit(net: Network, made: UUID) -> float:
    """Seconds for the same reads, files and loads as those of an extraction, with no rules at all."""
    sources, bare, ready = Sources(net.settings, Rate(None)), uuid4(), asyncio.Semaphore(AT_ONCE)
    job = await _job(net, made)
    began = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:

            async def one(group: Sequence[int], people: pl.DataFrame) -> None:
                async with ready:
                    await _bare(sources, job, group, people, bare, Path(folder))

            async with sources.clinical.project(job.project_id) as reading:
                people = await read(reading, sources.rate, PEOPLE_TYPES, PEOPLE, job.id, job.project_id)
            await asyncio.gather(*(one(group, people) for group in groups(job.partitions or 0)))
            for name in EVERYTHING:
                files = sorted(Path(folder).glob(f"{name}-*.parquet"))
                columns = {
                    column: TYPES[type_.base_type()] for column, type_ in pl.read_parquet_schema(files[0]).items()
                }
                await sources.releases.load(bare, name, columns, files)
            lasted = time.perf_counter() - began
        await sources.releases.drop(bare, EVERYTHING)
        return lasted
    finally:
        await sources.close()


async def _job(net: Network, made: UUID) -> Job:
    """What an extraction made, though it is over."""
    [(dataset, definition, partitions)] = await net.fetch(JOB, made)
    return Job(
        made, net.project, dataset, 1, State.RUNNING, Stage.EXTRACT, date.today(), {}, parse(definition), "", 11, 2,
        frozenset(), partitions,
    )  # fmt: skip


async def _bare(
    sources: Sources, job: Job, group: Sequence[int], people: pl.DataFrame, bare: UUID, folder: Path
) -> None:
    """Reads, writes and stores a group of partitions."""
    async with spilled(sources, job, group) as rows:
        for partition in group:
            frames = {table.name: await rows.rows(table.name, partition) for table in tables_of(job)}
            frames["patients"] = people.filter(people["partition"] == partition)
            members = await rows.rows(MEMBERS_NAME, partition)
            async with sources.vitals.facilities(rows.facilities) as reading:
                asked = [UUID(one) for one in members["patient"]]
                readings = await vitals.read_vitals(reading, sources.rate, job, asked, rows.facilities)
                frames[vitals.NAME] = readings.join(members, on="patient")
            for name, frame in frames.items():
                numbered = frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("row_id"))
                content = await sources.put(staged_key(bare, name, partition), numbered)
                (folder / f"{name}-{partition:05}.parquet").write_bytes(content)


async def chart_p99(settings: Settings, environ: Mapping[str, str], net: Network, home: UUID, seconds: float) -> None:
    """Prints how long charts take: for so many seconds alone before and after, and beside a core that is taken; and
    beside an extraction at the default rate from its start to its end."""
    patients = [str(row[0]) for row in await net.fetch(SOME_PATIENTS, home)]
    token = issue(settings, "physician", home)
    async with api(environ, settings.data) as url:

        async def alone(seconds: float) -> Sequence[float]:
            return await asked(url, token, patients, asyncio.ensure_future(asyncio.sleep(seconds)))

        await alone(5)
        before = await alone(seconds)
        async with one_core_taken():
            taken = await alone(seconds)
        running = asyncio.ensure_future(extraction(net, settings.research_mb_per_s))
        beside = await asked(url, token, patients, running)
        _, lasted, _ = await running
        after = await alone(seconds)
    print("| charts | asked | p50 ms | p90 ms | p99 ms |\n|---|---:|---:|---:|---:|")
    for name, times in (
        ("before", before),
        ("beside a core taken at the lowest priority", taken),
        (f"beside an extraction of {lasted:.0f} s", beside),
        ("after", after),
    ):
        parts = " | ".join(f"{_part(times, part):.1f}" for part in (0.5, 0.9, 0.99))
        print(f"| {name} | {len(times)} | {parts} |")
    without = _part([*before, *after], 0.99)
    for name, times in (("an extraction", beside), ("a core taken", taken)):
        print(f"\np99 beside {name}: {_part(times, 0.99) / without:.2f} times that without")


@asynccontextmanager
async def one_core_taken() -> AsyncGenerator[None]:
    """Something that takes a core as politely as can be and touches no store: what that alone does to a chart here."""
    idle = await asyncio.create_subprocess_exec("nice", "-n", "19", sys.executable, "-c", "while True: pass")
    try:
        yield
    finally:
        idle.kill()
        await idle.wait()


@asynccontextmanager
async def api(environ: Mapping[str, str], data: Path) -> AsyncGenerator[str]:
    """The URL of a process of the API."""
    port = free_port()
    variables = {**environ, "CAREGRAPH_PORT": str(port), "CAREGRAPH_DEMO": "1", "CAREGRAPH_DATA": str(data)}
    server = Child(python_program("graph.server", **variables), data / "api.pid", data / "api.log")
    try:
        async with aiohttp.ClientSession() as http:
            await alive(http, port)
        yield f"http://127.0.0.1:{port}/graphql"
    finally:
        server.stop()


async def asked(url: str, token: str, patients: Sequence[str], until: asyncio.Future[Any]) -> Sequence[float]:
    """Milliseconds of each chart, asked for at RATE until something is done, whether or not others are answered."""
    times: list[float] = []
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as http, asyncio.TaskGroup() as under_way:

        async def one(patient: str) -> None:
            began = time.perf_counter()
            async with http.post(url, json={"query": CHART, "variables": {"id": f"Patient/{patient}"}}) as answer:
                if (await answer.json()).get("errors"):
                    raise AppError("A chart was not answered.")
            times.append((time.perf_counter() - began) * 1000)

        began = time.perf_counter()
        for number in itertools.count():
            await asyncio.sleep(max(0, began + number / RATE - time.perf_counter()))
            if until.done():
                break
            under_way.create_task(one(patients[number % len(patients)]))
    return times


def _part(times: Sequence[float], part: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


async def run(settings: Settings, environ: Mapping[str, str], wanted: argparse.Namespace) -> None:
    """Prints the tables. Raises AppError where an extraction is not published."""
    await migrate_all(settings)
    began = time.perf_counter()
    await research_data.make(settings.clinical_url, settings.vitals_url, wanted.patients)
    print(f"\n{wanted.patients:,} patients made in {time.perf_counter() - began:.0f} s", flush=True)
    net = await approved(settings)
    [(home,), *_] = await net.fetch(FACILITIES)
    made, lasted, peak = await extraction(net, 0)
    least = await limit(net, made)
    print("| way | seconds | of the limit | of the extraction | peak MB |\n|---|---:|---:|---:|---:|")
    print(f"| extraction, validated and published | {lasted:.1f} | {lasted / least:.2f} | 1.0 | {peak:.0f} |")
    print(
        f"| the same reads, files and loads without rules | {least:.1f} | 1.00 | {least / lasted:.2f} | |", flush=True
    )
    for name, batch, sampled in (
        ("record by record", 1, SAMPLE),
        ("the same, 500 rows in an INSERT", 500, 20 * SAMPLE),
    ):
        seconds = await naive(settings.clinical_url, settings.warehouse_url, sampled, batch) / sampled * wanted.patients
        print(
            f"| {name}, {sampled} patients scaled | {seconds:.0f} | {seconds / least:.1f} | {seconds / lasted:.1f} | |"
        )
    if wanted.chart_seconds:
        await chart_p99(settings, environ, net, home, wanted.chart_seconds)


def main() -> int:
    """Entry point; the status is 1 where an extraction is not published."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.research", description=__doc__)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--chart-seconds", type=float, default=60)
    wanted = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="caregraph-") as folder, stores(Path(folder) / "data", {}) as started:
            environ = {**started.env, "CAREGRAPH_REQUESTS_PER_MINUTE": "1000000"}
            data = str(started.directory.path)
            settings = load({**os.environ, **environ, "CAREGRAPH_DATA": data, "CAREGRAPH_DEMO": "1"})
            asyncio.run(run(settings, environ, wanted))
    except AppError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
