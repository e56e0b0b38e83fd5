"""`python -m workers summarize`: makes the summary of each registered patient from the clinical database.

Patients go in bounded batches, in the order of their registrations; running it again writes only what has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from db import settings
from db.errors import SettingsError
from db.mongo import Document, Mongo
from db.notes_schema import PATIENT_SUMMARIES
from db.postgres import Postgres
from loaders.element import concept

BATCH = 200
"""Patients of one batch."""
ENTRIES_MAX = 50
"""Entries of each list of a summary."""

REGISTRATIONS = """/* summary_registrations */
SELECT facility_id, patient_id
FROM clinical.registration
WHERE (facility_id, patient_id) > ($1::uuid, $2::uuid)
ORDER BY facility_id, patient_id
LIMIT $3::int"""

CONDITIONS = """/* summary_conditions */
SELECT p.facility_id, p.patient_id, f.*
FROM unnest($1::uuid[], $2::uuid[]) AS p (facility_id, patient_id)
CROSS JOIN LATERAL (
    SELECT id, code_system, code, code_display, code_text, code_translation, label, onset
    FROM clinical.condition
    WHERE facility_id = p.facility_id AND patient_id = p.patient_id
      AND clinical_status IN ('active', 'recurrence', 'relapse')
    ORDER BY sort_time DESC, id DESC
    LIMIT $3::int
) AS f"""

MEDICATIONS = """/* summary_medications */
SELECT p.facility_id, p.patient_id, f.*
FROM unnest($1::uuid[], $2::uuid[]) AS p (facility_id, patient_id)
CROSS JOIN LATERAL (
    SELECT r.id, m.code_system, m.code, m.code_display, m.code_text, m.code_translation, r.label,
        r.authored_on
    FROM clinical.medication_request AS r
    LEFT JOIN clinical.medication AS m ON m.id = r.medication_id
    WHERE r.facility_id = p.facility_id AND r.patient_id = p.patient_id AND r.status = 'active'
    ORDER BY r.sort_time DESC, r.id DESC
    LIMIT $3::int
) AS f"""

ALLERGIES = """/* summary_allergies */
SELECT p.facility_id, p.patient_id, f.*
FROM unnest($1::uuid[], $2::uuid[]) AS p (facility_id, patient_id)
CROSS JOIN LATERAL (
    SELECT id, code_system, code, code_display, code_text, code_translation, label, criticality
    FROM clinical.allergy_intolerance
    WHERE facility_id = p.facility_id AND patient_id = p.patient_id AND NOT no_known_allergy
      AND clinical_status IS DISTINCT FROM 'inactive' AND clinical_status IS DISTINCT FROM 'resolved'
      AND verification_status IS DISTINCT FROM 'refuted'
      AND verification_status IS DISTINCT FROM 'entered-in-error'
    ORDER BY sort_time DESC, id DESC
    LIMIT $3::int
) AS f"""

ENCOUNTERS = """/* summary_encounters */
SELECT p.facility_id, p.patient_id, f.*
FROM unnest($1::uuid[], $2::uuid[]) AS p (facility_id, patient_id)
CROSS JOIN LATERAL (
    SELECT id, code_system, code, code_display, code_text, code_translation, label, status, class_code,
           period_start, period_end
    FROM clinical.encounter
    WHERE facility_id = p.facility_id AND patient_id = p.patient_id
    ORDER BY sort_time DESC, id DESC
    LIMIT 1
) AS f"""

# Everybody who reads a summary may know these numbers: what has labels, or is unlabelled, does not count.
COUNTS = """/* summary_counts */
SELECT p.facility_id, p.patient_id,
    (SELECT count(*) FROM clinical.encounter AS f
     WHERE f.facility_id = p.facility_id AND f.patient_id = p.patient_id AND f.label = '{}') AS encounters,
    (SELECT count(*) FROM clinical.condition AS f
     WHERE f.facility_id = p.facility_id AND f.patient_id = p.patient_id AND f.label = '{}') AS conditions,
    (SELECT count(*) FROM clinical.procedure AS f
     WHERE f.facility_id = p.facility_id AND f.patient_id = p.patient_id AND f.label = '{}') AS procedures,
    (SELECT count(*) FROM clinical.medication_request AS f
     WHERE f.facility_id = p.facility_id AND f.patient_id = p.patient_id AND f.label = '{}') AS medication_requests
