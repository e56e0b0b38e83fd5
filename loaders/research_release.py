"""Releases of records: their tables, rows, files, report and lineage, as the registry of the warehouse has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from db.warehouse_release import BINARY
from loaders.reader import Reader
from loaders.research_dataset import LISTED, VERSION, VersionRow, ids_parameter, version_row

VERSION_OF_DATASET = f"""/* version_of_dataset */
SELECT {VERSION}
FROM research_dataset_version
WHERE dataset_id = ? AND (? = 0 OR version = ?) AND sort_time <= CAST(? AS TIMESTAMP_TZ)
ORDER BY version DESC
LIMIT 1"""

RELEASE_BY_ID = f"""/* release_by_id */
SELECT id, tables, report, lineage FROM research_dataset_version WHERE id IN {LISTED} AND tables IS NOT NULL"""

RELEASE_ROWS = """/* release_rows */
SELECT *
FROM release_rows
WHERE research_id > ? OR (research_id = ? AND row_id > ?)
ORDER BY research_id, row_id
LIMIT ?"""


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """A column of a table, as db.warehouse_release.ReleaseColumn; `kind` is the name of a PHI kind."""

    name: str
    type: str
    description: str
    kind: str | None
    rule: str


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file of a table in the archive."""

    version_id: UUID
    table: str
    partition: int
    rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class TableRow:
    """A table of a release, with its columns in the order in which its rows have their values."""

    version_id: UUID
    name: str
    columns: Sequence[ColumnRow]
    files: Sequence[FileRow]

    @property
    def row_count(self) -> int:
        """Rows of the table."""
        return sum(file.rows for file in self.files)


@dataclass(frozen=True, slots=True)
class ReportRow:
    """The validation report of a release: its main figures, by the names that the report gives them, and all of it."""

    k: int | None
    l: int | None  # noqa: E741 - the name of l-diversity
    t: float | None
    patients_in: int | None
    patients_out: int | None
    suppressed_share: float | None
    risk: float | None
    findings: int | None
    json: str


@dataclass(frozen=True, slots=True)
class LineageRow:
    """What a release was made of, and by what."""

    extraction_id: UUID
    definition: str
    code_version: str
    rules_version: str


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """What the registry says of a release beside its version."""

    tables: Sequence[TableRow]
    report: ReportRow
    lineage: LineageRow


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A row of a table: `values` are texts, in the order of its columns."""

    research_id: int
    row_id: int
    values: Sequence[str | None]


async def version_of_dataset(
    reader: Reader, dataset_id: UUID, version: int | None, until: datetime
) -> VersionRow | None:
    """The newest version that was released up to a moment, or the one of a number; None where there is none."""
    given = (0, 0) if version is None else (1, version)
    rows = await reader.warehouse.fetch(VERSION_OF_DATASET, str(dataset_id), *given, until.isoformat())
    return version_row(rows[0]) if rows else None


async def release_by_id(reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, ReleaseRow]:
    """Releases of records by the id of their version; those of aggregates have none of this.

    Who has one has read it: the audit is told (db/seen.py).
    """
    rows = await reader.warehouse.fetch(RELEASE_BY_ID, ids_parameter(ids))
    found = {UUID(row[0]): _release(UUID(row[0]), *map(json.loads, row[1:])) for row in rows}
    reader.seen.releases(found)
    return found


async def release_rows(reader: Reader, table: TableRow, after: tuple[int, int], limit: int) -> Sequence[RecordRow]:
    """Up to `limit` rows of a table after a place (research_id, row_id), in this order.

    Bytes, which the last columns may be, are null: they stand in the table's files alone.
    """
    names = [column.name for column in table.columns if column.type != BINARY]
    rest = [None] * (len(table.columns) - len(names))
    patient, row_id = names.index("research_id"), names.index("row_id")
    rows = await reader.warehouse.fetch_release(
        table.version_id, table.name, RELEASE_ROWS, after[0], after[0], after[1], limit
    )
    return [RecordRow(row[patient], row[row_id], [*map(_text, row), *rest]) for row in rows]


def _release(version_id: UUID, tables: Any, report: Any, lineage: Any) -> ReleaseRow:
    figures = {name: report.get(name) for name in ReportRow.__slots__ if name != "json"}
    return ReleaseRow(
        [_table(version_id, table) for table in tables],
        ReportRow(**figures, json=json.dumps(report)),
        LineageRow(version_id, json.dumps(lineage["definition"]), lineage["code_version"], lineage["rules_version"]),
    )


def _table(version_id: UUID, table: Mapping[str, Any]) -> TableRow:
    columns = [ColumnRow(**column) for column in table["columns"]]
    files = [FileRow(version_id, table["name"], **file) for file in table["files"]]
    return TableRow(version_id, table["name"], columns, files)


def _text(value: object) -> str | None:
    """A value as text: dates as ISO 8601 has them, truth as `true` and `false`."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date) else str(value)
