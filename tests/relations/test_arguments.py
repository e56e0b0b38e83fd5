"""Arguments out of range or malformed get a typed error that names them: every relation, by walking the schema."""

from __future__ import annotations

import pytest
from graphql import GraphQLField, GraphQLObjectType

from db.errors import CostLimitExceeded
from tests.asking import Graph
from tests.ids import ids_of
from tests.relations.test_batching import ARGUMENTS, RELATIONS, asker, selection
from tests.schema_walk import GRAPH

BAD = {
    "first": (["-1", "0", "1001", "2147483647"], "INVALID_ARGUMENT"),
    "after": (['"nonsense"', '"AAAA"', '""', '"é"', f'"{"A" * 2000}"'], "INVALID_CURSOR"),
    "from": (['"soon"', '"2020-13"', '"2020-01-01T25:00:00Z"', '"-1"', '""'], "INVALID_ARGUMENT"),
    "to": (['"2020-02-30"', '"20200101"'], "INVALID_ARGUMENT"),
    "status": (['["bogus"]', "[]", '[""]'], "INVALID_ARGUMENT"),
    "class": (["[]", '[""]'], "INVALID_ARGUMENT"),
    "physicalType": (['["bogus"]', "[]"], "INVALID_ARGUMENT"),
    "code": (["[]", '[""]', f'["{"x" * 500}"]'], "INVALID_ARGUMENT"),
}
"""Bad values of each argument, and the code that each must give."""


def field_of(kind: str, relation: str) -> GraphQLField:
    type_ = GRAPH.type_map[kind]
    assert isinstance(type_, GraphQLObjectType)
    return type_.fields[relation]


CASES = [
    (kind, relation, argument)
    for kind, relation in RELATIONS
    for argument in field_of(kind, relation).args
    if argument in BAD and relation not in ARGUMENTS
]


@pytest.mark.parametrize(("kind", "relation", "argument"), CASES, ids=lambda value: str(value))
async def test_bad_values_are_refused_by_name(graph: Graph, kind: str, relation: str, argument: str) -> None:
    values, code = BAD[argument]
    wanted = selection(field_of(kind, relation).type)
    [one] = await ids_of(graph, kind, limit=1)
    for value in values:
        query = f'{{ node(id: "{one}") {{ ... on {kind} {{ {relation}({argument}: {value}) {wanted} }} }} }}'
        try:
            answer = await graph.ask(query, asker(kind, relation))
        except CostLimitExceeded:  # a page so large is too dear before it is too large
            assert argument == "first"
            assert int(value) > 1000
            continue
        assert answer.codes == [code], value
        assert answer.errors[0]["extensions"]["argument"] == argument
        assert answer.data["node"][relation] is None
        assert value.strip('"[]') not in answer.errors[0]["message"] or len(value.strip('"[]')) < 3


ROOTS = [
    ('{ node(id: "Patient/x") { id } }', "INVALID_ID", "id"),
    ('{ node(id: "Nothing/00000000-0000-0000-0000-000000000000") { id } }', "INVALID_ID", "id"),
    ('{ node(id: "") { id } }', "INVALID_ID", "id"),
    ('{ patient(id: "Encounter/00000000-0000-0000-0000-000000000000") { id } }', "INVALID_ID", "id"),
    ('{ patient(id: "Patient/00000000-0000-0000-0000-00000000000g") { id } }', "INVALID_ID", "id"),
    ("{ patient { id } }", "INVALID_ARGUMENT", "mrn"),
    ('{ patient(id: "Patient/00000000-0000-0000-0000-000000000000", mrn: "1") { id } }', "INVALID_ARGUMENT", "id"),
    ('{ patient(mrn: "") { id } }', "INVALID_ARGUMENT", "mrn"),
    ('{ patients(search: " ") { nodes { id } } }', "INVALID_ARGUMENT", "search"),
    ('{ patients(search: "a b c d e f g h") { nodes { id } } }', "INVALID_ARGUMENT", "search"),
    ('{ patients(search: "a\\u0000b") { nodes { id } } }', "INVALID_ARGUMENT", "search"),
    ("{ patients(first: -1) { nodes { id } } }", "INVALID_ARGUMENT", "first"),
    ("{ patients(first: 101) { nodes { id } } }", "INVALID_ARGUMENT", "first"),
    ('{ patients(after: "x") { nodes { id } } }', "INVALID_CURSOR", "after"),
    ('{ clinicalNotes(text: "") { nodes { id } } }', "INVALID_ARGUMENT", "text"),
    ("{ imagingStudies(modality: []) { nodes { id } } }", "INVALID_ARGUMENT", "modality"),
    ('{ imagingStudies(patient: "x") { nodes { id } } }', "INVALID_ID", "patient"),
    ("{ researchDatasets(first: 0) { nodes { id } } }", "INVALID_ARGUMENT", "first"),
]


@pytest.mark.parametrize(("query", "code", "argument"), ROOTS, ids=lambda value: value[:60])
async def test_roots_refuse_by_name(graph: Graph, query: str, code: str, argument: str) -> None:
    answer = await graph.ask(query)
    assert answer.codes == [code]
    assert answer.errors[0]["extensions"]["argument"] == argument
    assert all(value is None for value in answer.data.values())


async def test_a_cursor_of_another_field_is_refused(graph: Graph) -> None:
    page = "{ patients(first: 1) { pageInfo { endCursor } nodes { id } } }"
    data = (await graph.ask(page)).data["patients"]
    query = "query ($id: ID!, $after: String) { patient(id: $id) { encounters(after: $after) { nodes { id } } } }"
    answer = await graph.ask(query, id=data["nodes"][0]["id"], after=data["pageInfo"]["endCursor"])
    assert answer.codes == ["INVALID_CURSOR"]
