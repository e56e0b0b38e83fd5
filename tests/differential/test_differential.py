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

from tests.asking import Graph
from tests.differential.arguments import Choices
from tests.differential.comparing import Outcome, outcome, selected
from tests.differential.documents import Document, generated
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


async def test_both_executions_answer_alike(scene: Scenery, tally: Counter[str]) -> None:
    for number in range(DOCUMENTS):
        await assert_alike(scene, tally, Choices(number))


async def assert_alike(scene: Scenery, tally: Counter[str], choices: Choices) -> None:
    """One document, asked by somebody, perhaps with faults: answered alike, or cut down to what is not."""
    asker = choices.pick(scene.askers)
    document = generated(choices, asker.values)
    wrong = faults(choices, sorted(selected(document)[0]))
    stock, compiled = await both(scene, asker, wrong, document)
    tally.update(_became(stock, faulty=bool(wrong), compiled=compiled.compiled))
    if not compiled.differences(stock):
        return

    async def differs(tried: Document) -> bool:
        one, other = await both(scene, asker, wrong, tried)
        return other.differences(one) == compiled.differences(stock)

    shorter = await reduced(document, differs)
    stock, compiled = await both(scene, asker, wrong, shorter)
    raise AssertionError(
        f"{compiled.differences(stock)}\n{asker.name}, {wrong}, {shorter.operation_name}, {shorter.variables}\n"
        f"{shorter.text}\ngraphql-core: {stock}\ncompiled: {compiled}"
    )


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
