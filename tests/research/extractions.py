"""Extractions for the tests: a network of generated patients in databases of its own, a project that may read it."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import polars as pl

from db.archive import Archive
from db.context import role_password
from db.postgres import login_url
from db.release_files import file_key, release_prefix
from db.research_method import Method
from db.roles import RESEARCH
from db.settings import Settings
from loaders.research_definition import NOT_SAFE_HARBOR, TABLES, Cohort, Definition
from workers.embedded.child import ROOT
from workers.research.work import work

EVERYTHING = tuple(name for name in TABLES if name not in NOT_SAFE_HARBOR)
LIMIT_S = 90

FACILITIES = "SELECT id FROM clinical.facility ORDER BY code"
ADD_PROJECT = """
INSERT INTO clinical.research_project (id, facility_id, name, aim, status, methods, data_use_agreement,
    data_use_expires, irb_approval, irb_expires, epsilon, proposed_by, approved_by, approved_at)
VALUES ($1, $2, 'Asthma in cities', 'To count', 'APPROVED', '{SAFE_HARBOR, LIMITED, TRUSTED}', 'DUA-1', '2100-01-01',
    'IRB-1', '2100-01-01', 1, 'ana', 'otto', now())"""
ADD_FACILITY = """
INSERT INTO clinical.research_facility (project_id, facility_id, approved_by, approved_at)
VALUES ($1, $2, 'otto', now())"""
ADD_DATASET = """
INSERT INTO clinical.research_dataset (id, facility_id, project_id, name, method, definition, requested_by)
SELECT $1, facility_id, id, $3, $4, $5, 'ana' FROM clinical.research_project WHERE id = $2"""
ADD_EXTRACTION = """
INSERT INTO clinical.research_extraction
    (id, facility_id, project_id, dataset_id, version, requested_by, partitions, plan)
SELECT $1, facility_id, project_id, id, $3, 'ana', $4, $5 FROM clinical.research_dataset WHERE id = $2"""
STATE = """
SELECT state, stage, partitions_done, report, sha256, error FROM clinical.research_extraction WHERE id = $1"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an extraction ended."""

    state: str
    report: Mapping[str, Any] | None
    sha256: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Network:
    """The stores and a project of theirs, which all facilities have approved."""

    settings: Settings
    project: UUID

    async def fetch(self, sql: str, *args: object) -> Sequence[tuple[Any, ...]]:
        """Rows of a statement of the databases' owner."""
        async with self._owner() as connection:
            return [tuple(row) for row in await connection.fetch(sql, *args)]

    @asynccontextmanager
    async def _owner(self) -> AsyncGenerator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.settings.clinical_url)
        try:
            await connection.set_type_codec(
                "jsonb", schema="pg_catalog", encoder=lambda value: orjson.dumps(value).decode(), decoder=orjson.loads
            )
            yield connection
        finally:
            await connection.close()

    async def seen(self, url: str, setting: str, value: object, sql: str) -> Sequence[tuple[Any, ...]]:
        """Rows of a statement of the login of extractions in a database, with a setting in its transaction."""
        secret = role_password(self.settings.secret, RESEARCH)
        connection = await asyncpg.connect(login_url(url, RESEARCH, secret))
        try:
            async with connection.transaction():
                await connection.execute("SELECT set_config($1, $2, true)", setting, str(value))
                return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async def dataset(self, method: Method, tables: Sequence[str] = EVERYTHING, **parts: Any) -> UUID:
        """A dataset that the project asks for; `parts` are those of the cohort and of the definition."""
        named = {name: parts.pop(name) for name in ("shift_dates", "strict", "age_band_years") if name in parts}
        definition = Definition(Cohort(**parts), tuple(tables), method, **named)
        definition.validate()
        id = uuid4()
        await self.fetch(ADD_DATASET, id, self.project, str(id), method.value, definition.json())
        return id

    async def extraction(self, dataset: UUID, version: int = 1, partitions: int | None = None, **plan: Any) -> UUID:
        """An extraction in the queue."""
        id = uuid4()
        await self.fetch(ADD_EXTRACTION, id, dataset, version, partitions, plan)
        return id

    async def ended(self, extraction: UUID) -> Ended:
        """How an extraction has ended, which must have."""
        [(state, _, _, report, sha256, error)] = await self.fetch(STATE, extraction)
        assert state not in ("QUEUED", "RUNNING"), state
        return Ended(state, report, sha256, error)

    async def made(self, method: Method, tables: Sequence[str] = EVERYTHING, **parts: Any) -> tuple[UUID, Ended]:
        """An extraction from its request to its end, in this process."""
        extraction = await self.extraction(await self.dataset(method, tables, **parts))
        await self.work()
        return extraction, await self.ended(extraction)

    async def work(self) -> None:
        """Works on what is in the queue until nothing is."""
        async with asyncio.timeout(LIMIT_S):
            await work(self.settings, at_once=2, bytes_per_s=None, until_empty=True)

    async def table(self, extraction: UUID, name: str) -> pl.DataFrame:
        """Rows of a table of a release, from its files."""
        archive = Archive("archive", self.settings.archive_url, 30)
        frames: list[pl.DataFrame] = []
        try:
            while (content := await archive.worker_get(file_key(extraction, name, len(frames)))) is not None:
                frames.append(pl.read_parquet(io.BytesIO(content)))
        finally:
            await archive.close()
        return pl.concat(frames)

    async def files(self, extraction: UUID) -> Sequence[str]:
        """Keys of an extraction's files in the archive."""
        archive = Archive("archive", self.settings.archive_url, 30)
        try:
            listed, more = await archive.worker_list("", prefix=release_prefix(extraction))
            assert not more
            return [one.key for one in listed]
        finally:
            await archive.close()

    async def worker(self, mb_per_s: int = 0) -> Process:
        """A process of `python -m workers research work`."""
        configured = self.settings
        environ = {
            "CAREGRAPH_DATA": str(configured.data),
            "CAREGRAPH_SECRET": configured.secret.decode(),
            "CAREGRAPH_CLINICAL_URL": configured.clinical_url,
            "CAREGRAPH_VITALS_URL": configured.vitals_url,
            "CAREGRAPH_NOTES_URL": configured.notes_url,
            "CAREGRAPH_ARCHIVE_URL": configured.archive_url,
            "CAREGRAPH_RESEARCH_MB_PER_S": str(mb_per_s),
        }
        command = (sys.executable, "-m", "workers", "research", "work")
        return await asyncio.create_subprocess_exec(*command, cwd=ROOT, env={**os.environ, **environ}, stdout=DEVNULL)

    async def until(self, extraction: UUID, sql: str, limit_s: float = LIMIT_S, every_s: float = 0.05) -> None:
        """Waits until a condition on the extraction's row holds."""
        row = f"SELECT 1 FROM clinical.research_extraction WHERE id = $1 AND ({sql})"
        # One connection: to begin another takes a core for milliseconds, and what is measured beside would wait for it.
        async with asyncio.timeout(limit_s), self._owner() as connection:
            while not await connection.fetch(row, extraction):  # noqa: ASYNC110 - as a person would look
                await asyncio.sleep(every_s)


async def approved(settings: Settings) -> Network:
    """The stores with a project at home in the first facility, which all have approved."""
    net = Network(settings, uuid4())
    facilities = [row[0] for row in await net.fetch(FACILITIES)]
    await net.fetch(ADD_PROJECT, net.project, facilities[0])
    for facility in facilities:
        await net.fetch(ADD_FACILITY, net.project, facility)
    return net
