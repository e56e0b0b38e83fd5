"""Writes the network as a FHIR bulk export: one NDJSON file of each type, simulated and added resources alike."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import orjson

from workers.dicom import Visit
from workers.network.facilities import FACILITIES
from workers.network.monitors import readings
from workers.network.plans import chronic_plans, consents, stay_plan
from workers.network.repair import repaired
from workers.network.resource import Json, Source, of
from workers.network.schedule import appointments, visits
from workers.network.sensitive import exchanges, sensitive_facts
from workers.network.stays import Stay, current_stays, stay_resources

STAYS_MAX = 6
"""Current stays of a facility that are made, beside those that clinosim left open."""

MONITORED = 2
"""Of these, how many lie under a bedside monitor."""

GUESTS = 3
"""Patients of each facility who are seen at the next one, too."""

CONSENTING = 2
"""Of these, how many let it see their records."""


def write_network(simulated: Sequence[list[Json]], folder: Path, seed: int, minutes: int) -> list[Visit]:
    """Writes the files into a new folder; the current stays that were made.

    `simulated` has the resources of one hospital for each of FACILITIES; `minutes` is how long the monitors have run.
    """
    made: list[Visit] = []
    guests: list[Json] = []
    following = (*FACILITIES[1:], None)
    with _export(folder) as write:
        for facility, after, resources in zip(FACILITIES, following, simulated, strict=True):
            source = Source(facility, seed)
            own = repaired(resources, source)
            stays = current_stays(own, source, STAYS_MAX)
            for resource in _resources(own, guests, stays, source, minutes):
                write(resource)
            made += [_current(stay, facility.id) for stay in stays]
            guests = list(of(own, "Patient"))[:GUESTS]
            for consent in exchanges(guests[:CONSENTING], source, after) if after else ():
                write(consent)
    return made


def _resources(
    own: list[Json], guests: list[Json], stays: Sequence[Stay], source: Source, minutes: int
) -> Iterator[Json]:
    """All resources of one facility."""
    yield from own
    for stay in stays:
        yield from stay_resources(stay)
        yield from stay_plan(stay)
    for stay in stays[:MONITORED]:
        yield from readings(stay, minutes)
    yield from chronic_plans(own, source)
    yield from consents(own, source)
    yield from sensitive_facts(own, source)
    yield from appointments(own, source)
    yield from visits(guests, own, source)


def _current(stay: Stay, facility_id: UUID) -> Visit:
    return Visit(facility_id, UUID(stay.patient["id"]), UUID(stay.encounter["id"]), stay.admitted)


@contextmanager
def _export(folder: Path) -> Generator[Callable[[Json], None]]:
    """Takes resources one by one, each into the file of its type."""
    folder.mkdir(parents=True)
    files: dict[str, BinaryIO] = {}
    with ExitStack() as stack:

        def write(resource: Json) -> None:
            name = resource["resourceType"]
            if name not in files:
                files[name] = stack.enter_context((folder / f"{name}.ndjson").open("wb"))
            files[name].write(orjson.dumps(resource) + b"\n")

        yield write
