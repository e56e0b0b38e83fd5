"""Whom a research id stands for: asked by one person, decided by another where the patient is, and told there alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest_asyncio

from db.caller import Profile
from tests.asking import Answer, Graph
from tests.people import People
from tests.research.people import COLLEAGUE, OFFICER, OTHER, PROJECT, SCHOLAR, Made, made, officer, researcher
from tests.tenancy.tenants import bytes_of
from tests.writes.mutating import refusal, send, written

QUESTION = """reidentification { id version researchId reason requestedBy decidedBy granted
    extraction { id } project { id } patient { id name { family } } }"""
NODE = "query ($id: ID!) { node(id: $id) { ... on ResearchReidentification { granted patient { id } } } }"
HOLDINGS = """query ($patient: ID!, $after: String) { researchHoldings(patient: $patient, first: 1, after: $after) {
    nodes { id version project { id name members { subject } } } pageInfo { hasNextPage endCursor } } }"""
ELSEWHERE = """
INSERT INTO clinical.research_facility (project_id, facility_id, approved_by, approved_at)
VALUES ($1, $2, 'test-officer', now())"""
SET_EXTRACTION = "UPDATE clinical.research_extraction SET state = $2 WHERE id = $1"
EXPIRE = "UPDATE clinical.research_project SET irb_expires = current_date - 1 WHERE id = $1"
REASON = "A finding that needs care"


@pytest_asyncio.fixture
async def patient(graph: Graph) -> UUID:
    """A new patient of the first facility."""
    return await People(graph.stores).patient(graph.facilities[0].id)


@pytest_asyncio.fixture
async def release(graph: Graph, patient: UUID) -> Made:
    """A project of the first facility with a published version that holds the patient."""
    return await made(graph.stores, graph.facilities[0].id, patient)


async def ask(graph: Graph, release: Made, who: Any = None, **more: Any) -> Answer:
    """The answer to who asks whom the research id of a release stands for."""
    given = {
        "extractionId": f"ResearchExtraction/{release.extraction}",
        "researchId": str(release.research_id),
        "reason": REASON,
    }
    return await send(graph, "requestReidentification", QUESTION, who or researcher(graph), **given | more)


async def decide(graph: Graph, question: dict[str, Any], who: Any = None, *, granted: bool = True) -> Answer:
    """The answer to who decides a question."""
    given = {"id": question["id"], "version": question["version"], "granted": granted}
    return await send(graph, "decideReidentification", QUESTION, who or officer(graph), **given)


async def test_two_people_and_only_the_privacy_officer_is_told(graph: Graph, release: Made, patient: UUID) -> None:
    question = written(await ask(graph, release))
    assert (question["researchId"], question["reason"]) == (str(release.research_id), REASON)
    assert (question["granted"], question["decidedBy"], question["patient"]) == (None, None, None)
    assert (await graph.ask_as(officer(graph), NODE, id=question["id"])).data["node"]["patient"] is None
    decided = written(await decide(graph, question))
    assert (decided["granted"], decided["decidedBy"], decided["version"]) == (True, OFFICER, 2)
    assert decided["patient"]["id"] == f"Patient/{patient}"
    assert decided["patient"]["name"]
    for who in (researcher(graph), graph.caller(), graph.caller(Profile.REGISTRAR), officer(graph, OTHER)):
        answer = await graph.ask_as(who, NODE, id=question["id"])
        assert str(patient) not in bytes_of(answer).decode()
    shown = (await graph.ask_as(researcher(graph), NODE, id=question["id"])).data["node"]
    assert shown == {"granted": True, "patient": None}
    error = refusal(await decide(graph, decided))
    assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["id"])


async def test_a_refused_question_tells_nobody(graph: Graph, release: Made) -> None:
    question = written(await ask(graph, release))
    decided = written(await decide(graph, question, granted=False))
    assert (decided["granted"], decided["patient"]) == (False, None)


async def test_nobody_decides_on_their_own(graph: Graph, release: Made) -> None:
    """Not under the same subject, not past the graph either."""
    question = written(await ask(graph, release))
    assert (await decide(graph, question, researcher(graph))).codes == ["FORBIDDEN"]
    error = refusal(await decide(graph, question, officer(graph, subject=SCHOLAR)))
    assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["id"])
    shown = (await graph.ask_as(officer(graph), NODE, id=question["id"])).data["node"]
    assert shown == {"granted": None, "patient": None}


async def test_the_facility_of_the_patient_decides(graph: Graph, release: Made) -> None:
    """Where a project reads several facilities' records, each officer knows of one's own patients alone."""
    await graph.stores.clinical.worker_fetch(ELSEWHERE, release.project, graph.facilities[OTHER].id)
    question, there = written(await ask(graph, release)), officer(graph, OTHER)
    assert (await graph.ask_as(there, NODE, id=question["id"])).data["node"]["granted"] is None
    error = refusal(await decide(graph, question, there))
    assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["id"])
    written(await decide(graph, question))
    shown = (await graph.ask_as(there, NODE, id=question["id"])).data["node"]
    assert shown == {"granted": True, "patient": None}


async def test_questions_that_are_refused(graph: Graph, release: Made) -> None:
    for more, code, field in (
        ({"researchId": "0"}, "INVALID", ["researchId"]),
        ({"researchId": str(2**63)}, "INVALID", ["researchId"]),
        ({"researchId": "1e3"}, "INVALID", ["researchId"]),
        ({"reason": "too short"}, "INVALID", ["reason"]),
        ({"researchId": str(release.research_id + 1)}, "NOT_FOUND", ["researchId"]),
        ({"extractionId": f"ResearchExtraction/{uuid4()}"}, "NOT_FOUND", ["extractionId"]),
    ):
        error = refusal(await ask(graph, release, **more))
        assert (error["code"], error["field"]) == (code, field)
    stranger = researcher(graph, subject=COLLEAGUE)
    answers = [
        await ask(graph, release, stranger, extractionId=f"ResearchExtraction/{one}")
        for one in (release.extraction, uuid4())
    ]
    assert bytes_of(answers[0]) == bytes_of(answers[1])
    assert refusal(answers[0])["code"] == "NOT_FOUND"
    question, fetch = written(await ask(graph, release)), graph.stores.clinical.worker_fetch
    await fetch(SET_EXTRACTION, release.extraction, "QUARANTINED")
    assert refusal(await ask(graph, release))["code"] == "NOT_ALLOWED_NOW"
    await fetch(SET_EXTRACTION, release.extraction, "PUBLISHED")
    await fetch(EXPIRE, release.project)
    assert refusal(await ask(graph, release))["code"] == "NOT_ALLOWED_NOW"
    error = refusal(await decide(graph, question))
    assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["granted"])
    assert written(await decide(graph, question, granted=False))["granted"] is False


async def test_a_revoked_project_asks_nobody(graph: Graph, release: Made) -> None:
    given = {"id": f"ResearchProject/{release.project}", "version": 1}
    written(await send(graph, "revokeResearchProject", PROJECT, officer(graph), **given))
    assert refusal(await ask(graph, release))["code"] == "NOT_ALLOWED_NOW"


async def test_who_holds_a_patients_records_is_listed(graph: Graph, release: Made, patient: UUID) -> None:
    """Newest first, by page, with the members who have them; for the privacy officer of the facility alone."""
    newer = await made(graph.stores, graph.facilities[0].id, patient)
    hidden = await made(graph.stores, graph.facilities[0].id, patient)
    await graph.stores.clinical.worker_fetch(SET_EXTRACTION, hidden.extraction, "QUARANTINED")
    asked, found, after = f"Patient/{patient}", list[dict[str, Any]](), None
    while True:
        page = (await graph.ask_as(officer(graph), HOLDINGS, patient=asked, after=after)).data["researchHoldings"]
        found += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert [one["id"] for one in found] == [f"ResearchExtraction/{one.extraction}" for one in (newer, release)]
    assert found[0]["project"]["members"] == [{"subject": SCHOLAR}]
    other = await People(graph.stores).patient(graph.facilities[0].id)
    nothing = (await graph.ask_as(officer(graph), HOLDINGS, patient=f"Patient/{other}")).data["researchHoldings"]
    assert nothing["nodes"] == []
    for who in (researcher(graph), graph.caller(), graph.caller(Profile.REGISTRAR)):
        assert (await graph.ask_as(who, HOLDINGS, patient=asked)).codes == ["FORBIDDEN"]
    there = officer(graph, OTHER)
    elsewhere = [await graph.ask_as(there, HOLDINGS, patient=one) for one in (asked, f"Patient/{uuid4()}")]
    assert bytes_of(elsewhere[0]) == bytes_of(elsewhere[1])
    assert elsewhere[0].data == {"researchHoldings": None}
