"""Medications given (FHIR R4 MedicationAdministration)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns

COLUMNS = Columns(
    "medication_administration",
    """
    id, patient_id, encounter_id, medication_id, medication_request_id, status, effective_start, effective_end,
    dosage, sort_time, version, status_reason, due
    """,
)

FILTER = """($7::text[] IS NULL OR status = ANY($7::text[]))
      AND ($8::text[] IS NULL OR medication_id IN (SELECT m.id FROM medication AS m WHERE m.code = ANY($8::text[])))"""
MEDICATION_ADMINISTRATIONS_OF_PATIENTS = newest_of_each(
    "medication_administrations_of_patients", COLUMNS, "patient_id", FILTER
)
MEDICATION_ADMINISTRATIONS_OF_ENCOUNTERS = newest_of_each(
    "medication_administrations_of_encounters", COLUMNS, "encounter_id", FILTER
)
MEDICATION_ADMINISTRATIONS_OF_REQUESTS = newest_of_each(
    "medication_administrations_of_requests", COLUMNS, "medication_request_id", FILTER
)
MEDICATION_ADMINISTRATION_BY_ID = by_id("medication_administration_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class MedicationAdministrationRow:
    """One row of `medication_administration`, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    medication_id: UUID | None
    medication_request_id: UUID | None
    status: str | None
    effective_start: str | None
    effective_end: str | None
    dosage: dict[str, Any] | None
    sort_time: datetime
    version: int
    status_reason: dict[str, Any] | None
    due: str | None


medication_administrations_of_patients = NewestBatch(
    MEDICATION_ADMINISTRATIONS_OF_PATIENTS, MedicationAdministrationRow
)
medication_administrations_of_encounters = NewestBatch(
    MEDICATION_ADMINISTRATIONS_OF_ENCOUNTERS, MedicationAdministrationRow
)
medication_administrations_of_requests = NewestBatch(
    MEDICATION_ADMINISTRATIONS_OF_REQUESTS, MedicationAdministrationRow
)
medication_administration_by_id = ByIdBatch(MEDICATION_ADMINISTRATION_BY_ID, MedicationAdministrationRow)
