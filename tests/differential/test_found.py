"""What the differential test has found: small documents that both executions once answered differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import pytest_asyncio

from db.caller import Profile
from tests.asking import Graph
from tests.differential.comparing import outcome
from tests.differential.documents import Document
from tests.ids import ids_of

FOUND: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    # What was under way when the compiled execution gave up was cancelled, and its snapshot with it.
    "null for an argument that must not be null": (
        "Encounter",
        """query ($id: ID!, $first: Int) {
            facility { id } patients(first: 1) { __typename } researchDatasets(first: $first) { __typename }
            node(id: $id) { ... on Encounter { patient { id name { use } } labResults(first: $first) { __typename } } }
        }""",
        {"first": None},
    ),
    # The database wrote an object without fields as a brace.
    "all fields of a joined row skipped": (
        "MedicationRequest",
        "query ($id: ID!) { node(id: $id) { ... on MedicationRequest { provider { id @skip(if: true) } } } }",
        {},
    ),
    "all fields of the rows of a page skipped": (
        "Patient",
        """query ($id: ID!, $no: Boolean!) { patient(id: $id) {
            conditions(first: 2) { nodes { id @include(if: $no) } edges { node { code { text @include(if: $no) } } } }
            immunizations(first: 3) { edges { cursor node { id @include(if: $no) } } }
            procedures(first: 3) { nodes { id @include(if: $no) } }
        } }""",
        {"no": False},
    ),
    "a hidden relation with an argument that must not be null": (
        "Patient",
        "query ($id: ID!, $first: Int) { patient(id: $id) { id careTeams(first: $first) { __typename } } }",
        {"first": None},
    ),
    "a fragment of another type on every row": (
        "Patient",
        "query ($id: ID!) { patient(id: $id) { procedures { nodes { ... on Node { ... on Condition { id } } } } } }",
        {},
    ),
}
"""By what it is: the type of $id, the document, and its other variables."""


@pytest_asyncio.fixture(params=FOUND)
async def found(request: pytest.FixtureRequest, graph: Graph) -> Document:
    """One of the documents, for the last resource of its type."""
    kind, text, variables = FOUND[request.param]
    return Document(text, None, {**variables, "id": (await ids_of(graph, kind))[-1]})


# To the privacy officer the care teams are hidden: they are not read, but their arguments may be wrong.
@pytest.mark.parametrize("profile", [Profile.CLINICIAN, Profile.PRIVACY_OFFICER])
async def test_both_answer_alike(graph: Graph, found: Document, profile: Profile) -> None:
    caller = graph.caller(profile)
    stock = await outcome(graph.stores, caller, found, compiled=False)
    compiled = await outcome(graph.stores, caller, found, compiled=True)
    assert compiled.differences(stock) == []
    assert stock.refusal is None
