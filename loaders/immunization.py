"""Immunizations (FHIR R4 Immunization)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns

COLUMNS = Columns(
    "immunization",
    """
    id, patient_id, encounter_id, status, code_system, code, code_display, code_text, code_translation, occurrence,
    occurrence_text, primary_source, lot_number, dose_quantity, sort_time, version
    """,
)

FILTER = """($7::text[] IS NULL OR status = ANY($7::text[]))
      AND ($8::text[] IS NULL OR code = ANY($8::text[]))"""
IMMUNIZATIONS_OF_PATIENTS = newest_of_each("immunizations_of_patients", COLUMNS, "patient_id", FILTER)
IMMUNIZATIONS_OF_ENCOUNTERS = newest_of_each("immunizations_of_encounters", COLUMNS, "encounter_id", FILTER)
IMMUNIZATION_BY_ID = by_id("immunization_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class ImmunizationRow:
    """One row of `immunization`, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    status: str
    code_system: str | None
    code: str | None
    code_display: str | None
    code_text: str | None
    code_translation: list[dict[str, Any]] | None
    occurrence: str | None
    occurrence_text: str | None
    primary_source: bool | None
    lot_number: str | None
    dose_quantity: dict[str, Any] | None
    sort_time: datetime
    version: int


immunizations_of_patients = NewestBatch(IMMUNIZATIONS_OF_PATIENTS, ImmunizationRow)
immunizations_of_encounters = NewestBatch(IMMUNIZATIONS_OF_ENCOUNTERS, ImmunizationRow)
immunization_by_id = ByIdBatch(IMMUNIZATION_BY_ID, ImmunizationRow)
