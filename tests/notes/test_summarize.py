"""Summaries made from the clinical database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest_asyncio

from db.mongo import Mongo
from db.notes_schema import PATIENT_SUMMARIES
from db.postgres import Postgres
from db.settings import Settings
from workers.summarize import summarize

FACILITY = "INSERT INTO clinical.facility (id, code, name) VALUES ($1, $2, 'Summary Hospital')"
PATIENT = "INSERT INTO clinical.patient (id) VALUES ($1)"
REGISTRATION = "INSERT INTO clinical.registration (facility_id, patient_id, mrn) VALUES ($1, $2, $3)"
ENCOUNTER = """INSERT INTO clinical.encounter
    (id, facility_id, patient_id, status, class_code, code_system, code, period_start, sort_time)
VALUES ($1, $2, $3, 'finished', 'AMB', 'http://snomed.info/sct', '11429006', $4::text,
    ($4::text || 'T00:00:00Z')::timestamptz)"""
CONDITION = """INSERT INTO clinical.condition
    (id, facility_id, patient_id, clinical_status, code_system, code, code_display, onset, sort_time)
VALUES ($1, $2, $3, $4, 'http://snomed.info/sct', $5, $6, '2020', '2020-01-01T00:00:00Z')"""
ALLERGY = """INSERT INTO clinical.allergy_intolerance
    (id, facility_id, patient_id, clinical_status, code, code_display, no_known_allergy, sort_time)
VALUES ($1, $2, $3, 'active', $4, $5, $6, '2020-01-01T00:00:00Z')"""
MEDICATION = "INSERT INTO clinical.medication (id, code, code_text) VALUES ($1, '860975', 'Metformin 500 mg')"
REQUEST = """INSERT INTO clinical.medication_request
    (id, facility_id, patient_id, medication_id, status, intent, sort_time)
VALUES ($1, $2, $3, $4, $5, 'order', '2020-01-01T00:00:00Z')"""


@pytest_asyncio.fixture
async def clinical(configured: Settings) -> AsyncIterator[Postgres]:
    """The clinical database, written to as worker."""
    store = Postgres("clinical", configured.clinical_url, configured.secret, 5)
    yield store
    await store.close()


async def chart(clinical: Postgres, facility_id: UUID, patient_id: UUID) -> tuple[UUID, UUID]:
    """A small chart; ids of its active condition and last encounter."""
    active, last, medication = uuid4(), uuid4(), uuid4()
    await clinical.worker_fetch(FACILITY, facility_id, f"S{facility_id.hex[:8].upper()}")
    await clinical.worker_fetch(PATIENT, patient_id)
    await clinical.worker_fetch(REGISTRATION, facility_id, patient_id, "1")
    await clinical.worker_fetch(ENCOUNTER, uuid4(), facility_id, patient_id, "2019-01-02")
    await clinical.worker_fetch(ENCOUNTER, last, facility_id, patient_id, "2020-01-02")
    await clinical.worker_fetch(CONDITION, active, facility_id, patient_id, "active", "44054006", "Diabetes")
    await clinical.worker_fetch(CONDITION, uuid4(), facility_id, patient_id, "resolved", "195662009", "Pharyngitis")
    await clinical.worker_fetch(ALLERGY, uuid4(), facility_id, patient_id, "91935009", "Peanut allergy", False)
    await clinical.worker_fetch(ALLERGY, uuid4(), facility_id, patient_id, "716186003", "None known", True)
    await clinical.worker_fetch(MEDICATION, medication)
    await clinical.worker_fetch(REQUEST, uuid4(), facility_id, patient_id, medication, "active")
    await clinical.worker_fetch(REQUEST, uuid4(), facility_id, patient_id, medication, "stopped")
    return active, last


async def test_a_summary_follows_the_chart(
    configured: Settings, clinical: Postgres, notes: Mongo, facility_id: UUID
) -> None:
    settings = replace(configured, notes_url=configured.notes_url.replace("/caregraph?", "/notes_tests?"))
    patient_id = uuid4()
    active, last = await chart(clinical, facility_id, patient_id)
    written, _ = await summarize(settings)
    assert written >= 1
    key = {"_id": f"{facility_id}/{patient_id}"}
    [made] = await notes.worker_find(PATIENT_SUMMARIES, key)
    [condition] = made["active_conditions"]
    assert (condition["id"], condition["code"]["coding"][0]["display"]) == (str(active), "Diabetes")
    assert [entry["medication"]["text"] for entry in made["active_medications"]] == ["Metformin 500 mg"]
    assert [entry["code"]["coding"][0]["code"] for entry in made["allergies"]] == ["91935009"]
    assert [entry["start"] for entry in made["last_encounters"]] == ["2020-01-02", "2019-01-02"]
    assert made["last_encounters"][0]["id"] == str(last)
    assert made["counts"] == {"encounters": 2, "conditions": 2, "procedures": 0, "medication_requests": 2}
    again, unchanged = await summarize(settings)
    assert (again, unchanged >= written) == (0, True)
    await clinical.worker_fetch(CONDITION, uuid4(), facility_id, patient_id, "active", "59621000", "Hypertension")
    assert await summarize(settings) == (1, unchanged - 1)
    [changed] = await notes.worker_find(PATIENT_SUMMARIES, key)
    assert len(changed["active_conditions"]) == 2
    assert changed["updated"] >= made["updated"]
