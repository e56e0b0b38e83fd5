"""Medications: the catalogue that requests and administrations refer to (FHIR R4 Medication)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, by_id
from loaders.statement import Columns

COLUMNS = Columns("medication", "id, code_system, code, code_display, code_text, code_translation, form, ingredient")
MEDICATION_BY_ID = by_id("medication_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class MedicationRow:
    """One row of `medication`, in the order of COLUMNS."""

    id: UUID
    code_system: str | None
    code: str | None
    code_display: str | None
    code_text: str | None
    code_translation: list[dict[str, Any]] | None
    form: dict[str, Any] | None
    ingredient: list[dict[str, Any]] | None


medication_by_id = ByIdBatch(MEDICATION_BY_ID, MedicationRow)
