"""Projects of research: proposed, approved and revoked by different people; seen by who has to do with them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from db.caller import Profile, PurposeOfUse
from db.settings import Settings
from tests.asking import Graph
from tests.psql.transcript import psql
from tests.research.people import (
    AGREEMENT,
    APPROVAL,
    COLLEAGUE,
    OFFICER,
    OTHER,
    PROJECT,
    SCHOLAR,
    approved,
    facility_id,
    officer,
    proposed,
    researcher,
    settled,
)
from tests.tenancy.tenants import bytes_of
from tests.writes.mutating import asked, refusal, send, written

NODE = "query ($id: ID!) { node(id: $id) { ... on ResearchProject { id status } } }"
LISTED = "{ researchProjects(first: 100) { nodes { id } } }"
RECORDED = """
SELECT table_name, operation, actor, login FROM audit.change
WHERE after ->> 'id' = $1 OR coalesce(after, before) ->> 'project_id' = $1 ORDER BY occurred_at"""
DENIED = "42501"
YESTERDAY = (datetime.now(UTC).date() - timedelta(days=1)).isoformat()


@pytest_asyncio.fixture(autouse=True)
async def ended(graph: Graph) -> AsyncGenerator[None]:
    """No extraction waits after a test."""
    yield
    await settled(graph.stores)


def key(project: dict[str, Any]) -> UUID:
    """Key of a project."""
    return UUID(project["id"].removeprefix("ResearchProject/"))


async def readable(graph: Graph, project: dict[str, Any]) -> list[UUID]:
    """Facilities whose records an extraction of the project may read now."""
    async with graph.stores.research.project(key(project)) as reading:
        return (await reading.fetch("/* test_facilities */ SELECT access.research_facilities()"))[0][0]


async def test_a_project_from_proposal_to_revocation(graph: Graph) -> None:
    here = facility_id(graph)
    project = await proposed(graph, 0, OTHER)
    assert (project["status"], project["methods"], project["version"]) == ("PROPOSED", [], 1)
    assert project["members"] == [{"subject": SCHOLAR, "addedBy": SCHOLAR}]
    assert await readable(graph, project) == []
    terms = {
        "methods": ["SAFE_HARBOR", "LIMITED", "TRUSTED"],
        "dataUseAgreement": AGREEMENT,
        "irbApproval": APPROVAL,
        "labels": ["HIV"],
        "k": 20,
        "l": 3,
        "epsilon": 1.5,
    }
    given = {"id": project["id"], "version": 1, **terms}
    answer = await send(graph, "approveResearchProject", PROJECT, officer(graph), **given)
    assert asked(answer) == {
        "claim_idempotency_key": 1,
        "research_project_for_update": 1,
        "approve_research_project": 1,
        "approve_research_facility": 1,
        "keep_outcome": 1,
        "research_project_by_id": 1,
        "facilities_of_research_projects": 1,
        "members_of_research_projects": 1,
    }
    project = written(answer)
    assert {name: project[name] for name in terms} == terms
    assert (project["status"], project["version"], project["approvedBy"]) == ("APPROVED", 2, OFFICER)
    [home] = [one for one in project["facilities"] if one["facilityId"] == here]
    assert home["approvedBy"] == OFFICER
    assert await readable(graph, project) == [graph.facilities[0].id]
    given = {"id": project["id"], "version": 2}
    project = written(await send(graph, "revokeResearchProject", PROJECT, officer(graph), **given))
    assert (project["status"], project["revokedBy"]) == ("REVOKED", OFFICER)
    assert await readable(graph, project) == [], "at once"


async def test_every_facility_decides_for_itself(graph: Graph) -> None:
    project = await approved(graph, 0, OTHER)
    both = {graph.facilities[0].id, graph.facilities[OTHER].id}
    there = officer(graph, OTHER)
    given = {"projectId": project["id"]}
    project = written(await send(graph, "approveResearchFacility", PROJECT, there, **given))
    assert set(await readable(graph, project)) == both
    error = refusal(await send(graph, "approveResearchFacility", PROJECT, there, **given))
    assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["projectId"])
    project = written(await send(graph, "revokeResearchFacility", PROJECT, there, **given))
    assert await readable(graph, project) == [graph.facilities[0].id]
    error = refusal(await send(graph, "revokeResearchFacility", PROJECT, there, **given))
    assert error["code"] == "NOT_ALLOWED_NOW"
    project = written(await send(graph, "approveResearchFacility", PROJECT, there, **given))
    assert set(await readable(graph, project)) == both


async def test_who_proposed_does_not_approve(graph: Graph) -> None:
    """Not as a privacy officer either, at home or elsewhere."""
    project = await proposed(graph, 0, OTHER)
    terms = {"id": project["id"], "version": 1, "methods": ["SAFE_HARBOR"]}
    answer = await send(graph, "approveResearchProject", PROJECT, researcher(graph), **terms)
    assert answer.codes == ["FORBIDDEN"]
    error = refusal(await send(graph, "approveResearchProject", PROJECT, officer(graph, subject=SCHOLAR), **terms))
    assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["id"])
    there = officer(graph, OTHER, SCHOLAR)
    error = refusal(await send(graph, "approveResearchFacility", PROJECT, there, projectId=project["id"]))
    assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["projectId"])


async def test_another_facilitys_officer_decides_nothing_but_its_own_records(graph: Graph) -> None:
    project, there = await proposed(graph, 0, OTHER), officer(graph, OTHER)
    seen = (await graph.ask_as(there, NODE, id=project["id"])).data["node"]
    assert seen["status"] == "PROPOSED"
    given = {"id": project["id"], "version": 1}
    for name, more in (
        ("approveResearchProject", {**given, "methods": ["SAFE_HARBOR"]}),
        ("revokeResearchProject", given),
        ("addResearchMember", {"projectId": project["id"], "subject": "somebody"}),
    ):
        assert (await send(graph, name, PROJECT, there, **more)).codes == ["FORBIDDEN"], name
    removed = {"projectId": project["id"], "subject": SCHOLAR}
    assert refusal(await send(graph, "removeResearchMember", PROJECT, there, **removed))["code"] == "NOT_FOUND"
    assert (await graph.ask_as(researcher(graph), NODE, id=project["id"])).data["node"] == seen


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"methods": []}, ["methods"]),
        ({"methods": ["LIMITED"]}, ["dataUseAgreement"]),
        ({"methods": ["TRUSTED"], "dataUseAgreement": AGREEMENT}, ["irbApproval"]),
        (
            {"methods": ["LIMITED"], "dataUseAgreement": {**AGREEMENT, "expires": YESTERDAY}},
            ["dataUseAgreement", "expires"],
        ),
        ({"methods": ["TRUSTED"], "irbApproval": {**APPROVAL, "expires": YESTERDAY}}, ["irbApproval", "expires"]),
        ({"methods": ["TRUSTED"], "irbApproval": {**APPROVAL, "kinds": ["NAME"]}}, ["irbApproval", "kinds"]),
        ({"methods": ["TRUSTED"], "irbApproval": {**APPROVAL, "reference": " "}}, ["irbApproval", "reference"]),
        ({"labels": ["NOTHING"]}, ["labels"]),
        ({"k": 10}, ["k"]),
        ({"l": 0}, ["l"]),
        ({"epsilon": 21}, ["epsilon"]),
        ({"epsilon": -1}, ["epsilon"]),
    ],
    ids=str,
)
async def test_terms_that_no_project_may_have(graph: Graph, terms: dict[str, Any], field: list[str]) -> None:
    project = await proposed(graph)
    given = {"id": project["id"], "version": 1, "methods": ["SAFE_HARBOR"], **terms}
    error = refusal(await send(graph, "approveResearchProject", PROJECT, officer(graph), **given))
    assert (error["code"], error["field"]) == ("INVALID", field)


async def test_a_revoked_project_stays_so_and_versions_are_compared(graph: Graph) -> None:
    project = await approved(graph)
    given = {"id": project["id"], "version": 1}
    error = refusal(await send(graph, "revokeResearchProject", PROJECT, officer(graph), **given))
    assert (error["code"], error["version"]) == ("CONFLICT", 2)
    written(await send(graph, "revokeResearchProject", PROJECT, officer(graph), id=project["id"], version=2))
    again = {"id": project["id"], "version": 3}
    for name, more in (("revokeResearchProject", {}), ("approveResearchProject", {"methods": ["SAFE_HARBOR"]})):
        error = refusal(await send(graph, name, PROJECT, officer(graph), **again, **more))
        assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["id"])
    error = refusal(await send(graph, "approveResearchFacility", PROJECT, officer(graph), projectId=project["id"]))
    assert error["code"] == "NOT_ALLOWED_NOW"


async def test_proposals_that_are_refused(graph: Graph) -> None:
    given: dict[str, Any] = {"name": "Falls", "aim": "Why", "facilityIds": [facility_id(graph)]}
    for change, code, field in (
        ({"name": " "}, "INVALID", ["name"]),
        ({"aim": "x" * 2001}, "INVALID", ["aim"]),
        ({"facilityIds": []}, "INVALID", ["facilityIds"]),
        ({"facilityIds": ["Patient/1"]}, "INVALID", ["facilityIds"]),
        ({"facilityIds": [f"Facility/{uuid4()}"]}, "NOT_FOUND", ["facilityIds"]),
    ):
        error = refusal(await send(graph, "proposeResearchProject", PROJECT, researcher(graph), **given | change))
        assert (error["code"], error["field"]) == (code, field)
    operations = replace(researcher(graph), purpose=PurposeOfUse.HOPERAT)
    for who in (operations, officer(graph), Profile.CLINICIAN):
        assert (await send(graph, "proposeResearchProject", PROJECT, who, **given)).codes == ["FORBIDDEN"]


async def test_members_see_a_project_until_they_are_removed(graph: Graph) -> None:
    project = await approved(graph)
    colleague = researcher(graph, subject=COLLEAGUE)
    member = {"projectId": project["id"], "subject": COLLEAGUE}
    assert (await graph.ask_as(colleague, NODE, id=project["id"])).data == {"node": None}
    shown = written(await send(graph, "addResearchMember", PROJECT, officer(graph), **member))
    assert {"subject": COLLEAGUE, "addedBy": OFFICER} in shown["members"]
    error = refusal(await send(graph, "addResearchMember", PROJECT, officer(graph), **member))
    assert (error["code"], error["field"]) == ("ALREADY_EXISTS", ["subject"])
    assert (await graph.ask_as(colleague, NODE, id=project["id"])).data["node"]["status"] == "APPROVED"
    elsewhere = replace(colleague, purpose=PurposeOfUse.HOPERAT)
    assert (await graph.ask_as(elsewhere, NODE, id=project["id"])).data == {"node": None}, "for research only"
    assert (await send(graph, "removeResearchMember", PROJECT, colleague, **member)).codes == ["FORBIDDEN"]
    written(await send(graph, "removeResearchMember", PROJECT, officer(graph), **member))
    assert (await graph.ask_as(colleague, NODE, id=project["id"])).data == {"node": None}
    assert project["id"] not in str((await graph.ask_as(colleague, LISTED)).data)
    error = refusal(await send(graph, "removeResearchMember", PROJECT, officer(graph), **member))
    assert (error["code"], error["field"]) == ("NOT_FOUND", ["subject"])


async def test_elsewhere_a_project_is_like_one_that_never_was(graph: Graph) -> None:
    """Same bytes and statements, for who asks and for who would change it."""
    project, never = (await approved(graph))["id"], f"ResearchProject/{uuid4()}"
    for who in (researcher(graph, OTHER), officer(graph, OTHER), researcher(graph, subject="stranger")):
        there, unknown = [await graph.ask_as(who, NODE, id=one) for one in (project, never)]
        assert bytes_of(there) == bytes_of(unknown)
        assert there.statements == unknown.statements
        assert project not in str((await graph.ask_as(who, LISTED)).data)
    terms = {"version": 2, "methods": ["SAFE_HARBOR"]}
    member = {"subject": "somebody"}
    for name, of, more in (
        ("approveResearchProject", "id", terms),
        ("revokeResearchProject", "id", {"version": 2}),
        ("approveResearchFacility", "projectId", {}),
        ("revokeResearchFacility", "projectId", {}),
        ("addResearchMember", "projectId", member),
        ("removeResearchMember", "projectId", member),
    ):
        answers = [
            await send(graph, name, PROJECT, officer(graph, OTHER), **{of: one}, **more) for one in (project, never)
        ]
        assert bytes_of(answers[0]) == bytes_of(answers[1]), name
        assert answers[0].statements == answers[1].statements
        assert refusal(answers[0])["code"] == "NOT_FOUND"


async def test_who_has_nothing_to_do_with_research_gets_no_list(graph: Graph) -> None:
    for who in (graph.caller(), graph.caller(Profile.ANALYST), graph.caller(Profile.REGISTRAR)):
        assert (await graph.ask_as(who, LISTED)).codes == ["FORBIDDEN"]


async def test_what_was_decided_is_recorded(graph: Graph, network: Settings) -> None:
    project = await approved(graph)
    owner = await asyncpg.connect(network.clinical_url)
    try:
        rows = [tuple(row) for row in await owner.fetch(RECORDED, str(key(project)))]
    finally:
        await owner.close()
    assert rows == [
        ("research_project", "INSERT", SCHOLAR, "caregraph_analyst"),
        ("research_member", "INSERT", SCHOLAR, "caregraph_analyst"),
        ("research_facility", "INSERT", SCHOLAR, "caregraph_analyst"),
        ("research_project", "UPDATE", OFFICER, "caregraph_privacy_officer"),
        ("research_facility", "UPDATE", OFFICER, "caregraph_privacy_officer"),
    ]


async def test_a_login_without_the_application_writes_and_finds_nothing(graph: Graph, network: Settings) -> None:
    """A good context, as psql has it, and the password of the profile."""
    project = await approved(graph)
    here, mine = graph.facilities[0].id, key(project)
    async with psql(network, researcher(graph)) as scholar:
        assert (await scholar.say(f"SELECT status FROM research_project WHERE id = '{mine}'")).value == "APPROVED"
        await scholar.say("SET ROLE caregraph_analyst_writer")
        assert (await scholar.say("SELECT count(*) FROM clinical.research_project")).value == 0
        for insert in (
            f"""research_project (id, facility_id, name, aim, proposed_by)
                VALUES ('{uuid4()}', '{here}', 'a', 'b', '{SCHOLAR}')""",
            f"research_member (project_id, facility_id, subject, added_by) VALUES ('{mine}', '{here}', 'c', 'c')",
            f"""research_dataset (id, facility_id, project_id, name, method, definition, requested_by)
                VALUES ('{uuid4()}', '{here}', '{mine}', 'd', 'SAFE_HARBOR', '{{}}', '{SCHOLAR}')""",
        ):
            assert (await scholar.say(f"INSERT INTO clinical.{insert}")).sqlstate == DENIED
        said = await scholar.say("UPDATE clinical.research_project SET name = 'mine' RETURNING 1")
        assert (said.rows, said.sqlstate) == ([], None)
    async with psql(network, officer(graph)) as privacy:
        assert (await privacy.say("SELECT * FROM access.research_reidentified(ARRAY[gen_random_uuid()])")).rows == []
        await privacy.say("SET ROLE caregraph_privacy_officer_writer")
        said = await privacy.say("DELETE FROM clinical.research_member RETURNING 1")
        assert (said.rows, said.sqlstate) == ([], None)
