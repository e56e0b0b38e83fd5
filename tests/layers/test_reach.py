"""Reach: whose records a role sees, in every store and in the graph."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from db.caller import Caller, PurposeOfUse
from tests.asking import Answer
from tests.layers.hospital import STORES, Hospital

EACH = pytest.mark.parametrize("store", STORES)

CHART = """query($id: ID!) { patient(id: $id) { id mrn name { family } conditions { nodes { id } }
    imagingStudies { nodes { id } } vitalSigns { nodes { id } } clinicalNotes { nodes { id } } } }"""
BY_ID = "query($id: ID!) { node(id: $id) { id __typename } }"
RELATIONS = ("conditions", "imagingStudies", "vitalSigns", "clinicalNotes")

CLOSED: dict[str, str] = {
    "closed long ago": "UPDATE clinical.encounter SET status = 'finished', end_time = now() - interval '31 days'",
    "cancelled": "UPDATE clinical.encounter SET status = 'cancelled', end_time = now()",
    "planned": "UPDATE clinical.encounter SET status = 'planned', end_time = NULL",
}
RECENT = (
    "UPDATE clinical.encounter SET status = 'finished', end_time = now() - interval '29 days' WHERE patient_id = $1"
)
TEAM = """
WITH made AS (INSERT INTO clinical.care_team (id, facility_id, patient_id, status, sort_time)
    VALUES ($1, $2, $3, $5, now()) RETURNING id)
INSERT INTO clinical.care_team_participant (care_team_id, facility_id, position, provider_id)
SELECT id, $2, 0, $4 FROM made"""
APPOINTMENT = """
INSERT INTO clinical.appointment (id, facility_id, patient_id, provider_id, department_id, status, start_date_time,
    end_date_time, sort_time, end_time)
