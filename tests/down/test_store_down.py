"""A store that is down costs its own fields: null with STORE_UNAVAILABLE, and the rest of the chart is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from db.guard import PAUSE_S
from tests.asking import Graph
from workers.embedded.stores import Stores as Embedded

CHART = """
query ($id: ID!) {
  patient(id: $id) {
    name { family }
    conditions(first: 3) { nodes { id } }
    vitalSigns(first: 3) { nodes { id } }
    clinicalNotes(first: 3) { nodes { id } }
    imagingStudies(first: 3) { nodes { id series { instances { id storageClass presignedUrl } } } }
    cohort { patientCount }
  }
}
"""
FIELDS = {
    "clinical": ["patient"],
    "vitals": ["vitalSigns"],
    "notes": ["clinicalNotes"],
    "imaging": ["imagingStudies"],
    "warehouse": ["cohort"],
    "archive": ["presignedUrl"],
}
"""Fields that each store serves in the chart above."""


@pytest_asyncio.fixture(scope="session")
async def patient_id(graph: Graph) -> str:
    """A patient who has facts in every store."""
    query = "{ imagingStudies(first: 1) { nodes { patient { id } } } }"
    return (await graph.ask(query)).data["imagingStudies"]["nodes"][0]["patient"]["id"]


@pytest_asyncio.fixture
async def stopped(request: pytest.FixtureRequest, embedded: Embedded, graph: Graph) -> AsyncIterator[str]:
    """Name of a store that is stopped for the length of a test."""
    name: str = request.param
    embedded.stop(name)
    yield name
    embedded.start(name)
    await asyncio.sleep(PAUSE_S + 0.2)  # until every breaker lets a call through
    for _ in range(20):
        if set((await graph.stores.ready()).values()) == {None}:
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"{name} did not come back")


async def test_all_stores_answer(graph: Graph, patient_id: str) -> None:
    answer = await graph.ask(CHART, id=patient_id)
    assert answer.errors == []
    assert all(value is not None for value in answer.data["patient"].values())


@pytest.mark.parametrize("stopped", sorted(FIELDS), indirect=True)
async def test_the_rest_of_the_chart_is_there(graph: Graph, patient_id: str, stopped: str) -> None:
    answer = await graph.ask(CHART, id=patient_id)
    lost = FIELDS[stopped]
    assert {str(error["path"][-1]) for error in answer.errors} == set(lost)
    assert set(answer.codes) == {"STORE_UNAVAILABLE"}
    assert {error["extensions"]["store"] for error in answer.errors} == {stopped}
    if stopped == "clinical":
        assert answer.data == {"patient": None}
        return
    assert (await graph.stores.ready())[stopped] == "STORE_UNAVAILABLE"
    for name, value in answer.data["patient"].items():
        assert (value is None) == (name in lost), name
