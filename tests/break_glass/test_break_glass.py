"""Break-glass: what is suppressed says so, opens for one patient and caller, ends, and is reviewed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from db.caller import Caller, Profile, PurposeOfUse, Role
from db.policy import ROLES
from tests.asking import Answer, Graph
from tests.people import DIABETES, OPIOID_DEPENDENCE, People

CHART = """query($id: ID!) { patient(id: $id) { name { family }
    conditions { nodes { code { coding { code } } } } clinicalNotes { nodes { id } } vitalSigns { nodes { id } } } }"""
BREAK = """mutation($patient: ID!, $reason: String!, $minutes: Int! = 60) {
    breakGlass(patient: $patient, reason: $reason, minutes: $minutes) { id expiresAt patient { id } } }"""
GRANTS = (
    "query($unreviewed: Boolean!) { breakGlassGrants(unreviewed: $unreviewed) { nodes { id subject reason review } } }"
)
REVIEW = """mutation($id: ID!, $close: Boolean!) {
    reviewBreakGlass(id: $id, review: "Justified.", close: $close) { reviewedBy closedAt } }"""
REASON = "Unconscious in the emergency department"


def consultant(graph: Graph, facility: int = 0, role: str = "consultant") -> Caller:
    """A caller without any relationship; a new one each time."""
    return Caller(f"dr-{uuid4().hex}", ROLES[role], graph.facilities[facility].id, PurposeOfUse.TREAT)


def codes_of(answer: Answer) -> set[str]:
    """Codes of the conditions that an answer shows."""
    nodes = (answer.data["patient"]["conditions"] or {"nodes": ()})["nodes"]
    return {coding["code"] for node in nodes for coding in node["code"]["coding"]}


async def patient_of(graph: Graph, facility: int = 0) -> str:
    """Global id of a new patient at a facility."""
    return f"Patient/{await People(graph.stores).patient(graph.facilities[facility].id)}"


async def test_what_is_suppressed_says_so_and_names_the_protocol(graph: Graph) -> None:
    answer = await graph.ask_as(consultant(graph), CHART, id=await patient_of(graph))
    assert answer.data["patient"]["name"]
    assert answer.data["patient"]["conditions"] is None
    assert answer.codes == ["SUPPRESSED"] * 3
    assert {(e["extensions"]["reason"], e["extensions"]["breakGlass"]) for e in answer.errors} == {
        ("RELATIONSHIP", True)
    }


async def test_breaking_the_glass_opens_one_chart_to_one_caller(graph: Graph) -> None:
    caller, patient, other = consultant(graph), await patient_of(graph), await patient_of(graph)
    made = await graph.ask_as(caller, BREAK, patient=patient, reason=REASON)
    assert made.data["breakGlass"]["patient"] == {"id": patient}
    opened = await graph.ask_as(caller, CHART, id=patient)
    assert (opened.errors, codes_of(opened)) == ([], {DIABETES, OPIOID_DEPENDENCE})
    for who, whom in ((caller, other), (consultant(graph), patient)):
        assert (await graph.ask_as(who, CHART, id=whom)).codes == ["SUPPRESSED"] * 3
    # The same subject in another role has the other role's rights.
    assert codes_of(await graph.ask_as(replace(caller, role=ROLES["cds"]), CHART, id=patient)) == {DIABETES}


async def test_a_label_is_lifted_for_who_reaches_the_chart_already(graph: Graph) -> None:
    caller, patient = consultant(graph, role="physician"), await patient_of(graph)
    assert codes_of(await graph.ask_as(caller, CHART, id=patient)) == {DIABETES}
    await graph.ask_as(caller, BREAK, patient=patient, reason=REASON)
    assert codes_of(await graph.ask_as(caller, CHART, id=patient)) == {DIABETES, OPIOID_DEPENDENCE}


async def test_psychotherapy_notes_open_only_for_the_roles_that_the_policy_names(graph: Graph) -> None:
    facility = graph.facilities[0].id
    patient = await People(graph.stores).patient(facility)
    await People(graph.stores).condition(facility, patient, "73211009", "PSYTHPN")
    for role, seen in (("consultant", False), ("psychotherapist", True)):
        caller = consultant(graph, role=role)
        await graph.ask_as(caller, BREAK, patient=f"Patient/{patient}", reason=REASON)
        answer = await graph.ask_as(caller, CHART, id=f"Patient/{patient}")
        assert ("73211009" in codes_of(answer)) == seen, role


DENIALS = {
    "for treatment": ({"type": "deny", "purpose": [{"code": "TREAT"}]}, True),
    "altogether": ({"type": "deny"}, False),
}


@pytest.mark.parametrize("denial", DENIALS)
async def test_it_lifts_a_denial_for_treatment_and_none_altogether(graph: Graph, denial: str) -> None:
    """Saying ETREAT lifts nothing: only a grant does, which somebody reviews."""
    provision, lifted = DENIALS[denial]
    caller, patient = consultant(graph, role="physician"), await patient_of(graph)
    await People(graph.stores).consent(caller.facility_id, UUID(patient.partition("/")[2]), **provision)
    for asking in (caller, replace(caller, purpose=PurposeOfUse.ETREAT)):
        answer = await graph.ask_as(asking, CHART, id=patient)
        assert [error["extensions"]["reason"] for error in answer.errors] == ["CONSENT"] * 3
    assert (await graph.ask_as(caller, BREAK, patient=patient, reason=REASON)).errors == []
    assert (await graph.ask_as(caller, CHART, id=patient)).codes == ([] if lifted else ["SUPPRESSED"] * 3)


async def test_a_grant_ends(graph: Graph) -> None:
    caller, patient = consultant(graph), await patient_of(graph)
    made = await graph.ask_as(caller, BREAK, patient=patient, reason=REASON)
    grant = UUID(made.data["breakGlass"]["id"].partition("/")[2])
    await graph.stores.clinical.worker_fetch(
        "UPDATE clinical.break_glass_grant SET expires_at = clock_timestamp() WHERE id = $1", grant
    )
    assert (await graph.ask_as(caller, CHART, id=patient)).codes == ["SUPPRESSED"] * 3


async def test_a_privacy_officer_reviews_and_closes(graph: Graph) -> None:
    caller, patient = consultant(graph), await patient_of(graph)
    made = (await graph.ask_as(caller, BREAK, patient=patient, reason=REASON)).data["breakGlass"]["id"]
    officer = graph.caller(Profile.PRIVACY_OFFICER)
    waiting = (await graph.ask_as(officer, GRANTS, unreviewed=True)).data["breakGlassGrants"]["nodes"]
    [listed] = [grant for grant in waiting if grant["id"] == made]
    assert (listed["subject"], listed["reason"]) == (caller.subject, REASON)

    elsewhere = graph.caller(Profile.PRIVACY_OFFICER, 1)
    assert (await graph.ask_as(elsewhere, REVIEW, id=made, close=True)).codes == ["INVALID_ARGUMENT"]
    reviewed = (await graph.ask_as(officer, REVIEW, id=made, close=True)).data["reviewBreakGlass"]
    assert reviewed["reviewedBy"] == officer.subject
    assert reviewed["closedAt"]
    assert (await graph.ask_as(officer, REVIEW, id=made, close=True)).codes == ["INVALID_ARGUMENT"]
    assert (await graph.ask_as(caller, CHART, id=patient)).codes == ["SUPPRESSED"] * 3


@pytest.mark.parametrize("profile", [p for p in Profile if p is not Profile.PRIVACY_OFFICER])
async def test_grants_are_for_privacy_officers(graph: Graph, profile: Profile) -> None:
    caller = graph.caller(profile)
    assert (await graph.ask_as(caller, GRANTS, unreviewed=False)).codes == ["FORBIDDEN"]
    assert (await graph.ask_as(caller, REVIEW, id=f"BreakGlassGrant/{uuid4()}", close=False)).codes == ["FORBIDDEN"]


@pytest.mark.parametrize(
    "role",
    [role for role in ROLES.values() if role.profile not in (Profile.CLINICIAN, Profile.NURSE)],
    ids=lambda role: role.name,
)
async def test_only_who_treats_breaks_the_glass(graph: Graph, role: Role) -> None:
    caller = replace(graph.caller(role.profile), role=role)
    answer = await graph.ask_as(caller, BREAK, patient=await patient_of(graph), reason=REASON)
    assert answer.codes == ["FORBIDDEN"]


async def test_it_never_lifts_the_facility(graph: Graph) -> None:
    """A patient of another facility is answered like one who never was, and no grant is made."""
    caller = consultant(graph)
    answers = [
        await graph.ask_as(caller, BREAK, patient=patient, reason=REASON)
        for patient in (await patient_of(graph, 1), f"Patient/{uuid4()}")
    ]
    assert [answer.codes for answer in answers] == [["INVALID_ARGUMENT"]] * 2
    assert answers[0].errors == answers[1].errors
    assert answers[0].statements == answers[1].statements


@pytest.mark.parametrize(
    ("argument", "value"),
    [("reason", "short"), ("reason", "x" * 501), ("minutes", 0), ("minutes", 241), ("patient", "Patient/x")],
)
async def test_bad_arguments_are_named(graph: Graph, argument: str, value: object) -> None:
    given = {"patient": f"Patient/{uuid4()}", "reason": REASON, argument: value}
    answer = await graph.ask_as(consultant(graph), BREAK, **given)
    assert [error["extensions"]["argument"] for error in answer.errors] == [argument]


async def test_a_privacy_officer_is_told_at_once(graph: Graph) -> None:
    """One of this facility is told; one of another facility hears only of theirs."""
    here, there = graph.caller(Profile.PRIVACY_OFFICER, 0), graph.caller(Profile.PRIVACY_OFFICER, 1)
    told = "subscription { breakGlassGrants { grants { subject reason patient { mrn } } } }"
    async with aclosing(graph.subscribe_as(here, told)) as ours, aclosing(graph.subscribe_as(there, told)) as theirs:
        waiting = [asyncio.ensure_future(anext(ours)), asyncio.ensure_future(anext(theirs))]
        while not all(one.done() for one in waiting):  # nobody is told of what was before they listened
            for facility in (0, 1):
                patient = await patient_of(graph, facility)
                await graph.ask_as(consultant(graph, facility), BREAK, patient=patient, reason=f"{REASON} {facility}")
            await asyncio.wait(waiting, timeout=0.5)
        messages = [one.result() for one in waiting]
    assert [m.data["breakGlassGrants"]["grants"][0]["reason"] for m in messages] == [f"{REASON} 0", f"{REASON} 1"]


async def test_a_subscription_is_refused_to_others(graph: Graph) -> None:
    async with aclosing(
        graph.subscribe_as(graph.caller(), "subscription { breakGlassGrants { grants { id } } }")
    ) as told:
        assert (await anext(told)).codes == ["FORBIDDEN"]
