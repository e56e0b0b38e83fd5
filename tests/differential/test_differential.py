"""The compiled execution answers as graphql-core's own does, byte for byte: generated documents, callers and faults.

`CAREGRAPH_DIFFERENTIAL=2000` tries as many documents; the same ones each time.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.asking import Graph
from tests.differential.arguments import Choices
from tests.differential.comparing import Outcome, outcome, selected
from tests.differential.documents import DRAWN, SEEDS, Document, documents
from tests.differential.faults import Fault, faults, injected
from tests.differential.reducing import reduced
from tests.differential.scenery import Asker, Scenery, scenery
from tests.schema_walk import GRAPH

DOCUMENTS = int(os.environ.get("CAREGRAPH_DIFFERENTIAL", "300"))


@pytest_asyncio.fixture(scope="session")
async def scene(graph: Graph) -> Scenery:
    """What is asked about, and by whom."""
    return await scenery(graph)


@pytest.fixture(scope="session")
def tally() -> Counter[str]:
    """What became of the documents."""
    return Counter()


@settings(DRAWN, max_examples=DOCUMENTS, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
async def test_both_executions_answer_alike(scene: Scenery, tally: Counter[str], data: st.DataObject) -> None:
    asker = data.draw(st.sampled_from(scene.askers))
    document = data.draw(documents(asker.values))
    wrong = faults(Choices(data.draw(SEEDS)), sorted(selected(document)[0]))
    stock, compiled = await both(scene, asker, wrong, document)
    tally.update(_became(stock, faulty=bool(wrong), compiled=compiled.compiled))
    if compiled.differences(stock):

        async def differs(tried: Document) -> bool:
            one, other = await both(scene, asker, wrong, tried)
            return other.differences(one) == compiled.differences(stock)

        shorter = await reduced(document, differs)
        stock, compiled = await both(scene, asker, wrong, shorter)
        note(f"{asker.name}, {wrong}, operation {shorter.operation_name}, {shorter.variables}\n{shorter.text}")
        note(f"graphql-core: {stock}\ncompiled: {compiled}")
    assert compiled.differences(stock) == []


async def both(scene: Scenery, asker: Asker, wrong: Sequence[Fault], document: Document) -> tuple[Outcome, Outcome]:
    """The answers of graphql-core's own execution and of the compiled one."""
    stores = scene.graph.stores
    with injected(stores, wrong):
        stock = await outcome(stores, asker.caller, document, compiled=False)
        return stock, await outcome(stores, asker.caller, document, compiled=True)


def _became(answer: Outcome, *, faulty: bool, compiled: bool) -> list[str]:
    became = ["asked"]
    became += ["refused"] if answer.refusal else []
    became += ["answered"] if _holds(orjson.loads(answer.data or b"null")) else []
    became += ["errors"] if answer.errors else []
    became += ["nobody read"] if not answer.patients else []
    became += ["faulty"] if faulty else []
    became += ["compiled"] if compiled else []
    return became


def test_most_documents_are_answered(tally: Counter[str], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\ndocuments: {dict(tally)}")
    assert tally["asked"] >= DOCUMENTS, "run the whole file"
    assert tally["answered"] > tally["asked"] * 0.5
    assert tally["compiled"] > tally["asked"] * 0.5


def _holds(value: Any) -> bool:
    """Whether an answer has a value of the data, and not names of types alone."""
    if isinstance(value, dict):
        return any(_holds(inner) for inner in value.values())
    if isinstance(value, list):
        return any(map(_holds, value))
    return value is not None and value not in GRAPH.type_map
