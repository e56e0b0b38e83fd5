"""What a laboratory result said before it was finalized or corrected."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from uuid import uuid4

import asyncpg
import pytest

from db.caller import Profile
from db.context import role_password
from db.postgres import login_url
from db.roles import WORKER
from tests.asking import Graph
from tests.differential.comparing import outcome
from tests.differential.documents import Document
from tests.writes.lab_results import (
    CORRECT,
    FINALIZE,
    KEPT,
    READ,
    RECORDED,
    ROWS,
    SAID,
    key_of,
    quantity,
    recorded,
    result,
    step,
    stepped,
)
from tests.writes.test_write import administrator_fetch, refusal


async def test_what_a_result_said_stays_newest_first(graph: Graph, patient: str) -> None:
    [one] = await recorded(graph, patient, result(quantity("0.10"), status="preliminary"))
    states = [one]
    states.append(await stepped(graph, CORRECT, states[-1], value=quantity("0.20")))
    assert states[-1]["status"] == "preliminary"
    states.append(await stepped(graph, FINALIZE, states[-1]))
    assert states[-1]["status"] == "final"
    for value in ("0.300", "0.4"):
        states.append(await stepped(graph, CORRECT, states[-1], value=quantity(value)))
        assert states[-1]["status"] == "corrected"
    states.append(await stepped(graph, CORRECT, states[-1], value={"string": "not enough"}, note="Repeat"))
    last = states[-1]
    assert (last["valueQuantity"], last["valueString"], last["note"]) == (None, "not enough", "Repeat")
    said = [
        (one["version"], one["status"], str(one["valueQuantity"]["value"]), one["issued"]) for one in last["history"]
    ]
    assert said == [
        (one["version"], one["status"], str(one["valueQuantity"]["value"]), one["issued"]) for one in states[-2::-1]
    ]
    assert [value for _, _, value, _ in said] == ["0.4", "0.300", "0.20", "0.20", "0.10"]
    superseded = [one["supersededAt"] for one in last["history"]]
    assert superseded == sorted(superseded, reverse=True)
    assert (await graph.ask(READ, id=one["id"])).data["labResult"] == last


async def test_histories_of_a_level_are_one_statement(graph: Graph, patient: str) -> None:
    labs = await recorded(graph, patient, *[result(quantity(str(n))) for n in range(4)])
    for one in labs[:3]:
        await stepped(graph, CORRECT, one, value=quantity("9"))
    asked = "query ($id: ID!) { patient(id: $id) { labResults { nodes { id history { version } } } } }"
    answer = await graph.ask(asked, id=patient)
    found = {one["id"]: one["history"] for one in answer.data["patient"]["labResults"]["nodes"]}
    assert [found[one["id"]] for one in labs] == [[{"version": 1}]] * 3 + [[]]
    names = ("patient_by_id", "lab_results_of_patients", "labresult_graph")
    assert answer.statements == Counter({("clinical", name): 1 for name in names})


async def test_both_executions_answer_alike(graph: Graph, patient: str) -> None:
    labs = await recorded(graph, patient, result(), result(referenceRange=[{"high": {"value": Decimal("1.0")}}]))
    for one in labs:
        await stepped(graph, CORRECT, one, value={"codeableConcept": {"text": "x"}}, note="y")
    whole = f"query ($id: ID!) {{ node(id: $id) {{ ... on LabResult {{ {SAID} }} }} }}"
    nested = f"query ($id: ID!) {{ patient(id: $id) {{ labResults {{ edges {{ node {{ {SAID} }} }} }} }} }}"
    for profile in (Profile.CLINICIAN, Profile.ANALYST, Profile.REGISTRAR, Profile.CDS):
        for text, id in ((whole, labs[0]["id"]), (nested, patient)):
            asked = Document(text, None, {"id": id})
            stock = await outcome(graph.stores, graph.caller(profile), asked, compiled=False)
            compiled = await outcome(graph.stores, graph.caller(profile), asked, compiled=True)
            assert compiled.differences(stock) == []
            assert compiled.compiled


async def test_a_history_is_masked_as_the_result_is(graph: Graph, patient: str) -> None:
    [one] = await recorded(graph, patient, result({"string": "Mr Smith's blood"}))
    await stepped(graph, CORRECT, one, value=quantity("1"))
    answer = await graph.ask(READ, Profile.ANALYST, id=one["id"])
    [before] = answer.data["labResult"]["history"]
    assert before["effectiveDateTime"] == "2026"
    assert len(before["supersededAt"]) == len(before["issued"]) == 4
    assert before["valueString"] is None
    assert (await graph.ask(READ, Profile.REGISTRAR, id=one["id"])).data["labResult"] is None


async def test_labels_and_facility_of_a_result_are_those_of_its_history(graph: Graph, patient: str) -> None:
    [one] = await recorded(graph, patient, result())
    await stepped(graph, CORRECT, one, value=quantity("1"))
    count = "/* count_versions */ SELECT count(*) FROM lab_result_version WHERE id = $1"

    async def seen(facility: int = 0) -> int:
        session = graph.stores.clinical.session(graph.caller(facility=facility), lambda *_: None)
        try:
            return (await session.fetch(count, key_of(one["id"])))[0][0]
        finally:
            await session.close()

    assert (await seen(), await seen(1)) == (1, 0)
    label = "/* label */ UPDATE clinical.lab_result SET security = '{ETH}' WHERE id = $1"
    await graph.stores.clinical.worker_fetch(label, key_of(one["id"]))
    assert await seen() == 0
    assert (await graph.ask(READ, id=one["id"])).data["labResult"] is None
    error = refusal(await step(graph, CORRECT, {**one, "version": 3}, value=quantity("2")), CORRECT)
    assert error["code"] == "NOT_FOUND"


async def test_what_only_moves_says_the_same(graph: Graph, patient: str) -> None:
    """An import that links a result to its report makes another version of the row, and no history."""
    [one] = await recorded(graph, patient, result())
    move = "/* move */ UPDATE clinical.lab_result SET diagnostic_report_id = $2 WHERE id = $1"
    await graph.stores.clinical.worker_fetch(move, key_of(one["id"]), uuid4())
    now = (await graph.ask(READ, id=one["id"])).data["labResult"]
    assert (now["version"], now["history"]) == (2, [])


async def test_history_cannot_be_changed(graph: Graph, patient: str) -> None:
    [one] = await recorded(graph, patient, result())
    await stepped(graph, CORRECT, one, value=quantity("1"))
    url = graph.settings.clinical_url
    worker = login_url(url, WORKER, role_password(graph.settings.secret, WORKER))
    for login in (worker, url):
        connection = await asyncpg.connect(login)
        for change in ("UPDATE clinical.lab_result_version SET note = 'x'", "DELETE FROM clinical.lab_result_version"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"{change} WHERE id = $1", key_of(one["id"]))
        await connection.close()


async def test_a_correction_may_move_a_result_to_another_time(graph: Graph, patient: str) -> None:
    [one] = await recorded(graph, patient, result(quantity("0.10"), effectiveDateTime="2011-05-05"))
    moved = await stepped(graph, CORRECT, one, effectiveDateTime="2024-05-05", value=quantity("0.50"))
    assert (moved["version"], moved["effectiveDateTime"], str(moved["valueQuantity"]["value"])) == (
        2,
        "2024-05-05",
        "0.50",
    )
    key = key_of(one["id"])
    assert await administrator_fetch(graph, ROWS, key) == [("clinical.lab_result_2024", 2)]
    assert [entry["effectiveDateTime"] for entry in moved["history"]] == ["2011-05-05"]
    assert await administrator_fetch(graph, RECORDED, str(key)) == [
        (None, "0.10", "test-clinician"),
        ("0.10", None, "test-clinician"),
        (None, "0.50", "test-clinician"),
    ]


@pytest.mark.parametrize("times", [["2024-05-05"], ["2011-05-05", "2016-05-05", "2024-05-05"]])
async def test_of_many_corrections_of_one_version_one_is_made(graph: Graph, patient: str, times: list[str]) -> None:
    """Also where it moves the row away under those who wait for it; and what was there before is kept."""
    [one] = await recorded(graph, patient, result(quantity("0.10"), effectiveDateTime="2020-05-05"))
    answers = await asyncio.gather(
        *(
            step(graph, CORRECT, one, value=quantity(f"1.{n}0"), effectiveDateTime=times[n % len(times)])
            for n in range(9)
        )
    )
    errors = [(answer.data[CORRECT]["userErrors"] or [{"code": "-", "version": 2}])[0] for answer in answers]
    assert Counter((error["code"], error["version"]) for error in errors) == {("-", 2): 1, ("CONFLICT", 2): 8}
    [made] = [answer.data[CORRECT]["labResult"] for answer in answers if not answer.data[CORRECT]["userErrors"]]
    assert (await graph.ask(READ, id=one["id"])).data["labResult"] == made
    assert await administrator_fetch(graph, KEPT, key_of(one["id"])) == [(1, Decimal("0.10"))]
