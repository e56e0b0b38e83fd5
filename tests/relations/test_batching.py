"""Every relation of every type takes as many statements for 25 parents as for one: found by walking the schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from graphql import (
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLType,
    get_named_type,
    get_nullable_type,
)

from db.caller import Profile
from tests.asking import Graph
from tests.ids import RESEARCH, ids_of
from tests.schema_walk import GRAPH, is_relation, node_types

PARENTS = 25
ARGUMENTS = {
    "labTrend": '(code: ["2339-0"], from: "2020", to: "2030")',
    "vitalTrend": '(code: ["8867-4"], from: "2020", to: "2030")',
}
"""Arguments of fields that require some."""
FOR_OFFICERS = {"accessLog"}
"""Relations that are for privacy officers, as all below what RESEARCH names."""
DEPTHS = {"history": 2}
"""Objects inside each other, where all of three would be more than a document may ask for."""


RELATIONS = [(type_.name, name) for type_ in node_types() for name, field in type_.fields.items() if is_relation(field)]


def asker(kind: str, relation: str) -> Profile:
    """Profile that a relation is for."""
    return Profile.PRIVACY_OFFICER if relation in FOR_OFFICERS or kind in RESEARCH else Profile.CLINICIAN


def selection(type_: GraphQLType, depth: int = 3) -> str:
    """Leaves of a type, through the lists and connections on the way to them."""
    named = get_named_type(type_)
    if not isinstance(named, GraphQLObjectType | GraphQLInterfaceType):
        return ""
    if "nodes" in named.fields:
        return "{ nodes { __typename } pageInfo { endCursor } }"
    if "id" in named.fields:
        return "{ id }"
    parts: list[str] = []
    for name, field in named.fields.items():
        inner = get_named_type(field.type)
        if is_relation(field) or (field.args and any(arg.default_value is None for arg in field.args.values())):
            continue
        if not isinstance(inner, GraphQLObjectType | GraphQLInterfaceType):
            parts.append(name)
        elif depth > 1 and isinstance(get_nullable_type(field.type), GraphQLObjectType | GraphQLList | GraphQLNonNull):
            inside = selection(field.type, depth - 1)
            if inside:
                parts.append(f"{name} {inside}")
    return "{ " + " ".join(parts or ["__typename"]) + " }"


@pytest.mark.parametrize(("kind", "relation"), RELATIONS, ids=lambda value: str(value))
async def test_one_statement_however_many_parents(graph: Graph, kind: str, relation: str) -> None:
    ids = await ids_of(graph, kind, limit=PARENTS)
    type_ = GRAPH.type_map[kind]
    assert isinstance(type_, GraphQLObjectType)
    field = type_.fields[relation]
    below = selection(field.type, DEPTHS.get(relation, 3))
    wanted = f"fragment Wanted on {kind} {{ {relation}{ARGUMENTS.get(relation, '')} {below} }}"
    ask = "query ({variables}) {{ {nodes} }} {wanted}"

    async def statements(chosen: Sequence[str]) -> object:
        query = ask.format(
            variables=", ".join(f"$id{n}: ID!" for n in range(len(chosen))),
            nodes=" ".join(f"n{n}: node(id: $id{n}) {{ ...Wanted }}" for n in range(len(chosen))),
            wanted=wanted,
        )
        variables: dict[str, Any] = {f"id{n}": one for n, one in enumerate(chosen)}
        answer = await graph.ask(query, asker(kind, relation), **variables)
        assert answer.errors == [], relation
        assert all(node is not None for node in answer.data.values())
        return answer.statements

    many = await statements([ids[place % len(ids)] for place in range(PARENTS)])
    # A parent that lacks the relation takes fewer statements than one that has it: some single parent takes as many.
    for one in ids:
        if await statements([one]) == many:
            return
    raise AssertionError(f"25 parents take {many}, and no single one does")


def test_every_type_has_relations_in_the_walk() -> None:
    assert len(RELATIONS) > 60
