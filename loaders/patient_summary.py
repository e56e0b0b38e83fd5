"""Patient summaries: what `python -m workers summarize` made of the chart of each registered patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from db.notes_schema import PATIENT_SUMMARIES
from db.policy import Phi, shows
from loaders.reader import Reader


@dataclass(frozen=True, slots=True)
class PatientSummaryRow:
    """One document of patient_summaries."""

    patient_id: UUID
    updated: str
    """Instant in seconds; its year alone where dates are masked."""
    active_conditions: list[dict[str, Any]] | None
    active_medications: list[dict[str, Any]] | None
    allergies: list[dict[str, Any]] | None
    last_encounter: dict[str, Any] | None
    counts: dict[str, int] | None


async def summary_of_patients(reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, PatientSummaryRow]:
    """Summary of each patient at the caller's facility; none for a patient registered since the last run."""
    keys = {"_id": {"$in": [f"{reader.caller.facility_id}/{patient_id}" for patient_id in ids]}}
    rows: dict[UUID, PatientSummaryRow] = {}
    for document in await reader.notes.find("patient_summary_of_patients", PATIENT_SUMMARIES, keys):
        patient_id = UUID(document["metadata"]["patient_id"])
        rows[patient_id] = PatientSummaryRow(
            patient_id=patient_id,
            updated=_instant(reader, document["updated"]),
            active_conditions=document.get("active_conditions"),
            active_medications=document.get("active_medications"),
            allergies=document.get("allergies"),
            last_encounter=document["last_encounter"],
            counts=document.get("counts"),
        )
    return rows


def _instant(reader: Reader, time: datetime) -> str:
    """A masked instant is the start of its year: written out it could be mistaken for a value."""
    return time.isoformat(timespec="seconds") if shows(reader.caller, Phi.DATE) else f"{time:%Y}"
