"""Fills the stores with the network: simulation, import, then everything that is derived from the clinical facts.

Every step writes the same rows when it is run again.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from db.bulk import Bulk
from db.mongo import Mongo
from db.notes_schema import CLINICAL_NOTES
from db.settings import Settings
from workers.dicom import Visit, attach_demo_dicom
from workers.fhir.registry import facility
from workers.import_fhir import NOTES_TIMEOUT_S, import_paths
from workers.network.facilities import FACILITIES
from workers.network.files import write_network
from workers.network.resource import AS_OF
from workers.network.simulation import SimulationFailed, simulate
from workers.network.stays import ADDENDUM
from workers.research.aggregates import extract
from workers.rollup import rollup
from workers.summarize import summarize

PROGRESS_S = 5.0
"""Seconds between two lines of the import."""

FOLDER = "demo"
"""Under CAREGRAPH_DATA: the generated files, removed when they are imported."""

Progress = Callable[[str], object]


async def fill(configured: Settings, population: int, seed: int, minutes: int, progress: Progress) -> None:
    """Fills all stores; parameters as of workers.demo.load. Raises StoreError, SimulationFailed."""
    with _scratch(configured.data / FOLDER) as folder:
        stays = await _import(configured, folder, population, seed, minutes, progress)
    await _amend(configured)
    progress("Storing DICOM objects …")
    stored = await attach_demo_dicom(configured, seed, stays)
    progress(f"{stored} objects stored. Summaries, rollups and research datasets …")
    await asyncio.gather(summarize(configured), rollup(configured), extract(configured, AS_OF.date()))


async def _import(
    configured: Settings, folder: Path, population: int, seed: int, minutes: int, progress: Progress
) -> Sequence[Visit]:
    progress(f"Simulating {len(FACILITIES)} hospitals …")
    simulated = await simulate(folder / "simulated", population, seed, len(FACILITIES))
    files = folder / "fhir"
    stays = write_network(simulated, files, seed, minutes)
    await _add_facilities(configured)
    progress("Importing …")
    report = await import_paths(configured, [files], None, _sparsely(progress))
    if report.broken:
        raise SimulationFailed(f"{report.broken[0][0]} could not be imported: {report.broken[0][1]}")
    return stays


async def _add_facilities(configured: Settings) -> None:
    """The facilities with their codes, which an Organization does not carry; the import fills in the rest."""
    bulk = Bulk.of(configured)
    try:
        await bulk.upsert("facility", [facility(item.id, item.name, item.code).values for item in FACILITIES])
        await bulk.commit()
    finally:
        await bulk.close()


async def _amend(configured: Settings) -> None:
    """Enters addenda as amendments of the notes that they append to; FHIR has them as documents of their own only."""
    notes = Mongo("notes", configured.notes_url, NOTES_TIMEOUT_S)
    try:
        addenda = await notes.worker_find(CLINICAL_NOTES, {"title": ADDENDUM})
        targets = {addendum["relates_to"][0]["target"]: addendum for addendum in addenda}
        amended = await notes.worker_find(CLINICAL_NOTES, {"_id": {"$in": list(targets)}})
        for note in amended:
            addendum = targets[note["_id"]]
            author, text = addendum["author"][0]["display"], addendum["sections"][0]["text"]
            note["amendments"] = [{"time": addendum["date"], "author": author, "reason": "Addendum", "text": text}]
        await notes.worker_upsert(CLINICAL_NOTES, amended)
    finally:
        await notes.close()


def _sparsely(progress: Progress) -> Progress:
    """The same, without lines that follow within PROGRESS_S."""
    last = time.monotonic()

    def say(line: str) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_S:
            last = time.monotonic()
            progress(line)

    return say


@contextmanager
def _scratch(folder: Path) -> Generator[Path]:
    """An empty folder, gone afterwards; what an interrupted load left there goes first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
