"""Runs clinosim, one simulated hospital for each facility, and reads the FHIR resources that it writes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from db.errors import AppError
from workers.network.resource import END, START, Json

KEPT = (
    "Location", "Practitioner", "PractitionerRole", "Patient", "Encounter", "Condition", "AllergyIntolerance", "Immunization",
    "Procedure", "MedicationRequest", "MedicationAdministration", "Observation", "DiagnosticReport", "DocumentReference",
    "Composition", "ImagingStudy", "CareTeam",
)  # fmt: skip
"""Types that are read; the others are not served by the graph."""

SEED_STEP = 1000
"""Between the seeds of two facilities, so that neighbouring seeds of the demo share no hospital."""


class SimulationFailed(AppError):
    """The demo's patients could not be simulated."""


async def simulate(folder: Path, population: int, seed: int, count: int) -> Sequence[list[Json]]:
    """Resources of `count` hospitals, each with a catchment of this many people, about half of whom come as patients.

    As many run at a time as there are processors. Raises SimulationFailed.
    """
    free = asyncio.Semaphore(os.cpu_count() or 1)

    async def one(number: int) -> list[Json]:
        async with free:
            target = folder / str(number)
            await _run(target, population, seed + SEED_STEP * number)
        return [resource for name in KEPT for resource in _read(target / "fhir_r4" / f"{name}.ndjson")]

    return await asyncio.gather(*(one(number) for number in range(count)))


async def _run(target: Path, population: int, seed: int) -> None:
    options = {
        "--country": "US", "--population": str(population), "--seed": str(seed), "--start": START, "--end": END,
        "--format": "fhir-r4", "--output": str(target),
    }  # fmt: skip
    program = Path(sys.executable).with_name("clinosim")
    if not program.exists():
        raise SimulationFailed("The demo needs clinosim: install the dependency group `demo`.")
    arguments = [part for option in options.items() for part in option]
    process = await asyncio.create_subprocess_exec(
        str(program), "simulate", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, errors = await process.communicate()
    except BaseException:
        process.kill()  # an interrupted load leaves no simulation behind
        await process.wait()
        raise
    if process.returncode:
        raise SimulationFailed(f"clinosim ended with status {process.returncode}: {errors.decode()[-500:].strip()}")


def _read(path: Path) -> list[Json]:
    if not path.exists():
        return []
    with path.open("rb") as lines:
        return [orjson.loads(line) for line in lines]
