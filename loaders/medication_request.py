"""Orders of medications (FHIR R4 MedicationRequest)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns

COLUMNS = Columns(
    "medication_request",
    """
    id, patient_id, encounter_id, medication_id, provider_id, status, intent, priority, authored_on, reason,
    reason_condition_id, dosage, dispense, sort_time, version, status_reason, allergy_override_reason
    """,
)

FILTER = """($7::text[] IS NULL OR status = ANY($7::text[]))
      AND ($8::text[] IS NULL OR medication_id IN (SELECT m.id FROM medication AS m WHERE m.code = ANY($8::text[])))"""
MEDICATION_REQUESTS_OF_PATIENTS = newest_of_each("medication_requests_of_patients", COLUMNS, "patient_id", FILTER)
MEDICATION_REQUESTS_OF_ENCOUNTERS = newest_of_each("medication_requests_of_encounters", COLUMNS, "encounter_id", FILTER)
MEDICATION_REQUEST_BY_ID = by_id("medication_request_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class MedicationRequestRow:
    """One row of `medication_request`, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    medication_id: UUID | None
    provider_id: UUID | None
    status: str | None
    intent: str | None
    priority: str | None
    authored_on: str | None
    reason: list[dict[str, Any]] | None
    reason_condition_id: list[UUID] | None
    dosage: list[dict[str, Any]] | None
    dispense: dict[str, Any] | None
    sort_time: datetime
    version: int
    status_reason: dict[str, Any] | None
    allergy_override_reason: str | None


medication_requests_of_patients = NewestBatch(MEDICATION_REQUESTS_OF_PATIENTS, MedicationRequestRow)
medication_requests_of_encounters = NewestBatch(MEDICATION_REQUESTS_OF_ENCOUNTERS, MedicationRequestRow)
medication_request_by_id = ByIdBatch(MEDICATION_REQUEST_BY_ID, MedicationRequestRow)
