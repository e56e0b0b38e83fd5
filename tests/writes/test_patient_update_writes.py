"""Changing what identifies a patient, and whose patients are written by whom."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.caller import Profile, Reach
from db.errors import Forbidden
from loaders.reader import Reader
from tests.asking import Graph
from tests.writes.registrar import (
    REGISTER,
    SEARCH,
    UPDATE,
    account,
    asked,
    change,
    family,
    fetched,
    person,
    refusal,
    registered,
    ssn,
    update,
    updated,
    written,
)

RECORDED = """
SELECT table_name, operation, actor, login, before, after FROM audit.change
WHERE table_name IN ('patient', 'registration', 'patient_name', 'patient_identifier')
    AND (row_key = $1 OR row_key LIKE $1 || '/%' OR row_key LIKE '%/' || $1)
ORDER BY occurred_at"""
NAMED = {"family": "Testa"}


async def test_what_is_left_out_stays_and_null_clears(graph: Graph) -> None:
    patient = await registered(
        graph, race="White", telecom=[{"system": "email", "value": "ada@example.org"}], address=[{"city": "Boston"}]
    )
    answer = await update(graph, patient, gender="other", race=None, telecom=None, maritalStatus={"text": "Single"})
    after = written(answer, "updatePatient")["patient"]
    expected = {"gender": "other", "race": None, "telecom": [], "maritalStatus": {"text": "Single"}, "version": 2}
    assert after == patient | expected
    assert asked(answer)[:5] == [
        "claim_idempotency_key",
        "patient_for_update",
        "update_patient",
        "keep_outcome",
        "patient_by_id",
    ]
    assert await updated(graph, after) == after, "what changes nothing is no version"


async def test_deaths_are_said_and_taken_back(graph: Graph) -> None:
    patient = await registered(graph)
    dead = await updated(graph, patient, deceasedDateTime="2020-05-06T07:08:09-05:00")
    assert (dead["deceased"], dead["deceasedDateTime"]) == (True, "2020-05-06T07:08:09-05:00")
    unknown = await updated(graph, dead, deceasedDateTime=None)
    assert (unknown["deceased"], unknown["deceasedDateTime"]) == (True, None)
    alive = await updated(graph, await updated(graph, unknown, deceasedDateTime="2020"), deceased=False)
    assert (alive["deceased"], alive["deceasedDateTime"]) == (False, None)


async def test_a_new_name_is_found_wherever_the_patient_is_registered(graph: Graph) -> None:
    patient, number = await registered(graph), uuid4().hex[:10]
    elsewhere = "INSERT INTO clinical.registration (facility_id, patient_id, mrn) VALUES ($1, $2, $3)"
    key = UUID(patient["id"].removeprefix("Patient/"))
    await graph.stores.clinical.worker_fetch(elsewhere, graph.facilities[1].id, key, number)
    before, after = patient["name"][0]["family"], family()
    answer = await update(graph, patient, name=[{"use": "old", **NAMED}, {"use": "official", "family": after}])
    changed = written(answer, "updatePatient")["patient"]
    assert [name["family"] for name in changed["name"]] == [after, "Testa"]
    assert changed["version"] == 2
    assert asked(answer)[:6] == [
        "claim_idempotency_key",
        "patient_for_update",
        "remove_patient_names",
        "add_patient_names",
        "update_patient",
        "keep_outcome",
    ]
    for facility in (0, 1):
        for name, expected in ((after, [{"id": patient["id"]}]), (before, [])):
            found = await graph.ask(SEARCH, facility=facility, search=name)
            assert found.data["patients"]["nodes"] == expected


async def test_an_identifier_is_changed_by_who_sees_none_of_the_others(graph: Graph) -> None:
    secrets = [ssn(), ssn()]
    accounts = [account() for _ in range(3)]
    listed = [{"kind": "SSN", "value": secrets[0]}, *accounts]
    kept = [accounts[0]["value"], accounts[2]["value"]]
    patient = await registered(graph, identifier=listed)
    answer = await update(graph, patient, removeIdentifier=[0, 2], addIdentifier=[{"kind": "SSN", "value": secrets[1]}])
    changed = written(answer, "updatePatient")["patient"]
    assert [one["value"] for one in changed["identifier"]] == [*kept, f"***-**-{secrets[1][-4:]}"]
    assert changed["version"] == 2
    assert asked(answer)[2:5] == ["remove_patient_identifiers", "add_patient_identifiers", "update_patient"]
    values = "SELECT value FROM clinical.patient_identifier WHERE patient_id = $1 ORDER BY position"
    rows = await fetched(graph, values, UUID(patient["id"].removeprefix("Patient/")))
    assert [row[0] for row in rows] == [*kept, secrets[1]]
    error = refusal(await update(graph, changed, removeIdentifier=[1, 3]), "updatePatient")
    assert (error["code"], error["field"]) == ("NOT_FOUND", ["removeIdentifier"])
    assert len(await fetched(graph, values, UUID(patient["id"].removeprefix("Patient/")))) == 3
    for places in ([0, 0], list(range(21))):
        error = refusal(await update(graph, changed, removeIdentifier=places), "updatePatient")
        assert (error["code"], error["field"]) == ("INVALID", ["removeIdentifier"])


CHANGES: dict[str, dict[str, Any]] = {
    "demographics": {"gender": "unknown"},
    "a name": {"name": [NAMED]},
    "an identifier": {"addIdentifier": [account()]},
    "an identifier less": {"removeIdentifier": [0]},
}


@pytest.mark.parametrize("made", CHANGES.values(), ids=CHANGES.keys())
async def test_of_many_who_saw_one_version_one_writes(graph: Graph, made: dict[str, Any]) -> None:
    patient = await registered(graph, identifier=[account()])
    answers = await asyncio.gather(*(update(graph, patient, **made) for _ in range(4)))
    errors = [answer.data["updatePatient"]["userErrors"] for answer in answers]
    assert sorted(len(one) for one in errors) == [0, 1, 1, 1]
    for [error] in filter(None, errors):
        assert (error["code"], error["field"], error["version"]) == ("CONFLICT", ["version"], 2)
    stale = await update(graph, patient, race="White")
    assert refusal(stale, "updatePatient")["version"] == 2
    assert asked(stale) == ["claim_idempotency_key", "patient_for_update", "keep_outcome"]
    assert (await updated(graph, patient | {"version": 2}, active=False))["race"] is None


async def test_a_patient_keeps_a_name(graph: Graph) -> None:
    patient = await registered(graph)
    for none in (None, []):
        answer = await update(graph, patient, name=none)
        assert refusal(answer, "updatePatient")["field"] == ["name"]
        assert not answer.statements


async def test_only_who_may_write_patients_does(graph: Graph) -> None:
    patient = await registered(graph)
    for profile in set(Profile) - {Profile.REGISTRAR}:
        for query, given in ((REGISTER, person()), (UPDATE, change(patient, race="White"))):
            answer = await graph.ask(query, profile, input=given)
            assert answer.codes == [Forbidden().code], profile
            assert not answer.statements


async def test_another_facilitys_patient_does_not_exist(graph: Graph) -> None:
    patient = await registered(graph, facility=1)
    theirs = await update(graph, patient, race="White")
    unknown = await update(graph, {"id": f"Patient/{uuid4()}", "version": 1}, race="White")
    assert refusal(theirs, "updatePatient")["code"] == "NOT_FOUND"
    assert (theirs.data, theirs.errors, theirs.statements) == (unknown.data, unknown.errors, unknown.statements)


async def test_who_does_not_find_a_patient_does_not_write_one(graph: Graph) -> None:
    patient, anywhere = await registered(graph), graph.caller(Profile.REGISTRAR)
    of_a_ward = replace(anywhere, role=replace(anywhere.role, reach=Reach.DEPARTMENT), department_id=uuid4())
    answer = await graph.ask_as(of_a_ward, UPDATE, input=change(patient, race="White"))
    assert refusal(answer, "updatePatient")["code"] == "NOT_FOUND"


async def test_a_key_gets_one_answer_and_one_change(graph: Graph) -> None:
    given = person()
    answers = await asyncio.gather(*(graph.ask(REGISTER, Profile.REGISTRAR, input=given) for _ in range(4)))
    [patient] = {written(one, "registerPatient")["patient"]["id"] for one in answers}
    other = await graph.ask(REGISTER, Profile.REGISTRAR, input={**given, "race": "White"})
    assert refusal(other, "registerPatient")["code"] == "IDEMPOTENCY_CONFLICT"
    changed = change({"id": patient, "version": 1}, race="White")
    first = await graph.ask(UPDATE, Profile.REGISTRAR, input=changed)
    again = await graph.ask(UPDATE, Profile.REGISTRAR, input=changed)
    assert written(again, "updatePatient") == written(first, "updatePatient")
    other = await graph.ask(UPDATE, Profile.REGISTRAR, input={**changed, "race": "Asian"})
    assert refusal(other, "updatePatient")["code"] == "IDEMPOTENCY_CONFLICT"


async def test_every_row_is_recorded_with_its_actor_before_and_after(graph: Graph) -> None:
    patient = await registered(graph, identifier=[account()])
    await updated(graph, patient, race="White", name=[NAMED], removeIdentifier=[0])
    key = patient["id"].removeprefix("Patient/")
    rows = await fetched(graph, RECORDED, key)
    assert {(row["actor"], row["login"]) for row in rows} == {("test-registrar", "caregraph_registrar")}
    assert [(row["table_name"], row["operation"]) for row in rows] == [
        ("patient", "INSERT"),
        ("registration", "INSERT"),
        ("patient_name", "INSERT"),
        ("patient_identifier", "INSERT"),
        ("patient_name", "DELETE"),
        ("patient_name", "INSERT"),
        ("patient_identifier", "DELETE"),
        ("patient", "UPDATE"),
    ]
    assert rows[0]["before"] is None
    assert rows[4]["after"] is None
    sides = [json.loads(rows[-1][side]) for side in ("before", "after")]
    assert [(row["race"], row["version"]) for row in sides] == [(None, 1), ("White", 2)]


TAKE = "/* take_names */ DELETE FROM patient_name WHERE patient_id = $1::uuid RETURNING 1"


async def test_only_who_writes_names_takes_them_away_and_only_here(graph: Graph) -> None:
    patient = await registered(graph)
    key = UUID(patient["id"].removeprefix("Patient/"))
    for profile, facility in ((Profile.CLINICIAN, 0), (Profile.REGISTRAR, 1)):
        reader = Reader(graph.stores, graph.caller(profile, facility))
        async with reader.transaction() as writing:
            assert await writing.fetch(TAKE, key) == []
        await reader.close()
    reader = Reader(graph.stores, graph.caller(Profile.REGISTRAR))
    async with reader.transaction() as writing:
        assert len(await writing.fetch(TAKE, key)) == 1
    await reader.close()
