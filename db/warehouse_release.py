"""Releases of records in the warehouse: loaded table by table, then made visible by one statement, and never changed.

A release's id is that of the extraction that made it. Its tables are `stored_release_{32 hex}_{table}`, each with the
columns research_id and row_id, by which rows are paged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

from db.policy import Phi
from db.release_files import checked
from db.research_method import Method
from db.warehouse import STORED, Warehouse, array, release_table

FILES_MAX = 100
"""Files of one COPY: it stays within seconds, however large the release."""
BINARY = "BINARY"
"""Type of a column of bytes, which files have and the warehouse has not."""
KEYS = ("research_id", "row_id")
"""Columns that every table has: the patient's number in the project, and a number of the row within the patient's."""
NAME_MAX = 64
"""Characters of a dataset's name in the registry."""

_TYPE = re.compile(r"[A-Z_]+(\(\d{1,8}(, ?\d{1,2})?\))?", re.ASCII)

IS_REGISTERED = "SELECT 1 FROM stored_dataset_version WHERE id = ?"
ADD_DATASET = """INSERT INTO stored_dataset
    (id, name, title, description, purpose, method, threshold, sort_time, project_id)
SELECT ?, ?, ?, ?, 'HRESCH', ?, ?, CAST(? AS TIMESTAMP_TZ), ?
WHERE NOT EXISTS (SELECT 1 FROM stored_dataset WHERE id = ?)"""
ADD_VERSION = """INSERT INTO stored_dataset_version
    (id, dataset_id, version, sort_time, as_of, row_count, withheld_count, sha256, tables, report, lineage)
SELECT ?, ?, ?, CAST(? AS TIMESTAMP_TZ), ?, ?, 0, ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM stored_dataset_version WHERE id = ?)"""

CLOSE_PROJECTS = """DELETE FROM stored_project_open
WHERE project_id || ' ' || method NOT IN (SELECT value::VARCHAR FROM TABLE(FLATTEN(input => PARSE_JSON(?))))"""
OPEN_PROJECTS = """INSERT INTO stored_project_open (project_id, method)
SELECT SPLIT_PART(pair, ' ', 1), SPLIT_PART(pair, ' ', 2)
FROM (SELECT value::VARCHAR AS pair FROM TABLE(FLATTEN(input => PARSE_JSON(?)))) AS wanted
WHERE pair NOT IN (SELECT project_id || ' ' || method FROM stored_project_open)"""


