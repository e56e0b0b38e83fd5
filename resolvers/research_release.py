"""Releases of records: one by number or moment, its tables, rows and files, its report and lineage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby

from db.errors import InvalidCursor
from loaders.page import LAST_TIME
from loaders.research_dataset import VersionRow
from loaders.research_release import (
    FileRow,
    LineageRow,
    RecordRow,
    ReleaseRow,
    ReportRow,
    TableRow,
    release_by_id,
    release_rows,
    version_of_dataset,
)
from resolvers.arguments import codes, moment, page_size, resource_id
from resolvers.connection import Scope, Slice, scope
from resolvers.context import Context

ROWS, FILES = "ResearchTable.rows", "ResearchTable.files"
EXPIRES_MAX_S = 300
"""Seconds for which a presigned URL is good at most."""


async def one(context: Context, *, id: str, version: int | None, as_of: str | None) -> VersionRow | None:
    """A version of the dataset of an id: of a number, the newest up to a moment, or the newest."""
    dataset_id = resource_id("id", id, "ResearchDataset")
    until = LAST_TIME if as_of is None else moment("asOf", as_of)
    return await version_of_dataset(context.reader, dataset_id, version, until)


async def tables(
    context: Context, parents: Sequence[VersionRow], *, name: list[str] | None
) -> Sequence[Sequence[TableRow]]:
    """Tables of each version, all or those of some names; none of one of aggregates."""
    wanted = codes("name", name)
    return [
        [table for table in release.tables if wanted is None or table.name in wanted] if release else []
        for release in await _releases(context, parents)
    ]


async def reports(context: Context, parents: Sequence[VersionRow]) -> Sequence[ReportRow | None]:
    """Validation report of each version of records."""
    return [release and release.report for release in await _releases(context, parents)]


async def lineages(context: Context, parents: Sequence[VersionRow]) -> Sequence[LineageRow | None]:
    """Lineage of each version of records."""
    return [release and release.lineage for release in await _releases(context, parents)]


async def rows(
    context: Context, parents: Sequence[TableRow], *, first: int, after: str | None
) -> Sequence[Slice[RecordRow]]:
    """Page of each table: a statement for each, because no two have the same columns."""
    size, signer = page_size("first", first), scope(context, ROWS)
    patient, row_id = _place(signer, after, 2)
    found = await asyncio.gather(
        *(release_rows(context.reader, table, (patient, row_id), size + 1) for table in parents)
    )
    return [
        Slice(
            rows[:size],
            lambda row: signer.sign(str(row.research_id), str(row.row_id)),
            len(rows) > size,
            after is not None,
        )
        for rows in found
    ]


async def files(
    context: Context, parents: Sequence[TableRow], *, first: int, after: str | None
) -> Sequence[Slice[FileRow]]:
    """Page of the files of each table, by partition."""
    size, signer = page_size("first", first), scope(context, FILES)
    [last] = _place(signer, after, 1)
    left = [[file for file in table.files if file.partition > last] for table in parents]
    return [
        Slice(of_table[:size], lambda file: signer.sign(str(file.partition)), len(of_table) > size, after is not None)
        for of_table in left
    ]


async def presigned_urls(context: Context, parents: Sequence[FileRow], *, expires_in: int) -> Sequence[str | None]:
    """URL of each file; every release is asked for once, whether the caller sees it."""
    seconds = page_size("expiresIn", expires_in, EXPIRES_MAX_S)
    urls: list[str | None] = []
    for version_id, of_release in groupby(parents, lambda file: file.version_id):
        wanted = [(file.table, file.partition) for file in of_release]
        urls += await context.reader.archive.presigned_release(version_id, wanted, seconds)
    return urls


def _place(signer: Scope, after: str | None, length: int) -> Sequence[int]:
    """Numbers after which a page starts; all are before the first, without a cursor. Raises InvalidCursor."""
    if after is None:
        return [-1] * length
    position = signer.verify(after, length)
    if not all(part.isdigit() for part in position):
        raise InvalidCursor("after")
    return [int(part) for part in position]


async def _releases(context: Context, parents: Sequence[VersionRow]) -> Sequence[ReleaseRow | None]:
    return await context.reader.load_many(release_by_id, [parent.id for parent in parents])