FROM unnest($1::uuid[], $2::uuid[]) AS p (facility_id, patient_id)"""


async def summarize(configured: settings.Settings) -> tuple[int, int]:
    """Makes all summaries: how many were written, how many were up to date. Raises StoreError."""
    clinical = Postgres("clinical", configured.clinical_url, configured.secret, configured.store_timeout_s)
    notes = Mongo("notes", configured.notes_url, configured.store_timeout_s)
    written = unchanged = 0
    last = (UUID(int=0), UUID(int=0))
    try:
        while keys := [(row[0], row[1]) for row in await clinical.worker_fetch(REGISTRATIONS, *last, BATCH)]:
            last = keys[-1]
            counts = await notes.worker_upsert(PATIENT_SUMMARIES, await _kept(notes, await _summaries(clinical, keys)))
            written, unchanged = written + counts[0], unchanged + counts[1]
    finally:
        await clinical.close()
        await notes.close()
    return written, unchanged


async def _summaries(clinical: Postgres, keys: Sequence[tuple[UUID, UUID]]) -> list[Document]:
    facilities, patients = [key[0] for key in keys], [key[1] for key in keys]
    now = datetime.now(UTC).replace(microsecond=0)
    summaries = {key: _empty(*key, now) for key in keys}
    for row in await clinical.worker_fetch(CONDITIONS, facilities, patients, ENTRIES_MAX):
        summaries[row[0], row[1]]["active_conditions"].append(_entry(row, "code") | {"onset": row["onset"]})
    for row in await clinical.worker_fetch(MEDICATIONS, facilities, patients, ENTRIES_MAX):
        entry = _entry(row, "medication") | {"authored_on": row["authored_on"]}
        summaries[row[0], row[1]]["active_medications"].append(entry)
    for row in await clinical.worker_fetch(ALLERGIES, facilities, patients, ENTRIES_MAX):
        summaries[row[0], row[1]]["allergies"].append(_entry(row, "code") | {"criticality": row["criticality"]})
    for row in await clinical.worker_fetch(ENCOUNTERS, facilities, patients):
        summaries[row[0], row[1]]["last_encounter"] = _entry(row, "type") | {
            "status": row["status"],
            "class": row["class_code"],
            "start": row["period_start"],
            "end": row["period_end"],
        }
    for facility_id, patient_id, *numbers in await clinical.worker_fetch(COUNTS, facilities, patients):
        names = ("encounters", "conditions", "procedures", "medication_requests")
        summaries[facility_id, patient_id]["counts"] = dict(zip(names, numbers, strict=True))
    return list(summaries.values())


def _empty(facility_id: UUID, patient_id: UUID, now: datetime) -> Document:
    return {
        "_id": f"{facility_id}/{patient_id}",
        "metadata": {"facility_id": str(facility_id), "patient_id": str(patient_id)},
        "updated": now,
        "active_conditions": [],
        "active_medications": [],
        "allergies": [],
        "last_encounter": None,
        "counts": {},
    }


def _entry(row: Any, name: str) -> Document:
    """Id, main concept and labels of a row of the statements above."""
    columns: Any = SimpleNamespace(**row)
    return {"id": str(columns.id), name: concept(columns), "security": columns.label}


async def _kept(notes: Mongo, summaries: Sequence[Document]) -> list[Document]:
    """The summaries, each with the time of the stored one where nothing else has changed."""
    ids = [summary["_id"] for summary in summaries]
    stored = {one["_id"]: one for one in await notes.worker_find(PATIENT_SUMMARIES, {"_id": {"$in": ids}})}
    times = {key: {"updated": one["updated"]} for key, one in stored.items()}
    aged = [summary | times.get(summary["_id"], {}) for summary in summaries]
    return [old if old == stored.get(new["_id"]) else new for old, new in zip(aged, summaries, strict=True)]


def main(argv: list[str]) -> int:
    """Entry point; takes no arguments."""
    if argv:
        raise SettingsError("summarize takes no arguments.")
    written, unchanged = asyncio.run(summarize(settings.load()))
    print(f"patient_summaries: {written} written, {unchanged} unchanged", flush=True)
    return 0
