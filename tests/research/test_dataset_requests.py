"""Datasets that a project asks for: checked and counted before anything is read, made by a job, cancelled, told of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from db.caller import Caller, Profile, PurposeOfUse
from db.disclosure import THRESHOLD
from loaders.writes.research_request import about
from tests.asking import Answer, Graph
from tests.people import People
from tests.research.people import (
    AGREEMENT,
    APPROVAL,
    COLLEAGUE,
    OTHER,
    PROJECT,
    approved,
    facility_id,
    officer,
    proposed,
    researcher,
    settled,
)
from tests.tenancy.tenants import bytes_of
from tests.writes.mutating import refusal, send, written

REQUESTED = """request { id name method definition requestedBy project { id } extractions { nodes { id } } }
    extraction { id version state stage requestedBy progress { rowsDone partitionsDone partitions secondsLeft } }
    patientCount patientCountText"""
EXTRACTION = "extraction { id state cancelledBy finishedAt error }"
NODE = "query ($id: ID!) { node(id: $id) { id } }"
PROGRESS = """subscription ($id: ID!) { jobProgress(id: $id) {
    id status done total extraction { id state stage progress { rowsDone } } } }"""
SET_STATE = "UPDATE clinical.research_extraction SET state = $2, report = '{}' WHERE id = $1"
SET_DONE = (
    "UPDATE clinical.research_extraction SET state = 'RUNNING', partitions = 4, partitions_done = $2 WHERE id = $1"
)
EXPIRE = """
UPDATE clinical.research_project SET data_use_expires = current_date - 1, irb_expires = current_date - 1
WHERE id = $1"""
JOBS = "/* test_jobs */ SELECT count(*) FROM queue.procrastinate_jobs WHERE args ->> 'extraction' = $1"
SNOMED = "http://snomed.info/sct"


@pytest_asyncio.fixture(autouse=True, scope="module")
async def crowd(graph: Graph) -> None:
    """Patients in wards of the first facility, enough of them."""
    people, here = People(graph.stores), graph.facilities[0].id
    for _ in range(THRESHOLD):
        await people.stay(here, await people.patient(here))


@pytest_asyncio.fixture(autouse=True)
async def ended(graph: Graph) -> AsyncGenerator[None]:
    """No extraction waits after a test."""
    yield
    await settled(graph.stores)


def key(id: str) -> UUID:
    """Key of a global id."""
    return UUID(id.partition("/")[2])


async def ask(graph: Graph, project: str, who: Caller | None = None, /, **more: Any) -> Answer:
    """The answer to who asks for a dataset, by default a scholar for patients and encounters of everybody."""
    given = {
        "projectId": project,
        "name": f"falls {uuid4().hex[:8]}",
        "method": "SAFE_HARBOR",
        "tables": ["encounters"],
    }
    return await send(graph, "requestDataset", REQUESTED, who or researcher(graph), **given | more)


async def requested(graph: Graph, project: str, **more: Any) -> dict[str, Any]:
    """Payload of a request that was taken."""
    answer = await ask(graph, project, **more)
    assert answer.errors == []
    payload = answer.data["requestDataset"]
    assert payload["userErrors"] == []
    return payload


def refused(answer: Answer) -> dict[str, Any]:
    """The one reason why a request was not taken."""
    assert answer.errors == []
    [payload] = answer.data.values()
    assert (payload["request"], payload["extraction"], payload["patientCount"]) == (None, None, None)
    [error] = payload["userErrors"]
    return error


async def test_a_request_is_counted_and_queued(graph: Graph) -> None:
    project = (await approved(graph))["id"]
    cohort = {"ageFrom": 0, "ageTo": 90, "from": "1900-01-01", "sex": ["unknown"], "encounterClass": ["IMP"]}
    answer = await ask(graph, project, name="falls", strict=True, cohort=cohort)
    assert answer.statements["research", "research_cohort_count"] == 1
    payload = answer.data["requestDataset"]
    request, extraction = payload["request"], payload["extraction"]
    assert json.loads(request["definition"]) == {
        "cohort": {
            "sex": ["unknown"], "age_from": 0, "age_to": 90, "start": "1900-01-01", "encounter_class": ["IMP"]
        },
        "tables": ["encounters"], "method": "SAFE_HARBOR", "shift_dates": False, "strict": True, "age_band_years": 5,
    }  # fmt: skip
    assert (request["name"], request["method"], request["project"]["id"]) == ("falls", "SAFE_HARBOR", project)
    assert request["extractions"] == {"nodes": [{"id": extraction["id"]}]}
    assert (extraction["version"], extraction["state"], extraction["stage"]) == (1, "QUEUED", "SELECT")
    assert extraction["progress"] == {"rowsDone": 0, "partitionsDone": 0, "partitions": None, "secondsLeft": None}
    assert payload["patientCount"] == 11 or payload["patientCount"] % 10 == 0
    assert str(payload["patientCount"]) in payload["patientCountText"]
    async with graph.stores.research.notes() as reading:
        assert (await reading.fetch(JOBS, str(key(extraction["id"]))))[0][0] == 1


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"tables": []}, ["tables"]),
        ({"tables": ["secrets"]}, ["tables"]),
        ({"tables": ["notes"]}, ["tables"]),
        ({"shiftDates": True}, ["shiftDates"]),
        ({"ageBandYears": 7}, ["ageBandYears"]),
        ({"name": " "}, ["name"]),
        ({"cohort": {"ageFrom": 91}}, ["cohort", "ageFrom"]),
        ({"cohort": {"ageTo": -1}}, ["cohort", "ageTo"]),
        ({"cohort": {"ageFrom": 50, "ageTo": 40}}, ["cohort", "ageFrom"]),
        ({"cohort": {"from": "2020-01-02", "to": "2020-01-01"}}, ["cohort", "from"]),
        ({"cohort": {"from": "soon"}}, ["cohort", "from"]),
        ({"cohort": {"sex": ["none"]}}, ["cohort", "sex"]),
        ({"cohort": {"encounterClass": ["x"]}}, ["cohort", "encounterClass"]),
        ({"cohort": {"facilityIds": ["Patient/1"]}}, ["cohort", "facilityIds"]),
        ({"cohort": {"condition": ["44054006"]}}, ["cohort", "condition"]),
        ({"cohort": {"labResult": [","]}}, ["cohort", "labResult"]),
        ({"cohort": {"withoutCondition": [f"{SNOMED}|"]}}, ["cohort", "withoutCondition"]),
    ],
    ids=str,
)
async def test_what_can_not_be_meant_is_refused_by_its_place(
    graph: Graph, part: dict[str, Any], field: list[str]
) -> None:
    answer = await ask(graph, f"ResearchProject/{uuid4()}", **part)
    error = refused(answer)
    assert (error["code"], error["field"]) == ("INVALID", field)
    assert answer.statements == {}, "before anything is read"


async def test_what_a_project_may_not_have_now_is_refused_before_it_is_counted(graph: Graph) -> None:
    async def refuses(project: str, field: list[str], **more: Any) -> None:
        answer = await ask(graph, project, **more)
        error = refused(answer)
        assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", field)
        assert ("research", "research_cohort_count") not in answer.statements

    await refuses((await proposed(graph))["id"], ["projectId"])
    project = (await approved(graph, 0, OTHER))["id"]
    await refuses(project, ["method"], method="LIMITED")
    await refuses(project, ["cohort", "facilityIds"], cohort={"facilityIds": [facility_id(graph, OTHER)]})
    await refuses((await approved(graph, OTHER))["id"], ["projectId"])  # nobody has approved there
    terms = {"methods": ["LIMITED", "TRUSTED"], "dataUseAgreement": AGREEMENT, "irbApproval": APPROVAL}
    project = (await approved(graph, **terms))["id"]
    await refuses(project, ["method"], method="SAFE_HARBOR")
    await requested(graph, project, method="LIMITED", shiftDates=True)
    await requested(graph, project, method="TRUSTED", tables=["notes"])
    await graph.stores.clinical.worker_fetch(EXPIRE, key(project))
    await refuses(project, ["method"], method="LIMITED")
    await refuses(project, ["method"], method="TRUSTED")


async def test_a_cohort_of_fewer_than_eleven_is_not_made(graph: Graph) -> None:
    """Ten, then eleven, then ten who do not refuse."""
    project, here, people = (await approved(graph))["id"], graph.facilities[0].id, People(graph.stores)
    code, patients = str(uuid4().int % 10**12), [await people.patient(here) for _ in range(11)]
    for patient in patients[:10]:
        await people.condition(here, patient, code)
    cohort = {"condition": [f"{SNOMED}|{code}"]}
    answer = await ask(graph, project, cohort=cohort)
    assert (refused(answer)["code"], refused(answer)["field"]) == ("TOO_FEW", ["cohort"])
    assert answer.data["requestDataset"]["patientCountText"] == "<11"
    await people.condition(here, patients[10], code)
    payload = await requested(graph, project, cohort=cohort)
    assert (payload["patientCount"], payload["patientCountText"]) == (11, "11 to 14")
    await people.consent(here, patients[0], type="deny", purpose=[{"code": "HRESCH"}])
    assert refused(await ask(graph, project, cohort=cohort))["code"] == "TOO_FEW"
    others = await requested(graph, project, cohort={"withoutCondition": cohort["condition"]})
    assert others["patientCount"] >= THRESHOLD


@given(st.integers(THRESHOLD, 10**7))
def test_the_count_that_is_told_is_near_and_coarse(patients: int) -> None:
    told = about(patients)
    assert told >= THRESHOLD
    assert abs(told - patients) <= 5
    assert told % 10 == 0 or (told == THRESHOLD and patients < 15)


async def test_a_key_that_is_sent_again_asks_once(graph: Graph) -> None:
    project, sent = (await approved(graph))["id"], {"name": "falls", "idempotencyKey": str(uuid4())}
    answers = [await ask(graph, project, **sent) for _ in range(2)]
    assert answers[0].data == answers[1].data
    assert answers[0].data["requestDataset"]["userErrors"] == []
    assert ("research", "research_cohort_count") not in answers[1].statements


async def test_a_dataset_has_one_name_and_versions_one_after_the_other(graph: Graph) -> None:
    project = (await approved(graph))["id"]
    first = await requested(graph, project, name="falls")
    again = await ask(graph, project, name="falls")
    assert (refused(again)["code"], refused(again)["field"]) == ("ALREADY_EXISTS", ["name"])
    dataset = {"datasetId": first["request"]["id"]}
    waits = refused(await send(graph, "refreshDataset", REQUESTED, researcher(graph), **dataset))
    assert (waits["code"], waits["field"]) == ("NOT_ALLOWED_NOW", ["datasetId"])
    await graph.stores.clinical.worker_fetch(SET_STATE, key(first["extraction"]["id"]), "PUBLISHED")
    second = (await send(graph, "refreshDataset", REQUESTED, researcher(graph), **dataset)).data["refreshDataset"]
    assert (second["extraction"]["version"], second["request"]["id"]) == (2, first["request"]["id"])
    nodes = [second["extraction"]["id"], first["extraction"]["id"]]
    assert second["request"]["extractions"] == {"nodes": [{"id": one} for one in nodes]}
    await settled(graph.stores)
    written(await send(graph, "revokeResearchProject", PROJECT, officer(graph), id=project, version=2))
    closed = refused(await send(graph, "refreshDataset", REQUESTED, researcher(graph), **dataset))
    assert (closed["code"], closed["field"]) == ("NOT_ALLOWED_NOW", ["projectId"])


async def test_only_members_ask_and_only_for_research(graph: Graph) -> None:
    """To who is no member a project is like one that never was; a member who is removed is none at once."""
    project, never = (await approved(graph))["id"], f"ResearchProject/{uuid4()}"
    first, unknown = await requested(graph, project), f"ResearchDatasetRequest/{uuid4()}"
    member = {"projectId": project, "subject": COLLEAGUE}
    colleague = researcher(graph, subject=COLLEAGUE)
    written(await send(graph, "addResearchMember", PROJECT, officer(graph), **member))
    assert (await ask(graph, project, colleague)).data["requestDataset"]["userErrors"] == []
    written(await send(graph, "removeResearchMember", PROJECT, officer(graph), **member))
    for who in (colleague, researcher(graph, OTHER), researcher(graph, subject="stranger")):
        answers = [await ask(graph, one, who, name="falls") for one in (project, never)]
        assert refused(answers[0])["code"] == "NOT_FOUND"
        assert bytes_of(answers[0]) == bytes_of(answers[1])
        assert answers[0].statements == answers[1].statements
        ids = (first["request"]["id"], unknown)
        answers = [await send(graph, "refreshDataset", REQUESTED, who, datasetId=one) for one in ids]
        assert refused(answers[0])["code"] == "NOT_FOUND"
        assert bytes_of(answers[0]) == bytes_of(answers[1])
        for one in (first["request"]["id"], first["extraction"]["id"]):
            assert (await graph.ask_as(who, NODE, id=one)).data == {"node": None}
    operations = replace(researcher(graph), purpose=PurposeOfUse.HOPERAT)
    for who in (operations, officer(graph), graph.caller(Profile.CLINICIAN)):
        assert (await ask(graph, project, who)).codes == ["FORBIDDEN"]


async def cancel(graph: Graph, who: Caller, id: str) -> Answer:
    """The answer to who cancels an extraction."""
    return await send(graph, "cancelExtraction", EXTRACTION, who, id=id)


async def test_an_extraction_that_waits_is_cancelled_at_once_one_that_runs_is_told_to_end(graph: Graph) -> None:
    project = (await approved(graph))["id"]
    waiting = (await requested(graph, project))["extraction"]["id"]
    ended = written(await cancel(graph, researcher(graph), waiting))
    assert (ended["state"], ended["cancelledBy"], ended["error"]) == ("CANCELLED", "test-scholar", "CANCELLED")
    assert ended["finishedAt"]
    running = (await requested(graph, project))["extraction"]["id"]
    await graph.stores.clinical.worker_fetch(SET_DONE, key(running), 1)
    told = written(await cancel(graph, officer(graph), running))
    assert (told["state"], told["cancelledBy"], told["finishedAt"]) == ("RUNNING", "test-officer", None)
    for over in (waiting, running):
        error = refusal(await cancel(graph, researcher(graph), over))
        assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["id"])
    left = (await requested(graph, project))["extraction"]["id"]
    for who in (researcher(graph, subject="stranger"), officer(graph, OTHER)):
        answers = [await cancel(graph, who, one) for one in (left, f"ResearchExtraction/{uuid4()}")]
        assert refusal(answers[0])["code"] == "NOT_FOUND"
        assert bytes_of(answers[0]) == bytes_of(answers[1])
    assert (await cancel(graph, graph.caller(Profile.CLINICIAN), left)).codes == ["FORBIDDEN"]


async def test_progress_is_told_as_it_is_made(graph: Graph) -> None:
    project = (await approved(graph))["id"]
    id = (await requested(graph, project))["extraction"]["id"]
    fetch = graph.stores.clinical.worker_fetch
    async with aclosing(graph.subscribe_as(researcher(graph), PROGRESS, id=id)) as told:
        waiting = asyncio.ensure_future(anext(told))
        while not waiting.done():  # nobody is told of what was before they listened
            await fetch(SET_DONE, key(id), 0)
            await fetch(SET_DONE, key(id), 1)
            await asyncio.wait([waiting], timeout=0.5)
        message = waiting.result()
        assert message.errors == []
        progress = message.data["jobProgress"]
        assert (progress["id"], progress["status"], progress["total"]) == (id, "RUNNING", 4)
        assert progress["extraction"]["state"] == "RUNNING"
        await fetch(SET_STATE, key(id), "PUBLISHED")
        while (progress := (await anext(told)).data["jobProgress"])["status"] != "DONE":
            assert progress["done"] <= 1
        assert (progress["done"], progress["extraction"]["state"]) == (1, "PUBLISHED")
    for who in (researcher(graph, OTHER), researcher(graph, subject="stranger"), graph.caller()):
        answers: list[bytes] = []
        for one in (id, f"ResearchExtraction/{uuid4()}"):
            async with aclosing(graph.subscribe_as(who, PROGRESS, id=one)) as nothing:
                answers.append(bytes_of(await anext(nothing)))
        assert answers[0] == answers[1]
        assert b"INVALID_ARGUMENT" in answers[0]
