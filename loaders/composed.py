"""One statement for several relations of a level, which gives each parent's part of the answer as JSON text.

It is made of the statements that the batch functions run, so filters, order and bounds are theirs, and of the same
masked views: what a view hides is not in it. Rows that many rows refer to (the test of results) are written once, and
their texts put where the references stand. docs/decisions/0012 says why.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any, LiteralString, NamedTuple, TypeAlias, cast
from uuid import UUID

from db.declared import hidden
from db.policy import View
from db.postgres import Session
from loaders.facts import ByIdBatch, ChildrenBatch, NewestBatch
from loaders.json_text import FAULT, LINK, Field, JsonText, NotComposable, Reference, Row, column_names, row_types
from loaders.reader import Reader
from loaders.statement import Statement

SqlBatch: TypeAlias = "NewestBatch[Any] | ChildrenBatch[Any] | ByIdBatch[Any]"
ROW = "found_row"
"""Alias of a part's rows: none of a loader's statements has it, which are joined to them."""
COLUMNS = "place, key, json, jsons, times, ids, patient_id, patients"
"""What a part gives of each parent, or of each row that is referred to. Whose it is, one or several, db.seen reads."""
NOBODY = "NULL::uuid, NULL::uuid[]"
UNPAGED = "NULL::text[], NULL::timestamptz[], NULL::uuid[]"
"""In the place of jsons, times and ids."""
_PARAMETER = re.compile(r"\$(\d+)")
_EACH = re.compile(
    r"SELECT parents\.id, facts\.\*\n"
    r"FROM unnest\((?P<ids>\$\d+::uuid\[\])\) AS parents \(id\)\n"
    r"CROSS JOIN LATERAL \(\n(?P<rows>.*WHERE (?P<parent>\w+) = parents\.id\b.*)\n\) AS facts$",
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
    """Last parameters of each branch, beside those; then those of the rows referred to."""
    absent: Mapping[str, str]
    """Text of a reference to nothing, by place."""


def hidden_of(statement: Statement, view: View) -> frozenset[str]:
    """Columns of a statement that a view hides; ids are left, as in Columns.without."""
    return frozenset(name for columns in statement.columns for name in hidden(view, columns.table)) - {"id"}


def compose(name: str, branches: Sequence[Branch], view: View) -> Composed:
    """The statement of branches that read in one session. Raises NotComposable."""
    parts = _Parts(len(branches))
    counts: list[int] = []
    for branch in branches:
        statement = branch.batch.statement.for_view(view)
        counts.append(max(int(number) for number in _PARAMETER.findall(statement)) - 1)
        row = Row(ROW, row_types(branch.batch.row), hidden_of(branch.batch.statement, view))
        _check_names(branch.batch.statement, row)
        parts.add(branch, _renumbered(statement, parts.parameters), row, counts[-1] + 1)
    parts.add_references()
    chosen = "\nUNION ALL\n".join(f"SELECT {COLUMNS} FROM part{place}" for place in range(len(parts.sql)))
    sql = f"/* {name}_graph */\nWITH {', '.join(parts.sql)}\n{chosen}"
    session = branches[0].batch.session
    return Composed(cast("LiteralString", sql), session, counts, parts.aliases, parts.absent)


@dataclass(slots=True)
class _Parts:
    """Parts of one statement: its branches, then the rows that these refer to, and what those refer to."""

    places: int
    """Places given away: those of the branches, and of each reference."""
    sql: list[str] = field(default_factory=list[str])
    parameters: int = 0
    aliases: list[Sequence[str]] = field(default_factory=list[Sequence[str]])
    absent: dict[str, str] = field(default_factory=dict[str, str])
    _waiting: deque[tuple[Reference, str]] = field(default_factory=deque[tuple[Reference, str]])
    """References that have no part yet, with the keys that are referred to, in the order of their places."""

    def add(self, branch: Branch, statement: str, row: Row, count: int) -> None:
        """A branch, whose statement has so many parameters, numbered from those before on."""
        text = JsonText(self.parameters + count + 1, self.places)
        self.parameters += count
        self._add(_branch(len(self.sql), branch, statement, row, text), text)

    def add_references(self) -> None:
        """The rows that are referred to, until none is."""
        while self._waiting:
            (joined, fields, absent), keys = self._waiting.popleft()
            place = len(self.sql)
            self.absent[str(place)] = absent
            row = Row(ROW, row_types(joined.row), joined.hidden)
            text = JsonText(self.parameters + 1, self.places)
            self._add(_single(place, joined.sql.replace("$1::uuid[]", keys), row, fields, text), text)

    def _add(self, sql: str, text: JsonText) -> None:
        place = len(self.sql)
        columns = [COLUMNS, *(f"to_{self.places + n}" for n in range(len(text.references)))]
        self.sql.append(f"part{place} ({', '.join(columns)}) AS ({sql})")
        self.aliases.append(text.parameters)
        self.parameters += len(text.parameters)
        for reference in text.references:
            self._waiting.append((reference, f"ARRAY(SELECT unnest(to_{self.places}) FROM part{place})"))
            self.places += 1


def _check_names(statement: Statement, row: Row) -> None:
    """Raises NotComposable where attributes of a row are not named as its columns."""
    if not all(name in row.types for columns in statement.columns for name in columns.names):
        raise NotComposable


def _renumbered(statement: str, offset: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + offset}", statement)


def _branch(place: int, branch: Branch, statement: str, row: Row, text: JsonText) -> str:
    if isinstance(branch.batch, ByIdBatch):
        return _single(place, statement, row, branch.fields, text)
    written = text.object(row, branch.fields)
    columns = column_names(row.types, row.hidden)
    each = _EACH.search(statement)
    whose = f"NULL::uuid, array_agg(DISTINCT {ROW}.patient_id)" if "patient_id" in row.types else NOBODY
    if each and not row.hidden & {"id", "sort_time"}:
        if each["parent"] == "patient_id":
            whose = "CASE WHEN count(*) > 0 THEN parents.id END, NULL::uuid[]"
        # In the order of the rows' index, so that nothing is sorted, and grouped by being each parent's own.
        values = _values(branch, written, f"{ROW}.sort_time DESC, {ROW}.id DESC", whose, text)
        return f"""
