"""Reports that group results (FHIR R4 DiagnosticReport)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns

COLUMNS = Columns(
    "diagnostic_report",
    """
    id, patient_id, encounter_id, status, category, code_system, code, code_display, code_text, code_translation,
    effective, issued, sort_time, version
    """,
)

FILTER = """($7::text[] IS NULL OR status = ANY($7::text[]))
      AND ($8::text[] IS NULL OR code = ANY($8::text[]))"""
DIAGNOSTIC_REPORTS_OF_PATIENTS = newest_of_each("diagnostic_reports_of_patients", COLUMNS, "patient_id", FILTER)
DIAGNOSTIC_REPORTS_OF_ENCOUNTERS = newest_of_each("diagnostic_reports_of_encounters", COLUMNS, "encounter_id", FILTER)
DIAGNOSTIC_REPORT_BY_ID = by_id("diagnostic_report_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class DiagnosticReportRow:
    """One row of `diagnostic_report`, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    status: str
    category: list[dict[str, Any]] | None
    code_system: str | None
    code: str | None
    code_display: str | None
    code_text: str | None
    code_translation: list[dict[str, Any]] | None
    effective: str | None
    issued: str | None
    sort_time: datetime
    version: int


diagnostic_reports_of_patients = NewestBatch(DIAGNOSTIC_REPORTS_OF_PATIENTS, DiagnosticReportRow)
diagnostic_reports_of_encounters = NewestBatch(DIAGNOSTIC_REPORTS_OF_ENCOUNTERS, DiagnosticReportRow)
diagnostic_report_by_id = ByIdBatch(DIAGNOSTIC_REPORT_BY_ID, DiagnosticReportRow)
