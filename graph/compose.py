"""Which relations the database writes as JSON: those whose selections are columns of one PostgreSQL database.

`Composer` says it of each selected relation of a shape, and makes the one statement of those that it takes. What it
does not take (fields with functions of their own, chains of lists, the other stores) is read as rows, see graph.level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, cast
from uuid import UUID

import orjson
from graphql import (
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_subfields
from graphql.execution.values import VariableValues

from db.caller import Caller
from db.policy import hides, view_of
from graph.definition import definition_of, metadata_of
from graph.field import Source
from loaders.composed import Branch, Composed, Found, SqlBatch, compose, hidden_of
from loaders.element import Concept, Element, GlobalId, Inside, JoinedName, Listed, Member, ValueQuantity
from loaders.facts import ByIdBatch, ChildrenBatch, NewestBatch
from loaders.json_text import Constant, Field, Fields, Joined, Leaf, Many, NotComposable, Selection
from resolvers.connection import Linked, Lists, Pages, scope, time_slice
from resolvers.context import Context

Details: TypeAlias = list[FieldDetails]
Value: TypeAlias = Callable[[Context, "Asked", "Found | None"], Any]
"""From what was found for one parent to the field's value."""
Part: TypeAlias = Callable[[Any], Any]
"""From a Slice of placed rows or, where a page has no more than its rows, from what was found."""
WRITTEN = (Concept, Element, GlobalId, Inside, JoinedName, Listed, Member, ValueQuantity)
"""Functions of a row that SQL has too."""
EMPTY = Found(None, (), (), ())


@dataclass(frozen=True, slots=True)
class Asked:
    """Arguments of a branch: what its statement takes after the ids, and the page that they are of."""

    parameters: Sequence[object]
    page: Any = None


@dataclass(frozen=True, slots=True)
class Written:
    """A relation that the database writes."""

    branch: Branch
    key: str
    """The parent's attribute to find it by."""
    asked: Callable[[Context, Mapping[str, Any]], Asked]
    """Raises AppError, as the batch resolver does."""
    value: Value


