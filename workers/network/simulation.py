"""Runs clinosim, one simulated hospital for each facility, and reads the FHIR resources that it writes.

Run as a program it is the process that simulates: clinosim takes longer to start than to make a small hospital, so that
all hospitals are made in one process.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from db.errors import AppError
from workers.network.resource import END, START, Json

KEPT = (
    "Location", "Practitioner", "PractitionerRole", "Patient", "Encounter", "Condition", "AllergyIntolerance",
    "Immunization", "Procedure", "MedicationRequest", "MedicationAdministration", "Observation", "DiagnosticReport",
    "DocumentReference", "Composition", "ImagingStudy", "CareTeam",
)  # fmt: skip
"""Types that are read; the others are not served by the graph."""

SEED_STEP = 1000
"""Between the seeds of two facilities, so that neighbouring seeds of the demo share no hospital."""


class SimulationFailed(AppError):
    """The demo's patients could not be simulated."""


async def simulate(folder: Path, population: int, seed: int, count: int) -> Sequence[list[Json]]:
    """Resources of `count` hospitals, each with a catchment of this many people, about half of whom come as patients.

    Raises SimulationFailed.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workers.network.simulation", str(folder), str(population), str(seed), str(count),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, errors = await process.communicate()
    except BaseException:
        process.kill()  # an interrupted load leaves no simulation behind
        await process.wait()
        raise
    if process.returncode:
        raise SimulationFailed(f"clinosim failed (dependency group `demo`): {errors.decode()[-500:].strip()}")
    return [_hospital(folder / str(number) / "fhir_r4") for number in range(count)]


def _hospital(folder: Path) -> list[Json]:
    return [resource for name in KEPT for resource in _read(folder / f"{name}.ndjson")]


def _read(path: Path) -> list[Json]:
    """Resources of a file; clinosim writes none for a type that it made nothing of."""
    if not path.exists():
        return []
    with path.open("rb") as lines:
        return [orjson.loads(line) for line in lines]


def main(folder: str, population: str, seed: str, count: str) -> None:
    """Simulates `count` hospitals, each into a folder named by its number."""
    import yaml

    # clinosim reads its hundreds of tables with PyYAML's loader in Python: in C they take a quarter of the time.
    yaml.SafeLoader = yaml.CSafeLoader
    from clinosim.simulator import cli

    for number in range(int(count)):
        options = {
            "--country": "US", "--population": population, "--seed": str(int(seed) + SEED_STEP * number),
            "--start": START, "--end": END, "--format": "fhir-r4", "--output": str(Path(folder) / str(number)),
        }  # fmt: skip
        sys.argv = ["clinosim", "simulate", *(part for option in options.items() for part in option)]
        if status := cli.main():
            sys.exit(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
