"""Opening encounters and ending them (FHIR R4 Encounter)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from db.transaction import Transaction
from loaders.write import Code, Concept, Refusal, check_version, lock_chart, not_found

UNDER_WAY = ("planned", "arrived", "triaged", "in-progress", "onleave")
"""Statuses of an encounter that has not ended."""

WHERE_ENCOUNTER_IS_OPENED = """/* where_encounter_is_opened */
SELECT access.chart_is_open($1::uuid),
    $2::uuid IS NULL OR EXISTS (SELECT FROM department WHERE id = $2::uuid),
    $3::uuid IS NULL OR EXISTS (SELECT FROM provider WHERE id = $3::uuid)"""

OPEN_ENCOUNTER = """/* open_encounter */
INSERT INTO encounter (id, facility_id, patient_id, department_id, provider_id, status, class_code, code_system, code,
    code_display, code_text, period_start, sort_time, details)
VALUES ($1::uuid, access.facility_id(), $2::uuid, $3::uuid, $4::uuid, 'in-progress', $5::text, $6::text, $7::text,
    $8::text, $9::text, $10::text, $11::timestamptz, $12::jsonb)"""

ENCOUNTER_FOR_UPDATE = """/* encounter_for_update */
SELECT patient_id, version, status, period_start, sort_time, department_id, details
FROM encounter
WHERE id = $1::uuid
FOR UPDATE"""

DISCHARGE_ENCOUNTER = """/* discharge_encounter */
UPDATE encounter
SET status = 'finished', period_end = $2::text, end_time = $3::timestamptz, details = $4::jsonb
WHERE id = $1::uuid"""


@dataclass(frozen=True, slots=True)
class NewEncounter:
    """What an encounter is opened with; `start` has its offset."""

    patient_id: UUID
    class_code: str
    type: Concept
    department_id: UUID | None
    provider_id: UUID | None
    start: datetime
    details: dict[str, Any]


async def open_encounter(writing: Transaction, new: NewEncounter) -> UUID:
    """Opens an encounter and gives its id. Raises Refusal."""
    await lock_chart(writing, new.patient_id)
    [found] = await writing.fetch(WHERE_ENCOUNTER_IS_OPENED, new.patient_id, new.department_id, new.provider_id)
    for there, name in zip(found, ("patientId", "departmentId", "providerId"), strict=True):
        if not there:
            raise not_found(name)
    id = uuid4()
    await writing.fetch(
        OPEN_ENCOUNTER, id, new.patient_id, new.department_id, new.provider_id, new.class_code, new.type.system,
        new.type.code, new.type.display, new.type.text, new.start.isoformat(), new.start, new.details,
    )  # fmt: skip
    return id


async def discharge_encounter(
    writing: Transaction, id: UUID, version: int, end: datetime, disposition: dict[str, Any] | None
) -> UUID:
    """Ends an encounter at an instant. Raises Refusal for one that has ended, or that began later."""
    row = await _locked(writing, id, version)
    if row["status"] not in UNDER_WAY:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The encounter has ended already.")
    if end < row["sort_time"]:
        raise Refusal(Code.INVALID, "periodEnd", "This must be after the start of the encounter.")
    details: dict[str, Any] = dict(row["details"])
    if disposition is not None:
        details["hospitalization"] = (details.get("hospitalization") or {}) | {"dischargeDisposition": disposition}
    await writing.fetch(DISCHARGE_ENCOUNTER, id, end.isoformat(), end, details)
    return id


async def _locked(writing: Transaction, id: UUID, version: int) -> Any:
    """The encounter as it is, which nobody else changes before the end. Raises Refusal for another version."""
    rows = await writing.fetch(ENCOUNTER_FOR_UPDATE, id)
    if not rows:
        raise not_found("id")
    check_version(version, rows[0]["version"])
    return rows[0]
