"""Encounters: visits and stays (FHIR R4 Encounter)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns

COLUMNS = Columns(
    "encounter",
    """
    id, facility_id, patient_id, department_id, provider_id, part_of_id, status, class_code, code_system, code,
    code_display, code_text, code_translation, period_start, period_end, details, sort_time, version
    """,
)

FILTER = """($7::text[] IS NULL OR status = ANY($7::text[]))
      AND ($8::text[] IS NULL OR class_code = ANY($8::text[]))
      AND ($9::text[] IS NULL OR code = ANY($9::text[]))"""
ENCOUNTERS_OF_PATIENTS = newest_of_each("encounters_of_patients", COLUMNS, "patient_id", FILTER)
ENCOUNTERS_OF_PROVIDERS = newest_of_each("encounters_of_providers", COLUMNS, "provider_id", FILTER)
ENCOUNTERS_OF_WHOLES = newest_of_each("encounters_of_wholes", COLUMNS, "part_of_id", FILTER)
ENCOUNTER_BY_ID = by_id("encounter_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class EncounterRow:
    """One row of `encounter`, in the order of COLUMNS."""

    id: UUID
    facility_id: UUID
    patient_id: UUID
    department_id: UUID | None
    provider_id: UUID | None
    part_of_id: UUID | None
    status: str
    class_code: str | None
    code_system: str | None
    code: str | None
    code_display: str | None
    code_text: str | None
    code_translation: list[dict[str, Any]] | None
    period_start: str | None
    period_end: str | None
    details: dict[str, Any] | None
    sort_time: datetime
    version: int


encounters_of_patients = NewestBatch(ENCOUNTERS_OF_PATIENTS, EncounterRow)
encounters_of_providers = NewestBatch(ENCOUNTERS_OF_PROVIDERS, EncounterRow)
encounters_of_wholes = NewestBatch(ENCOUNTERS_OF_WHOLES, EncounterRow)
encounter_by_id = ByIdBatch(ENCOUNTER_BY_ID, EncounterRow)
