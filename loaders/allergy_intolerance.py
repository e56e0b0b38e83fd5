"""Allergies and intolerances (FHIR R4 AllergyIntolerance)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns

COLUMNS = Columns(
    "allergy_intolerance",
    """
    id, patient_id, encounter_id, clinical_status, verification_status, type, category, criticality, code_system,
    code, code_display, code_text, code_translation, no_known_allergy, onset, recorded_date, reaction, note, sort_time,
    version
    """,
)

FILTER = """($7::text[] IS NULL OR clinical_status = ANY($7::text[]))
      AND ($8::text[] IS NULL OR code = ANY($8::text[]))"""
ALLERGY_INTOLERANCES_OF_PATIENTS = newest_of_each("allergy_intolerances_of_patients", COLUMNS, "patient_id", FILTER)
ALLERGY_INTOLERANCE_BY_ID = by_id("allergy_intolerance_by_id", COLUMNS)

NOT_ANY = "716186003"
"""SNOMED CT: no known allergy."""
NO_KNOWN_ALLERGY: Mapping[str, str | None] = {
    NOT_ANY: None,
    "409137002": "medication",
    "428607008": "environment",
    "429625007": "food",
    **dict.fromkeys(("428197003", "716184000", "716185004", "1003774007")),
}
"""SNOMED CT 716186003 and its children, with the category of which each says that there is none; 409137002 of drugs."""


@dataclass(frozen=True, slots=True)
class AllergyIntoleranceRow:
    """One row of `allergy_intolerance`, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    clinical_status: str | None
    verification_status: str | None
    type: str | None
    category: list[str] | None
    criticality: str | None
    code_system: str | None
    code: str | None
    code_display: str | None
    code_text: str | None
    code_translation: list[dict[str, Any]] | None
    no_known_allergy: bool
    onset: str | None
    recorded_date: str | None
    reaction: list[dict[str, Any]] | None
    note: str | None
    sort_time: datetime
    version: int


allergy_intolerances_of_patients = NewestBatch(ALLERGY_INTOLERANCES_OF_PATIENTS, AllergyIntoleranceRow)
allergy_intolerance_by_id = ByIdBatch(ALLERGY_INTOLERANCE_BY_ID, AllergyIntoleranceRow)
