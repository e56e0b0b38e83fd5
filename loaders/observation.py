"""Observations that are neither laboratory results nor vital signs (FHIR R4 Observation)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns

COLUMNS = Columns(
    "observation",
    """
    id, patient_id, encounter_id, status, category, code_system, code, code_display, code_text, code_translation,
    effective, issued, value_number, value_comparator, value_unit, value_code, value_system, value_concept,
    value_text, value_date_time, data_absent_reason, component, member_id, interpretation, reference_range, note,
    sort_time, version
    """,
)

FILTER = """($7::text[] IS NULL OR status = ANY($7::text[]))
      AND ($8::text[] IS NULL OR code = ANY($8::text[]))
      AND ($9::text[] IS NULL OR category && $9::text[])"""
OBSERVATIONS_OF_PATIENTS = newest_of_each("observations_of_patients", COLUMNS, "patient_id", FILTER)
OBSERVATIONS_OF_ENCOUNTERS = newest_of_each("observations_of_encounters", COLUMNS, "encounter_id", FILTER)
OBSERVATION_BY_ID = by_id("observation_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class ObservationRow:
    """One row of `observation`, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    status: str
    category: list[str] | None
    code_system: str | None
    code: str | None
    code_display: str | None
    code_text: str | None
    code_translation: list[dict[str, Any]] | None
    effective: str | None
    issued: str | None
    value_number: Decimal | None
    value_comparator: str | None
    value_unit: str | None
    value_code: str | None
    value_system: str | None
    value_concept: dict[str, Any] | None
    value_text: str | None
    value_date_time: str | None
    data_absent_reason: dict[str, Any] | None
    component: list[dict[str, Any]] | None
    member_id: list[UUID] | None
    interpretation: list[dict[str, Any]] | None
    reference_range: list[dict[str, Any]] | None
    note: str | None
    sort_time: datetime
    version: int


observations_of_patients = NewestBatch(OBSERVATIONS_OF_PATIENTS, ObservationRow)
observations_of_encounters = NewestBatch(OBSERVATIONS_OF_ENCOUNTERS, ObservationRow)
observation_by_id = ByIdBatch(OBSERVATION_BY_ID, ObservationRow)
