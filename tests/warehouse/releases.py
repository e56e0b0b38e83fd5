"""A release of two tables and three partitions, as an extraction would hand it over."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import polars as pl

from db.policy import Phi
from db.research_method import Method
from db.warehouse_release import BINARY, Release, ReleaseColumn, ReleaseFile, Releases, ReleaseTable

PARTITIONS = 3
PATIENTS = 5
"""Patients of each partition, who have 1, 2, 3, … results."""
TRICKY = 'O\'Brien "x" \\ ? :1 é – 漢\n; DROP TABLE stored_dataset'
OBJECT = b"\x89DICM"
RELEASED = datetime(2026, 3, 1, 12, tzinfo=UTC)
REPORT: Mapping[str, Any] = {
    "k": 11,
    "l": 2,
    "t": 0.25,
    "patients_in": 20,
    "patients_out": 15,
    "suppressed_share": 0.25,
    "risk": 0.0909,
    "findings": 0,
    "rules": {"sex": {"kept": 15}},
}
KEYS = (
    ReleaseColumn("research_id", "NUMBER(19, 0)", "Number of the patient", None, "SURROGATE"),
    ReleaseColumn("row_id", "NUMBER(19, 0)", "Number of the row", None, "SURROGATE"),
)
COLUMNS: Mapping[str, Sequence[ReleaseColumn]] = {
    "patients": (
        *KEYS,
        ReleaseColumn("sex", "VARCHAR", "Administrative gender", None, "KEEP"),
        ReleaseColumn("birth_year", "NUMBER(4, 0)", "Year of birth", Phi.DATE, "BIRTH_YEAR"),
    ),
    "lab_results": (
        *KEYS,
        ReleaseColumn("value", "FLOAT", "Value of the result", Phi.CLINICAL, "KEEP"),
        ReleaseColumn("start", "DATE", "Day of the result", Phi.DATE, "SHIFT"),
        ReleaseColumn("abnormal", "BOOLEAN", "Whether it is out of range", Phi.CLINICAL, "KEEP"),
        ReleaseColumn("text", "VARCHAR", "Text of the result", Phi.CLINICAL, "KEEP"),
        ReleaseColumn("object", BINARY, "Bytes, which the warehouse does not have", None, "DICOM"),
    ),
}


def frame(table: str, partition: int, salt: int = 0) -> pl.DataFrame:
    """Rows of a table in a partition, not in their order; another `salt` gives others."""
    patients = [2**62 + 1000 * partition + 7 * place + salt for place in range(PATIENTS)]
    if table == "patients":
        rows = [
            {"research_id": id, "row_id": 0, "sex": "female" if place % 2 else None, "birth_year": 1950 + place}
            for place, id in enumerate(patients)
        ]
    else:
        rows = [
            {
                "research_id": id,
                "row_id": number,
                "value": None if number == 1 else number + 0.5,
                "start": date(2024, 2, 29 - number),
                "abnormal": number % 2 == 0,
                "text": TRICKY,
            }
            for place, id in enumerate(patients)
            for number in range(place + 1)
        ]
    types = {"research_id": pl.Int64, "row_id": pl.Int64, "birth_year": pl.Int16, "sex": pl.String}
    return pl.DataFrame(rows, schema_overrides=types).reverse()


def whole(table: str, salt: int = 0) -> pl.DataFrame:
    """All rows of a table, in the order of its keys."""
    return pl.concat([frame(table, partition, salt) for partition in range(PARTITIONS)]).sort("research_id", "row_id")


def written(folder: Path, table: str, salt: int = 0) -> tuple[ReleaseTable, Sequence[Path]]:
    """A table, written as one parquet file for each partition."""
    files: list[ReleaseFile] = []
    paths: list[Path] = []
    for partition in range(PARTITIONS):
        path = folder / f"{table}-{partition:05}-{salt}.parquet"
        rows = frame(table, partition, salt)
        if table == "lab_results":
            rows = rows.with_columns(object=pl.lit(OBJECT))
        rows.write_parquet(path)
        content = path.read_bytes()
        files.append(ReleaseFile(partition, rows.height, len(content), hashlib.sha256(content).hexdigest()))
        paths.append(path)
    return ReleaseTable(table, COLUMNS[table], files), paths


def release_of(project_id: UUID, tables: Sequence[ReleaseTable], **changes: Any) -> Release:
    """A release of a project, by the method SAFE_HARBOR unless told otherwise."""
    made = Release(
        id=uuid4(),
        dataset_id=uuid4(),
        project_id=project_id,
        version=1,
        title="Diabetes, first look",
        description="Adults with diabetes",
        method=Method.SAFE_HARBOR,
        threshold=11,
        as_of=date(2026, 2, 28),
        released=RELEASED,
        tables=tables,
        report=REPORT,
        definition={"tables": ["patients", "lab_results"]},
        code_version="abc1234",
        rules_version="1",
        sha256="0" * 64,
    )
    return replace(made, **changes)


async def released(releases: Releases, folder: Path, project_id: UUID, salt: int = 0, **changes: Any) -> Release:
    """A release that is loaded and registered."""
    parts = [written(folder, table, salt) for table in COLUMNS]
    release = release_of(project_id, [table for table, _ in parts], **changes)
    for table, files in parts:
        await releases.load(release.id, table.name, table.types, files)
    await releases.register(release)
    return release
