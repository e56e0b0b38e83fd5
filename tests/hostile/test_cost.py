"""Static cost of operations: IBM's @cost and @listSize, from the actual variables."""

from __future__ import annotations

from typing import Any

import pytest
import strawberry
from graphql import GraphQLInterfaceType, GraphQLObjectType, parse, validate

from db.errors import CostLimitExceeded
from graph.connection import Connection
from graph.cost import ASSUMED_SIZE, FIELD_COST_MAX, TYPE_COST_MAX, Cost, ListSizeDirective, check_cost, static_cost
from graph.errors import described
from graph.field import PAGE, arg, field
from graph.schema import schema


async def nothing(*_args: object, **_kwargs: object) -> None:
    """Resolves every field of the small schema, which is only costed."""


@strawberry.interface(description="Something")
class Thing:
    """An abstract type."""

    id: strawberry.ID = field("Id", phi=None)


@strawberry.type(description="A leaf of the tree")
class Leaf(Thing):
    """An object with fields of each kind."""

    names: list[str] = field("Names", phi=None)
    codings: list[Coding] = field("Codings", phi=None)
    readings: list[Coding] = field("Readings", phi=None, size=50)
    signed: str | None = field("A leaf that is dear", phi=None, root=nothing, weight=10)


@strawberry.type(description="A coding")
class Coding(Thing):
    """An object in a list."""

    code: str = field("Code", phi=None)


@strawberry.type(description="The root")
class Query:
    """Roots of each kind."""

    thing: Thing | None = field("One of any type", phi=None, root=nothing)
    leaf: Leaf | None = field("One", phi=None, root=nothing)
    leaves: Connection[Leaf] | None = field("A connection", phi=None, root=nothing, args=PAGE)
    found: Connection[Leaf] | None = field("A dear connection", phi=None, root=nothing, args=PAGE, weight=100)
    cut: list[Leaf] | None = field(
        "A list that is cut",
        phi=None,
        root=nothing,
        args=(arg("first", int, "At most", phi=None, default=100),),
        size=5,
    )


SMALL = strawberry.Schema(Query, types=[Leaf, Coding])._schema  # pyright: ignore[reportPrivateUsage] - no public name


def cost(query: str, **variables: Any) -> Cost:
    """Cost of a valid document's only operation."""
    document = parse(query)
    assert validate(SMALL, document) == []
    return static_cost(SMALL, document, None, variables)


COSTS = {
    "an object": ("{ leaf { id } }", (1, 1)),
    "a leaf costs nothing": ("{ leaf { id names __typename } __typename }", (1, 1)),
    "a dear leaf": ("{ leaf { signed } }", (1, 11)),
    "a list of the assumed size": ("{ leaf { codings { code } } }", (1 + ASSUMED_SIZE, 2)),
    "a list of a stated size": ("{ leaf { readings { code } } }", (1 + 50, 2)),
    "a connection and its page": ("{ leaves(first: 7) { nodes { id } } }", (1 + 7, 2)),
    "a page of the default size": ("{ leaves { nodes { id } } }", (1 + 20, 2)),
    "edges and nodes": ("{ leaves(first: 7) { edges { cursor node { id } } nodes { id } } }", (1 + 14 + 7, 2 + 7 + 1)),
    "page info": ("{ leaves(first: 7) { pageInfo { hasNextPage } } }", (2, 2)),
    "lists in a list": ("{ leaves(first: 7) { nodes { readings { code } } } }", (1 + 7 + 7 * 50, 2 + 7)),
    "a dear leaf in a list": ("{ leaves(first: 7) { nodes { signed } } }", (8, 2 + 7 * 10)),
    "a dear field": ("{ found(first: 7) { nodes { id } } }", (8, 101)),
    "a list that is cut": ("{ cut(first: 60) { id } }", (60, 1)),
    "a list that is not cut": ("{ cut { id } }", (5, 1)),
    "aliases add up": ("{ a: leaf { id } b: leaf { id } }", (2, 2)),
    "no entries": ("{ leaves(first: 0) { nodes { id } } }", (1, 2)),
    "fewer than none": ("{ leaves(first: -5) { nodes { id } } }", (1, 2)),
    "a fragment counts wherever it is": (
        "{ a: leaf { ...F } b: leaf { ...F } } fragment F on Leaf { codings { code } }",
        (2 + 2 * ASSUMED_SIZE, 4),
    ),
    "of several types the dearest": (
        "{ thing { id ... on Leaf { readings { code } } ... on Coding { code } } }",
        (1 + 50, 2),
    ),
    "a fragment of the same type": ("{ leaf { ... on Leaf { readings { code } } ... { codings { code } } } }", (54, 3)),
    "introspection": ("{ __schema { types { name } } }", (0, 0)),
}


