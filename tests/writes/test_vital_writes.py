"""recordVitals: each sequence of a device once, charts that are open, the record, and the feed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from asyncpg import InsufficientPrivilegeError

from db.caller import Profile
from db.context import prove, role_password, sign
from db.errors import Forbidden, LimitExceeded
from db.postgres import login_url
from loaders.writes.vital_sign import Reading, record
from tests.asking import Answer, Graph
from tests.people import People
from tests.writes.test_write import opened

RECORD = """
mutation ($input: RecordVitalsInput!) {
  recordVitals(input: $input) {
    recorded duplicates
    vitalSigns { id code { code } panel { code } valueQuantity { value unit code } effectiveDateTime device status }
    userErrors { code field }
  }
}"""
HEART_RATE, NOON = "8867-4", datetime(2026, 3, 4, 12, tzinfo=UTC)
EVENTS = """
SELECT facility_id, row_keys, since, until FROM feed.event
WHERE table_name = 'vital_sign' AND operation = 'INSERT' AND patient_id = $1 ORDER BY seq DESC LIMIT $2"""
RECORDED = """
SELECT actor, row_count FROM audit.change
WHERE table_name = 'vital_sign' AND operation = 'INSERT' AND row_key = $1 ORDER BY occurred_at DESC LIMIT 1"""
VALUES = "SELECT value::text FROM vitals.vital_sign WHERE device_id = $1 ORDER BY sort_time, value"


def reading(sequence: int | None, value: Any = 60, **more: Any) -> dict[str, Any]:
    """A heart rate, a second later for each sequence."""
    given = {
        "code": HEART_RATE,
        "value": value,
        "unit": "beats/minute",
        "unitCode": "/min",
        "effective": (NOON + timedelta(seconds=sequence or 0)).isoformat(),
        **({} if sequence is None else {"sequence": sequence}),
    }
    return {**given, **more}


def batch(patient: str, device: str | None, *readings: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Input of recordVitals under a new key."""
    of_device = {} if device is None else {"deviceId": device}
    return {"idempotencyKey": str(uuid4()), "patientId": patient, "readings": list(readings), **of_device, **more}


def came_to(answer: Answer) -> tuple[int, int, list[tuple[str, list[str]]]]:
    """What was recorded, what was there, and the user errors."""
    assert not answer.errors
    payload = answer.data["recordVitals"]
    return payload["recorded"], payload["duplicates"], [(one["code"], one["field"]) for one in payload["userErrors"]]


async def fetched(graph: Graph, sql: str, *args: object) -> Sequence[tuple[Any, ...]]:
    """Rows of the vitals database that no login of ours may read."""
    connection = await asyncpg.connect(graph.settings.vitals_url)
    try:
        return [tuple(row) for row in await connection.fetch(sql, *args)]
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def patients(graph: Graph) -> list[dict[str, Any]]:
    """Patients of the first facility with an encounter each."""
    made: list[dict[str, Any]] = []
    for _ in range(2):
        patient = f"Patient/{await People(graph.stores).patient(graph.facilities[0].id)}"
        made.append({"id": patient, "encounters": {"nodes": [await opened(graph, patient)]}})
    return made


@pytest.fixture(scope="module")
def patient(patients: list[dict[str, Any]]) -> str:
    """One of them."""
    return patients[0]["id"]


@pytest.fixture
def device() -> str:
    """A device that no other test uses."""
    return f"monitor-{uuid4()}"


async def test_what_is_recorded_is_answered_as_it_is_read(graph: Graph, patient: str, device: str) -> None:
    systolic = reading(1, "120.50", code="8480-6", panelCode="85354-9", unit="mmHg", unitCode="mm[Hg]")
    answer = await graph.ask(RECORD, input=batch(patient, device, systolic, reading(2)))
    assert came_to(answer) == (2, 0, [])
    [pressure, rate] = answer.data["recordVitals"]["vitalSigns"]
    assert str(pressure["valueQuantity"].pop("value")) == "120.50"
    assert pressure["valueQuantity"] == {"unit": "mmHg", "code": "mm[Hg]"}
    assert (pressure["panel"], pressure["device"], pressure["status"]) == ({"code": "85354-9"}, device, "final")
    assert pressure["effectiveDateTime"] == "2026-03-04T12:00:01+00:00"
    again = await graph.ask("query ($id: ID!) { node(id: $id) { id } }", id=rate["id"])
    assert again.data["node"]["id"] == rate["id"]


