"""Procedures done on patients (FHIR R4 Procedure)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns

COLUMNS = Columns(
    "procedure",
    """
    id, patient_id, encounter_id, provider_id, status, code_system, code, code_display, code_text, code_translation,
    reason, reason_condition_id, body_site, performed_start, performed_end, sort_time, version
    """,
)

FILTER = """($7::text[] IS NULL OR status = ANY($7::text[]))
      AND ($8::text[] IS NULL OR code = ANY($8::text[]))"""
PROCEDURES_OF_PATIENTS = newest_of_each("procedures_of_patients", COLUMNS, "patient_id", FILTER)
PROCEDURES_OF_ENCOUNTERS = newest_of_each("procedures_of_encounters", COLUMNS, "encounter_id", FILTER)
PROCEDURE_BY_ID = by_id("procedure_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class ProcedureRow:
    """One row of `procedure`, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    provider_id: UUID | None
    status: str
    code_system: str | None
    code: str | None
    code_display: str | None
    code_text: str | None
    code_translation: list[dict[str, Any]] | None
    reason: list[dict[str, Any]] | None
    reason_condition_id: list[UUID] | None
    body_site: list[dict[str, Any]] | None
    performed_start: str | None
    performed_end: str | None
    sort_time: datetime
    version: int


procedures_of_patients = NewestBatch(PROCEDURES_OF_PATIENTS, ProcedureRow)
procedures_of_encounters = NewestBatch(PROCEDURES_OF_ENCOUNTERS, ProcedureRow)
procedure_by_id = ByIdBatch(PROCEDURE_BY_ID, ProcedureRow)