@pytest.mark.parametrize(("query", "expected"), COSTS.values(), ids=COSTS.keys())
def test_cost(query: str, expected: tuple[int, int]) -> None:
    """Type cost and field cost."""
    assert cost(query) == Cost(*expected)


def test_cost_follows_the_variables() -> None:
    query = "query ($first: Int!) { leaves(first: $first) { nodes { id } } }"
    assert [cost(query, first=first).type for first in (1, 10, 2_000_000_000)] == [2, 11, 2_000_000_001]


def test_kept_costs_are_of_their_variables() -> None:
    """The same document object, asked again: a cost that was kept must not answer for another one."""
    document = parse("query ($first: Int!) { leaves(first: $first) { nodes { id } } }")
    costs = [static_cost(SMALL, document, None, {"first": first}).type for first in (1, 50, 1)]
    assert costs == [2, 51, 2]


def test_the_operation_that_is_asked_for() -> None:
    document = parse("query A { leaf { id } } query B { leaves { nodes { id } } }")
    assert static_cost(SMALL, document, "A", {}).type == 1
    assert static_cost(SMALL, document, "B", {}).type == 21


@pytest.mark.parametrize(
    ("limit", "at_most", "query"),
    [
        ("TYPE_COST", TYPE_COST_MAX, "query ($first: Int!) { cut(first: $first) { id } }"),
        ("FIELD_COST", FIELD_COST_MAX, "query ($first: Int!) { cut(first: $first) { signed } }"),
    ],
)
def test_limit_is_exact(limit: str, at_most: int, query: str) -> None:
    """The refusal names the limit, what was asked for and what may be; the list itself is called once."""
    document = parse(query)
    first = at_most if limit == "TYPE_COST" else (at_most - 1) // 10
    check_cost(SMALL, document, None, {"first": first})
    with pytest.raises(CostLimitExceeded) as refused:
        check_cost(SMALL, document, None, {"first": first + 1})
    extensions = described(refused.value)["extensions"]
    assert (extensions["code"], extensions["limit"], extensions["max"]) == ("COST_LIMIT_EXCEEDED", limit, at_most)
    assert extensions["cost"]["max"] == at_most
    assert extensions["cost"]["requested"] > at_most


def test_every_field_that_takes_first_says_so() -> None:
    """A connection without @listSize would count as three entries."""
    graph = schema._schema  # pyright: ignore[reportPrivateUsage] - no public name for it
    found = 0
    for type_ in graph.type_map.values():
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not type_.name.startswith("__"):
            for name, declared in type_.fields.items():
                if "first" in declared.args:
                    directives = declared.extensions["strawberry-definition"].directives
                    assert any(isinstance(d, ListSizeDirective) for d in directives), f"{type_.name}.{name}"
                    found += 1
    assert found > 20


def test_directives_are_printed() -> None:
    sdl = schema.as_str()
    assert "directive @cost(weight: String!) on FIELD_DEFINITION" in sdl
    connection = (
        '@listSize(slicingArguments: ["first"], sizedFields: ["edges", "nodes"], requireOneSlicingArgument: false)'
    )
    assert f"): EncounterConnection {connection}" in sdl
    assert '@cost(weight: "1000")' in sdl
