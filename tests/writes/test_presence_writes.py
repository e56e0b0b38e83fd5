"""Who else has a chart open: told by those who have, seen by those who may see the chart, forgotten after a minute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from db.caller import Caller, Profile, PurposeOfUse
from db.policy import ROLES
from loaders.reader import Reader
from tests.asking import Answer, Graph
from tests.people import People
from tests.writes.mutating import asked, provider, refusal, send, written

PRESENT = "chartPresence { subject role editing since provider { id } }"
PATIENT = f"patient {{ id {PRESENT} }}"
READ = f"query ($id: ID!) {{ patient(id: $id) {{ {PRESENT} }} }}"
SILENT = "UPDATE clinical.chart_presence SET seen_at = seen_at - make_interval(secs => $2) WHERE subject = $1"
SINCE = "UPDATE clinical.chart_presence SET since = since - interval '1 hour' WHERE subject = $1"
AT_CHART = "/* presence_at_chart */ SELECT subject FROM chart_presence WHERE patient_id = $1"
NOTES = "SELECT count(*) FROM clinical.chart_presence WHERE subject = $1"
RECORDED = "SELECT count(*) FROM audit.change WHERE table_name = 'chart_presence'"
FED = "SELECT count(*) FROM feed.event WHERE table_name = 'chart_presence'"


def somebody(graph: Graph, role: str = "physician", facility: int = 0) -> Caller:
    """A new person in a role."""
    return Caller(f"{role}-{uuid4().hex}", ROLES[role], graph.facilities[facility].id, PurposeOfUse.TREAT)


async def note(graph: Graph, who: Caller, patient: str, **more: Any) -> Answer:
    """A note that somebody has a chart open."""
    return await send(graph, "noteChartPresence", PATIENT, who, patientId=patient, **more)


async def others(graph: Graph, who: Caller, patient: str) -> list[str]:
    """Subjects whom somebody sees at a chart."""
    answer = await graph.ask_as(who, READ, id=patient)
    assert not answer.errors
    return [one["subject"] for one in answer.data["patient"]["chartPresence"]]


async def silence(graph: Graph, who: Caller, seconds: int) -> None:
    """Makes the last notes of somebody so much older."""
    await graph.stores.clinical.worker_fetch(SILENT, who.subject, float(seconds))


async def test_who_opens_a_chart_sees_who_else_has_it_open(graph: Graph, patient: str) -> None:
    doctor, nurse = somebody(graph), somebody(graph, "nurse")
    as_provider = await provider(graph)
    doctor = replace(doctor, provider_id=UUID(as_provider.partition("/")[2]))
    assert written(await note(graph, doctor, patient, editing=True)) == {"id": patient, "chartPresence": []}
    answer = await note(graph, nurse, patient)
    [seen] = written(answer)["chartPresence"]
    assert seen.pop("since")
    assert seen == {
        "subject": doctor.subject, "role": "physician", "editing": True, "provider": {"id": as_provider}
    }  # fmt: skip
    assert asked(answer) == {
        "claim_idempotency_key": 1, "note_chart_presence": 1, "keep_outcome": 1, "patient_by_id": 1,
        "chart_presence_of_patients": 1, "provider_by_id": 1,
    }  # fmt: skip
    assert await others(graph, doctor, patient) == [nurse.subject]
    assert await others(graph, somebody(graph), patient) == [doctor.subject, nurse.subject]


async def test_who_is_silent_for_a_minute_is_gone_and_comes_anew(graph: Graph, patient: str) -> None:
    doctor, other = somebody(graph), somebody(graph)
    await note(graph, doctor, patient)
    await silence(graph, doctor, 55)
    assert await others(graph, other, patient) == [doctor.subject]
    await graph.stores.clinical.worker_fetch(SINCE, doctor.subject)
    await note(graph, doctor, patient)
    [old] = written(await note(graph, other, patient))["chartPresence"]
    await silence(graph, doctor, 65)
    assert await others(graph, other, patient) == []
    await note(graph, doctor, patient)
    [new] = written(await note(graph, other, patient))["chartPresence"]
    assert old["since"] < new["since"]


async def test_who_leaves_is_gone_at_once(graph: Graph, patient: str) -> None:
    doctor, other = somebody(graph), somebody(graph)
    await note(graph, doctor, patient)
    answer = await note(graph, doctor, patient, leave=True)
    assert written(answer)["id"] == patient
    assert asked(answer)["leave_chart"] == 1
    assert await others(graph, other, patient) == []
    assert not (await note(graph, doctor, patient, leave=True)).errors


async def test_notes_that_nobody_repeats_do_not_pile_up(graph: Graph, patient: str) -> None:
    doctor, people = somebody(graph), People(graph.stores)
    for _ in range(3):
        await note(graph, doctor, f"Patient/{await people.patient(doctor.facility_id)}")
        await silence(graph, doctor, 65)
    await note(graph, doctor, patient)
    [(notes,)] = await graph.stores.clinical.worker_fetch(NOTES, doctor.subject)
    assert notes == 1


async def test_a_note_is_sent_again_by_its_key(graph: Graph, patient: str) -> None:
    doctor, other, key = somebody(graph), somebody(graph), str(uuid4())
    first = await note(graph, doctor, patient, idempotencyKey=key)
    await note(graph, doctor, patient, leave=True)
    assert (await note(graph, doctor, patient, idempotencyKey=key)).data == first.data
    assert await others(graph, other, patient) == []
    conflict = await note(graph, doctor, patient, idempotencyKey=key, editing=True)
    assert refusal(conflict)["code"] == "IDEMPOTENCY_CONFLICT"


async def test_a_chart_of_others_and_a_closed_one_are_not_there(graph: Graph, patient: str) -> None:
    unknown = await note(graph, somebody(graph), f"Patient/{uuid4()}")
    assert (refusal(unknown)["code"], refusal(unknown)["field"]) == ("NOT_FOUND", ["patientId"])
    for who in (somebody(graph, facility=1), somebody(graph, "consultant")):
        answer = await note(graph, who, patient)
        assert (answer.data, asked(answer)) == (unknown.data, asked(unknown))


async def test_presence_is_seen_with_the_chart_and_inside_the_facility(graph: Graph) -> None:
    here, there = somebody(graph), somebody(graph, facility=1)
    patient = f"Patient/{await People(graph.stores).patient(here.facility_id, there.facility_id)}"
    for who in (here, there):
        await note(graph, who, patient)
    assert await others(graph, somebody(graph), patient) == [here.subject]
    assert await others(graph, somebody(graph, facility=1), patient) == [there.subject]
    closed = await graph.ask_as(somebody(graph, "consultant"), READ, id=patient)
    assert (closed.data["patient"], closed.codes) == ({"chartPresence": None}, ["SUPPRESSED"])


async def test_the_database_itself_shows_presence_with_the_chart(graph: Graph) -> None:
    here, there = somebody(graph), somebody(graph, facility=1)
    patient = await People(graph.stores).patient(here.facility_id, there.facility_id)
    await note(graph, here, f"Patient/{patient}")

    async def seen(who: Caller) -> list[str]:
        reader = Reader(graph.stores, who)
        try:
            return [row["subject"] for row in await reader.clinical.fetch(AT_CHART, patient)]
        finally:
            await reader.close()

    assert await seen(somebody(graph)) == [here.subject]
    assert await seen(somebody(graph, "consultant")) == await seen(there) == []


async def test_who_writes_no_presence_still_sees_it(graph: Graph, patient: str) -> None:
    doctor = somebody(graph)
    await note(graph, doctor, patient)
    writers = {Profile.CLINICIAN, Profile.NURSE, Profile.REGISTRAR}
    for profile in set(Profile) - writers:
        answer = await send(graph, "noteChartPresence", PATIENT, profile, patientId=patient)
        assert (answer.codes, answer.statements.total()) == (["FORBIDDEN"], 0), profile
    for profile in set(Profile) - {Profile.PATIENT}:
        assert await others(graph, graph.caller(profile), patient) == [doctor.subject], profile


async def test_presence_is_neither_recorded_nor_fed(graph: Graph, patient: str) -> None:
    """It is no record of the patient's: what was read, the audit of operations has."""
    await note(graph, somebody(graph), patient)
    connection = await asyncpg.connect(graph.settings.clinical_url)
    try:
        assert (
            await connection.fetchval(
                "SELECT relpersistence FROM pg_class WHERE oid = 'clinical.chart_presence'::regclass"
            )
            == b"u"
        )
        assert [await connection.fetchval(sql) for sql in (RECORDED, FED)] == [0, 0]
    finally:
        await connection.close()
