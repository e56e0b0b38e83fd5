"""People of tests: patients with a chart of their own, written as the workers write, in any facility."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from db.stores import Stores

PATIENT = """
WITH made AS (INSERT INTO clinical.patient (id, birth_date) VALUES ($1, '1970-01-01') RETURNING id)
INSERT INTO clinical.patient_name (patient_id, position, family, given) SELECT id, 0, $2, ARRAY['Testa'] FROM made"""
REGISTRATION = "INSERT INTO clinical.registration (facility_id, patient_id, mrn) VALUES ($1, $2, $3)"
CONDITION = """
INSERT INTO clinical.condition (id, facility_id, patient_id, code_system, code, code_display, security, sort_time)
VALUES ($1, $2, $3, 'http://snomed.info/sct', $4, $5, $6, now())"""
ENCOUNTER = """
INSERT INTO clinical.encounter (id, facility_id, patient_id, department_id, provider_id, status, class_code,
    code_system, code, period_start, sort_time)
VALUES ($1, $2, $3, $4, $5, 'in-progress', 'IMP', 'http://snomed.info/sct', '32485007', $6, $7)"""
CONSENT = """
INSERT INTO clinical.consent (id, facility_id, patient_id, status, provision, sort_time)
VALUES ($1, $2, $3, 'active', $4, now())"""

READING = """
WITH made AS (
    INSERT INTO vitals.vital_sign (id, position, facility_id, patient_id, status, code_system, code, value, value_code,
        effective, sort_time)
    VALUES ($1, 0, $2, $3, 'final', 'http://loinc.org', '8867-4', 71, '/min', '2026-03-04T12:00:00Z', now())
    RETURNING id, sort_time
)
SELECT feed.tell_readings(ARRAY[$2::uuid], ARRAY[$3::uuid], array_agg(id), array_agg(sort_time)) FROM made"""

DIABETES, OPIOID_DEPENDENCE = "44054006", "75544000"
FIRST_BYTES = "ffffffff"
"""What the id of every patient of tests begins with: behind those of the demo network in order."""


class People:
    """Writes patients and what belongs to them."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def patient(self, *facilities: UUID) -> UUID:
        """A new patient, registered at these facilities, with diabetes and opioid dependence (label ETH) at each."""
        # Behind those of the demo network by id: tests that take the first patient get one with a full chart.
        key = UUID(f"{FIRST_BYTES}{uuid4().hex[8:]}")
        await self._write(PATIENT, key, f"Tester{key.hex}")
        for facility in facilities:
            await self._write(REGISTRATION, facility, key, f"T-{key.hex[12:]}")
            await self.condition(facility, key, DIABETES)
            await self.condition(facility, key, OPIOID_DEPENDENCE)
        return key

    async def condition(self, facility: UUID, patient: UUID, code: str, *security: str) -> UUID:
        """A condition of a SNOMED CT code; `security` is what its source labelled it."""
        key = uuid4()
        await self._write(CONDITION, key, facility, patient, code, f"code {code}", list(security))
        return key

    async def stay(
        self, facility: UUID, patient: UUID, department: UUID | None = None, provider: UUID | None = None
    ) -> UUID:
        """A stay that lasts, in a department, led by a provider."""
        key, start = uuid4(), datetime.now(UTC) - timedelta(days=1)
        await self._write(ENCOUNTER, key, facility, patient, department, provider, start.isoformat()[:10], start)
        return key

    async def consent(self, facility: UUID, patient: UUID, **provision: Any) -> UUID:
        """An active consent with this FHIR provision."""
        key = uuid4()
        await self._write(CONSENT, key, facility, patient, provision)
        return key

    async def reading(self, facility: UUID, patient: UUID) -> UUID:
        """A heart rate that a device has measured now, told to the feed."""
        key = uuid4()
        await self._stores.vitals.worker_fetch(READING, key, facility, patient)
        return key

    async def _write(self, sql: Any, *values: object) -> None:
        await self._stores.clinical.worker_fetch(sql, *values)
