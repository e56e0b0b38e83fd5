"""Consents given, changed and withdrawn: what they permit and deny holds at once."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from db.caller import Caller, Profile
from db.errors import Forbidden
from db.policy import POLICY
from tests.asking import Answer, Graph
from tests.ids import ids_of
from tests.writes.registrar import asked, fetched, registered

CONSENT = "consent { id version status provisionType dateTime scope { coding { code } } category { coding { code } } }"
GIVE, CHANGE, WITHDRAW = (
    f"""
mutation ($input: {verb.capitalize()}ConsentInput!) {{
  {verb}Consent(input: $input) {{ {CONSENT} userErrors {{ code field message version }} }}
}}"""
    for verb in ("give", "change", "withdraw")
)
CHART = "query ($id: ID!) { patient(id: $id) { id conditions { nodes { id } } } }"
CONSENT_DOCUMENT = {"system": "http://loinc.org", "code": "59284-0", "display": "Consent Document"}
KEPT = "SELECT provision, scope, category FROM clinical.consent WHERE id = $1"
RULES = """
SELECT type, purposes, recipients, labels, lower(period), upper(period) FROM clinical.consent_rule
WHERE consent_id = $1 ORDER BY position"""
RECORDED = """
SELECT operation, actor, login, before ->> 'status', after ->> 'status', after ->> 'version' FROM audit.change
WHERE table_name = 'consent' AND row_key = $1 ORDER BY occurred_at"""
FROM_CLINICIANS = {"type": "deny", "actor": [{"profile": "clinician"}]}


@pytest_asyncio.fixture
async def patient(graph: Graph) -> AsyncGenerator[str]:
    """Global id of a new patient of the first facility; in the end nothing is denied to anybody."""
    made = (await registered(graph))["id"]
    yield made
    ended = "UPDATE clinical.consent SET status = 'inactive' WHERE patient_id = $1"
    await graph.stores.clinical.worker_fetch(ended, UUID(made.removeprefix("Patient/")))


def consent(patient: str, **more: Any) -> dict[str, Any]:
    """Input of a consent."""
    return {"idempotencyKey": str(uuid4()), "patientId": patient, "category": CONSENT_DOCUMENT, **more}


def change(given: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Input of an update of a consent as it was answered."""
    return {"idempotencyKey": str(uuid4()), "id": given["id"], "version": given["version"], **more}


def written(answer: Answer) -> dict[str, Any]:
    """The consent of a write that was made."""
    assert not answer.errors
    [payload] = answer.data.values()
    assert payload["userErrors"] == []
    return payload["consent"]


def refusal(answer: Answer) -> dict[str, Any]:
    """The one user error of a write that was not made."""
    assert not answer.errors
    [payload] = answer.data.values()
    assert payload["consent"] is None
    [error] = payload["userErrors"]
    return error


async def give(graph: Graph, patient: str, profile: Profile = Profile.REGISTRAR, **more: Any) -> Answer:
    """The answer to who records a consent."""
    return await graph.ask(GIVE, profile, input=consent(patient, **more))


async def chart_is_open(graph: Graph, patient: str, caller: Caller) -> bool:
    """Whether the chart of a patient is open to a caller's next query."""
    answer = await graph.ask_as(caller, CHART, id=patient)
    assert answer.data["patient"]["id"] == patient
    assert answer.codes in ([], ["SUPPRESSED"])
    return answer.data["patient"]["conditions"] is not None


def key(given: dict[str, Any]) -> Any:
    """Key of a consent's row."""
    return given["id"].removeprefix("Consent/")


