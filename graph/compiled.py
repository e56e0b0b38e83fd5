"""Compiled operations: selections as shapes, made once for all who see alike; graph.level runs them a level at a time.

A shape knows of each selected field how its value is picked from a row, or that it is a relation, which is read for all
objects of a level at once. What is not compiled (mutations, introspection, @defer) and what only graphql-core words
right (a value that its type does not take) is left to graphql-core's own execution, see graph.execution.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
    VariableNode,
    get_argument_values,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues
from strawberry.types.arguments import convert_arguments

from db.caller import Caller
from db.policy import hides
from graph.compose import Composer, Written
from graph.definition import definition_of, metadata_of
from graph.field import Source
from graph.node import ROWS, SERVED
from graph.reads import Reads, read_by
from loaders.composed import Composed
from loaders.element import Element
from loaders.json_text import NotComposable

if TYPE_CHECKING:
    from graph.level import Below

Path: TypeAlias = tuple["Path | None", str | int]
"""Place in the answer: the place above it, and the key or index there."""
Pick: TypeAlias = Callable[[Any], Any]
"""From a row to the value of one field."""
Complete: TypeAlias = Callable[[Any, Path, "Below"], Any]
"""From a value to what the answer holds; objects with relations are noted for the level below. See Shape.complete."""

_AS_THEY_ARE = {"String": str, "ID": str, "Date": str, "DateTime": str, "Boolean": bool}
"""Class whose values a scalar writes without a change."""


class Fault(Exception):
    """A value or an argument that is not as its type says: graphql-core's own execution words the errors."""


class NotCompiled(Exception):
    """The schema has a field that graph.field did not declare."""


class Item(NamedTuple):
    """One object of a level: its row, the part of the answer that it fills, and its place."""

    row: Any
    out: dict[str, Any]
    path: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A selected field that is read: a relation, for all objects of a level at once, or a root."""

    key: str
    source: Source
    nodes: Sequence[FieldNode]
    nullable: bool
    arguments: Callable[[VariableValues], Mapping[str, Any]]
    """Arguments by the resolver's names. Raises GraphQLError."""
    complete: Complete
    reads: Reads
    """What all shapes that were made with it read: what its relation need not fetch."""
    hidden: bool = False
    """Whether it is not read; its arguments may be wrong all the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Relations of a shape that one statement writes as JSON, in the order of its branches."""

    statement: Composed
    links: Sequence[tuple[Link, Written]]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Selected fields of one object type, in the order of the answer."""

    picks: Sequence[tuple[str, Pick | None, Complete | None]]
    """Key, how to pick, how to complete; a field that is read has no pick, one that is as it is no completion."""
    links: Sequence[Link]
    groups: Sequence[Group]
    served_from: type | None
    """Class of the rows, where the type names one."""

    def complete(self, row: Any, path: Path | None, below: Below) -> dict[str, Any]:
        """The object of a row, without its relations, which are noted for the level below.

        Raises Fault, and whatever a function of the row raises.
        """
        if self.served_from and type(row) is not self.served_from:
            raise Fault
        out: dict[str, Any] = {}
        for key, pick, complete in self.picks:
            value = pick(row) if pick else None
            out[key] = complete(value, (path, key), below) if complete else value
        if self.links or self.groups:
            below.note(self, Item(row, out, path))
        return out


@dataclass(slots=True)
class Compiler:
    """Makes the shapes of one operation for callers of one view, with these values of its @skip and @include."""

    schema: GraphQLSchema
    document: DocumentNode
    operation: OperationDefinitionNode
    flags: VariableValues
    """Only those variables that @skip and @include take: the shapes outlive the request."""
    caller: Caller
    _fragments: dict[str, FragmentDetails] = field(init=False)
    _composer: Composer = field(init=False)
    _reads: Reads = field(init=False, default_factory=Reads)

    def __post_init__(self) -> None:
        definitions = [one for one in self.document.definitions if isinstance(one, FragmentDefinitionNode)]
        self._fragments = {one.name.value: FragmentDetails(one) for one in definitions}
        self._composer = Composer(self.schema, self.operation, self._fragments, self.flags, self.caller)

    def root(self) -> Shape:
        """Shape of the whole answer. Raises GraphQLError where an argument is not right."""
        type_ = self.schema.get_root_type(self.operation.operation)
        assert type_ is not None
        collected = collect_fields(self.schema, self._fragments, self.flags, type_, self.operation)
        shape = self._shape(type_, collected.grouped_field_set)
        self._reads.close()
        # Of what is made later, below an interface, never all is noted: its relations read whole rows.
        self._reads = Reads()
        return shape

    def _shape(self, type_: GraphQLObjectType, fields: Mapping[str, list[FieldDetails]]) -> Shape:
        picks: list[tuple[str, Pick | None, Complete | None]] = []
        links: list[Link] = []
        written: list[tuple[Link, Written]] = []
        row = ROWS.get(type_.name)
        for key, details in fields.items():
            name = details[0].node.name.value
            if name == "__typename":
                picks.append((key, _constant(type_.name), None))
                continue
            declared = type_.fields[name]
            source = cast("Source | None", metadata_of(declared, "source"))
            if source is None and definition_of(declared).base_resolver:
                raise NotCompiled
            python_name = definition_of(declared).python_name
            if row:
                self._reads.note(row, read_by(source, python_name) if source else None)
            if source and (source.relation or source.root):
                picks.append((key, None, None))
                link = self._link(key, declared, source, details)
                if hides(self.caller, *source.kinds):
                    links += [replace(link, hidden=True)] if _has_variables(details[0].node) else []
                    continue
                by_database = self._composer.written(declared.type, source, details)
                if by_database:
                    written.append((link, by_database))
                else:
                    links.append(link)
            else:
                pick = source.value if source and source.value else Element(python_name)
                picks.append((key, pick, self._completion(declared.type, details)))
        groups = self._groups(type_.name, written, links)
        return Shape(picks, links, groups, row)

    def _groups(self, name: str, written: list[tuple[Link, Written]], links: list[Link]) -> list[Group]:
        """A group for each database; what can't be composed after all goes to the links."""
        by_session: defaultdict[object, list[tuple[Link, Written]]] = defaultdict(list)
        for one in written:
            by_session[one[1].branch.batch.session].append(one)
        groups: list[Group] = []
        for together in by_session.values():
            try:
                statement = self._composer.statement(name.lower(), [one.branch for _, one in together])
                groups.append(Group(statement, together))
            except NotComposable:
                links += [link for link, _ in together]
        return groups

    def _link(self, key: str, declared: GraphQLField, source: Source, details: list[FieldDetails]) -> Link:
        nodes = [one.node for one in details]
        nullable = not isinstance(declared.type, GraphQLNonNull)
        arguments = _arguments(self.schema, declared, nodes[0])
        return Link(key, source, nodes, nullable, arguments, self._completion(declared.type, details), self._reads)

    def _completion(self, type_: Any, details: list[FieldDetails]) -> Complete:
        """How to complete a value of a type, by the specification's CompleteValue."""
        if isinstance(type_, GraphQLNonNull):
            return _present(self._inner(type_.of_type, details))
        inner = self._inner(type_, details)

        def complete(value: Any, path: Path, below: Below) -> Any:
            return None if value is None else inner(value, path, below)

        return complete

    def _inner(self, type_: Any, details: list[FieldDetails]) -> Complete:
        if isinstance(type_, GraphQLList):
            return _listed(self._completion(type_.of_type, details))
        if isinstance(type_, GraphQLScalarType | GraphQLEnumType):
            return _leaf(type_)
        if isinstance(type_, GraphQLObjectType):
            return self._below(type_, details).complete
        assert isinstance(type_, GraphQLInterfaceType)
        return self._abstract(details)

    def _below(self, type_: GraphQLObjectType, details: list[FieldDetails]) -> Shape:
        collected = collect_subfields(self.schema, self._fragments, self.flags, self.operation, type_, details)
        return self._shape(type_, collected.grouped_field_set)

    def _abstract(self, details: list[FieldDetails]) -> Complete:
        """The class of a row says which type of an interface it is; shapes are made for those that occur."""
        shapes: dict[type, Shape] = {}

        def complete(row: Any, path: Path, below: Below) -> Any:
            shape = shapes.get(type(row))
            if shape is None:
                served = self.schema.type_map.get(SERVED.get(type(row), ""))
                if not isinstance(served, GraphQLObjectType):
                    raise Fault
                shape = shapes[type(row)] = self._below(served, details)
            return shape.complete(row, path, below)

        return complete


