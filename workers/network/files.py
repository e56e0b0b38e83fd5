"""Writes the network as FHIR files: what was simulated and added for each facility, and its monitors' readings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import UUID

import orjson

from workers.dicom import Visit
from workers.network.facilities import FACILITIES
from workers.network.monitors import readings
from workers.network.plans import chronic_plans, consents, stay_plan
from workers.network.repair import repaired
from workers.network.resource import Json, Source, of
from workers.network.schedule import appointments, visits
from workers.network.stays import Stay, current_stays, stay_resources

STAYS_MAX = 6
"""Current stays of a facility that are made, beside those that clinosim left open."""

MONITORED = 2
"""Of these, how many lie under a bedside monitor."""

GUESTS = 3
"""Patients of each facility who are seen at the next one, too."""


def write_network(simulated: Sequence[list[Json]], folder: Path, seed: int, minutes: int) -> list[Visit]:
    """Writes one NDJSON file for each facility and one for its monitors; the current stays that were made.

    `simulated` has the resources of one hospital for each of FACILITIES; `minutes` is how long the monitors have run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Visit] = []
    guests: list[Json] = []
    for number, (facility, resources) in enumerate(zip(FACILITIES, simulated, strict=True), 1):
        source = Source(facility, seed)
        own = repaired(resources, source)
        stays = current_stays(own, source, STAYS_MAX)
        name = f"{number}-{facility.code.lower()}"
        _write(folder / f"{name}.ndjson", _facility(own, guests, stays, source))
        monitored = (reading for stay in stays[:MONITORED] for reading in readings(stay, minutes))
        _write(folder / f"{name}-monitors.ndjson", monitored)
        made += [_current(stay, facility.id) for stay in stays]
        guests = list(of(own, "Patient"))[:GUESTS]
    return made


def _facility(own: list[Json], guests: list[Json], stays: Sequence[Stay], source: Source) -> Iterable[Json]:
    yield from own
    for stay in stays:
        yield from stay_resources(stay)
        yield from stay_plan(stay)
    yield from chronic_plans(own, source)
    yield from consents(own, source)
    yield from appointments(own, source)
    yield from visits(guests, own, source)


def _current(stay: Stay, facility_id: UUID) -> Visit:
    return Visit(facility_id, UUID(stay.patient["id"]), UUID(stay.encounter["id"]), stay.admitted)


def _write(path: Path, resources: Iterable[Json]) -> None:
    with path.open("wb") as file:
        for resource in resources:
            file.write(orjson.dumps(resource) + b"\n")
