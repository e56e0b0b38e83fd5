"""One statement for several relations of a level, which gives each parent's part of the answer as JSON text.

It is made of the statements that the batch functions run, so filters, order and bounds are theirs, and of the same
masked views: what a view hides is not in it. docs/decisions/0012 says why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, NamedTuple, TypeAlias, cast
from uuid import UUID

from db.declared import hidden
from db.policy import View
from db.postgres import Session
from loaders.facts import ByIdBatch, ChildrenBatch, NewestBatch
from loaders.json_text import FAULT, Field, JsonText, NotComposable, Row, column_names, row_types
from loaders.reader import Reader
from loaders.statement import Statement

SqlBatch: TypeAlias = "NewestBatch[Any] | ChildrenBatch[Any] | ByIdBatch[Any]"
ROW = "found_row"
"""Alias of a branch's rows: none of a loader's statements has it, which are joined to them."""
_PARAMETER = re.compile(r"\$(\d+)")
_EACH = re.compile(
    r"SELECT parents\.id, facts\.\*\n"
    r"FROM unnest\((?P<ids>\$\d+::uuid\[\])\) AS parents \(id\)\n"
    r"CROSS JOIN LATERAL \(\n(?P<rows>.*)\n\) AS facts$",
    re.DOTALL,
)
"""A statement of loaders.facts.newest_of_each."""


class FaultyText(Exception):
    """A value is not as its type says: rows have to be read instead."""


class Found(NamedTuple):
    """What one branch found for one parent."""

    text: str | None
    """One object, or objects separated by commas."""
    rows: Sequence[str] | None
    """Objects one by one, with their places."""
    times: Sequence[datetime] | None
    ids: Sequence[UUID] | None


@dataclass(frozen=True, slots=True)
class Branch:
    """One relation: the batch function whose rows it has, and what is selected of each."""

    batch: SqlBatch
    fields: Sequence[Field]
    paged: bool
    """Whether rows come one by one, with their places."""


@dataclass(frozen=True, slots=True, eq=False)
class Composed:
    """The statement of several branches, for one view."""

    sql: LiteralString
    session: Callable[[Reader], Session]
    counts: Sequence[int]
    """Parameters of each branch after its ids."""
    aliases: Sequence[Sequence[str]]
    """Last parameters of each branch, beside those."""


def hidden_of(statement: Statement, view: View) -> frozenset[str]:
    """Columns of a statement that a view hides; ids are left, as in Columns.without."""
    return frozenset(name for columns in statement.columns for name in hidden(view, columns.table)) - {"id"}


def compose(name: str, branches: Sequence[Branch], view: View) -> Composed:
    """The statement of branches that read in one session. Raises NotComposable."""
    parts: list[str] = []
    counts: list[int] = []
    aliases: list[Sequence[str]] = []
    offset = 0
    for place, branch in enumerate(branches):
        statement = branch.batch.statement.for_view(view)
        count = max(int(number) for number in _PARAMETER.findall(statement))
        text = JsonText(offset + count + 1)
        row = Row(ROW, row_types(branch.batch.row), hidden_of(branch.batch.statement, view))
        _check_names(branch.batch.statement, row)
        parts.append(_branch(place, branch, _renumbered(statement, offset), row, text))
        counts.append(count - 1)
        aliases.append(text.parameters)
        offset += count + len(text.parameters)
    sql = f"/* {name}_graph */" + "\nUNION ALL".join(parts)
    return Composed(cast("LiteralString", sql), branches[0].batch.session, counts, aliases)


def _check_names(statement: Statement, row: Row) -> None:
    """Raises NotComposable where attributes of a row are not named as its columns."""
    if not all(name in row.types for columns in statement.columns for name in columns.names):
        raise NotComposable


def _renumbered(statement: str, offset: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + offset}", statement)


def _branch(place: int, branch: Branch, statement: str, row: Row, text: JsonText) -> str:
    written = text.object(row, branch.fields)
    joins = "\n".join(text.joins)
    patients = [*([f"{ROW}.patient_id"] if "patient_id" in row.types else []), *text.patients]
    names = column_names(row.types, row.hidden)
    each = _EACH.search(statement)
    if each and not row.hidden & {"id", "sort_time"}:
        # In the order of the rows' index, so that nothing is sorted, and grouped by being each parent's own.
        values = _values(branch, written, f"{ROW}.sort_time DESC, {ROW}.id DESC", patients)
        return f"""
SELECT {place}, parents.id, page.*
FROM unnest({each["ids"]}) AS parents (id)
CROSS JOIN LATERAL (
SELECT {values}
FROM ({each["rows"]}) AS {ROW} ({names})
{joins}
) AS page"""
    if isinstance(branch.batch, ByIdBatch):
        whose = f"ARRAY[{', '.join(patients)}]" if patients else "NULL"
        return f"""
SELECT {place}, {ROW}.key, {written}, NULL::text[], NULL::timestamptz[], NULL::uuid[], {whose}::uuid[] AS patients
FROM ({statement}) AS {ROW} (key, {names})
{joins}"""
    return f"""
SELECT {place}, {ROW}.key, {_values(branch, written, f"{ROW}.n", patients)}
FROM (SELECT found.*, row_number() OVER () AS n FROM ({statement}) AS found (key, {names})) AS {ROW}
{joins}
GROUP BY {ROW}.key"""


def _values(branch: Branch, written: str, order: str, patients: Sequence[str]) -> str:
    """What is made of a parent's rows: texts, places, and whose they are."""
    whose = " || ".join(f"array_agg(DISTINCT {patient})" for patient in patients) or "NULL"
    values = f"string_agg({written}, ',' ORDER BY {order}), NULL::text[], NULL::timestamptz[], NULL::uuid[]"
    if branch.paged:
        times, ids = (f"array_agg({ROW}.{column} ORDER BY {order})" for column in ("sort_time", "id"))
        values = f"NULL::text, array_agg({written} ORDER BY {order}), {times}, {ids}"
    return f"{values}, ({whose})::uuid[] AS patients"


async def found(
    reader: Reader, composed: Composed, ids: Sequence[Sequence[UUID]], arguments: Sequence[Sequence[object]]
) -> Mapping[tuple[int, UUID], Found]:
    """What each branch finds, by its place and the parent's id; ids and further arguments are those of each branch.

    Raises StoreError, and FaultyText where a value is not as its type says.
    """
    parameters = [
        parameter
        for of_branch, more, aliases in zip(ids, arguments, composed.aliases, strict=True)
        for parameter in (list(dict.fromkeys(of_branch)), *more, *aliases)
    ]
    records = await composed.session(reader).fetch(composed.sql, *parameters)
    result: dict[tuple[int, UUID], Found] = {}
    for place, key, text, rows, times, keys, _ in records:
        if FAULT in (text or "") or any(FAULT in row for row in rows or ()):
            raise FaultyText
        result[place, key] = Found(text, rows, times, keys)
    return result