@pytest.mark.parametrize("plan", ["SET enable_hashjoin = on", "SET enable_hashjoin = off"])
async def test_readings_come_back_in_the_order_given(graph: Graph, patient: str, device: str, plan: str) -> None:
    """Whatever way the planner joins them to the ledger."""
    facility, people = graph.facilities[0].id, UUID(patient.removeprefix("Patient/"))
    order = [n * 37 % 61 for n in range(61)]
    given = [
        Reading(
            facility,
            device,
            n << 14,
            people,
            None,
            "final",
            HEART_RATE,
            None,
            str(n),
            "/min",
            "/min",
            NOON.isoformat(),
            NOON,
        )
        for n in order
    ]
    role, secret = "caregraph_worker", graph.settings.secret
    connection = await asyncpg.connect(login_url(graph.settings.vitals_url, role, role_password(secret, role)))
    try:
        await connection.execute(plan)
        ids = (await record(connection.fetch, given)).ids
        values = dict(await connection.fetch("SELECT id, value FROM vitals.vital_sign WHERE device_id = $1", device))
    finally:
        await connection.close()
    assert [int(values[id]) for id in ids] == order


async def test_a_sequence_is_recorded_once_whatever_the_key(graph: Graph, patient: str, device: str) -> None:
    first = batch(patient, device, *(reading(n) for n in (5, 3, 4)))
    answer = await graph.ask(RECORD, input=first)
    assert came_to(answer) == (3, 0, [])
    assert (await graph.ask(RECORD, input=first)).data == answer.data
    overlapping = batch(patient, device, *(reading(n) for n in (4, 6, 5, 6)))
    assert came_to(await graph.ask(RECORD, input=overlapping)) == (1, 3, [])
    assert len(await fetched(graph, VALUES, device)) == 4


async def test_another_reading_under_a_sequence_is_a_conflict(graph: Graph, patient: str, device: str) -> None:
    await graph.ask(RECORD, input=batch(patient, device, reading(1), reading(2), reading(3)))
    hour_later = (NOON + timedelta(hours=1)).isoformat()
    others = [reading(1, 61), reading(2, effective=hour_later), reading(3), reading(4), reading(4, 99)]
    answer = await graph.ask(RECORD, input=batch(patient, device, *others))
    conflicts = [("CONFLICT", ["readings", place, "sequence"]) for place in ("0", "1", "4")]
    assert came_to(answer) == (1, 1, conflicts)
    assert [value for (value,) in await fetched(graph, VALUES, device)] == ["60"] * 4


async def test_batches_at_once_record_each_reading_once(graph: Graph, patient: str, device: str) -> None:
    batches = [batch(patient, device, *(reading(n) for n in range(start, start + 40))) for start in range(0, 60, 10)]
    came = [came_to(one) for one in await asyncio.gather(*(graph.ask(RECORD, input=one) for one in batches))]
    assert sum(recorded for recorded, _, _ in came) == 90
    assert all(recorded + duplicates == 40 and not errors for recorded, duplicates, errors in came)
    assert len(await fetched(graph, VALUES, device)) == 90


async def test_values_charted_by_hand_have_the_key_alone(graph: Graph, patients: list[dict[str, Any]]) -> None:
    one = next(one for one in patients if one["encounters"]["nodes"])
    encounter = one["encounters"]["nodes"][0]["id"]
    now = datetime.now(UTC)
    both = [reading(None, effective=now.isoformat()) for _ in range(2)]
    charted = batch(one["id"], None, *both, encounterId=encounter)
    answer = await graph.ask(RECORD, Profile.NURSE, input=charted)
    assert came_to(answer) == (2, 0, [])
    assert (await graph.ask(RECORD, Profile.NURSE, input=charted)).data == answer.data
    stored = "SELECT count(*) FROM vitals.vital_sign WHERE encounter_id = $1 AND device_id IS NULL AND sort_time = $2"
    assert await fetched(graph, stored, UUID(encounter.removeprefix("Encounter/")), now) == [(2,)]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"code": "heart rate"}, "code"),
        ({"panelCode": "8867-45"}, "panelCode"),
        ({"value": "1e99"}, "value"),
        ({"sequence": -1}, "sequence"),
        ({"sequence": 2**62}, "sequence"),
        ({"sequence": None}, "sequence"),
        ({"effective": "2026-03-04"}, "effective"),
        ({"effective": "2026-03-04T12:00:00"}, "effective"),
        ({"effective": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, "effective"),
        ({"status": "entered-in-error"}, "status"),
        ({"unit": "x" * 51}, "unit"),
    ],
    ids=str,
)
async def test_what_is_malformed_refuses_the_batch(
    graph: Graph, patient: str, device: str, wrong: dict[str, Any], field: str
) -> None:
    answer = await graph.ask(RECORD, input=batch(patient, device, reading(1), {**reading(2), **wrong}))
    assert came_to(answer) == (0, 0, [("INVALID", ["readings", "1", field])])
    assert not answer.statements
    assert not await fetched(graph, VALUES, device)


async def test_a_batch_has_a_reading_and_a_hundred_at_most(graph: Graph, patient: str, device: str) -> None:
    assert came_to(await graph.ask(RECORD, input=batch(patient, device))) == (0, 0, [("INVALID", ["readings"])])
    with pytest.raises(LimitExceeded):
        await graph.ask(RECORD, input=batch(patient, device, *(reading(n) for n in range(101))))


