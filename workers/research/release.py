"""Stage LOAD: values of few patients withheld over all partitions, files put in their place, tables loaded."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import polars as pl

from db.policy import Phi
from db.release_files import file_key
from db.research_method import Method
from db.warehouse_release import BINARY, Release, ReleaseColumn, ReleaseFile, ReleaseTable
from workers.research import imaging, notes, vitals
from workers.research.facts import ruled, rules_of
from workers.research.job import Job, Stage, State
from workers.research.partition import COUNTS, PATIENTS
from workers.research.people import made_columns
from workers.research.plan import HIERARCHY_NAMES, rules_version
from workers.research.rules import Rule
from workers.research.sources import Sources, staged_key
from workers.research.tables import TABLES
from workers.research.validation import Validated, validate

Rare: TypeAlias = Mapping[tuple[str, str], Sequence[str]]
"""By table and column the values, as text, that fewer than k patients have."""

TYPES: Mapping[pl.DataType | type[pl.DataType], str] = {
    pl.String: "VARCHAR",
    pl.Int64: "NUMBER(19, 0)",
    pl.Int32: "NUMBER(9, 0)",
    pl.Float64: "FLOAT",
    pl.Boolean: "BOOLEAN",
    pl.Binary: BINARY,
}
"""Type in the warehouse of each type of a column."""

ELSEWHERE = {vitals.NAME: vitals.COLUMNS, notes.NAME: notes.COLUMNS, imaging.NAME: imaging.COLUMNS}
"""Columns of the tables whose rows are not in the clinical database."""
KEY_COLUMNS = {
    "research_id": "Number of the patient in this project: random, of no meaning elsewhere",
    "row_id": "Number of the row among those of the patient in this table",
    "encounter_id": "Number of the encounter in this release: random",
}


async def make_release(sources: Sources, job: Job) -> None:
    """Loads, validates, and publishes a release or puts it into quarantine. Done again it does the same.

    Raises StoreError.
    """
    names = [PATIENTS, *(name for name in job.definition.tables if name != PATIENTS)]
    with TemporaryDirectory(prefix="caregraph-release-") as made_in:
        folder = Path(made_in)
        rare = await _rare(sources, job)
        made = [
            await (_images(sources, job, folder) if name == imaging.NAME else _table(sources, job, name, rare, folder))
            for name in names
        ]
        tables, loaded = [table for table, _ in made], {table.name: rows for table, rows in made}
        await sources.jobs.enter(job, Stage.VALIDATE, {})
        hidden = {column: len(values) for column, values in rare.items()}
        validated = await validate(sources, job, tables, loaded, folder, hidden)
    if validated.passed:
        await sources.releases.register(_release(job, tables, validated))
    else:
        await sources.releases.drop(job.id, names)
    state = State.PUBLISHED if validated.passed else State.QUARANTINED
    await sources.jobs.end(job.id, state, report=validated.report, sha256=validated.sha256)
    await sources.clear(job.id)


async def _rare(sources: Sources, job: Job) -> Rare:
    if job.definition.method is not Method.SAFE_HARBOR:
        return {}
    assert job.partitions is not None
    counted = [await sources.get(staged_key(job.id, COUNTS, number)) for number in range(job.partitions)]
    values = pl.concat(counted).group_by("table", "column", "value").agg(pl.col("patients").sum())
    few = values.filter(pl.col("patients") < job.k).sort("table", "column", "value")
    return {
        (str(table), str(column)): group["value"].to_list()
        for (table, column), group in few.group_by("table", "column", maintain_order=True)
    }


def without_rare(table: str, frame: pl.DataFrame, rare: Rare) -> pl.DataFrame:
    """A table with null in place of the values that few patients have; of a code its system goes too."""
    hidden = {
        name: pl.col(name).cast(pl.String).is_in(rare[table, name]) for name in frame.columns if (table, name) in rare
    }
    hidden |= {
        system: is_rare | hidden.get(system, pl.lit(value=False))
        for name, is_rare in hidden.items()
        if (system := f"{name.removesuffix('code')}system") in frame.columns and name.endswith("code")
    }
    return frame.with_columns(
        pl.when(~is_rare.fill_null(value=False)).then(pl.col(name)).alias(name) for name, is_rare in hidden.items()
    )


async def _table(sources: Sources, job: Job, name: str, rare: Rare, folder: Path) -> tuple[ReleaseTable, int]:
    assert job.partitions is not None
    files: list[ReleaseFile] = []
    paths: list[Path] = []
    schema: Mapping[str, pl.DataType] = {}
    for partition in range(job.partitions):
        staged = await sources.get(staged_key(job.id, name, partition))
        rows = await asyncio.to_thread(_numbered_rows, name, staged, rare)
        content = await sources.put(file_key(job.id, name, partition), rows)
        path = folder / f"{name}-{partition:05}.parquet"
        path.write_bytes(content)
        paths.append(path)
        files.append(ReleaseFile(partition, rows.height, len(content), hashlib.sha256(content).hexdigest()))
        schema = rows.schema
    table = ReleaseTable(name, _columns(job, name, schema), files)
    return table, await sources.releases.load(job.id, name, table.types, paths)


async def _images(sources: Sources, job: Job, folder: Path) -> tuple[ReleaseTable, int]:
    """The table of images: its files are in their place, and what is loaded are their rows without the objects."""
    name, made = imaging.NAME, await sources.jobs.partitions(job)
    paths: list[Path] = []
    schema: Mapping[str, pl.DataType] = {}
    for partition in range(job.partitions or 0):
        rows = await sources.get(staged_key(job.id, name, partition))
        paths.append(folder / f"{name}-{partition:05}.parquet")
        rows.write_parquet(paths[-1])
        schema = {**rows.schema, imaging.OBJECT: pl.Binary()}
    files = [ReleaseFile(**file) for partition in sorted(made) for file in made[partition]["images"]]
    table = ReleaseTable(name, _columns(job, name, schema), files)
    return table, await sources.releases.load(job.id, name, table.types, paths)


def _numbered_rows(name: str, staged: pl.DataFrame, rare: Rare) -> pl.DataFrame:
    shown = without_rare(name, staged.drop("partition", strict=False), rare)
    ordered = shown.sort(shown.columns)
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("research_id").alias("row_id")
    return ordered.select("research_id", number, pl.exclude("research_id"))


def _columns(job: Job, name: str, schema: Mapping[str, pl.DataType]) -> Sequence[ReleaseColumn]:
    described = {key: (description, None, "RANDOM") for key, description in KEY_COLUMNS.items()} | {
        column: (description, next(iter(kinds), None), rule.value)
        for column, description, kinds, rule in _described(job, name)
    }
    return [ReleaseColumn(column, TYPES[type_.base_type()], *described[column]) for column, type_ in schema.items()]


def _described(job: Job, name: str) -> Iterator[tuple[str, str, Sequence[Phi], Rule]]:
    """Name, description, kinds and rule of each column of a table."""
    if name == PATIENTS:
        for made in made_columns(job, HIERARCHY_NAMES):
            yield made.name, made.description, made.kinds, made.rule
    elif name in TABLES:
        for one in ruled(job, TABLES[name]):
            yield one.name, one.column.description, one.column.kinds, one.rule
    else:
        columns = ELSEWHERE[name]
        for column, rule in rules_of(job, columns).items():
            yield column, columns[column].description, columns[column].kinds, rule
    if name == imaging.NAME:
        yield imaging.OBJECT, imaging.OBJECT_DESCRIPTION, (), Rule.DICOM


def _release(job: Job, tables: Sequence[ReleaseTable], validated: Validated) -> Release:
    return Release(
        id=job.id,
        dataset_id=job.dataset_id,
        project_id=job.project_id,
        version=job.version,
        title=job.name,
        description=f"Records of a cohort by the method {job.definition.method.value}",
        method=job.definition.method,
        threshold=job.k,
        as_of=job.as_of,
        released=datetime.now(UTC),
        tables=tables,
        report=validated.report,
        definition=job.definition.json(),
        code_version=validated.code_version,
        rules_version=rules_version(),
        sha256=validated.sha256,
    )
