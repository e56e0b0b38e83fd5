"""What several partitions are made of, read in one pass: the database goes through its tables once for all of them.

The rows of each partition wait on disk until it is made, in files that have no name: however the worker ends, they go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import BinaryIO, LiteralString
from uuid import UUID

import polars as pl

from workers.research.facts import read_table, tables_of
from workers.research.identifiers import read_identifiers
from workers.research.job import Job, terms_of
from workers.research.reading import Types, read
from workers.research.rules import Terms
from workers.research.sources import Sources

MEMBERS_NAME, IDENTIFIERS_NAME = "members", "identifiers"
"""Beside the tables of facts."""
TOGETHER_MAX = 5
"""Partitions of a group at most: the largest of its tables is in memory as a whole."""
GROUPS_MIN = 4
"""Groups of an extraction where it has as many partitions, or one less: what several workers share."""

MEMBERS: LiteralString = """/* research_members */
SELECT DISTINCT m.research_id, m.patient_id::text AS patient, s.shift_days
FROM vault.member AS m
JOIN vault.surrogate AS s ON s.project_id = $3::uuid AND s.patient_id = m.patient_id
WHERE m.extraction_id = $1::uuid AND m.partition = ANY ($2::int[])"""
MEMBER_TYPES: Types = {"research_id": pl.Int64, "patient": pl.String, "shift_days": pl.Int32}
ALLOWED = "/* research_allowed */ SELECT access.research_facilities(), access.research_labels()"


def groups(partitions: int) -> Sequence[range]:
    """Partitions that are read together."""
    size = min(TOGETHER_MAX, -(-partitions // GROUPS_MIN))
    return [range(first, min(first + size, partitions)) for first in range(0, partitions, size)]


@dataclass(frozen=True, slots=True)
class Spilled:
    """The rows of some partitions, what a project may have, and what all rules share."""

    terms: Terms
    facilities: Sequence[UUID]
    labels: Sequence[str]
    files: Mapping[tuple[str, int], BinaryIO]

    async def rows(self, name: str, partition: int) -> pl.DataFrame:
        """Rows of a table, or of what stands beside the tables, of a partition."""
        return await asyncio.to_thread(_read, self.files[name, partition])


@asynccontextmanager
async def spilled(sources: Sources, job: Job, partitions: Sequence[int]) -> AsyncGenerator[Spilled]:
    """What the clinical database has of some partitions, until the end of the block. Raises StoreError."""
    files: dict[tuple[str, int], BinaryIO] = {}
    with ExitStack() as opened:

        async def spill(name: str, rows: pl.DataFrame) -> None:
            for partition in partitions:
                files[name, partition] = opened.enter_context(TemporaryFile())
            await asyncio.to_thread(_split, rows, job, {one: files[name, one] for one in partitions})

        async with sources.clinical.project(job.project_id) as reading:
            terms = await terms_of(reading, job)
            [(facilities, labels)] = await reading.fetch(ALLOWED)
            asked = (job.id, list(partitions), job.project_id)
            await spill(MEMBERS_NAME, await read(reading, sources.rate, MEMBER_TYPES, MEMBERS, *asked))
            await spill(IDENTIFIERS_NAME, await read_identifiers(reading, sources.rate, job, partitions))
            for table in tables_of(job):
                await spill(table.name, await read_table(reading, sources.rate, job, table, partitions))
        yield Spilled(terms, facilities, labels, files)


def _split(rows: pl.DataFrame, job: Job, files: Mapping[int, BinaryIO]) -> None:
    """Writes the rows of each partition: a partition is a remainder of research ids (selection.py)."""
    assert job.partitions is not None
    remainder = pl.col("research_id") % job.partitions
    for partition, file in files.items():
        rows.filter(remainder == partition).write_parquet(file, compression="lz4", statistics=False)


def _read(file: BinaryIO) -> pl.DataFrame:
    file.seek(0)
    return pl.read_parquet(file)
