"""Which documents of a row an operation reads: columns of JSON that nobody selected are not fetched, nor parsed.

Only columns of JSON are left out: another column costs less than one more statement to keep. A row of which something
is read by a function of ours, which may look at all of it, is fetched whole.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from graph.field import Source
from loaders.element import Concept, Element, GlobalId, Inside, JoinedName, Listed, Member, ValueQuantity
from loaders.facts import RowBatch
from loaders.json_text import DOCUMENTS, row_types
from resolvers.connection import Linked, Lists, Pages
from resolvers.context import BatchResolver


class Reads:
    """What the shapes of one operation read, by the class of their rows."""

    def __init__(self) -> None:
        self._names: dict[type, set[str] | None] = {}
        self._closed = False
        self._resolvers: dict[BatchResolver, BatchResolver] = {}

    def note(self, row: type, names: Collection[str] | None) -> None:
        """Attributes that are read of rows; None where anything may be."""
        known = self._names.setdefault(row, set())
        self._names[row] = None if names is None or known is None else known | set(names)

    def close(self) -> None:
        """All is noted: from now on resolvers read no more than that."""
        self._closed = True

    def resolver(self, resolver: BatchResolver) -> BatchResolver:
        """The resolver, or one that leaves out documents.

        It is always the same one: all who ask it at one moment are joined.
        """
        if not self._closed or not isinstance(resolver, Pages | Lists | Linked):
            return resolver
        if resolver not in self._resolvers:
            self._resolvers[resolver] = self._lighter(resolver)
        return self._resolvers[resolver]

    def _lighter(self, resolver: Pages | Lists | Linked) -> BatchResolver:
        batch: Any = resolver.batch
        if not isinstance(batch, RowBatch):
            return resolver
        row: Any = batch.row
        names = self._names.get(row)
        if names is None:
            return resolver
        unread = frozenset(name for name, type_ in row_types(row).items() if type_ in DOCUMENTS and name not in names)
        return replace(resolver, batch=batch.without(unread)) if unread else resolver


def read_by(source: Source, python_name: str) -> Collection[str] | None:
    """Attributes of a row that a field reads; None where that is not known."""
    if source.relation:
        resolver: Any = source.relation.batch
        match resolver:
            case Linked(key=key) | Pages(key=key) if not source.relation.elsewhere:
                return (key,)
            case Lists():
                return ("id",)
            case _:
                return None
    value: Any = source.value or Element(python_name)
    match value:
        case Element(name) | Listed(name) | Member(_, name) | GlobalId(_, name) | Inside(name):
            return (name,)
        case Concept():
            return ("code_translation",)
        case ValueQuantity() | JoinedName():
            return ()
        case _:
            return None