SELECT {place}, parents.id, page.*
FROM unnest({each["ids"]}) AS parents (id)
CROSS JOIN LATERAL (
SELECT {values}
FROM ({each["rows"]}) AS {ROW} ({columns})
) AS page"""
    return f"""
SELECT {place}, {ROW}.key, {_values(branch, written, f"{ROW}.n", whose, text)}
FROM (SELECT found.*, row_number() OVER () AS n FROM ({statement}) AS found (key, {columns})) AS {ROW}
GROUP BY {ROW}.key"""


def _single(place: int, statement: str, row: Row, fields: Sequence[Field], text: JsonText) -> str:
    """One row for each key."""
    written = text.object(row, fields)
    whose = f"{ROW}.patient_id, NULL::uuid[]" if "patient_id" in row.types else NOBODY
    keys = [f"ARRAY[{key}]" for key in _keys(text)]
    return f"""
SELECT {place}, {ROW}.key, {", ".join([written, UNPAGED, whose, *keys])}
FROM ({statement}) AS {ROW} (key, {column_names(row.types, row.hidden)})"""


def _values(branch: Branch, written: str, order: str, whose: str, text: JsonText) -> str:
    """What is made of a parent's rows: texts, places, whose they are, and what they refer to."""
    values = [f"string_agg({written}, ',' ORDER BY {order})", UNPAGED]
    if branch.paged:
        times, ids = (f"array_agg({ROW}.{column} ORDER BY {order})" for column in ("sort_time", "id"))
        values = ["NULL::text", f"array_agg({written} ORDER BY {order})", times, ids]
    return ", ".join([*values, whose, *(f"array_agg(DISTINCT {key})" for key in _keys(text))])


def _keys(text: JsonText) -> Sequence[str]:
    return [f"{ROW}.{reference.joined.key}" for reference in text.references]


async def found(
    reader: Reader, composed: Composed, ids: Sequence[Sequence[UUID]], arguments: Sequence[Sequence[object]]
) -> Mapping[tuple[int, UUID], Found]:
    """What each branch finds, by its place and the parent's id; ids and further arguments are those of each branch.

    Raises StoreError, and FaultyText where a value is not as its type says.
    """
    branches = len(composed.counts)
    asked = [
        (list(dict.fromkeys(of_branch)), *more, *aliases)
        for of_branch, more, aliases in zip(ids, arguments, composed.aliases[:branches], strict=True)
    ]
    parameters = [one for part in (*asked, *composed.aliases[branches:]) for one in part]
    records = await composed.session(reader).fetch(composed.sql, *parameters)
    linked: dict[str, str] = {}
    result: dict[tuple[int, UUID], Found] = {}
    # What is referred to has a higher place than what refers to it.
    for place, key, text, rows, times, keys, _, _ in sorted(records, key=itemgetter(0), reverse=True):
        whole = _whole(text, linked, composed.absent) if text else text
        each = [_whole(row, linked, composed.absent) for row in rows] if rows else rows
        if place < branches:
            result[place, key] = Found(whole, each, times, keys)
        else:
            linked[f"{place}.{key}"] = whole
    return result


def _whole(text: str, linked: Mapping[str, str], absent: Mapping[str, str]) -> str:
    """A text with what it refers to. Raises FaultyText."""
    if LINK in text:
        pieces = text.split(LINK)
        pieces[1::2] = [linked.get(to) or absent[to[: to.index(".")]] for to in pieces[1::2]]
        text = "".join(pieces)
    if FAULT in text:
        raise FaultyText
    return text
