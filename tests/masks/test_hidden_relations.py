"""Relations and roots whose kinds are hidden, in the executions that are not compiled: null, and no statement."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from db.caller import Caller, Profile, PurposeOfUse
from db.policy import ROLES
from tests.asking import REQUEST, Answer, Graph
from tests.people import People

BREAK = 'mutation($id: ID!) { breakGlass(patient: $id, reason: "Unconscious in the emergency room") { id } }'
REVIEW = """mutation($id: ID!) { reviewBreakGlass(id: $id, review: "Justified.") {
    reviewedBy
    patient { name { family } conditions { nodes { id } } clinicalNotes { nodes { id } } vitalSigns { nodes { id } } }
} }"""
DEFERRED = "{ patients(first: 1) { nodes { id ... @defer { conditions { nodes { id } } } } } }"
ROOTS = ["imagingStudies(first: 1) { nodes { id } }", f'labResult(id: "LabResult/{UUID(int=1)}") {{ id }}']
HIDDEN = {"conditions": None, "clinicalNotes": None, "vitalSigns": None}


async def parts(graph: Graph, who: Caller, query: str) -> tuple[list[dict[str, Any]], Answer]:
    """Payloads of an operation for a client that takes parts, and what the stores were asked."""
    engine: Any = graph._engine  # pyright: ignore[reportPrivateUsage] - Graph asks for whole answers only
    run = engine.run(engine.prepare(query, None), {}, who, REQUEST, incremental=True)
    payloads = [payload async for payload in run]
    return payloads, graph._answer({})  # pyright: ignore[reportPrivateUsage] - as above


def relations(answer: Answer) -> set[str]:
    """Names of statements that read more than the patients themselves."""
    return {name for _, name in answer.statements if name.startswith(("conditions", "clinical_notes", "vital_signs"))}


async def test_a_mutation_reads_nothing_that_is_hidden(graph: Graph) -> None:
    """A privacy officer sees who was opened, not with what."""
    facility = graph.facilities[0].id
    patient = f"Patient/{await People(graph.stores).patient(facility)}"
    breaker = Caller("dr-masks", ROLES["consultant"], facility, PurposeOfUse.TREAT)
    grant = (await graph.ask_as(breaker, BREAK, id=patient)).data["breakGlass"]["id"]
    answer = await graph.ask(REVIEW, Profile.PRIVACY_OFFICER, id=grant)
    assert answer.errors == []
    reviewed = answer.data["reviewBreakGlass"]["patient"]
    assert reviewed.pop("name")
    assert reviewed == HIDDEN
    assert relations(answer) == set()


async def test_a_deferred_part_reads_nothing_that_is_hidden(graph: Graph) -> None:
    (initial, *later), asked = await parts(graph, graph.caller(Profile.REGISTRAR), DEFERRED)
    [part] = [part for payload in later for part in payload["incremental"]]
    assert initial["data"]["patients"]["nodes"][0]["id"]
    assert (part["data"], part.get("errors")) == ({"conditions": None}, None)
    assert relations(asked) == set()
    # Who may see them gets them, by the same way.
    (_, *later), asked = await parts(graph, graph.caller(Profile.CLINICIAN), DEFERRED)
    [part] = [part for payload in later for part in payload["incremental"]]
    assert part["data"]["conditions"]["nodes"]
    assert relations(asked) == {"conditions_of_patients"}


@pytest.mark.parametrize("root", ROOTS, ids=[root.partition("(")[0] for root in ROOTS])
async def test_a_root_that_is_hidden_is_not_read(graph: Graph, root: str) -> None:
    payloads, asked = await parts(graph, graph.caller(Profile.REGISTRAR), f"{{ ... @defer {{ {root} }} }}")
    [part] = [part for payload in payloads for part in payload.get("incremental", ())]
    assert part == {**part, "data": {root.partition("(")[0]: None}}
    assert not asked.statements