SELECT $1, $2, $3, $4, $5, $6, '2020-01-01', '2020-01-01', start, start + interval '30 minutes'
FROM (SELECT now() + $7 * interval '1 day' AS start) AS t"""


@EACH
async def test_a_ward_nurse_sees_the_patients_of_the_ward(hospital: Hospital, store: str) -> None:
    ward, elsewhere = await hospital.department(), await hospital.department()
    mine, _, _ = await hospital.patient(ward), await hospital.patient(elsewhere), await hospital.patient()
    assert await hospital.seen(hospital.caller("ward_nurse", department_id=ward), store) == [mine]


@EACH
async def test_a_ward_nurse_without_a_ward_sees_nobody(hospital: Hospital, store: str) -> None:
    await hospital.patient(await hospital.department())
    assert await hospital.seen(hospital.caller("ward_nurse"), store) == []


@EACH
async def test_a_consultant_sees_the_charts_of_own_patients(hospital: Hospital, store: str) -> None:
    doctor, other = await hospital.provider(), await hospital.provider()
    mine, theirs = await hospital.patient(provider=doctor), await hospital.patient(provider=other)
    assert await hospital.seen(hospital.caller("consultant", provider_id=doctor), store) == [mine]
    assert await hospital.seen(hospital.caller("physician", provider_id=doctor), store) == sorted([mine, theirs])
    assert await hospital.seen(hospital.caller("consultant"), store) == []


@EACH
async def test_a_patient_sees_oneself(hospital: Hospital, store: str) -> None:
    me, _ = await hospital.patient(), await hospital.patient()
    assert await hospital.seen(hospital.caller("patient", PurposeOfUse.PATRQT, patient_id=me), store) == [me]


@EACH
async def test_a_launch_for_one_patient_narrows_every_reach(hospital: Hospital, store: str) -> None:
    ward, doctor = await hospital.department(), await hospital.provider()
    one, _ = await hospital.patient(ward, doctor), await hospital.patient(ward, doctor)
    stranger = await hospital.patient()
    bound: dict[str, Any] = {"department_id": ward, "provider_id": doctor}
    for role in ("physician", "consultant", "ward_nurse"):
        assert await hospital.seen(hospital.caller(role, patient_id=one, **bound), store) == [one]
    for role in ("consultant", "ward_nurse"):
        assert await hospital.seen(hospital.caller(role, patient_id=stranger, **bound), store) == []


@pytest.mark.parametrize("change", CLOSED.values(), ids=CLOSED.keys())
async def test_an_encounter_makes_a_relationship_only_while_it_is_current(hospital: Hospital, change: str) -> None:
    ward, doctor = await hospital.department(), await hospital.provider()
    mine = await hospital.patient(ward, doctor)
    callers = [hospital.caller("consultant", provider_id=doctor), hospital.caller("ward_nurse", department_id=ward)]
    await hospital.write(RECENT, mine)
    assert [await hospital.seen(caller, "clinical") for caller in callers] == [[mine], [mine]]
    await hospital.write(f"{change} WHERE patient_id = $1", mine)
    assert [await hospital.seen(caller, "clinical") for caller in callers] == [[], []]


@pytest.mark.parametrize(("status", "is_seen"), [("active", True), ("inactive", False), ("proposed", False)])
async def test_an_active_care_team_makes_a_relationship(hospital: Hospital, status: str, is_seen: bool) -> None:
    doctor, patient = await hospital.provider(), await hospital.patient()
    await hospital.write(TEAM, uuid4(), hospital.id, patient, doctor, status)
    seen = await hospital.seen(hospital.caller("consultant", provider_id=doctor), "clinical")
    assert seen == ([patient] if is_seen else [])


@pytest.mark.parametrize(
    ("status", "days", "is_seen"),
    [
        ("booked", 6, True),
        ("fulfilled", -29, True),
        ("booked", 8, False),
        ("fulfilled", -31, False),
        ("cancelled", 0, False),
        ("noshow", 0, False),
    ],
)
async def test_an_appointment_makes_a_relationship_within_its_window(
    hospital: Hospital, status: str, days: int, is_seen: bool
) -> None:
    ward, doctor, patient = await hospital.department(), await hospital.provider(), await hospital.patient()
    await hospital.write(APPOINTMENT, uuid4(), hospital.id, patient, doctor, ward, status, days)
    for caller in (
        hospital.caller("consultant", provider_id=doctor),
        hospital.caller("ward_nurse", department_id=ward),
    ):
        assert await hospital.seen(caller, "clinical") == ([patient] if is_seen else [])


async def test_a_relationship_at_another_facility_is_none_here(hospital: Hospital) -> None:
    there = Hospital(hospital.settings, hospital.stores)
    await there.open()
    doctor, patient = await there.provider(), await there.patient()
    await hospital.write(TEAM, uuid4(), hospital.id, patient, doctor, "active")
    assert await there.seen(there.caller("consultant", provider_id=doctor), "clinical") == []


async def ask(hospital: Hospital, caller: Caller, query: str, patient: UUID) -> Answer:
    """The graph's answer about a patient."""
    return await hospital.graph().ask_as(caller, query, id=f"Patient/{patient}")


@pytest.mark.parametrize("query", [CHART, BY_ID])
async def test_patients_of_other_wards_do_not_exist(hospital: Hospital, query: str) -> None:
    ward = await hospital.department()
    mine, other, never = await hospital.patient(ward), await hospital.patient(await hospital.department()), uuid4()
    caller = hospital.caller("ward_nurse", department_id=ward)
    assert (await ask(hospital, caller, query, mine)).errors == []
    found, absent = await ask(hospital, caller, query, other), await ask(hospital, caller, query, never)
    assert repr(found) == repr(absent).replace(str(never), str(other))
    assert next(iter(absent.data.values())) is None


async def test_a_consultant_finds_everybody_but_opens_own_charts(hospital: Hospital) -> None:
    doctor = await hospital.provider()
    mine, other = await hospital.patient(provider=doctor), await hospital.patient()
    caller = hospital.caller("consultant", provider_id=doctor)
    opened, closed = await ask(hospital, caller, CHART, mine), await ask(hospital, caller, CHART, other)
    assert opened.errors == []
    assert all(len(opened.data["patient"][relation]["nodes"]) == 1 for relation in RELATIONS)
    assert closed.data["patient"]["mrn"] == f"L-{other.hex[:12]}"
    assert closed.codes == ["SUPPRESSED"] * len(RELATIONS)
    assert {relation: closed.data["patient"][relation] for relation in RELATIONS} == dict.fromkeys(RELATIONS)
