"""Clinical notes of a partition, scrubbed: for LIMITED and TRUSTED (workers/research/text.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import polars as pl

from db.mongo import Mongo
from db.notes_schema import CLINICAL_NOTES
from graph.clinical_note import ClinicalNote
from workers.research.facts import KEYS, Declared, Frame, change, rules_of
from workers.research.job import Job
from workers.research.rules import Rule, Terms, expression
from workers.research.text import scrubbed

NAME = "notes"
BATCH = 500
"""Patients whose notes are asked for at a time."""

SCHEMA = {
    "patient": pl.String,
    "encounter": pl.String,
    "type_system": pl.String,
    "type_code": pl.String,
    "date": pl.String,
    "text": pl.String,
    "authors": pl.List(pl.String),
}
COLUMNS = {
    "type_system": Declared(ClinicalNote, "type", "System of the type's code"),
    "type_code": Declared(ClinicalNote, "type", "Type of the note, usually LOINC"),
    "date": Declared(ClinicalNote, "date", "When the note was written"),
    "text": Declared(ClinicalNote, "text", "Whole text of the note, scrubbed: not Safe Harbor by itself"),
}


async def read_notes(
    notes: Mongo, job: Job, patients: Sequence[str], facilities: Sequence[UUID], labels: Sequence[str]
) -> pl.DataFrame:
    """Notes of these patients at these facilities, no drafts, none with another label than these. Raises StoreError."""
    start, end = job.range
    found: list[Mapping[str, Any]] = []
    for first in range(0, len(patients), BATCH):
        some = list(patients[first : first + BATCH])
        where = {
            "metadata.facility_id": {"$in": [str(one) for one in facilities]},
            "metadata.patient_id": {"$in": some},
        }
        found += await notes.worker_find(CLINICAL_NOTES, where)
    rows = [
        _row(note)
        for note in found
        if note["status"] != "entered-in-error"
        and note["doc_status"] != "preliminary"
        and set(["R"] if note["security"] is None else note["security"]) <= set(labels)
        and (start is None or note["sort_time"].date() >= start)
        and (end is None or note["sort_time"].date() <= end)
    ]
    return pl.DataFrame(rows, SCHEMA, orient="row")


def _row(note: Mapping[str, Any]) -> tuple[Any, ...]:
    coding: Mapping[str, Any] = next(iter((note.get("type") or {}).get("coding") or ()), {})
    people = [*note["author"], *note["signatures"]]
    return (
        note["metadata"]["patient_id"],
        note["metadata"]["encounter_id"],
        coding.get("system"),
        coding.get("code"),
        note.get("date"),
        note.get("text"),
        [one["display"] for one in people if one.get("display")],
    )


def made_notes(
    source: pl.DataFrame,
    job: Job,
    patients: pl.DataFrame,
    encounters: pl.DataFrame,
    identifiers: pl.DataFrame,
    terms: Terms,
) -> Frame:
    """The table of a release, of the patients (patient, research_id, shift_days) who stay, sorted by what it shows."""
    joined = source.join(patients, on="patient", how="inner").join(encounters, on="encounter", how="left")
    clean = scrubbed(joined, identifiers, shifted=job.definition.shift_dates)
    rules = rules_of(job, COLUMNS)
    shown = [
        pl.col(name) if rule is Rule.SCRUB else expression(rule, name, terms).alias(name)
        for name, rule in rules.items()
    ]
    rows = clean.notes.select(*KEYS, *shown)
    changes = {name: change(rule, joined[name], rows[name]) for name, rule in rules.items()}
    changes["text"] = {**changes["text"], **{f"tokens {token}": count for token, count in clean.tokens.items()}}
    return Frame(rows.sort(rows.columns), source.height, changes)
