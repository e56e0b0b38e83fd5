"""Stage EXTRACT: one partition, put under the rules, scanned and staged as parquet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import polars as pl

from db.research_method import Method
from workers.research import imaging, notes, vitals
from workers.research.facts import (
    KEYS,
    Frame,
    encounter_numbers,
    tables_of,
    under_rules,
    without,
)
from workers.research.job import Job
from workers.research.scan import Identifiers, scan
from workers.research.sources import Sources, staged_key
from workers.research.spill import IDENTIFIERS_NAME, MEMBERS_NAME, Spilled

PATIENTS, WITHHELD, COUNTS = "patients", "withheld", "counts"
"""Staged beside the tables: patients who stay, diagnoses that the plan withholds, patients of each value."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What all tables of a partition are made with."""

    sources: Sources
    job: Job
    partition: int
    spilled: Spilled
    patients: pl.DataFrame
    """Those who stay: research_id, patient, shift_days."""
    encounters: pl.DataFrame
    identifiers: pl.DataFrame

    @property
    def asked(self) -> Sequence[UUID]:
        """Whose facts the other stores are asked for."""
        return [UUID(one) for one in self.patients["patient"]]


async def make_partition(sources: Sources, job: Job, partition: int, spilled: Spilled) -> Mapping[str, Any]:
    """Stages the tables of a partition and gives what is noted of it; again it stages the same. Raises StoreError."""
    patients, withheld = [await sources.get(staged_key(job.id, name, partition)) for name in (PATIENTS, WITHHELD)]
    members = await spilled.rows(MEMBERS_NAME, partition)
    kept = members.join(patients.select("research_id"), on="research_id", how="semi")
    made: dict[str, Frame] = {}
    encounters = pl.DataFrame()
    for table in tables_of(job):
        source = await spilled.rows(table.name, partition)
        if table.name == "encounters":
            encounters = encounter_numbers(source, int(job.plan["seed"]), partition)
        frame = await asyncio.to_thread(under_rules, source, job, table, kept, encounters, spilled.terms)
        if table.name == "conditions":
            frame = without(frame, withheld)
        if table.name in job.definition.tables:
            made[table.name] = frame
    part = _Part(sources, job, partition, spilled, kept, encounters, await spilled.rows(IDENTIFIERS_NAME, partition))
    if vitals.NAME in job.definition.tables:
        made[vitals.NAME] = await _vitals(part)
    if notes.NAME in job.definition.tables:
        made[notes.NAME] = await _notes(part)
    images = await _images(part) if imaging.NAME in job.definition.tables else None
    if images:
        made[imaging.NAME] = images.frame
    return await _staged(part, patients, made, images)


async def _vitals(part: _Part) -> Frame:
    async with part.sources.vitals.facilities(part.spilled.facilities) as reading:
        source = await vitals.read_vitals(reading, part.sources.rate, part.job, part.asked, part.spilled.facilities)
    return vitals.made_vitals(source, part.job, part.patients, part.encounters, part.spilled.terms)


async def _notes(part: _Part) -> Frame:
    asked = part.patients["patient"].to_list()
    source = await notes.read_notes(part.sources.notes, part.job, asked, part.spilled.facilities, part.spilled.labels)
    beside = (part.patients, part.encounters, part.identifiers, part.spilled.terms)
    return await asyncio.to_thread(notes.made_notes, source, part.job, *beside)


async def _images(part: _Part) -> imaging.Images:
    async with part.sources.imaging.facilities(part.spilled.facilities) as reading:
        source = await imaging.read_images(reading, part.sources.rate, part.job, part.asked, part.spilled.facilities)
    beside = (part.patients, part.encounters, part.spilled.terms)
    return await imaging.made_images(part.sources, part.job, part.partition, source, *beside)


async def _staged(
    part: _Part, patients: pl.DataFrame, made: Mapping[str, Frame], images: imaging.Images | None
) -> Mapping[str, Any]:
    sources, job, partition = part.sources, part.job, part.partition
    shown = [(PATIENTS, patients), *((name, frame.rows) for name, frame in made.items())]
    said = [(imaging.NAME, images.texts)] if images else []
    findings = await asyncio.to_thread(_found, job, [*shown, *said], part.identifiers)
    for name, frame in made.items():
        await sources.put(staged_key(job.id, name, partition), frame.rows)
    if job.definition.method is Method.SAFE_HARBOR:
        counted = [counts(name, frame.rows) for name, frame in made.items()]
        await sources.put(staged_key(job.id, COUNTS, partition), pl.concat([NO_COUNTS, *counted]))
    return {
        "rows": sum(rows.height for _, rows in shown),
        "tables": {
            name: {"read": frame.read, "rows": frame.rows.height, "changes": frame.changes}
            for name, frame in made.items()
        },
        "images": [asdict(file) for file in images.files] if images else [],
        "findings": findings,
    }


def _found(
    job: Job, tables: Sequence[tuple[str, pl.DataFrame]], identifiers: pl.DataFrame
) -> Sequence[Mapping[str, Any]]:
    known = Identifiers(identifiers)
    return [
        {**asdict(one), "kind": one.kind.value}
        for name, rows in tables
        for one in scan(name, rows, known, job.definition.method, job.approved)
    ]


NO_COUNTS = pl.DataFrame(schema={"table": pl.String, "column": pl.String, "value": pl.String, "patients": pl.UInt32})


def counts(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """How many patients have each value of each column of words and years.

    The patients of a partition are in no other: sums over partitions hold.
    """
    found = [
        rows.filter(pl.col(name).is_not_null())
        .group_by(pl.col(name).cast(pl.String).alias("value"))
        .agg(pl.col("research_id").n_unique().cast(pl.UInt32).alias("patients"))
        .select(pl.lit(table).alias("table"), pl.lit(name).alias("column"), "value", "patients")
        for name in rare_columns(rows)
    ]
    return pl.concat([NO_COUNTS, *found])


def rare_columns(rows: pl.DataFrame) -> Sequence[str]:
    """Columns of which a value that few patients have is withheld: words and years, not measurements."""
    return [
        name
        for name, type_ in rows.schema.items()
        if name not in KEYS and type_.base_type() in (pl.String, pl.Int32, pl.Boolean)
    ]