def _constant(value: object) -> Pick:
    return lambda _row: value


def _present(inner: Complete) -> Complete:
    def complete(value: Any, path: Path, below: Below) -> Any:
        if value is None:
            raise Fault
        return inner(value, path, below)

    return complete


def _listed(item: Complete) -> Complete:
    def complete(value: Any, path: Path, below: Below) -> Any:
        if not isinstance(value, list | tuple):
            raise Fault
        return [item(one, (path, place), below) for place, one in enumerate(cast("Sequence[Any]", value))]

    return complete


def _leaf(type_: GraphQLScalarType | GraphQLEnumType) -> Complete:
    as_it_is = _AS_THEY_ARE.get(type_.name)

    def complete(value: Any, path: Path, below: Below) -> Any:
        if type(value) is as_it_is:
            return value
        written = type_.coerce_output_value(value)
        if written is None or written is Undefined:
            raise Fault
        return written

    return complete


def _arguments(
    schema: GraphQLSchema, declared: GraphQLField, node: FieldNode
) -> Callable[[VariableValues], Mapping[str, Any]]:
    """Arguments of a field: made once where no variable is in them."""
    strawberry_schema: Any = cast("Any", schema)._strawberry_schema  # where Strawberry keeps it, for its own executor
    wanted = definition_of(declared).arguments

    def given(variables: VariableValues) -> Mapping[str, Any]:
        values = get_argument_values(declared, node, variables)
        converter = strawberry_schema.schema_converter
        return convert_arguments(values, wanted, converter.scalar_registry, strawberry_schema.config)

    if _has_variables(node):
        return given
    always = given(VariableValues({}, {}))
    return lambda _variables: always


def _has_variables(node: FieldNode) -> bool:
    return any(_has_variable(argument.value) for argument in node.arguments or ())


def _has_variable(value: Any) -> bool:
    parts = getattr(value, "values", None) or [one.value for one in getattr(value, "fields", None) or ()]
    return isinstance(value, VariableNode) or any(_has_variable(part) for part in parts)


def compiled(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    flags: VariableValues,
    caller: Caller,
) -> Shape | None:
    """Shape of an operation's answer for all who see as this caller does; None where that can't be made."""
    try:
        return Compiler(schema, document, operation, flags, caller).root()
    except (GraphQLError, NotCompiled):
        return None
