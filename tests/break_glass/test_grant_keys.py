"""Idempotency keys of breaking the glass and of its review: one grant for one key."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from db.caller import Profile
from tests.asking import Answer, Graph
from tests.people import People

BREAK = """mutation($patient: ID!, $minutes: Int! = 60, $key: String) {
    breakGlass(patient: $patient, reason: "Unconscious on arrival", minutes: $minutes, idempotencyKey: $key) {
        id patient { id } expiresAt } }"""
REVIEW = """mutation($id: ID!, $close: Boolean! = false, $key: String) {
    reviewBreakGlass(id: $id, review: "Justified.", close: $close, idempotencyKey: $key) { id reviewedAt closedAt } }"""
GRANTS = "SELECT count(*) FROM clinical.break_glass_grant WHERE patient_id = $1"


@pytest.fixture
async def patient(graph: Graph) -> str:
    """Global id of a new patient of the first facility."""
    return f"Patient/{await People(graph.stores).patient(graph.facilities[0].id)}"


async def grants(graph: Graph, patient: str) -> int:
    """How many grants there are for a patient."""
    [(number,)] = await graph.stores.clinical.worker_fetch(GRANTS, patient.partition("/")[2])
    return number


async def broken(graph: Graph, patient: str, **more: Any) -> Answer:
    """A clinician breaks the glass."""
    return await graph.ask(BREAK, patient=patient, **more)


async def test_a_key_makes_one_grant(graph: Graph, patient: str) -> None:
    key = str(uuid4())
    first = await broken(graph, patient, key=key)
    assert first.statements == {
        ("clinical", name): 1
        for name in (
            "claim_idempotency_key", "break_glass", "keep_outcome", "break_glass_grant_by_id", "patient_by_id"
        )
    }  # fmt: skip
    again = await asyncio.gather(*(broken(graph, patient, key=key) for _ in range(5)))
    assert {one.data["breakGlass"]["id"] for one in (first, *again)} == {first.data["breakGlass"]["id"]}
    assert (await broken(graph, patient, key=key)).data == first.data
    assert await grants(graph, patient) == 1


async def test_without_a_key_each_is_new(graph: Graph, patient: str) -> None:
    for _ in range(2):
        assert not (await broken(graph, patient)).errors
    assert await grants(graph, patient) == 2


async def test_a_key_with_another_input_is_refused(graph: Graph, patient: str) -> None:
    key = str(uuid4())
    made = await broken(graph, patient, key=key)
    longer = await broken(graph, patient, key=key, minutes=90)
    assert (longer.data, longer.codes) == ({"breakGlass": None}, ["IDEMPOTENCY_CONFLICT"])
    assert longer.errors[0]["message"] == "Argument 'idempotencyKey' was used for another input."
    review = await graph.ask(REVIEW, Profile.CLINICIAN, id=made.data["breakGlass"]["id"], key=key)
    assert review.codes == ["FORBIDDEN"]
    of_others = await graph.ask(BREAK, Profile.NURSE, patient=patient, key=key)
    assert of_others.data["breakGlass"]["id"] != made.data["breakGlass"]["id"]
    assert await grants(graph, patient) == 2


async def test_what_was_refused_takes_no_key(graph: Graph, patient: str) -> None:
    key = str(uuid4())
    assert (await broken(graph, f"Patient/{uuid4()}", key=key)).codes == ["INVALID_ARGUMENT"]
    assert not (await broken(graph, patient, key=key)).errors


@pytest.mark.parametrize("key", ["", " ", "with blank", "k" * 201, "ключ"])
async def test_a_malformed_key_is_refused(graph: Graph, patient: str, key: str) -> None:
    answer = await broken(graph, patient, key=key)
    assert (answer.codes, answer.statements.total()) == (["INVALID_ARGUMENT"], 0)
    assert answer.errors[0]["message"].startswith("Argument 'idempotencyKey' must have")


async def test_a_review_with_a_key_may_be_sent_again(graph: Graph, patient: str) -> None:
    grant, key = (await broken(graph, patient)).data["breakGlass"]["id"], str(uuid4())
    first = await graph.ask(REVIEW, Profile.PRIVACY_OFFICER, id=grant, key=key, close=True)
    again = await graph.ask(REVIEW, Profile.PRIVACY_OFFICER, id=grant, key=key, close=True)
    assert first.data["reviewBreakGlass"]["closedAt"]
    assert again.data == first.data
    other = await graph.ask(REVIEW, Profile.PRIVACY_OFFICER, id=grant, key=key)
    assert other.codes == ["IDEMPOTENCY_CONFLICT"]
    assert (await graph.ask(REVIEW, Profile.PRIVACY_OFFICER, id=grant)).codes == ["INVALID_ARGUMENT"]