async def test_sequence_and_device_come_together(graph: Graph, patient: str) -> None:
    answer = await graph.ask(RECORD, input=batch(patient, None, reading(1)))
    assert came_to(answer) == (0, 0, [("INVALID", ["readings", "0", "sequence"])])


async def test_who_may_not_write_is_refused_before_anything_is_asked(graph: Graph, patient: str, device: str) -> None:
    for profile in (Profile.REGISTRAR, Profile.CDS, Profile.ANALYST, Profile.BILLING):
        answer = await graph.ask(RECORD, profile, input=batch(patient, device, reading(1)))
        assert answer.codes == [Forbidden().code]
        assert not answer.statements


async def test_another_facilitys_patient_and_encounter_do_not_exist(
    graph: Graph, patients: list[dict[str, Any]], device: str
) -> None:
    patient = patients[0]["id"]
    answer = await graph.ask(RECORD, facility=1, input=batch(patient, device, reading(1)))
    unknown = await graph.ask(RECORD, facility=1, input=batch(f"Patient/{uuid4()}", device, reading(1)))
    assert answer.data == unknown.data
    assert came_to(answer) == (0, 0, [("NOT_FOUND", ["patientId"])])
    assert answer.statements == unknown.statements
    assert ("vitals", "record_readings") not in answer.statements
    other = next(one["encounters"]["nodes"][0]["id"] for one in patients[1:] if one["encounters"]["nodes"])
    of_another = await graph.ask(RECORD, input=batch(patient, device, reading(1), encounterId=other))
    assert came_to(of_another) == (0, 0, [("NOT_FOUND", ["encounterId"])])
    assert not await fetched(graph, VALUES, device)


async def test_a_device_of_this_name_elsewhere_is_another_one(graph: Graph, patient: str, device: str) -> None:
    await graph.ask(RECORD, input=batch(patient, device, reading(1)))
    theirs = f"Patient/{await People(graph.stores).patient(graph.facilities[1].id)}"
    assert came_to(await graph.ask(RECORD, facility=1, input=batch(theirs, device, reading(1, 70)))) == (1, 0, [])


async def test_a_batch_takes_one_statement_and_one_for_duplicates(graph: Graph, patient: str, device: str) -> None:
    new = await graph.ask(RECORD, input=batch(patient, device, *(reading(n) for n in range(100))))
    assert new.statements["vitals", "record_readings"] == 1
    assert ("vitals", "readings_recorded_before") not in new.statements
    again = await graph.ask(RECORD, input=batch(patient, device, *(reading(n) for n in range(1, 101))))
    assert came_to(again) == (1, 99, [])
    assert again.statements["vitals", "readings_recorded_before"] == 1


async def test_a_batch_is_counted_and_fed_once(graph: Graph, patient: str, device: str) -> None:
    here, who = graph.facilities[0].id, UUID(patient.removeprefix("Patient/"))
    answer = await graph.ask(RECORD, input=batch(patient, device, *(reading(n) for n in (7, 2, 4))))
    await graph.ask(RECORD, input=batch(patient, device, *(reading(n) for n in (7, 2, 4))))
    ids = {one["id"].removeprefix("VitalSign/").replace(".", "/") for one in answer.data["recordVitals"]["vitalSigns"]}
    [(facility, keys, since, until), (_, before, _, _)] = await fetched(graph, EVENTS, who, 2)
    assert (facility, set(keys)) == (here, ids)
    assert not ids & set(before)
    assert (since, until) == (NOON + timedelta(seconds=2), NOON + timedelta(seconds=7))
    [(actor, count)] = await fetched(graph, RECORDED, str(here))
    assert (actor, count) == ("test-clinician", 3)


TELL = "SELECT feed.tell_readings($1::uuid[], $1::uuid[], $1::uuid[], ARRAY[now()])"


@pytest.mark.parametrize("proven", [True, False], ids=["elsewhere", "without the application"])
async def test_the_feed_is_told_of_the_own_facility_by_the_application_alone(graph: Graph, proven: bool) -> None:
    secret, role = graph.settings.secret, "caregraph_nurse"
    connection = await asyncpg.connect(login_url(graph.settings.vitals_url, role, role_password(secret, role)))
    try:
        pid, caller = connection.get_server_pid(), graph.caller(Profile.NURSE)
        with pytest.raises(InsufficientPrivilegeError):
            await connection.execute("SELECT feed.tell_readings(NULL, NULL, NULL, NULL)")
        async with connection.transaction():
            await connection.execute(f"SET LOCAL app.context = '{sign(secret, caller, pid)}'")
            if proven:
                await connection.execute(f"SET LOCAL app.proof = '{prove(secret, pid)}'")
            await connection.execute("SET LOCAL ROLE caregraph_nurse_writer")
            with pytest.raises(InsufficientPrivilegeError, match="another facility"):
                await connection.execute(TELL, [graph.facilities[1 if proven else 0].id])
    finally:
        await connection.close()
