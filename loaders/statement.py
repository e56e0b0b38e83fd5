"""A statement whose SELECT list leaves out the columns that the caller's view hides: they are not fetched at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from db.caller import Caller
from db.declared import hidden, kinds
from db.policy import View, view_of


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of one table in a SELECT list, in the order of a row."""

    table: LiteralString
    listed: LiteralString
    """Names, separated by commas. Raises KeyError for one whose kind is not declared."""
    alias: LiteralString = ""
    """Alias of the table in the statement."""
    computed: LiteralString = ""
    """An expression after them, of columns that every view shows."""

    def __post_init__(self) -> None:
        for name in self.names:
            kinds(self.table)[name]

    @property
    def names(self) -> list[LiteralString]:
        """Names one by one."""
        return [name.strip() for name in self.listed.split(",")]

    def without(self, hidden: frozenset[str]) -> LiteralString:
        """SELECT list in which NULL stands in the place of each of these, so that rows keep their order.

        Not of the id, by which statements order: where a view hides that, it has no rows at all.
        """
        prefix: LiteralString = f"{self.alias}." if self.alias else ""
        values: list[LiteralString] = [
            "NULL" if name in hidden and name != "id" else prefix + name for name in self.names
        ]
        if self.computed:
            values.append(self.computed)
        return ", ".join(values)


class Statement:
    """SQL in which each {} stands for the columns of one table; each view has a text of its own, always the same.

    Only SELECT lists are filled in: what a statement filters and orders by, the masked views and the access plan guard.
    """

    def __init__(self, text: LiteralString, *columns: Columns) -> None:
        self.columns = columns
        self._text: LiteralString = text
        self._of_views: dict[tuple[str, frozenset[str]], LiteralString] = {}

    @property
    def sql(self) -> LiteralString:
        """The statement of whoever sees all columns."""
        return self._filled([columns.without(frozenset()) for columns in self.columns])

    def for_view(self, seen: View, unread: frozenset[str] = frozenset()) -> LiteralString:
        """The statement without the columns that a view hides, and without those that nobody reads."""
        key = seen.name, unread
        if key not in self._of_views:
            lists: list[LiteralString] = [
                columns.without(hidden(seen, columns.table) | unread) for columns in self.columns
            ]
            self._of_views[key] = self._filled(lists)
        return self._of_views[key]

    def for_caller(self, caller: Caller, unread: frozenset[str] = frozenset()) -> LiteralString:
        """The statement without the columns that are hidden from a caller, and without those that nobody reads."""
        return self.for_view(view_of(caller), unread)

    def _filled(self, lists: Sequence[LiteralString]) -> LiteralString:
        return self._text.format(*lists)
