"""Patient summaries: the copy that `python -m workers sync` keeps, or in its place what the chart says now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from db.mongo import Document
from db.notes_schema import PATIENT_SUMMARIES
from db.policy import Phi, shows
from loaders.chart_summary import ENCOUNTERS_MAX, ReaderSources, chart_summaries
from loaders.reader import Reader


@dataclass(frozen=True, slots=True)
class PatientSummaryRow:
    """One document of patient_summaries."""

    patient_id: UUID
    updated: str
    """Instant in seconds; its year alone where dates are masked."""
    as_of: datetime | None
    """What was committed before then is in it; None of a document whose age nobody knows."""
    active_conditions: list[dict[str, Any]] | None
    active_medications: list[dict[str, Any]] | None
    allergies: list[dict[str, Any]] | None
    last_encounters: list[dict[str, Any]]
    latest_results: list[dict[str, Any]] | None
    latest_vitals: list[dict[str, Any]] | None
    care_plans: list[dict[str, Any]] | None
    counts: dict[str, int] | None


async def summary_of_patients(reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, PatientSummaryRow]:
    """Summary of each patient at the caller's facility, from the copy; none for whom it does not have."""
    # Asked before the documents: what it says is complete then, is complete in them too.
    complete = await reader.notes.as_of(PATIENT_SUMMARIES)
    keys = {"_id": {"$in": [f"{reader.caller.facility_id}/{patient_id}" for patient_id in ids]}}
    documents = await reader.notes.find("patient_summary_of_patients", PATIENT_SUMMARIES, keys)
    rows = [_row(reader, document, complete) for document in documents]
    return {row.patient_id: row for row in rows}


async def summary_of_patients_now(reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, PatientSummaryRow]:
    """The same, made from the chart in this request. Raises StoreError."""
    keys = [(reader.caller.facility_id, patient_id) for patient_id in dict.fromkeys(ids)]
    made = await chart_summaries(ReaderSources(reader), keys)
    return {patient_id: _row(reader, document, None) for (_, patient_id), document in made.items()}


def _row(reader: Reader, document: Document, complete: datetime | None) -> PatientSummaryRow:
    """Row of a document of what its caller may see, in a copy that is complete up to a time."""
    times = [time for time in (document.get("as_of"), complete) if time is not None]
    return PatientSummaryRow(
        patient_id=UUID(document["metadata"]["patient_id"]),
        updated=_instant(reader, document["updated"]),
        as_of=max(times, default=None),
        active_conditions=document.get("active_conditions"),
        active_medications=document.get("active_medications"),
        allergies=document.get("allergies"),
        last_encounters=(document.get("last_encounters") or [])[:ENCOUNTERS_MAX],
        latest_results=_first_of_each(document.get("latest_results")),
        latest_vitals=document.get("latest_vitals"),
        care_plans=document.get("care_plans"),
        counts=document.get("counts"),
    )


def _first_of_each(results: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """The newest result of each test: there is one for each set of labels, of which a caller sees some."""
    if results is None:
        return None
    first: dict[str, dict[str, Any]] = {}
    for result in results:
        first.setdefault(result["test_id"], result)
    return list(first.values())


def _instant(reader: Reader, time: datetime) -> str:
    """A masked instant is the start of its year: written out it could be mistaken for a value."""
    return time.isoformat(timespec="seconds") if shows(reader.caller, Phi.DATE) else f"{time:%Y}"
