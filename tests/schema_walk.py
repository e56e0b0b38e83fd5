"""The schema as tests walk it: its roots, relations and connections, and selections of all that a type holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLType,
    get_named_type,
    is_required_argument,
)

from graph.schema import schema

GRAPH = schema._schema  # pyright: ignore[reportPrivateUsage] - Strawberry has no public name for it
DEPTH = 5
"""Objects inside each other that a selection follows: connection, node, concept, coding."""


@dataclass(frozen=True, slots=True)
class Place:
    """A field of a type."""

    owner: str
    name: str
    field: GraphQLField

    def __str__(self) -> str:
        """Schema coordinate."""
        return f"{self.owner}.{self.name}"

    @property
    def arguments(self) -> Mapping[str, GraphQLArgument]:
        """Arguments by name."""
        return self.field.args

    @property
    def required(self) -> Sequence[str]:
        """Names of the arguments without which it can't be asked."""
        return [name for name, argument in self.arguments.items() if is_required_argument(argument)]

    @property
    def gives(self) -> GraphQLNamedType:
        """Type of its values, out of lists."""
        return get_named_type(self.field.type)


def is_relation(field: GraphQLField) -> bool:
    """Whether a field asks a store: its Strawberry resolver is asynchronous."""
    definition = field.extensions.get("strawberry-definition")
    return bool(definition and definition.base_resolver and definition.is_async)


def fields_of(type_: GraphQLNamedType | None) -> list[Place]:
    """Fields of a type; none of a type that has no fields."""
    if not isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
        return []
    return [Place(type_.name, name, field) for name, field in type_.fields.items()]


def node_types() -> list[GraphQLObjectType]:
    """Types that Node can give, by name."""
    node = GRAPH.type_map["Node"]
    assert isinstance(node, GraphQLInterfaceType)
    return sorted(GRAPH.get_possible_types(node), key=lambda type_: type_.name)


NODES = frozenset(type_.name for type_ in node_types())


def relations() -> list[Place]:
    """Fields of all types below the roots that ask a store."""
    roots = {GRAPH.query_type, GRAPH.mutation_type, GRAPH.subscription_type}
    return [
        place
        for type_ in GRAPH.type_map.values()
        if type_ not in roots and isinstance(type_, GraphQLObjectType)
        for place in fields_of(type_)
        if is_relation(place.field)
    ]


def selection(type_: GraphQLType, depth: int = DEPTH) -> str:
    """All that a value of a type holds: of a Node what is its own, of other types their relations too."""
    named = get_named_type(type_)
    if not isinstance(named, GraphQLObjectType | GraphQLInterfaceType):
        return ""
    parts = [
        f"{place.name} {inner}".rstrip()
        for place in fields_of(named)
        if place.name != "edges" and not place.required and not (named.name in NODES and is_relation(place.field))
        if (inner := selection(place.field.type, depth - 1) if depth else "") or not fields_of(place.gives)
    ]
    return "{ " + " ".join(["__typename", *parts]) + " }" if depth else ""
