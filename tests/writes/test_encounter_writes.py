"""Encounters: opened, changed within FHIR's statuses, transferred, discharged; and many who write to one at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.caller import Caller, Profile, PurposeOfUse
from db.policy import ROLES
from tests.asking import Answer, Graph
from tests.people import People
from tests.writes.mutating import asked, department, provider, refusal, send, written

SHOWN = """encounter {
    id version status class periodStart periodEnd type { text coding { code } } reasonCode { text }
    department { id } provider { id } locations { display period { start end } } dischargeDisposition { text } }"""
CHECK_UP = {"system": "http://snomed.info/sct", "code": "185349003", "display": "Encounter for check up"}
ADMISSION = {"system": "http://snomed.info/sct", "code": "32485007", "display": "Hospital admission", "text": "Stay"}
INPATIENTS = "query ($id: ID!) { node(id: $id) { ... on Department { inpatients { nodes { id } } } } }"
READ = "query ($id: ID!) { encounter(id: $id) { version reasonCode { text } } }"
BECOME = "UPDATE clinical.encounter SET status = $2 WHERE id = $1"
TRANSLATE = "UPDATE clinical.encounter SET code_translation = $2 WHERE id = $1"

ENDS = {"finished", "cancelled", "entered-in-error", "unknown"}
ALLOWED = {
    ("planned", "arrived"), ("planned", "triaged"), ("planned", "in-progress"), ("planned", "cancelled"),
    ("arrived", "triaged"), ("arrived", "in-progress"), ("arrived", "cancelled"),
    ("triaged", "in-progress"), ("triaged", "cancelled"),
    ("in-progress", "onleave"), ("onleave", "in-progress"), ("in-progress", "finished"), ("onleave", "finished"),
}  # fmt: skip
"""Moves of FHIR R4 EncounterStatus: forward, to leave and back, and to the end."""

CLAIM = {"claim_idempotency_key": 1, "keep_outcome": 1}
LOCKED = CLAIM | {"patient_of_encounter": 1, "lock_chart": 1, "encounter_for_update": 1}
EDITORS = 50


async def opened(graph: Graph, patient: str, who: Profile = Profile.CLINICIAN, **more: Any) -> dict[str, Any]:
    """An encounter that was opened."""
    more = {"class": "IMP", "type": CHECK_UP, **more}
    return written(await send(graph, "openEncounter", SHOWN, who, patientId=patient, **more))


async def become(graph: Graph, encounter: dict[str, Any], status: str) -> None:
    """Gives an encounter a status, however it came there; that is its second version."""
    await graph.stores.clinical.worker_fetch(BECOME, UUID(encounter["id"].partition("/")[2]), status)


async def inpatients(graph: Graph, ward: str) -> list[str]:
    """Encounters of a ward list."""
    answer = await graph.ask(INPATIENTS, id=ward)
    return [node["id"] for node in answer.data["node"]["inpatients"]["nodes"]]


async def test_who_opened_an_encounter_sees_it_without_a_clearance(graph: Graph, patient: str) -> None:
    assert not ROLES["registrar"].labels
    encounter = await opened(graph, patient, Profile.REGISTRAR)
    assert (encounter["status"], encounter["version"], encounter["type"]) == ("in-progress", 1, None)
    answer = await send(
        graph, "openEncounter", SHOWN, Profile.REGISTRAR, patientId=patient, type={"text": "Visit"}, **{"class": "AMB"}
    )
    assert (refusal(answer)["code"], refusal(answer)["field"]) == ("INVALID", ["type"])


async def test_what_is_given_changes_and_the_rest_stays(graph: Graph, patient: str) -> None:
    leader, ward = await provider(graph), await department(graph)
    encounter = await opened(graph, patient, departmentId=ward, reason={"text": "Cough"})
    key = UUID(encounter["id"].partition("/")[2])
    await graph.stores.clinical.worker_fetch(TRANSLATE, key, [{"system": "http://local", "code": "old"}])
    answer = await send(
        graph, "updateEncounter", SHOWN, id=encounter["id"], version=2, providerId=leader, reason={"text": "Fever"}
    )
    changed = written(answer)
    assert asked(answer) == LOCKED | {
        "place_of_write": 1, "update_encounter": 1, "encounter_by_id": 1, "department_by_id": 1, "provider_by_id": 1,
    }  # fmt: skip
    assert [one["code"] for one in changed["type"]["coding"]] == [CHECK_UP["code"], "old"]
    assert changed == encounter | {
        "version": 3, "type": changed["type"], "reasonCode": [{"text": "Fever"}], "provider": {"id": leader},
    }  # fmt: skip
    again = written(
        await send(
            graph, "updateEncounter", SHOWN, id=encounter["id"], version=3, type=ADMISSION, reason=None,
            providerId=None, **{"class": "ACUTE"},
        )
    )  # fmt: skip
    assert (again["class"], again["provider"], again["reasonCode"]) == ("ACUTE", None, [])
    assert again["type"] == {"text": "Stay", "coding": [{"code": ADMISSION["code"]}]}


@pytest.mark.parametrize("name", ["class", "type"])
async def test_what_every_encounter_has_is_not_cleared(graph: Graph, patient: str, name: str) -> None:
    encounter = await opened(graph, patient)
    answer = await send(graph, "updateEncounter", SHOWN, id=encounter["id"], version=1, **{name: None})
    assert (refusal(answer)["code"], refusal(answer)["field"]) == ("INVALID", [name])


async def test_statuses_follow_each_other_as_fhir_says(graph: Graph, patient: str) -> None:
    statuses = {status for move in ALLOWED for status in move}
    for before, after in product(statuses | ENDS, statuses - {"planned"}):
        encounter = await opened(graph, patient, status="arrived")
        await become(graph, encounter, before)
        version = 1 if before == "arrived" else 2
        answer = await send(graph, "updateEncounter", SHOWN, id=encounter["id"], version=version, status=after)
        if (before, after) in ALLOWED:
            assert written(answer)["status"] == after
            assert bool(written(answer)["periodEnd"]) == (after == "finished")
        elif before == after:  # said again
            assert written(answer)["version"] == version
        else:
            error = refusal(answer)
            assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["status"]), (before, after)


async def test_what_was_planned_begins_when_the_patient_comes(graph: Graph, patient: str) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    ward = await department(graph, "Ward P")
    planned = await opened(graph, patient, status="planned", periodStart=tomorrow, departmentId=ward)
    assert (planned["periodStart"], planned["locations"]) == (tomorrow, None)
    assert await inpatients(graph, ward) == []
    came = written(await send(graph, "updateEncounter", SHOWN, id=planned["id"], version=1, status="in-progress"))
    assert came["periodStart"] < tomorrow
    assert came["locations"] == [{"display": "Ward P", "period": {"start": came["periodStart"], "end": None}}]
    assert await inpatients(graph, ward) == [planned["id"]]


async def test_a_transfer_keeps_the_places_and_shows_at_once(graph: Graph, patient: str) -> None:
    first, second, leader = await department(graph, "Ward A"), await department(graph, "Ward B"), await provider(graph)
    start, moved, end = ((datetime.now(UTC) - timedelta(hours=h)).isoformat() for h in (3, 2, 1))
    stay = await opened(graph, patient, departmentId=first, periodStart=start)
    assert (await inpatients(graph, first), await inpatients(graph, second)) == ([stay["id"]], [])
    answer = await send(
        graph, "transferEncounter", SHOWN, id=stay["id"], version=1, departmentId=second, location=" Bed 4 ",
        providerId=leader, when=moved,
    )  # fmt: skip
    there = written(answer)
    assert asked(answer) == LOCKED | {
        "place_of_write": 1, "update_encounter": 1, "encounter_by_id": 1, "department_by_id": 1, "provider_by_id": 1,
    }  # fmt: skip
    assert (there["department"], there["provider"], there["version"]) == ({"id": second}, {"id": leader}, 2)
    assert there["locations"] == [
        {"display": "Ward A", "period": {"start": start, "end": moved}},
        {"display": "Ward B, Bed 4", "period": {"start": moved, "end": None}},
    ]
    assert (await inpatients(graph, first), await inpatients(graph, second)) == ([], [stay["id"]])
    early = await send(graph, "dischargeEncounter", SHOWN, id=stay["id"], version=2, periodEnd=start)
    assert (refusal(early)["code"], refusal(early)["field"]) == ("INVALID", ["periodEnd"])
    home = {"text": "Home"}
    left = written(
        await send(
            graph, "dischargeEncounter", SHOWN, id=stay["id"], version=2, periodEnd=end, dischargeDisposition=home
        )
    )
    assert [place["period"]["end"] for place in left["locations"]] == [moved, end]
    assert (left["periodEnd"], left["dischargeDisposition"]) == (end, home)
    assert await inpatients(graph, second) == []


async def test_a_stay_that_says_no_place_has_been_in_its_department(graph: Graph) -> None:
    """As an imported one, whose department is all that its source said."""
    people, facility = People(graph.stores), graph.facilities[0].id
    first, second = await department(graph, "Ward A"), await department(graph, "Ward B")
    stay = await people.stay(facility, await people.patient(facility), UUID(first.partition("/")[2]))
    answer = await send(graph, "transferEncounter", SHOWN, id=f"Encounter/{stay}", version=1, departmentId=second)
    places = written(answer)["locations"]
    assert [place["display"] for place in places] == ["Ward A", "Ward B"]
    assert places[0]["period"]["start"] == written(answer)["periodStart"]
    assert places[0]["period"]["end"] == places[1]["period"]["start"]


@pytest.mark.parametrize("status", ["planned", *sorted(ENDS)])
async def test_who_is_not_here_is_neither_transferred_nor_discharged(graph: Graph, patient: str, status: str) -> None:
    encounter, ward = await opened(graph, patient), await department(graph)
    await become(graph, encounter, status)
    of = {"id": encounter["id"], "version": 2}
    for answer in (
        await send(graph, "transferEncounter", SHOWN, departmentId=ward, **of),
        await send(graph, "dischargeEncounter", SHOWN, **of),
    ):
        assert (refusal(answer)["code"], refusal(answer)["field"]) == ("NOT_ALLOWED_NOW", ["id"])


async def test_a_transfer_before_the_last_one_is_refused(graph: Graph, patient: str) -> None:
    ward = await department(graph)
    encounter = await opened(graph, patient, departmentId=ward)
    earlier = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    answer = await send(
        graph, "transferEncounter", SHOWN, id=encounter["id"], version=1, departmentId=ward, when=earlier
    )
    assert (refusal(answer)["code"], refusal(answer)["field"]) == ("INVALID", ["when"])


async def test_places_and_providers_of_others_are_not_there(graph: Graph, patient: str) -> None:
    there = {"departmentId": await department(graph, facility=1), "providerId": await provider(graph, facility=1)}
    nowhere = {"departmentId": f"Department/{uuid4()}", "providerId": f"Provider/{uuid4()}"}
    encounter, ward = await opened(graph, patient), await department(graph)
    of = {"id": encounter["id"], "version": 1}
    opening: dict[str, Any] = {"patientId": patient, "class": "IMP", "type": CHECK_UP}
    for name in there:
        for mutation, given in (
            ("openEncounter", opening),
            ("transferEncounter", {"departmentId": ward, **of}),
            *([("updateEncounter", of)] if name == "providerId" else []),
        ):
            answers = [await send(graph, mutation, SHOWN, **given | {name: of_[name]}) for of_ in (there, nowhere)]
            assert answers[0].data == answers[1].data
            assert (refusal(answers[0])["code"], refusal(answers[0])["field"]) == ("NOT_FOUND", [name])


MUTATIONS: Mapping[str, Mapping[str, Any]] = {
    "updateEncounter": {"reason": {"text": "Fever"}},
    "transferEncounter": {"departmentId": f"Department/{uuid4()}"},
    "dischargeEncounter": {},
}


@pytest.mark.parametrize("name", MUTATIONS)
async def test_encounters_that_are_closed_to_the_caller_are_not_there(graph: Graph, patient: str, name: str) -> None:
    encounter = await opened(graph, patient)
    consultant = Caller("dr-nobody", ROLES["consultant"], graph.facilities[0].id, PurposeOfUse.TREAT)
    elsewhere = graph.caller(Profile.CLINICIAN, 1)

    async def refused(who: Caller, id: str) -> Answer:
        return await send(graph, name, SHOWN, who, id=id, version=1, **MUTATIONS[name])

    unknown = await refused(elsewhere, f"Encounter/{uuid4()}")
    assert (refusal(unknown)["code"], refusal(unknown)["field"]) == ("NOT_FOUND", ["id"])
    assert asked(unknown) == CLAIM | {"patient_of_encounter": 1}
    for who in (consultant, elsewhere):
        closed = await refused(who, encounter["id"])
        assert (closed.data, asked(closed)) == (unknown.data, asked(unknown))


@pytest.mark.parametrize("name", MUTATIONS)
async def test_only_who_may_write_encounters_does(graph: Graph, patient: str, name: str) -> None:
    given = MUTATIONS[name]
    for profile in Profile:
        encounter = await opened(graph, patient)
        answer = await send(graph, name, SHOWN, profile, id=encounter["id"], version=1, **given)
        if profile in (Profile.CLINICIAN, Profile.NURSE, Profile.REGISTRAR):
            assert not answer.errors, profile
        else:
            assert (answer.codes, answer.statements.total()) == (["FORBIDDEN"], 0), profile


@pytest.mark.parametrize("name", ["updateEncounter", "transferEncounter"])
async def test_a_key_makes_one_change(graph: Graph, patient: str, name: str) -> None:
    encounter, ward = await opened(graph, patient), await department(graph)
    given = {"id": encounter["id"], "version": 1, "idempotencyKey": str(uuid4())}
    more = {"reason": {"text": "Fever"}} if name == "updateEncounter" else {"departmentId": ward}
    first = await send(graph, name, SHOWN, **given, **more)
    again = await send(graph, name, SHOWN, **given, **more)
    assert written(again) == written(first)
    assert written(first)["version"] == 2
    other = await send(graph, name, SHOWN, **given | {"version": 2}, **more)
    assert refusal(other)["code"] == "IDEMPOTENCY_CONFLICT"


async def test_of_fifty_editors_nobodys_words_are_lost(graph: Graph, patient: str) -> None:
    encounter = await opened(graph, patient, reason={"text": "Start"})

    async def edit(word: str) -> int:
        for attempt in range(1, EDITORS + 1):  # of each round somebody's is written, so that none takes more
            seen = (await graph.ask(READ, id=encounter["id"])).data["encounter"]
            text = f"{seen['reasonCode'][0]['text']} {word}"
            answer = await send(
                graph, "updateEncounter", SHOWN, id=encounter["id"], version=seen["version"], reason={"text": text}
            )
            if not answer.data["updateEncounter"]["userErrors"]:
                return attempt
            assert refusal(answer)["code"] == "CONFLICT"
        raise AssertionError("one of fifty always comes first")

    words = [f"word{n}" for n in range(EDITORS)]
    attempts = await asyncio.gather(*(edit(word) for word in words))
    after = (await graph.ask(READ, id=encounter["id"])).data["encounter"]
    assert sorted(after["reasonCode"][0]["text"].split()) == sorted(["Start", *words])
    assert after["version"] == 1 + EDITORS
    assert max(attempts) > 1, "they did not meet"
