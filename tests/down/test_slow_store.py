"""A store that hangs costs its own fields and its deadline once; then the breaker refuses at once, until it is back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from db.guard import FAILURES_MAX, PAUSE_S
from db.stores import Stores
from tests.asking import REQUEST, Graph
from tests.down.test_store_down import CHART, FIELDS
from workers.embedded.stores import Stores as Embedded

VITALS = "query ($id: ID!) { patient(id: $id) { id vitalSigns(first: 1) { nodes { id } } } }"
DEFERRED = """
query ($id: ID!) {
  patient(id: $id) {
    name { family }
    ... @defer(label: "vitals") { vitalSigns(first: 1) { nodes { id } } }
  }
}
"""
TOO_LATE = "This store did not answer in time: vitals."
NOT_ASKED = "This store can't be reached now: vitals."
"""What the breaker says: a store that hangs never says it itself."""


@pytest_asyncio.fixture(scope="session")
async def patient_id(graph: Graph) -> str:
    """A patient who has facts in every store."""
    query = "{ imagingStudies(first: 1) { nodes { patient { id } } } }"
    return (await graph.ask(query)).data["imagingStudies"]["nodes"][0]["patient"]["id"]


@pytest_asyncio.fixture
async def hurried(graph: Graph) -> AsyncIterator[Graph]:
    """The graph with a deadline of three seconds for each store, over connections of its own."""
    settings = replace(graph.settings, store_timeout_s=3)
    stores = Stores(settings)
    yield Graph(settings, stores, graph.facilities)
    await stores.close()


@contextmanager
def hanging(embedded: Embedded, name: str) -> Generator[None]:
    """A store that takes connections and answers nothing: its process is stopped as by a debugger."""
    pid = embedded.pid(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - {"clinical"}))
async def test_the_rest_of_the_chart_is_there(embedded: Embedded, hurried: Graph, patient_id: str, name: str) -> None:
    with hanging(embedded, name):
        answer = await asyncio.wait_for(hurried.ask(CHART, id=patient_id), 30)
    assert {str(error["path"][-1]) for error in answer.errors} == set(FIELDS[name])
    assert {(error["extensions"]["code"], error["extensions"]["store"]) for error in answer.errors} == {
        ("STORE_UNAVAILABLE", name)
    }
    for field, value in answer.data["patient"].items():
        assert (value is None) == (field in FIELDS[name]), field


async def test_the_breaker_stops_asking_and_lets_it_back_in(
    embedded: Embedded, hurried: Graph, patient_id: str
) -> None:
    async def said() -> str | None:
        errors = (await hurried.ask(VITALS, id=patient_id)).errors
        return errors[0]["message"] if errors else None

    with hanging(embedded, "vitals"):
        assert [await said() for _ in range(FAILURES_MAX)] == [TOO_LATE] * FAILURES_MAX
        assert [await said() for _ in range(5)] == [NOT_ASKED] * 5
        await asyncio.sleep(PAUSE_S + 0.1)
        together = await asyncio.gather(*(said() for _ in range(4)))
        assert sorted(together, key=str) == sorted([TOO_LATE] + [NOT_ASKED] * 3), (
            "one call tries, the others do not wait"
        )
    await asyncio.sleep(PAUSE_S + 0.1)
    assert await said() is None


async def test_a_deferred_part_does_not_hold_up_the_rest(embedded: Embedded, hurried: Graph, patient_id: str) -> None:
    engine: Any = hurried._engine  # pyright: ignore[reportPrivateUsage] - Graph asks for whole answers only
    operation = engine.prepare(DEFERRED, None)
    with hanging(embedded, "vitals"):
        run = engine.run(operation, {"id": patient_id}, hurried.caller(), REQUEST, incremental=True)
        initial, *later = [payload async for payload in run]
    assert initial["data"]["patient"]["name"]
    assert "vitalSigns" not in initial["data"]["patient"]
    assert (initial["hasNext"], initial["pending"][0]["label"], initial.get("errors")) == (True, "vitals", None)
    [part] = [part for payload in later for part in payload.get("incremental", ())]
    assert part["data"] == {"vitalSigns": None}
    assert [error["extensions"]["code"] for error in part["errors"]] == ["STORE_UNAVAILABLE"]
    assert [payload["hasNext"] for payload in later][-1] is False
