"""Subscriptions to charts and wards: what is told, to whom, until when, and how a client goes on after a break."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from uuid import uuid4

import pytest

from db.caller import Caller, Profile, PurposeOfUse
from db.errors import CursorExpired, SlowConsumer, Suppressed
from db.live import EVENTS_MAX
from db.policy import ROLES
from tests.asking import Answer, Graph
from tests.live.client import QUIET_S, Client, listening
from tests.people import DIABETES, OPIOID_DEPENDENCE, People

CHART = """
subscription ($patient: ID!, $after: String) {
  chartChanged(patient: $patient, after: $after) {
    cursor
    patient { id }
    resources { __typename id ... on Condition { code { coding { code } } } }
  }
}"""
WARD = """
subscription ($department: ID!, $after: String) {
  wardChanged(department: $department, after: $after) { cursor encounters { id status } }
}"""
MADE_DEPARTMENT = "INSERT INTO clinical.department (id, facility_id, name) VALUES ($1, $2, 'Live ward')"
DEPARTMENT = "SELECT id FROM clinical.department WHERE facility_id = $1 ORDER BY id LIMIT 1"
ADMITTED = """
INSERT INTO clinical.encounter (id, facility_id, patient_id, department_id, status, class_code, code_system, code,
    sort_time)
VALUES ($1, $2, $3, $4, 'in-progress', 'IMP', 'http://snomed.info/sct', '32485007', now())"""
NOTED = "UPDATE clinical.condition SET note = $2 WHERE patient_id = $1 AND code = $3"


@pytest.fixture
def people(graph: Graph) -> People:
    return People(graph.stores)


def told(message: Answer) -> list[tuple[str, str]]:
    """Type and code of each resource that a message of a chart shows."""
    assert not message.errors
    return [(one["__typename"], one["code"]["coding"][0]["code"]) for one in message.data["chartChanged"]["resources"]]


async def test_a_change_of_the_chart_is_told(graph: Graph, people: People) -> None:
    patient = await people.patient(graph.facilities[0].id)
    async with listening(graph, graph.caller(), CHART, patient=f"Patient/{patient}") as client:
        await graph.stores.clinical.worker_fetch(NOTED, patient, "worse", DIABETES)
        message = await client.next()
        assert told(message) == [("Condition", DIABETES)]
        assert message.data["chartChanged"]["patient"] == {"id": f"Patient/{patient}"}
        assert await client.silent()


async def test_what_the_caller_may_not_see_is_not_told(graph: Graph, people: People) -> None:
    patient, other = await people.patient(graph.facilities[0].id), await people.patient(graph.facilities[0].id)
    async with listening(graph, graph.caller(), CHART, patient=f"Patient/{patient}") as client:
        await graph.stores.clinical.worker_fetch(NOTED, patient, "relapse", OPIOID_DEPENDENCE)
        await graph.stores.clinical.worker_fetch(NOTED, other, "worse", DIABETES)
        assert await client.silent()


async def test_another_facilitys_patient_is_like_nobody(graph: Graph, people: People) -> None:
    elsewhere = await people.patient(graph.facilities[1].id)
    answers: list[Answer] = []
    for patient in (elsewhere, uuid4()):
        async with aclosing(graph.subscribe_as(graph.caller(), CHART, patient=f"Patient/{patient}")) as messages:
            answers.append(await anext(messages))
    assert answers[0].errors == answers[1].errors
    assert answers[0].codes == ["INVALID_ARGUMENT"]


async def test_rights_are_those_of_the_moment_of_telling(graph: Graph, people: People) -> None:
    patient = await people.patient(graph.facilities[0].id)
    async with listening(graph, graph.caller(), CHART, patient=f"Patient/{patient}") as client:
        await people.consent(graph.facilities[0].id, patient, type="deny")
        with pytest.raises(Suppressed):
            await client.next()


async def test_who_does_not_treat_hears_nothing(graph: Graph, people: People) -> None:
    patient = await people.patient(graph.facilities[0].id)
    consultant = Caller("dr-live", ROLES["consultant"], graph.facilities[0].id, PurposeOfUse.TREAT)
    async with aclosing(graph.subscribe_as(consultant, CHART, patient=f"Patient/{patient}")) as messages:
        assert (await anext(messages)).codes == ["SUPPRESSED"]


async def test_nothing_is_missed_after_a_break_and_nothing_comes_twice(graph: Graph, people: People) -> None:
    patient = await people.patient(graph.facilities[0].id)
    asked = {"patient": f"Patient/{patient}"}
    async with listening(graph, graph.caller(), CHART, **asked) as client:
        await graph.stores.clinical.worker_fetch(NOTED, patient, "1", DIABETES)
        cursor = (await client.next()).data["chartChanged"]["cursor"]
    await graph.stores.clinical.worker_fetch(NOTED, patient, "2", DIABETES)
    async with aclosing(Client(graph.subscribe_as(graph.caller(), CHART, **asked, after=cursor))) as again:
        missed = await again.next()
        assert told(missed) == [("Condition", DIABETES)]
        assert await again.silent()
    behind = missed.data["chartChanged"]["cursor"]
    async with listening(graph, graph.caller(), CHART, **asked, after=behind):
        pass


async def test_a_cursor_is_good_for_one_field_and_facility(graph: Graph, people: People) -> None:
    patient = await people.patient(graph.facilities[0].id, graph.facilities[1].id)
    asked = {"patient": f"Patient/{patient}"}
    async with listening(graph, graph.caller(), CHART, **asked) as client:
        await graph.stores.clinical.worker_fetch(NOTED, patient, "1", DIABETES)
        cursor = (await client.next()).data["chartChanged"]["cursor"]
    for caller, after in ((graph.caller(facility=1), cursor), (graph.caller(), cursor[:-4] + "AAAA")):
        async with aclosing(graph.subscribe_as(caller, CHART, **asked, after=after)) as messages:
            assert (await anext(messages)).codes == ["INVALID_CURSOR"]


async def test_who_is_too_slow_is_told_and_holds_a_bounded_number(graph: Graph, people: People) -> None:
    patient = await people.patient(graph.facilities[0].id)
    async with listening(graph, graph.caller(), CHART, patient=f"Patient/{patient}") as client:
        await graph.stores.clinical.worker_fetch(NOTED, patient, "first", DIABETES)
        cursor = (await client.next()).data["chartChanged"]["cursor"]
        for number in range(EVENTS_MAX + 1):
            await graph.stores.clinical.worker_fetch(NOTED, patient, str(number), DIABETES)
        await asyncio.sleep(QUIET_S)
        with pytest.raises(SlowConsumer):
            await client.next()
    asked = {"patient": f"Patient/{patient}", "after": cursor}
    async with aclosing(graph.subscribe_as(graph.caller(), CHART, **asked)) as messages:
        assert (await anext(messages)).codes == [CursorExpired("after").code]


async def test_many_changes_at_once_are_one_message(graph: Graph, people: People) -> None:
    patient = await people.patient(graph.facilities[0].id)
    async with listening(graph, graph.caller(), CHART, patient=f"Patient/{patient}") as client:
        for number in range(20):
            await graph.stores.clinical.worker_fetch(NOTED, patient, str(number), DIABETES)
        messages = 0
        while not await client.silent():
            assert told(await client.next()) == [("Condition", DIABETES)]
            messages += 1
    assert 1 <= messages < 20


async def test_a_ward_is_told_of_its_own_stays(graph: Graph, people: People) -> None:
    here = graph.facilities[0].id
    [(department,)] = await graph.stores.clinical.worker_fetch(DEPARTMENT, here)
    patient, encounter = await people.patient(here), uuid4()
    async with listening(graph, graph.caller(), WARD, department=f"Department/{department}") as client:
        await graph.stores.clinical.worker_fetch(ADMITTED, uuid4(), here, patient, None)
        assert await client.silent()
        await graph.stores.clinical.worker_fetch(ADMITTED, encounter, here, patient, department)
        message = await client.next()
    assert message.data["wardChanged"]["encounters"] == [{"id": f"Encounter/{encounter}", "status": "in-progress"}]


async def test_a_ward_nurse_hears_of_the_own_ward_alone(graph: Graph) -> None:
    here = graph.facilities[0].id
    [(department,)] = await graph.stores.clinical.worker_fetch(DEPARTMENT, here)
    nurse = Caller("n-live", ROLES["ward_nurse"], here, PurposeOfUse.TREAT, department_id=uuid4())
    async with aclosing(graph.subscribe_as(nurse, WARD, department=f"Department/{department}")) as messages:
        assert (await anext(messages)).codes == ["FORBIDDEN"]


async def test_who_sees_no_clinical_fact_hears_of_none(graph: Graph, people: People) -> None:
    patient = await people.patient(graph.facilities[0].id)
    async with listening(graph, graph.caller(Profile.REGISTRAR), CHART, patient=f"Patient/{patient}") as client:
        await graph.stores.clinical.worker_fetch(NOTED, patient, "worse", DIABETES)
        assert await client.silent()


VITALS = """
subscription ($patient: ID!, $after: String) {
  vitals(patient: $patient, after: $after) { cursor vitalSigns { id code { code } valueQuantity { value } } }
}"""
WARD_VITALS = """
subscription ($department: ID!) {
  wardChanged(department: $department, vitals: true) { encounters { id } vitalSigns { patient { id } } }
}"""
LEFT = "UPDATE clinical.encounter SET status = 'finished', end_time = now() WHERE id = $1"


async def test_readings_are_told_as_they_arrive_and_after_a_break(graph: Graph, people: People) -> None:
    here = graph.facilities[0].id
    patient, other = await people.patient(here), await people.patient(here)
    asked = {"patient": f"Patient/{patient}"}
    async with listening(graph, graph.caller(), VITALS, **asked) as client:
        await people.reading(here, other)
        reading = await people.reading(here, patient)
        message = (await client.next()).data["vitals"]
        assert [one["id"] for one in message["vitalSigns"]] == [f"VitalSign/{reading}.0"]
        assert message["vitalSigns"][0]["code"] == {"code": "8867-4"}
    missed = [await people.reading(here, patient) for _ in range(3)]
    after = graph.subscribe_as(graph.caller(), VITALS, **asked, after=message["cursor"])
    async with aclosing(Client(after)) as client:
        told = (await client.next()).data["vitals"]["vitalSigns"]
        assert {one["id"] for one in told} == {f"VitalSign/{one}.0" for one in missed}
        assert await client.silent()


async def test_who_sees_no_clinical_fact_follows_no_readings(graph: Graph, people: People) -> None:
    patient = await people.patient(graph.facilities[0].id)
    caller = graph.caller(Profile.REGISTRAR)
    async with aclosing(graph.subscribe_as(caller, VITALS, patient=f"Patient/{patient}")) as messages:
        assert (await anext(messages)).codes == ["FORBIDDEN"]


async def test_a_ward_follows_the_readings_of_who_is_there(graph: Graph, people: People) -> None:
    here, department, stay = graph.facilities[0].id, uuid4(), uuid4()
    await graph.stores.clinical.worker_fetch(MADE_DEPARTMENT, department, here)
    patient = await people.patient(here)
    async with listening(graph, graph.caller(), WARD_VITALS, department=f"Department/{department}") as client:
        await people.reading(here, patient)
        assert await client.silent(), "not here yet"
        await graph.stores.clinical.worker_fetch(ADMITTED, stay, here, patient, department)
        assert (await client.next()).data["wardChanged"]["encounters"] == [{"id": f"Encounter/{stay}"}]
        await people.reading(here, patient)
        told = (await client.next()).data["wardChanged"]["vitalSigns"]
        assert [one["patient"] for one in told] == [{"id": f"Patient/{patient}"}]
        await graph.stores.clinical.worker_fetch(LEFT, stay)
        await client.next()
        await people.reading(here, patient)
        assert await client.silent(), "not here any more"