async def test_a_denial_closes_the_chart_at_once_and_withdrawal_opens_it(graph: Graph, patient: str) -> None:
    clinician = graph.caller(Profile.CLINICIAN)
    assert await chart_is_open(graph, patient, clinician)
    answer = await give(graph, patient, provision=FROM_CLINICIANS, dateTime="2026-05")
    given = written(answer)
    assert {name: value for name, value in given.items() if name != "id"} == {
        "version": 1,
        "status": "active",
        "provisionType": "deny",
        "dateTime": "2026-05",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"coding": [{"code": "59284-0"}]}],
    }
    assert asked(answer) == [
        "claim_idempotency_key",
        "lock_chart",
        "where_consent_is_given",
        "give_consent",
        "chart_is_open_still",
        "keep_outcome",
        "consent_by_id",
    ]
    assert not await chart_is_open(graph, patient, clinician)
    answer = await graph.ask(WITHDRAW, Profile.REGISTRAR, input=change(given))
    assert (written(answer)["status"], written(answer)["version"]) == ("inactive", 2)
    assert asked(answer) == [
        "claim_idempotency_key",
        "consent_for_update",
        "withdraw_consent",
        "keep_outcome",
        "consent_by_id",
    ]
    assert await chart_is_open(graph, patient, clinician)
    assert await fetched(graph, RULES, key(given)) == []


async def test_a_changed_consent_holds_at_once(graph: Graph, patient: str) -> None:
    clinician = graph.caller(Profile.CLINICIAN)
    given = written(await give(graph, patient, dateTime="2026-05-01", scope={"text": "Research"}))
    assert given["provisionType"] is None
    assert await chart_is_open(graph, patient, clinician)
    answer = await graph.ask(CHANGE, Profile.REGISTRAR, input=change(given, provision=FROM_CLINICIANS))
    denied = written(answer)
    assert denied == given | {"version": 2, "provisionType": "deny"}, "what is left out stays"
    assert asked(answer) == [
        "claim_idempotency_key",
        "consent_for_update",
        "lock_chart",
        "where_consent_is_given",
        "change_consent",
        "chart_is_open_still",
        "keep_outcome",
        "consent_by_id",
    ]
    assert not await chart_is_open(graph, patient, clinician)
    cleared = await graph.ask(
        CHANGE,
        Profile.REGISTRAR,
        input=change(denied, provision=None, scope=None, category=None, dateTime=None),
    )
    after = {"version": 3, "provisionType": None, "scope": None, "category": [], "dateTime": None}
    assert written(cleared) == denied | after
    assert await chart_is_open(graph, patient, clinician)
    moved = await graph.ask(CHANGE, Profile.REGISTRAR, input=change(written(cleared), dateTime="2026-04"))
    assert written(moved)["dateTime"] == "2026-04"


async def test_a_rule_is_kept_as_fhir_and_read_as_it_was_meant(graph: Graph, patient: str) -> None:
    [provider] = await ids_of(graph, "Provider", limit=1)
    elsewhere = graph.facilities[1].id
    rule = {
        "type": "permit",
        "purpose": ["TREAT", "HPAYMT"],
        "actor": [{"providerId": provider}, {"facilityId": f"Facility/{elsewhere}"}, {"profile": "nurse"}],
        "securityLabel": ["HIV", "PSY"],
        "period": {"start": "2026", "end": "2027-03"},
    }
    given = written(await give(graph, patient, Profile.CLINICIAN, provision=rule))
    [kept] = await fetched(graph, KEPT, key(given))
    hl7 = "http://terminology.hl7.org/CodeSystem/"
    recipient = {
        "coding": [{"system": hl7 + "v3-ParticipationType", "code": "IRCP", "display": "information recipient"}]
    }
    named = provider.removeprefix("Provider/")
    assert json.loads(kept["provision"]) == {
        "type": "permit",
        "purpose": [{"system": hl7 + "v3-ActReason", "code": code} for code in ("TREAT", "HPAYMT")],
        "actor": [
            {"role": recipient, "reference": {"reference": f"Practitioner/{named}"}},
            {"role": recipient, "reference": {"reference": f"Organization/{elsewhere}"}},
            {"role": {"coding": [{"system": "urn:caregraph:profile", "code": "nurse"}]}},
        ],
        "securityLabel": [{"system": hl7 + "v3-ActCode", "code": code} for code in ("HIV", "PSY")],
        "period": {"start": "2026", "end": "2027-03"},
    }
    [read] = await fetched(graph, RULES, key(given))
    assert tuple(read)[:4] == ("permit", ["TREAT", "HPAYMT"], [named, str(elsewhere), "nurse"], ["HIV", "PSY"])
    assert [str(instant) for instant in tuple(read)[4:]] == ["2026-01-01 00:00:00+00:00", "2027-04-01 00:00:00+00:00"]


