"""Conditions: problems, diagnoses and findings (FHIR R4 Condition)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns

COLUMNS = Columns(
    "condition",
    """
    id, patient_id, encounter_id, clinical_status, verification_status, category, severity, code_system, code,
    code_display, code_text, code_translation, body_site, onset, abatement, recorded_date, note, sort_time, version
    """,
)

FILTER = """($7::text[] IS NULL OR clinical_status = ANY($7::text[]))
      AND ($8::text[] IS NULL OR code = ANY($8::text[]))"""
CONDITIONS_OF_PATIENTS = newest_of_each("conditions_of_patients", COLUMNS, "patient_id", FILTER)
CONDITIONS_OF_ENCOUNTERS = newest_of_each("conditions_of_encounters", COLUMNS, "encounter_id", FILTER)
CONDITION_BY_ID = by_id("condition_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class ConditionRow:
    """One row of `condition`, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    clinical_status: str | None
    verification_status: str | None
    category: list[str] | None
    severity: dict[str, Any] | None
    code_system: str | None
    code: str | None
    code_display: str | None
    code_text: str | None
    code_translation: list[dict[str, Any]] | None
    body_site: list[dict[str, Any]] | None
    onset: str | None
    abatement: str | None
    recorded_date: str | None
    note: str | None
    sort_time: datetime
    version: int


conditions_of_patients = NewestBatch(CONDITIONS_OF_PATIENTS, ConditionRow)
conditions_of_encounters = NewestBatch(CONDITIONS_OF_ENCOUNTERS, ConditionRow)
condition_by_id = ByIdBatch(CONDITION_BY_ID, ConditionRow)
