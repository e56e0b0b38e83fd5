"""The reads that clinical facts share, one statement each: newest N of each parent, all children of each, rows by id.

A fact's file has its columns, its filters, its row, and one line for each batch function:

    COLUMNS = Columns("condition", "id, patient_id, …")
    CONDITIONS_OF_PATIENTS = newest_of_each("conditions_of_patients", COLUMNS, "patient_id", FILTER)
    conditions_of_patients = NewestBatch(CONDITIONS_OF_PATIENTS, ConditionRow)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, LiteralString, Self, TypeVar
from uuid import UUID

from db.postgres import Session
from loaders.page import TimePage
from loaders.reader import Reader
from loaders.statement import Columns, Statement

R = TypeVar("R")


BEFORE = (
    "CASE WHEN $3::timestamptz < $6::timestamptz THEN $4::uuid ELSE uuid '00000000-0000-0000-0000-000000000000' END"
)
"""Id of a page's position: where the range ends at or before it, no row of that time is in the page.

The two bounds are one condition: of a range with both ends the planner thinks that it has next to no rows, and would
rather sort what is left of all partitions than read the newest one in the order of its index.
"""


def newest_of_each(
    name: LiteralString, columns: Columns, parent: LiteralString, where: LiteralString = "true"
) -> Statement:
    """Statement for `newest`: $1 parent ids, $2 rows for each, $3 and $4 position, $5 and $6 range, filters from $7."""
    return Statement(
        f"""/* {name} */
SELECT parents.id, facts.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    SELECT {{}}
    FROM {columns.table}
    WHERE {parent} = parents.id
      AND (sort_time, id) < (least($3::timestamptz, $6::timestamptz), {BEFORE})
      AND sort_time >= $5::timestamptz
      AND {where}
    ORDER BY sort_time DESC, id DESC
    LIMIT $2::int
) AS facts""",
        columns,
    )


def by_id(name: LiteralString, columns: Columns) -> Statement:
    """Statement for `found`: $1 ids."""
    return Statement(
        f"""/* {name} */
SELECT id, {{}}
FROM {columns.table}
WHERE id = ANY($1::uuid[])""",
        columns,
    )


async def newest(
    session: Session,
    sql: LiteralString,
    parent_ids: Sequence[UUID],
    page: TimePage,
    row: Callable[..., R],
    *filters: object,
) -> Mapping[UUID, Sequence[R]]:
    """Up to page.first + 1 rows of each parent, newest first: the one too many says that there is a next page."""
    ids = list(dict.fromkeys(parent_ids))
    bounds = (page.before_time, page.before_id, page.start, page.end)
    return grouped(ids, await session.fetch(sql, ids, page.first + 1, *bounds, *filters), row)


def grouped(parent_ids: Sequence[UUID], records: Sequence[Any], row: Callable[..., R]) -> Mapping[UUID, Sequence[R]]:
    """Rows of each parent, in the order of the records, which start with the parent's id."""
    rows: dict[UUID, list[R]] = {parent_id: [] for parent_id in parent_ids}
    for record in records:
        rows[record[0]].append(row(*record[1:]))
    return rows


async def found(session: Session, sql: LiteralString, ids: Sequence[UUID], row: Callable[..., R]) -> Mapping[UUID, R]:
    """Rows by id; an id of nothing that the caller may see is not in the mapping."""
    return {record[0]: row(*record[1:]) for record in await session.fetch(sql, list(ids))}


def clinical(reader: Reader) -> Session:
    """The clinical database: where most facts live."""
    return reader.clinical


@dataclass(frozen=True)
class RowBatch(Generic[R]):
    """Batch function of one statement that gives rows of one class."""

    statement: Statement
    row: type[R]
    session: Callable[[Reader], Session] = clinical
    unread: frozenset[str] = frozenset()
    """Columns that are not fetched: rows have None in their place."""

    def without(self, unread: frozenset[str]) -> Self:
        """The same batch function for who does not read these columns."""
        return replace(self, unread=unread)

    def sql(self, reader: Reader) -> LiteralString:
        """The statement as the reader's caller may see it."""
        return self.statement.for_caller(reader.caller, self.unread)


@dataclass(frozen=True)
class NewestBatch(RowBatch[R]):
    """Batch function of a `newest_of_each` statement.

    Up to page.first + 1 rows of each parent; filters in the order of the statement's $7, $8, …
    """

    async def __call__(
        self, reader: Reader, ids: Sequence[UUID], page: TimePage, *filters: object
    ) -> Mapping[UUID, Sequence[R]]:
        return await newest(self.session(reader), self.sql(reader), ids, page, self.row, *filters)


@dataclass(frozen=True)
class ChildrenBatch(RowBatch[R]):
    """Batch function of a statement that gives the children of $1, the parent's id first; arguments from $2 on."""

    async def __call__(self, reader: Reader, ids: Sequence[UUID], *arguments: object) -> Mapping[UUID, Sequence[R]]:
        distinct = list(dict.fromkeys(ids))
        records = await self.session(reader).fetch(self.sql(reader), distinct, *arguments)
        return grouped(distinct, records, self.row)


@dataclass(frozen=True)
class ByIdBatch(RowBatch[R]):
    """Batch function of a `by_id` statement of the clinical database."""

    async def __call__(self, reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, R]:
        return await found(self.session(reader), self.sql(reader), ids, self.row)
