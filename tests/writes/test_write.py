"""What every write goes through, by the example of encounters: keys, versions, rights, the record, and the feed."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.caller import Caller, Profile, PurposeOfUse
from db.errors import AppError, Forbidden
from db.policy import ROLES
from tests.asking import Answer, Graph
from tests.people import People

OPEN = """
mutation ($input: OpenEncounterInput!) {
  openEncounter(input: $input) {
    encounter { id version status class type { text } patient { id } periodStart }
    userErrors { code field message version }
  }
}"""
DISCHARGE = """
mutation ($input: DischargeEncounterInput!) {
  dischargeEncounter(input: $input) {
    encounter { id version status periodEnd dischargeDisposition { text } }
    userErrors { code field message version }
  }
}"""
LABELLED = """
INSERT INTO clinical.encounter (id, facility_id, patient_id, status, class_code, code_system, code, security, sort_time)
VALUES ($1, $2, $3, 'in-progress', 'AMB', 'http://snomed.info/sct', '185349003', '{PSYTHPN}', now())"""
RECORDED = """
SELECT actor, login, operation, before IS NULL, after ->> 'status' FROM audit.change
WHERE table_name = 'encounter' AND row_key = $1 ORDER BY occurred_at"""
FED = """
SELECT facility_id, patient_id, operation FROM feed.event
WHERE table_name = 'encounter' AND row_keys = ARRAY[$1] ORDER BY seq"""


def visit(patient: str, key: str | None = None, **more: Any) -> dict[str, Any]:
    """Input of an encounter."""
    type = {"system": "http://snomed.info/sct", "code": "185349003", "display": "Encounter for check up"}
    return {"idempotencyKey": key or str(uuid4()), "patientId": patient, "class": "AMB", "type": type, **more}


async def opened(graph: Graph, patient: str, **more: Any) -> dict[str, Any]:
    """An encounter, opened by a physician."""
    answer = await graph.ask(OPEN, input=visit(patient, **more))
    return written(answer, "openEncounter")["encounter"]


def written(answer: Answer, name: str) -> dict[str, Any]:
    """The payload of a write that was made."""
    assert not answer.errors
    assert answer.data[name]["userErrors"] == []
    return answer.data[name]


def refusal(answer: Answer, name: str) -> dict[str, Any]:
    """The one user error of a write that was not made."""
    assert not answer.errors
    [error] = answer.data[name]["userErrors"]
    return error


@pytest.fixture(scope="module")
async def patient(graph: Graph) -> str:
    """Global id of a patient of the first facility alone."""
    return f"Patient/{await People(graph.stores).patient(graph.facilities[0].id)}"


async def test_what_is_written_is_answered_as_it_is_read(graph: Graph, patient: str) -> None:
    encounter = await opened(graph, patient)
    assert encounter["status"] == "in-progress"
    assert encounter["version"] == 1
    assert encounter["patient"] == {"id": patient}
    answer = await graph.ask(
        DISCHARGE,
        input={
            "idempotencyKey": str(uuid4()),
            "id": encounter["id"],
            "version": 1,
            "dischargeDisposition": {"text": "Home"},
        },
    )
    ended = written(answer, "dischargeEncounter")["encounter"]
    assert (ended["status"], ended["version"], ended["dischargeDisposition"]) == ("finished", 2, {"text": "Home"})


async def test_a_key_gets_one_answer_and_one_change(graph: Graph, patient: str) -> None:
    key = str(uuid4())
    first = await graph.ask(OPEN, input=visit(patient, key))
    again = await graph.ask(OPEN, input=visit(patient, key))
    assert again.data == first.data
    other = await graph.ask(OPEN, input=visit(patient, key, reason={"text": "Cough"}))
    assert refusal(other, "openEncounter")["code"] == "IDEMPOTENCY_CONFLICT"
    of_others = await graph.ask(OPEN, Profile.NURSE, input=visit(patient, key))
    assert written(of_others, "openEncounter")["encounter"]["id"] != first.data["openEncounter"]["encounter"]["id"]


async def test_a_key_that_is_sent_many_times_at_once_makes_one_change(graph: Graph, patient: str) -> None:
    asked = visit(patient)
    answers = await asyncio.gather(*(graph.ask(OPEN, input=asked) for _ in range(8)))
    assert len({written(one, "openEncounter")["encounter"]["id"] for one in answers}) == 1


async def test_a_refusal_is_kept_under_its_key(graph: Graph, patient: str) -> None:
    encounter = await opened(graph, patient)
    asked = {"idempotencyKey": str(uuid4()), "id": encounter["id"], "version": 7}
    first = refusal(await graph.ask(DISCHARGE, input=asked), "dischargeEncounter")
    assert (first["code"], first["field"], first["version"]) == ("CONFLICT", ["version"], 1)
    written(
        await graph.ask(DISCHARGE, input={**asked, "idempotencyKey": str(uuid4()), "version": 1}), "dischargeEncounter"
    )
    assert refusal(await graph.ask(DISCHARGE, input=asked), "dischargeEncounter") == first


async def test_of_many_who_saw_one_version_one_writes(graph: Graph, patient: str) -> None:
    encounter = await opened(graph, patient)
    answers = await asyncio.gather(
        *(
            graph.ask(DISCHARGE, input={"idempotencyKey": str(uuid4()), "id": encounter["id"], "version": 1})
            for _ in range(6)
        )
    )
    codes = sorted(
        (answer.data["dischargeEncounter"]["userErrors"] or [{"code": "-"}])[0]["code"] for answer in answers
    )
    assert codes == ["-"] + ["CONFLICT"] * 5


async def test_who_may_not_write_is_refused_before_anything_is_asked(graph: Graph, patient: str) -> None:
    for profile in (Profile.CDS, Profile.ANALYST, Profile.BILLING, Profile.PRIVACY_OFFICER):
        answer = await graph.ask(OPEN, profile, input=visit(patient))
        assert answer.codes == [Forbidden().code]
        assert not answer.statements


async def test_another_facilitys_patient_and_encounter_do_not_exist(graph: Graph, patient: str) -> None:
    answer = await graph.ask(OPEN, facility=1, input=visit(patient))
    unknown = await graph.ask(OPEN, facility=1, input=visit(f"Patient/{uuid4()}"))
    assert refusal(answer, "openEncounter") == refusal(unknown, "openEncounter")
    encounter = await opened(graph, patient)
    asked = {"idempotencyKey": str(uuid4()), "id": encounter["id"], "version": 1}
    assert refusal(await graph.ask(DISCHARGE, facility=1, input=asked), "dischargeEncounter")["code"] == "NOT_FOUND"


async def test_a_closed_chart_is_not_written_to(graph: Graph) -> None:
    here = graph.facilities[0].id
    denied = await People(graph.stores).patient(here)
    await People(graph.stores).consent(here, denied, type="deny")
    answer = await graph.ask(OPEN, input=visit(f"Patient/{denied}"))
    assert refusal(answer, "openEncounter")["code"] == "NOT_FOUND"
    stranger = await People(graph.stores).patient(here)
    consultant = Caller("dr-writes", ROLES["consultant"], here, PurposeOfUse.TREAT)
    answer = await graph.ask_as(consultant, OPEN, input=visit(f"Patient/{stranger}"))
    assert refusal(answer, "openEncounter")["code"] == "NOT_FOUND"


async def test_what_a_label_hides_is_not_changed(graph: Graph, patient: str) -> None:
    """A psychotherapist's encounter, which a physician may not see, is not there for them."""
    encounter, key = uuid4(), patient.removeprefix("Patient/")
    await graph.stores.clinical.worker_fetch(LABELLED, encounter, graph.facilities[0].id, UUID(key))
    asked = {"idempotencyKey": str(uuid4()), "id": f"Encounter/{encounter}", "version": 1}
    assert refusal(await graph.ask(DISCHARGE, input=asked), "dischargeEncounter")["code"] == "NOT_FOUND"