async def test_a_rule_without_parts_holds_for_all(graph: Graph, patient: str) -> None:
    empty: dict[str, Any] = {"type": "permit", "purpose": [], "actor": [], "securityLabel": [], "period": {}}
    given = written(await give(graph, patient, provision=empty))
    [read] = await fetched(graph, RULES, key(given))
    assert tuple(read) == ("permit", None, None, None, None, None)


TO_ALL: dict[str, tuple[Profile, dict[str, Any]]] = {
    "everybody": (Profile.REGISTRAR, {"type": "deny"}),
    "one's own purpose": (Profile.REGISTRAR, {"type": "deny", "purpose": ["HOPERAT"]}),
    "one's own profile": (Profile.CLINICIAN, FROM_CLINICIANS),
}
"""Who records a denial to whom."""


@pytest.mark.parametrize(("profile", "rule"), TO_ALL.values(), ids=TO_ALL.keys())
async def test_nobody_closes_a_chart_to_oneself(
    graph: Graph, patient: str, profile: Profile, rule: dict[str, Any]
) -> None:
    answer = await give(graph, patient, profile, provision=rule)
    error = refusal(answer)
    assert (error["code"], error["field"]) == ("INVALID", ["provision"])
    assert asked(answer)[-2:] == ["chart_is_open_still", "keep_outcome"]
    given = written(await give(graph, patient, profile))
    changed = await graph.ask(CHANGE, profile, input=change(given, provision=rule))
    assert refusal(changed) == error
    assert written(await graph.ask(WITHDRAW, profile, input=change(given)))["version"] == 2


async def test_to_whom_the_chart_is_closed_writes_no_consent_there(graph: Graph, patient: str) -> None:
    given = written(await give(graph, patient, provision=FROM_CLINICIANS))
    unknown = {"id": f"Consent/{uuid4()}", "version": 1}
    for query in (CHANGE, WITHDRAW):
        answers = [await graph.ask(query, input=change(one)) for one in (given, unknown)]
        assert refusal(answers[0])["code"] == "NOT_FOUND"
        assert answers[0] == answers[1]
    answer = await give(graph, patient, Profile.CLINICIAN)
    assert refusal(answer) == refusal(await give(graph, f"Patient/{uuid4()}", Profile.CLINICIAN))
    assert asked(answer) == ["claim_idempotency_key", "lock_chart", "where_consent_is_given", "keep_outcome"]


async def test_another_facilitys_patient_and_consent_do_not_exist(graph: Graph, patient: str) -> None:
    given = written(await give(graph, patient))
    unknown = {"id": f"Consent/{uuid4()}", "version": 1}
    for query in (CHANGE, WITHDRAW):
        answers = [await graph.ask(query, Profile.REGISTRAR, 1, input=change(one)) for one in (given, unknown)]
        assert refusal(answers[0])["code"] == "NOT_FOUND"
        assert answers[0] == answers[1]
    answers = [
        await graph.ask(GIVE, Profile.REGISTRAR, 1, input=consent(one)) for one in (patient, f"Patient/{uuid4()}")
    ]
    assert (refusal(answers[0])["code"], refusal(answers[0])["field"]) == ("NOT_FOUND", ["patientId"])
    assert answers[0] == answers[1]


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a category of nothing": ({"category": {}}, ["category"]),
    "a code without its system": ({"scope": {"code": "research"}}, ["scope"]),
    "a time that is none": ({"dateTime": "yesterday"}, ["dateTime"]),
    "a rule of no kind": ({"provision": {"type": "maybe"}}, ["provision", "type"]),
    "an unknown purpose": ({"provision": {"type": "deny", "purpose": ["FUN"]}}, ["provision", "purpose"]),
    "an unknown label": ({"provision": {"type": "deny", "securityLabel": ["X"]}}, ["provision", "securityLabel"]),
    "an unknown profile": (
        {"provision": {"type": "deny", "actor": [{"profile": "cousin"}]}},
        ["provision", "actor", "0", "profile"],
    ),
    "an actor who is nobody": (
        {"provision": {"type": "deny", "actor": [{"profile": "nurse"}, {}]}},
        ["provision", "actor", "1", "providerId"],
    ),
    "an actor who is two": (
        {"provision": {"type": "deny", "actor": [{"profile": "nurse", "facilityId": f"Facility/{uuid4()}"}]}},
        ["provision", "actor", "0", "providerId"],
    ),
    "an end before the start": (
        {"provision": {"type": "deny", "period": {"start": "2026-02", "end": "2026-01"}}},
        ["provision", "period", "end"],
    ),
}
"""What a consent is refused for, and the place that the refusal names."""