class Placed(NamedTuple):
    """A row as text, with its place in the list."""

    id: UUID
    sort_time: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Composer:
    """Looks at the selections of one operation for callers of one view; the other attributes are the compiler's."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: dict[str, FragmentDetails]
    flags: VariableValues
    caller: Caller

    def written(self, type_: Any, source: Source, details: Details) -> Written | None:
        """A relation as the database writes it; None where it does not."""
        relation = source.relation
        if relation is None or relation.elsewhere:
            return None
        resolver: Any = relation.batch
        try:
            match resolver:
                case Pages(_, NewestBatch()) as pages:
                    return self._pages(type_, pages, details)
                case Lists(ChildrenBatch() as batch) as lists:
                    branch = Branch(batch, self._rows(type_, details, batch), paged=False)
                    return Written(branch, "id", lambda _, arguments: Asked(lists.asked(arguments)), _list)
                case Linked(ChildrenBatch() as batch, key):
                    branch = Branch(batch, self._rows(type_, details, batch), paged=False)
                    return Written(branch, key, _nothing_asked, _list)
                case Linked(ByIdBatch() as batch, key):
                    fields = self._fields(type_, details, batch).fields
                    return Written(Branch(batch, fields, paged=False), key, _nothing_asked, _one)
                case _:
                    return None
        except NotComposable:
            return None

    def statement(self, name: str, branches: Sequence[Branch]) -> Composed:
        """The statement of relations of one shape that read in one session. Raises NotComposable."""
        return compose(name, branches, view_of(self.caller))

    def _rows(self, type_: Any, details: Details, batch: SqlBatch) -> Sequence[Field]:
        """Fields of the rows of a list. Raises NotComposable for rows that may be null."""
        selection = self._selection(type_, details, batch)
        if isinstance(selection, Many) and isinstance(selection.item, Fields) and not selection.item.nullable:
            return selection.item.fields
        raise NotComposable

    def _selection(self, type_: Any, details: Details, batch: SqlBatch) -> Selection:
        nullable = not isinstance(type_, GraphQLNonNull)
        inner: Any = type_ if nullable else type_.of_type
        if isinstance(inner, GraphQLList):
            return Many(self._selection(cast("Any", inner.of_type), details, batch), nullable)
        if isinstance(inner, GraphQLScalarType):
            return Leaf(inner.name, nullable)
        if isinstance(inner, GraphQLEnumType):
            return Leaf("Enum", nullable)
        if isinstance(inner, GraphQLObjectType):
            return Fields([self._field(inner, key, one, batch) for key, one in self._below(inner, details)], nullable)
        raise NotComposable

    def _fields(self, type_: Any, details: Details, batch: SqlBatch) -> Fields:
        selection = self._selection(type_, details, batch)
        if not isinstance(selection, Fields):
            raise NotComposable
        return selection

    def _below(self, type_: GraphQLObjectType, details: Details) -> list[tuple[str, Details]]:
        found = collect_subfields(self.schema, self.fragments, self.flags, self.operation, type_, details)
        return list(found.grouped_field_set.items())

    def _field(self, type_: GraphQLObjectType, key: str, details: Details, batch: SqlBatch) -> Field:
        name = details[0].node.name.value
        aliased = key != name
        if name == "__typename":
            return Field(key, aliased, Constant(f'"{type_.name}"'), Leaf("String", nullable=False))
        declared = type_.fields[name]
        source = cast("Source | None", metadata_of(declared, "source"))
        if source is None:
            raise NotComposable
        if source.relation:
            if hides(self.caller, *source.kinds):
                if details[0].node.arguments:  # which may be wrong all the same
                    raise NotComposable
                return Field(key, aliased, Constant("null"), Leaf("String", nullable=True))
            joined = self._joined(type_, source, batch)
            return Field(key, aliased, joined, self._selection(declared.type, details, batch))
        value = source.value or definition_of(declared).python_name
        if not isinstance(value, (*WRITTEN, str)):
            raise NotComposable
        return Field(key, aliased, value, self._selection(declared.type, details, batch))

    def _joined(self, type_: GraphQLObjectType, source: Source, batch: SqlBatch) -> Joined:
        """A row that is joined to another one. Nothing is joined to a patient: whether the chart is open, rows say."""
        relation = source.relation
        linked: Any = relation and relation.batch
        if relation is None or relation.elsewhere or type_.name == "Patient" or not isinstance(linked, Linked):
            raise NotComposable
        one = cast("object", linked.batch)
        if not isinstance(one, ByIdBatch) or one.session is not batch.session:
            raise NotComposable
        other, view = cast("ByIdBatch[Any]", one), view_of(self.caller)
        return Joined(other.statement.for_view(view), other.row, hidden_of(other.statement, view), linked.key)

    def _pages(self, type_: Any, pages: Pages, details: Details) -> Written:
        """A connection: its rows written, the page around them made of their places."""
        connection = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
        batch = cast("NewestBatch[Any]", pages.batch)
        rows: list[Sequence[Field]] = []
        selected = self._below(connection, details)
        parts = [(key, self._part(connection, one, batch, rows)) for key, one in selected]
        if len(rows) != 1:
            raise NotComposable
        paged = any(one[0].node.name.value not in ("nodes", "__typename") for _, one in selected)

        def asked(context: Context, arguments: Mapping[str, Any]) -> Asked:
            page, filters = pages.asked(context, **arguments)
            size = page.first + 1 if paged else page.first
            return Asked([size, page.before_time, page.before_id, page.start, page.end, *filters], page)

        def value(context: Context, asked: Asked, found: Found | None) -> Any:
            if not paged:
                return {key: part(found) for key, part in parts}
            of = found or EMPTY
            placed = [Placed(*one) for one in zip(of.ids or (), of.times or (), of.rows or (), strict=True)]
            page = time_slice(scope(context, pages.field), asked.page, placed)
            return {key: part(page) for key, part in parts}

        return Written(Branch(batch, rows[0], paged), pages.key, asked, value)

    def _part(
        self, connection: GraphQLObjectType, details: Details, batch: SqlBatch, rows: list[Sequence[Field]]
    ) -> Part:
        """One field of a connection; notes what is selected of its rows."""
        name = details[0].node.name.value
        if name == "__typename":
            return self._value(connection, details)
        type_ = connection.fields[name].type
        if name == "nodes":
            rows.append(self._rows(type_, details, batch))
            return _nodes
        inner: Any = type_.of_type
        if name == "pageInfo":
            return _dict([(key, self._value(inner, one)) for key, one in self._below(inner, details)])
        if name != "edges":
            raise NotComposable
        edge: Any = inner.of_type.of_type
        of_edge: list[tuple[str, Part]] = []
        for key, one in self._below(edge, details):
            if one[0].node.name.value == "node":
                of_edge.append((key, lambda pair: orjson.Fragment(pair[1].text)))
                rows.append(self._fields(edge.fields["node"].type, one, batch).fields)
            else:
                of_edge.append((key, self._value(edge, one)))
        entry = _dict(of_edge)
        return lambda page: [entry(pair) for pair in page.edges()]

    def _value(self, type_: GraphQLObjectType, details: Details) -> Part:
        """One field of what is around the rows, as it was declared."""
        name = details[0].node.name.value
        if name == "__typename":
            return lambda _: type_.name
        source = cast("Source", metadata_of(type_.fields[name], "source"))
        assert source.value is not None
        return source.value


def _nodes(of: Any) -> orjson.Fragment:
    if of is None or isinstance(of, Found):
        return _list(None, None, of)
    return orjson.Fragment(f"[{','.join(row.text for row in of.rows)}]")


def _dict(parts: Sequence[tuple[str, Part]]) -> Callable[[Any], dict[str, Any]]:
    return lambda of: {key: part(of) for key, part in parts}


def _nothing_asked(_context: Context, _arguments: Mapping[str, Any]) -> Asked:
    return Asked(())


def _list(_context: object, _asked: object, found: Found | None) -> orjson.Fragment:
    return orjson.Fragment(f"[{found.text if found and found.text else ''}]")


def _one(_context: Context, _asked: Asked, found: Found | None) -> orjson.Fragment | None:
    return orjson.Fragment(found.text) if found and found.text else None
