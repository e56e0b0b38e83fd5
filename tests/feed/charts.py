"""Charts that the tests of the consumers write to, as a worker writes, and what the copies of them say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from db.feed import Feed
from db.notes_schema import CARE_PLANS, PATIENT_SUMMARIES
from db.settings import Settings
from db.stores import Stores
from loaders.chart_summary import Key, chart_summaries
from tests.notes.documents import care_plan
from workers.sync.series import NUMERIC
from workers.sync.summaries import WorkerSources, content

FACILITY = "INSERT INTO clinical.facility (id, code, name) VALUES ($1, $2, 'Feed Hospital')"
PATIENT = "INSERT INTO clinical.patient (id) VALUES ($1)"
REGISTRATION = "INSERT INTO clinical.registration (facility_id, patient_id, mrn) VALUES ($1, $2, $3)"
LEAVE = "DELETE FROM clinical.registration WHERE facility_id = $1 AND patient_id = $2"
CONDITION = """INSERT INTO clinical.condition
    (id, facility_id, patient_id, clinical_status, code_system, code, code_display, sort_time)
VALUES ($1, $2, $3, 'active', 'http://snomed.info/sct', $4, 'A condition', now())"""
RESOLVE = "UPDATE clinical.condition SET clinical_status = 'resolved' WHERE id = $1"
ENCOUNTER = """INSERT INTO clinical.encounter
    (id, facility_id, patient_id, status, class_code, code_text, period_start, sort_time)
VALUES ($1, $2, $3, 'finished', 'AMB', 'Visit', '2020-01-02', '2020-01-02T00:00:00Z')"""
TEST = """INSERT INTO clinical.lab_test (id, code_system, code, code_display) VALUES ($1, 'http://loinc.org', $2, $3)
ON CONFLICT DO NOTHING"""
TEST_ID = "SELECT id FROM clinical.lab_test WHERE code_system = 'http://loinc.org' AND code = $1"
RESULT = """INSERT INTO clinical.lab_result
    (id, facility_id, patient_id, lab_test_id, status, effective, value_number, value_unit, value_code, sort_time)
VALUES ($1, $2, $3, $4, 'final', '2020-01-02', $5, '%', '%',
    '2020-01-02T00:00:00Z'::timestamptz + $6 * interval '1 hour')"""
CORRECT = "UPDATE clinical.lab_result SET status = $2, value_number = $3 WHERE id = $1"
READING = """INSERT INTO vitals.vital_sign
    (id, position, facility_id, patient_id, status, code_system, code, value, value_code, effective, sort_time)
VALUES ($1, 0, $2, $3, 'final', 'http://loinc.org', '8867-4', $4::int, '/min', '2020-01-02T10:00:00Z',
    '2020-01-02T10:00:00Z'::timestamptz + $4::int * interval '1 minute')"""
TOLD = """INSERT INTO feed.event (occurred_at, facility_id, patient_id, table_name, operation)
VALUES (clock_timestamp(), $1, $2, 'vital_sign', 'INSERT')"""

KEYS = "SELECT facility_id, patient_id FROM clinical.registration"
SOURCE = f"""SELECT r.id, r.facility_id, r.patient_id, t.code, r.value_code, r.status, r.value_number, r.sort_time
FROM clinical.lab_result AS r JOIN clinical.lab_test AS t ON t.id = r.lab_test_id WHERE {NUMERIC}"""
COPY = "SELECT result_id, facility_id, patient_id, code, unit, status, value, sort_time FROM vitals.lab_series"

HBA1C, HIV = "4548-4", "24467-3"
"""A test, and one whose results are labelled."""


@dataclass
class Chart:
    """A patient registered at a facility of their own."""

    stores: Stores
    settings: Settings
    facility: UUID = field(default_factory=uuid4)
    patient: UUID = field(default_factory=uuid4)

    @property
    def key(self) -> Key:
        """Facility and patient."""
        return self.facility, self.patient

    async def register(self) -> Chart:
        """Writes the facility, the patient and the registration."""
        await self.stores.clinical.worker_fetch(FACILITY, self.facility, f"F{self.facility.hex[:8].upper()}")
        return await self.register_here()

    async def register_here(self) -> Chart:
        """Writes the patient and the registration, at a facility that is there."""
        await self.stores.clinical.worker_fetch(PATIENT, self.patient)
        await self.stores.clinical.worker_fetch(REGISTRATION, *self.key, self.patient.hex)
        return self

    async def condition(self, code: str = "44054006") -> UUID:
        """An active condition."""
        await self.stores.clinical.worker_fetch(CONDITION, made := uuid4(), *self.key, code)
        return made

    async def encounter(self) -> UUID:
        """A visit."""
        await self.stores.clinical.worker_fetch(ENCOUNTER, made := uuid4(), *self.key)
        return made

    async def result(self, number: int, code: str = HBA1C, hour: int = 0) -> UUID:
        """A result of a test."""
        fetch = self.stores.clinical.worker_fetch
        await fetch(TEST, uuid4(), code, "A test")
        [(test,)] = await fetch(TEST_ID, code)
        await fetch(RESULT, made := uuid4(), *self.key, test, number, hour)
        return made

    async def reading(self, value: int) -> None:
        """A heart rate, and the event that recording one leaves."""
        await Feed(self.stores.vitals).prepare_days()
        owner = await asyncpg.connect(self.settings.vitals_url)
        async with owner.transaction():
            await owner.execute(READING, uuid4(), *self.key, value)
            await owner.execute(TOLD, *self.key)
        await owner.close()

    async def plan(self) -> str:
        """An active care plan."""
        document = care_plan(self.facility, self.patient, status="active")
        await self.stores.notes.worker_upsert(CARE_PLANS, [document])
        return document["_id"]


async def summary(stores: Stores, key: Key) -> dict[str, Any]:
    """The copy's summary of a chart."""
    [found] = await stores.notes.worker_find(PATIENT_SUMMARIES, {"_id": f"{key[0]}/{key[1]}"})
    return found


async def summaries_of_source(stores: Stores) -> Mapping[str, dict[str, Any]]:
    """What the copy must say, of everybody."""
    keys = [(row[0], row[1]) for row in await stores.clinical.worker_fetch(KEYS)]
    made = await chart_summaries(WorkerSources(stores), keys)
    return {one["_id"]: content(one) for one in made.values()}


async def summaries_of_copy(stores: Stores) -> Mapping[str, dict[str, Any]]:
    """What the copy says, of everybody."""
    return {one["_id"]: content(one) for one in await stores.notes.worker_find(PATIENT_SUMMARIES, {})}


async def series_of_source(stores: Stores) -> set[tuple[Any, ...]]:
    """The results that the series must have."""
    return {tuple(row) for row in await stores.clinical.worker_fetch(SOURCE)}


async def series_of_copy(stores: Stores) -> set[tuple[Any, ...]]:
    """The results that the series have."""
    return {tuple(row) for row in await stores.vitals.worker_fetch(COPY)}