@pytest.mark.parametrize(("given", "place"), WRONG.values(), ids=WRONG.keys())
async def test_what_is_wrong_in_itself_is_refused_by_its_place(
    graph: Graph, given: dict[str, Any], place: list[str]
) -> None:
    answer = await give(graph, f"Patient/{uuid4()}", **given)
    assert (refusal(answer)["code"], refusal(answer)["field"]) == ("INVALID", place)
    assert not answer.statements


@pytest.mark.parametrize("named", ["providerId", "facilityId"])
async def test_who_is_not_there_is_no_actor(graph: Graph, patient: str, named: str) -> None:
    actor = {named: f"{'Provider' if named == 'providerId' else 'Facility'}/{uuid4()}"}
    rule = {"type": "deny", "actor": [actor]}
    given = written(await give(graph, patient))
    for answer in (
        await give(graph, patient, provision=rule),
        await graph.ask(CHANGE, Profile.REGISTRAR, input=change(given, provision=rule)),
    ):
        assert (refusal(answer)["code"], refusal(answer)["field"]) == ("NOT_FOUND", ["provision", "actor"])


async def test_a_stale_version_and_an_ended_consent_are_refused(graph: Graph, patient: str) -> None:
    given = written(await give(graph, patient, provision={"type": "deny", "purpose": ["HRESCH"]}))
    stale = given | {"version": 7}
    for query in (CHANGE, WITHDRAW):
        answer = await graph.ask(query, Profile.REGISTRAR, input=change(stale))
        assert (refusal(answer)["code"], refusal(answer)["version"]) == ("CONFLICT", 1)
        assert asked(answer) == ["claim_idempotency_key", "consent_for_update", "keep_outcome"]
    ended = written(await graph.ask(WITHDRAW, Profile.REGISTRAR, input=change(given)))
    for query in (CHANGE, WITHDRAW):
        answer = await graph.ask(query, Profile.REGISTRAR, input=change(ended))
        assert (refusal(answer)["code"], refusal(answer)["field"]) == ("NOT_ALLOWED_NOW", ["id"])


async def test_only_who_may_write_consents_does(graph: Graph, patient: str) -> None:
    given = written(await give(graph, patient))
    for profile in Profile:
        if "consent" in POLICY.writes[profile]:
            continue
        for query, asks in ((GIVE, consent(patient)), (CHANGE, change(given)), (WITHDRAW, change(given))):
            answer = await graph.ask(query, profile, input=asks)
            assert answer.codes == [Forbidden().code], profile
            assert not answer.statements


async def test_a_key_gets_one_answer_and_one_change(graph: Graph, patient: str) -> None:
    first = consent(patient)
    given = written(await graph.ask(GIVE, Profile.REGISTRAR, input=first))
    assert written(await graph.ask(GIVE, Profile.REGISTRAR, input=first)) == given
    for query, asks in ((CHANGE, change(given, dateTime="2026")), (WITHDRAW, change(given | {"version": 2}))):
        made = written(await graph.ask(query, Profile.REGISTRAR, input=asks))
        assert written(await graph.ask(query, Profile.REGISTRAR, input=asks)) == made
        other = await graph.ask(query, Profile.REGISTRAR, input={**asks, "version": 9})
        assert refusal(other)["code"] == "IDEMPOTENCY_CONFLICT"
    assert [tuple(row) for row in await fetched(graph, RECORDED, key(given))] == [
        ("INSERT", "test-registrar", "caregraph_registrar", None, "active", "1"),
        ("UPDATE", "test-registrar", "caregraph_registrar", "active", "active", "2"),
        ("UPDATE", "test-registrar", "caregraph_registrar", "active", "inactive", "3"),
    ]