async def test_an_app_and_who_is_away_from_home_write_nothing(graph: Graph, patient: str) -> None:
    physician = graph.caller()
    app = replace(physician, types=frozenset({"Encounter", "Patient"}))
    away = replace(physician, home_facility_id=graph.facilities[1].id)
    for caller in (app, away):
        with pytest.raises(AppError) if caller is app else nullcontext():
            answer = await graph.ask_as(caller, OPEN, input=visit(patient))
            assert answer.codes == ["FORBIDDEN"]


async def test_a_write_is_recorded_with_its_actor_and_fed_once(graph: Graph, patient: str) -> None:
    encounter = await opened(graph, patient)
    await graph.ask(DISCHARGE, input={"idempotencyKey": str(uuid4()), "id": encounter["id"], "version": 1})
    key = encounter["id"].removeprefix("Encounter/")
    recorded = await administrator_fetch(graph, RECORDED, key)
    assert recorded == [
        ("test-clinician", "caregraph_clinician", "INSERT", True, "in-progress"),
        ("test-clinician", "caregraph_clinician", "UPDATE", False, "finished"),
    ]
    fed = await administrator_fetch(graph, FED, key)
    here, who = graph.facilities[0].id, patient.removeprefix("Patient/")
    assert [(str(f), str(p), operation) for f, p, operation in fed] == [
        (str(here), who, "INSERT"),
        (str(here), who, "UPDATE"),
    ]


async def test_two_writes_of_one_document_see_each_other(graph: Graph, patient: str) -> None:
    encounter = await opened(graph, patient)
    both = """
    mutation ($one: DischargeEncounterInput!, $two: DischargeEncounterInput!) {
      one: dischargeEncounter(input: $one) { encounter { version } userErrors { code } }
      two: dischargeEncounter(input: $two) { encounter { version } userErrors { code } }
    }"""
    one = {"idempotencyKey": str(uuid4()), "id": encounter["id"], "version": 1}
    answer = await graph.ask(both, one=one, two={**one, "idempotencyKey": str(uuid4()), "version": 2})
    assert answer.data == {
        "one": {"encounter": {"version": 2}, "userErrors": []},
        "two": {"encounter": None, "userErrors": [{"code": "NOT_ALLOWED_NOW"}]},
    }


async def administrator_fetch(graph: Graph, sql: str, *args: object) -> list[tuple[Any, ...]]:
    """Rows that no login of ours may read."""
    import asyncpg

    connection = await asyncpg.connect(graph.settings.clinical_url)
    try:
        return [tuple(row) for row in await connection.fetch(sql, *args)]
    finally:
        await connection.close()
