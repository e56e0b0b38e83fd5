"""Consents of patients (FHIR R4 Consent)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns

COLUMNS = Columns(
    "consent",
    """
    id, patient_id, status, scope, category, date_time, provision, sort_time, version
    """,
)

FILTER = """($7::text[] IS NULL OR status = ANY($7::text[]))"""
CONSENTS_OF_PATIENTS = newest_of_each("consents_of_patients", COLUMNS, "patient_id", FILTER)
CONSENT_BY_ID = by_id("consent_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """One row of `consent`, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    status: str
    scope: dict[str, Any] | None
    category: list[dict[str, Any]] | None
    date_time: str | None
    provision: dict[str, Any] | None
    sort_time: datetime
    version: int


consents_of_patients = NewestBatch(CONSENTS_OF_PATIENTS, ConsentRow)
consent_by_id = ByIdBatch(CONSENT_BY_ID, ConsentRow)
