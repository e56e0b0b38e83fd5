"""Booked visits (FHIR R4 Appointment)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns

COLUMNS = Columns(
    "appointment",
    """
    id, patient_id, provider_id, department_id, status, code_system, code, code_display, code_text, code_translation,
    description, start_date_time, end_date_time, cancelation_reason, sort_time, version
    """,
)

FILTER = """($7::text[] IS NULL OR status = ANY($7::text[]))"""
APPOINTMENTS_OF_PATIENTS = newest_of_each("appointments_of_patients", COLUMNS, "patient_id", FILTER)
APPOINTMENTS_OF_PROVIDERS = newest_of_each("appointments_of_providers", COLUMNS, "provider_id", FILTER)
APPOINTMENT_BY_ID = by_id("appointment_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class AppointmentRow:
    """One row of `appointment`, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    provider_id: UUID | None
    department_id: UUID | None
    status: str
    code_system: str | None
    code: str | None
    code_display: str | None
    code_text: str | None
    code_translation: list[dict[str, Any]] | None
    description: str | None
    start_date_time: str | None
    end_date_time: str | None
    cancelation_reason: dict[str, Any] | None
    sort_time: datetime
    version: int


appointments_of_patients = NewestBatch(APPOINTMENTS_OF_PATIENTS, AppointmentRow)
appointments_of_providers = NewestBatch(APPOINTMENTS_OF_PROVIDERS, AppointmentRow)
appointment_by_id = ByIdBatch(APPOINTMENT_BY_ID, AppointmentRow)