@dataclass(frozen=True, slots=True)
class ReleaseColumn:
    """A column of a release: its Snowflake type, the PHI kind that its source has in the graph, what was done to it."""

    name: str
    type: str
    description: str
    kind: Phi | None
    rule: str


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """A partition's rows of a table, in the archive at db.release_files.file_key."""

    partition: int
    rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ReleaseTable:
    """A table of a release; its columns in their order, KEYS among them."""

    name: str
    columns: Sequence[ReleaseColumn]
    files: Sequence[ReleaseFile]

    @property
    def types(self) -> Mapping[str, str]:
        """What `Releases.load` takes: bytes stay in the files."""
        return {column.name: column.type for column in self.columns if column.type != BINARY}

    @property
    def row_count(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    def json(self) -> dict[str, Any]:
        """As the registry has it."""
        columns = [asdict(column) | {"kind": column.kind and column.kind.value} for column in self.columns]
        return {"name": self.name, "columns": columns, "files": [asdict(file) for file in self.files]}


@dataclass(frozen=True, slots=True)
class Release:
    """A version of a dataset, as it is registered."""

    id: UUID
    """Extraction that made it."""
    dataset_id: UUID
    project_id: UUID
    version: int
    title: str
    description: str
    method: Method
    threshold: int
    """k: fewest patients who share what could identify them."""
    as_of: date
    released: datetime
    tables: Sequence[ReleaseTable]
    report: Mapping[str, Any]
    """Validation report; of it loaders.research_release.ReportRow names what the graph shows by itself."""
    definition: Mapping[str, Any]
    code_version: str
    rules_version: str
    sha256: str


class Releases:
    """What workers do to the releases of a warehouse."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def load(self, release_id: UUID, table: str, columns: Mapping[str, str], files: Sequence[Path]) -> int:
        """Rows of a table of a release, loaded from parquet files by the names of their columns (name → type).

        Loaded again, the table is made anew; that of a registered release stays as it is. Raises ValueError for a name
        or type that is none, or without KEYS, StoreError.
        """
        name = release_table(release_id, table)
        if await self.is_registered(release_id):
            [(count,)] = await self._run(f"SELECT COUNT(*) FROM {name}")
            return int(count)
        await self._run(f"CREATE OR REPLACE TABLE {name} ({_declared(columns)})")
        return sum([await self._copied(name, files[at : at + FILES_MAX]) for at in range(0, len(files), FILES_MAX)])

    async def register(self, release: Release) -> None:
        """Makes a release visible to its project, by the one statement that adds its version. Raises StoreError.

        All its tables are loaded before. A release that is registered stays as it is.
        """
        released, dataset_id = release.released.isoformat(), str(release.dataset_id)
        name = re.sub(r"[^a-z0-9]+", "-", release.title.lower()).strip("-")[:NAME_MAX]
        described = (name, release.title, release.description, release.method.value, release.threshold)
        await self._run(ADD_DATASET, dataset_id, *described, released, str(release.project_id), dataset_id)
        tables = [table.json() for table in release.tables]
        lineage = {
            "definition": release.definition,
            "code_version": release.code_version,
            "rules_version": release.rules_version,
        }
        await self._run(
            ADD_VERSION,
            str(release.id),
            dataset_id,
            release.version,
            released,
            release.as_of.isoformat(),
            sum(table.row_count for table in release.tables),
            release.sha256,
            *(json.dumps(document) for document in (tables, release.report, lineage)),
            str(release.id),
        )
        if await self._warehouse.is_real():
            for view in views(release):
                await self._run(view)

    async def drop(self, release_id: UUID, tables: Collection[str]) -> None:
        """Drops tables of a release that nobody will see. Raises ValueError for a registered one, StoreError."""
        if await self.is_registered(release_id):
            raise ValueError("A release that is registered never changes.")
        for table in tables:
            await self._run(f"DROP TABLE IF EXISTS {release_table(release_id, table)}")

    async def is_registered(self, release_id: UUID) -> bool:
        """Whether a release is visible to its project. Raises StoreError."""
        return bool(await self._run(IS_REGISTERED, str(release_id)))

    async def set_open_projects(self, projects: Collection[tuple[UUID, Method]]) -> None:
        """Tells Snowflake which methods of which projects are open, for those who log in to it themselves.

        What is closed closes first. Raises StoreError.
        """
        pairs = array(sorted(f"{project_id} {method.value}" for project_id, method in projects))
        await self._run(CLOSE_PROJECTS, pairs)
        await self._run(OPEN_PROJECTS, pairs)

    async def _copied(self, name: str, files: Sequence[Path]) -> int:
        """Rows of some files, put to the table's own stage and copied from there.

        From a folder of links: one PUT of many files takes half as long as one for each.
        """
        stage = f"@%{name}/{uuid4().hex}/"  # of its own, where no earlier load can have left anything
        with TemporaryDirectory() as folder:
            for place, file in enumerate(files):
                (Path(folder) / f"{place}.parquet").symlink_to(file.resolve(strict=True))
            await self._run(f"PUT 'file://{folder}/*.parquet' {stage} AUTO_COMPRESS = FALSE")
        done = await self._run(
            f"COPY INTO {name} FROM {stage} FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) "
            "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE PURGE = TRUE"
        )
        return sum(int(row[3]) for row in done)

    async def _run(self, sql: str, *params: object) -> Sequence[tuple[Any, ...]]:
        return await self._warehouse.query(sql, params, again=False)


def views(release: Release) -> Sequence[str]:
    """Statements that make the secure views of a release, for those who log in to Snowflake themselves.

    The policy of warehouse/0004 shows their rows while the project is open; columns say of which PHI kind they were.
    """
    constants = f"SELECT '{release.project_id}' AS project_id, '{release.method.value}' AS method"
    made: list[str] = []
    for table in release.tables:
        stored = release_table(release.id, table.name)
        columns = ", ".join(
            f"\"{column.name.upper()}\" WITH TAG (phi_kind = '{column.kind.value if column.kind else 'NONE'}')"
            for column in table.columns
            if column.type != BINARY
        )
        made.append(
            f"CREATE OR REPLACE SECURE VIEW {stored.removeprefix(STORED)} (project_id, method, {columns}) "
            f"WITH ROW ACCESS POLICY open_project ON (project_id, method) AS {constants}, t.* FROM {stored} AS t"
        )
    return made


def _declared(columns: Mapping[str, str]) -> str:
    """Columns of a CREATE TABLE. In upper case an identifier in quotes is the same as without; and none is reserved."""
    if not set(KEYS) <= set(columns) or not all(map(_TYPE.fullmatch, columns.values())):
        raise ValueError(f"A table of a release has the columns {', '.join(KEYS)}, and Snowflake's types.")
    return ", ".join(f'"{checked(name).upper()}" {type}' for name, type in columns.items())
