"""Appointments: booked, moved, cancelled; a provider is never booked twice at a time, whoever asks at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from db.caller import Caller, Profile, PurposeOfUse
from db.policy import ROLES
from tests.asking import Answer, Graph
from tests.people import People
from tests.writes.mutating import asked, department, provider, refusal, send, written

FIELDS = """id version status start end description type { text } cancelationReason { text }
    patient { id } provider { id } department { id }"""
SHOWN = f"appointment {{ {FIELDS} }}"
READ = f"query ($id: ID!) {{ node(id: $id) {{ ... on Appointment {{ {FIELDS} }} }} }}"
ALSO_AT = "INSERT INTO clinical.provider_role (facility_id, provider_id) VALUES ($1, $2)"
BECOME = "UPDATE clinical.appointment SET status = $2 WHERE id = $1"
WITHOUT_PROVIDER = "UPDATE clinical.appointment SET provider_id = NULL WHERE id = $1"
CHANGES = "SELECT count(*) FROM audit.change WHERE table_name = 'appointment' AND row_key = $1"
HOLD = """
INSERT INTO clinical.appointment (id, facility_id, patient_id, provider_id, status, start_date_time, sort_time,
    end_date_time, end_time)
VALUES ($1, $2, $3, $4, 'booked', '2031-03-03', $5, '2031-03-03', $6)"""
LOCK_CALENDAR = "SELECT pg_advisory_xact_lock(hashtextextended('calendar ' || $1::uuid, 0))"
WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid')"

NINE = datetime(2031, 3, 3, 9, tzinfo=UTC)
REQUESTS_MAX = 10
QUARTER = timedelta(minutes=15)
CLAIM = {"claim_idempotency_key": 1, "keep_outcome": 1}
LOCKED = CLAIM | {"patient_of_appointment": 1, "lock_chart": 1, "appointment_for_update": 1}
ANSWERED = {"appointment_by_id": 1, "patient_by_id": 1, "provider_by_id": 1}


@pytest.fixture(scope="module")
async def patient(graph: Graph) -> str:
    """Global id of a patient of the first facility."""
    return f"Patient/{await People(graph.stores).patient(graph.facilities[0].id)}"


@pytest.fixture(scope="module")
async def patients(graph: Graph) -> Sequence[str]:
    """Global ids of patients who ask at once: bookings of one chart would wait for each other."""
    people, facility = People(graph.stores), graph.facilities[0].id
    return [f"Patient/{await people.patient(facility)}" for _ in range(REQUESTS_MAX)]


def slot(first: int, quarters: int = 2) -> dict[str, str]:
    """A slot that begins so many quarters of an hour after nine, and lasts so many."""
    start = NINE + first * QUARTER
    return {"start": start.isoformat(), "end": (start + quarters * QUARTER).isoformat()}


async def book(
    graph: Graph, patient: str, of: str, who: Profile | Caller = Profile.CLINICIAN, /, **more: Any
) -> Answer:
    """Asks for an appointment with a provider, at nine unless it says otherwise."""
    return await send(
        graph, "bookAppointment", SHOWN, who, **{"patientId": patient, "providerId": of, **slot(0), **more}
    )


async def change(graph: Graph, name: str, booked: dict[str, Any], **more: Any) -> Answer:
    """Moves or cancels what was booked."""
    return await send(graph, name, SHOWN, **{"id": booked["id"], "version": booked["version"], **more})


def key_of(node: dict[str, Any]) -> UUID:
    """Key of an object with a global id."""
    return UUID(node["id"].partition("/")[2])


async def test_what_is_booked_is_answered_as_it_is_read(graph: Graph, patient: str) -> None:
    doctor, ward = await provider(graph), await department(graph)
    answer = await book(
        graph, patient, doctor, departmentId=ward, type={"text": "Control"}, description=" Wound, third visit "
    )
    booked = written(answer)
    assert asked(answer) == CLAIM | ANSWERED | {
        "lock_chart": 1, "place_of_write": 1, "lock_calendar": 1, "book_appointment": 1, "department_by_id": 1,
    }  # fmt: skip
    assert booked == slot(0) | {
        "id": booked["id"], "version": 1, "status": "booked", "description": "Wound, third visit",
        "type": {"text": "Control"}, "cancelationReason": None, "patient": {"id": patient}, "provider": {"id": doctor},
        "department": {"id": ward},
    }  # fmt: skip
    assert (await graph.ask(READ, id=booked["id"])).data["node"] == booked


async def test_a_slot_is_moved_to_a_time_and_to_a_provider(graph: Graph, patient: str) -> None:
    doctor, other = await provider(graph), await provider(graph)
    booked = written(await book(graph, patient, doctor))
    answer = await change(graph, "moveAppointment", booked, **slot(1))  # onto a part of itself
    later = written(answer)
    assert asked(answer) == LOCKED | ANSWERED | {"place_of_write": 1, "lock_calendar": 1, "move_appointment": 1}
    assert later == booked | slot(1) | {"version": 2}
    moved = written(await change(graph, "moveAppointment", later, providerId=other, **slot(1)))
    assert (moved["provider"], moved["version"]) == ({"id": other}, 3)
    assert written(await book(graph, patient, doctor, **slot(1)))


async def test_a_cancelled_slot_is_free(graph: Graph, patient: str) -> None:
    doctor = await provider(graph)
    booked = written(await book(graph, patient, doctor))
    answer = await change(graph, "cancelAppointment", booked, reason={"text": "Weather"})
    cancelled = written(answer)
    assert asked(answer) == LOCKED | ANSWERED | {"cancel_appointment": 1}
    assert cancelled == booked | {"status": "cancelled", "version": 2, "cancelationReason": {"text": "Weather"}}
    assert written(await book(graph, patient, doctor))


async def test_a_taken_slot_is_refused_and_nothing_is_written(graph: Graph, patient: str) -> None:
    doctor, key = await provider(graph), str(uuid4())
    booked = written(await book(graph, patient, doctor))
    after = written(await book(graph, patient, doctor, **slot(2)))  # touching is not overlapping
    taken = await book(graph, patient, doctor, idempotencyKey=key, **slot(1))
    assert refusal(taken) == {
        "code": "SLOT_TAKEN", "field": ["start"], "message": "The provider is not free then.", "version": None
    }  # fmt: skip
    assert refusal(await change(graph, "moveAppointment", after, **slot(1)))["code"] == "SLOT_TAKEN"
    assert (await graph.ask(READ, id=after["id"])).data["node"] == after
    connection = await asyncpg.connect(graph.settings.clinical_url)
    try:
        assert await connection.fetchval(CHANGES, str(key_of(after))) == 1
    finally:
        await connection.close()
    assert not (await change(graph, "cancelAppointment", booked, reason={"text": "Weather"})).errors
    # The key keeps its answer; asked anew the slot is free.
    assert refusal(await book(graph, patient, doctor, idempotencyKey=key, **slot(1)))["code"] == "SLOT_TAKEN"
    assert refusal(await book(graph, patient, doctor, **slot(1)))["code"] == "SLOT_TAKEN"
    assert written(await book(graph, patient, doctor, **slot(0)))


async def test_a_provider_of_two_facilities_is_one_person(graph: Graph, patient: str) -> None:
    doctor, there = await provider(graph), graph.facilities[1].id
    await graph.stores.clinical.worker_fetch(ALSO_AT, there, UUID(doctor.partition("/")[2]))
    neighbour = f"Patient/{await People(graph.stores).patient(there)}"
    assert written(await book(graph, neighbour, doctor, graph.caller(Profile.CLINICIAN, 1)))
    assert refusal(await book(graph, patient, doctor))["code"] == "SLOT_TAKEN"


async def test_an_appointment_with_nobody_is_moved(graph: Graph, patient: str) -> None:
    """As an imported one, such as that of a laboratory."""
    booked = written(await book(graph, patient, await provider(graph)))
    await graph.stores.clinical.worker_fetch(WITHOUT_PROVIDER, key_of(booked))
    moved = written(await change(graph, "moveAppointment", booked | {"version": 2}, **slot(4)))
    assert (moved["provider"], moved["start"]) == (None, slot(4)["start"])


@pytest.mark.parametrize("status", ["arrived", "fulfilled", "cancelled", "noshow", "entered-in-error", "checked-in"])
async def test_what_is_over_is_neither_moved_nor_cancelled(graph: Graph, patient: str, status: str) -> None:
    booked = written(await book(graph, patient, await provider(graph)))
    await graph.stores.clinical.worker_fetch(BECOME, key_of(booked), status)
    for answer in (
        await change(graph, "moveAppointment", booked | {"version": 2}, **slot(4)),
        await change(graph, "cancelAppointment", booked | {"version": 2}, reason={"text": "Weather"}),
    ):
        assert (refusal(answer)["code"], refusal(answer)["field"]) == ("NOT_ALLOWED_NOW", ["id"])


async def test_another_version_is_refused_with_the_current_one(graph: Graph, patient: str) -> None:
    booked = written(await book(graph, patient, await provider(graph)))
    for answer in (
        await change(graph, "moveAppointment", booked, version=7, **slot(4)),
        await change(graph, "cancelAppointment", booked, version=7, reason={"text": "Weather"}),
    ):
        assert (refusal(answer)["code"], refusal(answer)["version"]) == ("CONFLICT", 1)
        assert asked(answer) == LOCKED


async def test_a_slot_ends_after_it_begins(graph: Graph, patient: str) -> None:
    doctor = await provider(graph)
    for quarters in (0, -1):
        answer = await book(graph, patient, doctor, **slot(0, quarters))
        assert (refusal(answer)["code"], refusal(answer)["field"]) == ("INVALID", ["end"])
        assert answer.statements.total() == 0
    answer = await book(graph, patient, doctor, start="2031-03-03")
    assert (refusal(answer)["code"], refusal(answer)["field"]) == ("INVALID", ["start"])


async def test_what_is_of_others_is_not_there(graph: Graph, patient: str) -> None:
    doctor = await provider(graph)
    there = {
        "patientId": f"Patient/{await People(graph.stores).patient(graph.facilities[1].id)}",
        "providerId": await provider(graph, facility=1),
        "departmentId": await department(graph, facility=1),
    }
    booked = written(await book(graph, patient, doctor))
    for name, id in there.items():
        unknown = f"{id.partition('/')[0]}/{uuid4()}"
        answers = [await book(graph, patient, doctor, **{name: one}) for one in (id, unknown)]
        assert answers[0].data == answers[1].data
        assert (refusal(answers[0])["code"], refusal(answers[0])["field"]) == ("NOT_FOUND", [name])
    moved = await change(graph, "moveAppointment", booked, providerId=there["providerId"], **slot(4))
    assert (refusal(moved)["code"], refusal(moved)["field"]) == ("NOT_FOUND", ["providerId"])


async def test_appointments_that_are_closed_to_the_caller_are_not_there(graph: Graph, patient: str) -> None:
    booked = written(await book(graph, patient, await provider(graph)))
    consultant = Caller("dr-nobody", ROLES["consultant"], graph.facilities[0].id, PurposeOfUse.TREAT)
    elsewhere = graph.caller(Profile.CLINICIAN, 1)
    for name, given_ in (("moveAppointment", slot(4)), ("cancelAppointment", {"reason": {"text": "Weather"}})):
        unknown = await send(graph, name, SHOWN, id=f"Appointment/{uuid4()}", version=1, **given_)
        assert (refusal(unknown)["code"], refusal(unknown)["field"]) == ("NOT_FOUND", ["id"])
        for who in (consultant, elsewhere):
            closed = await send(graph, name, SHOWN, who, id=booked["id"], version=1, **given_)
            assert (closed.data, asked(closed)) == (unknown.data, asked(unknown))


async def test_only_who_may_write_appointments_does(graph: Graph, patient: str) -> None:
    for profile in Profile:
        doctor = await provider(graph)
        booked = written(await book(graph, patient, doctor))
        of = {"id": booked["id"], "version": 1}
        answers = [
            await book(graph, patient, doctor, profile, **slot(8)),
            await send(graph, "moveAppointment", SHOWN, profile, **of, **slot(4)),
            await send(graph, "cancelAppointment", SHOWN, profile, reason={"text": "Weather"}, **of | {"version": 2}),
        ]
        if profile in (Profile.CLINICIAN, Profile.NURSE, Profile.REGISTRAR):
            assert [written(one)["status"] for one in answers] == ["booked", "booked", "cancelled"]
        else:
            assert [(one.codes, one.statements.total()) for one in answers] == [(["FORBIDDEN"], 0)] * 3, profile


async def test_a_key_makes_one_appointment_and_one_move(graph: Graph, patient: str) -> None:
    doctor, key, other = await provider(graph), str(uuid4()), str(uuid4())
    answers = await asyncio.gather(*(book(graph, patient, doctor, idempotencyKey=key) for _ in range(5)))
    [booked] = {written(one)["id"]: written(one) for one in answers}.values()
    assert refusal(await book(graph, patient, doctor, idempotencyKey=key, **slot(4)))["code"] == "IDEMPOTENCY_CONFLICT"
    moves = [await change(graph, "moveAppointment", booked, idempotencyKey=other, **slot(4)) for _ in range(2)]
    assert written(moves[0]) == written(moves[1]) == booked | slot(4) | {"version": 2}


Request = tuple[int, int, int]
"""A provider, the quarter of an hour in which a slot begins, and the quarters that it lasts."""


def overlap(one: Request, other: Request) -> bool:
    """Whether two requests cannot both be granted."""
    return one[0] == other[0] and one[1] < other[1] + other[2] and other[1] < one[1] + one[2]


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    requests=st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(1, 6)), min_size=2, max_size=REQUESTS_MAX
    )
)
@example(requests=[(0, 0, 2), (0, 2, 2)])
@example(requests=[(0, 0, 2)] * 10)
@example(requests=[(0, 0, 9), *((0, n, 1) for n in range(9))])
async def test_of_requests_at_once_those_are_booked_that_do_not_overlap(
    graph: Graph, patients: Sequence[str], requests: Sequence[Request]
) -> None:
    doctors = [await provider(graph) for _ in range(2)]
    answers = await asyncio.gather(
        *(
            book(graph, patient, doctors[who], **slot(first, length))
            for patient, (who, first, length) in zip(patients, requests, strict=False)
        )
    )
    booked = [
        one for one, answer in zip(requests, answers, strict=True) if answer.data["bookAppointment"]["appointment"]
    ]
    refused = [
        (one, refusal(answer)["code"])
        for one, answer in zip(requests, answers, strict=True)
        if not answer.data["bookAppointment"]["appointment"]
    ]
    assert booked
    assert not [pair for pair in combinations(booked, 2) if overlap(*pair)]
    # Each refusal has its reason: what was in its way is booked.
    assert all(code == "SLOT_TAKEN" and any(overlap(one, other) for other in booked) for one, code in refused)


async def test_two_who_change_places_at_once_are_both_refused(graph: Graph, patients: Sequence[str]) -> None:
    doctors = [await provider(graph) for _ in range(2)]
    booked = [written(await book(graph, *pair)) for pair in zip(patients, doctors, strict=False)]
    answers = await asyncio.gather(
        *(
            change(graph, "moveAppointment", one, providerId=to, **slot(0))
            for one, to in zip(booked, reversed(doctors), strict=True)
        )
    )
    assert [refusal(answer)["code"] for answer in answers] == ["SLOT_TAKEN"] * 2


async def test_a_deadlock_is_tried_again(graph: Graph, patient: str) -> None:
    """Somebody who takes no lock of calendars, as an importer, waits for us while we wait for them."""
    doctor = await provider(graph)
    facility, provider_id, patient_id = (
        graph.facilities[0].id, UUID(doctor.partition("/")[2]), UUID(patient.partition("/")[2])
    )  # fmt: skip
    connection = await asyncpg.connect(graph.settings.clinical_url)
    try:
        await connection.execute("BEGIN; SET LOCAL deadlock_timeout = '1min'")  # so that it is we who give up
        await connection.execute(HOLD, uuid4(), facility, patient_id, provider_id, NINE, NINE + QUARTER)
        booking = asyncio.create_task(book(graph, patient, doctor))
        while not await connection.fetchval(WAITING):  # noqa: ASYNC110 - no event tells of a lock
            await asyncio.sleep(0.01)
        await connection.execute(LOCK_CALENDAR, provider_id)
        await connection.execute("ROLLBACK")
        answer = await booking
    finally:
        await connection.close()
    assert written(answer)["status"] == "booked"
    assert asked(answer)["claim_idempotency_key"] == 2
