"""Another facility's id is like one that was never issued: the same bytes and statements, for every type of Node."""

from __future__ import annotations

from uuid import uuid4

import orjson
import pytest

from db.caller import Profile
from resolvers.node import BATCHES
from tests.asking import Graph
from tests.ids import ids_of

NODE = "query ($id: ID!) { node(id: $id) { __typename id } }"
SHARED = {"LabTest", "Medication", "ResearchDataset", "ResearchDatasetVersion"}
"""Catalogues and aggregates without patients: every facility sees the same."""
KINDS = sorted({*BATCHES, "VitalSign"} - SHARED)


@pytest.mark.parametrize("kind", KINDS)
async def test_node_of_another_facility(graph: Graph, kind: str) -> None:
    ours, theirs = await ids_of(graph, kind, 0), await ids_of(graph, kind, 1)
    only_theirs = sorted(set(theirs) - set(ours))
    assert only_theirs, f"the network has a {kind} that only the second facility sees"
    foreign = await graph.ask(NODE, id=only_theirs[0])
    suffix = ".0" if kind == "VitalSign" else ""
    unknown = await graph.ask(NODE, id=f"{kind}/{uuid4()}{suffix}")
    assert orjson.dumps(foreign.data) == orjson.dumps(unknown.data) == b'{"node":null}'
    assert foreign.errors == unknown.errors == []
    assert foreign.statements == unknown.statements
    own = await graph.ask(NODE, facility=1, id=only_theirs[0])
    assert own.data == {"node": {"__typename": kind, "id": only_theirs[0]}}


async def test_cursor_of_another_facility_is_refused(graph: Graph) -> None:
    page = "query ($after: String) { patients(first: 1, after: $after) { pageInfo { endCursor hasNextPage } } }"
    theirs = await graph.ask(page, facility=1)
    cursor = theirs.data["patients"]["pageInfo"]["endCursor"]
    assert (await graph.ask(page, facility=1, after=cursor)).errors == []
    assert (await graph.ask(page, facility=0, after=cursor)).codes == ["INVALID_CURSOR"]


async def test_search_stays_inside_the_facility(graph: Graph) -> None:
    names = "{ patients(first: 100) { nodes { id name { family } } } }"
    ours = {node["id"] for node in (await graph.ask(names)).data["patients"]["nodes"]}
    theirs = (await graph.ask(names, facility=1)).data["patients"]["nodes"]
    search = "query ($text: String!) { patients(search: $text, first: 100) { nodes { id } } }"
    families = sorted({name["family"] for node in theirs if node["id"] not in ours for name in node["name"] or []})
    assert families
    for family in families[:5]:
        found = await graph.ask(search, text=family)
        assert {node["id"] for node in found.data["patients"]["nodes"]} <= ours


@pytest.mark.parametrize("profile", [Profile.CDS, Profile.ANALYST])
async def test_who_may_not_read_may_not_search(graph: Graph, profile: Profile) -> None:
    from db.errors import PhiFilterForbidden

    for query in (
        '{ patients(search: "smith") { nodes { id } } }',
        '{ patient(mrn: "1") { id } }',
    ):
        with pytest.raises(PhiFilterForbidden):
            await graph.ask(query, profile)
