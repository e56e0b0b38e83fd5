"""Doses: given once for each due time, refused, held, not against a stop; and records taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.caller import Profile
from db.errors import ConstraintViolated, Forbidden
from loaders.reader import Reader
from loaders.writes.medication_administration import NewAdministration, administer_medication
from loaders.writes.medication_request import stop_medication
from tests.asking import Answer, Graph
from tests.writes.pharmacy import ADMINISTER, AS_NEEDED, DUE, REASON, RETRACT, TWICE_A_DAY, Pharmacy, changing, giving
from tests.writes.test_write import refusal, written

STATEMENTS = {
    "claim_idempotency_key": 1,
    "order_to_administer": 1,
    "is_given": 1,
    "administer_medication": 1,
    "keep_outcome": 1,
}
"""Statements of a dose, before it is read."""
DOSES = "SELECT status, security FROM clinical.medication_administration WHERE medication_request_id = $1"
DOSE = """
INSERT INTO clinical.medication_administration (id, facility_id, patient_id, medication_request_id, status, due,
    due_time, sort_time)
SELECT gen_random_uuid(), facility_id, patient_id, id, $2, '2026-03-01', '2026-03-01', now()
FROM clinical.medication_request WHERE id = $1"""
IMPORTED = """
INSERT INTO clinical.medication_request (id, facility_id, patient_id, status, intent, dosage, sort_time)
SELECT $2, facility_id, patient_id, 'active', 'order', $3, now() FROM clinical.medication_request WHERE id = $1"""
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@pytest.fixture(scope="module")
def pharmacy(graph: Graph) -> Pharmacy:
    """That of the first facility."""
    return Pharmacy(graph, graph.facilities[0].id)


def key_of(id: str) -> UUID:
    """Key of a global id."""
    return UUID(id.partition("/")[2])


def code(answer: Answer, name: str = "administerMedication") -> str | None:
    """Code of a refusal; None where the write was made."""
    assert not answer.errors
    return next((error["code"] for error in answer.data[name]["userErrors"]), None)


@pytest.mark.parametrize("profile", [Profile.NURSE, Profile.CLINICIAN])
async def test_a_dose_is_given_as_ordered(pharmacy: Pharmacy, profile: Profile) -> None:
    order = await pharmacy.ordered()
    answer = await pharmacy.administer(order["id"], profile, givenAt="2026-03-01T08:05:30+00:00")
    dose = written(answer, "administerMedication")["medicationAdministration"]
    assert (dose["status"], dose["version"], dose["statusReason"]) == ("completed", 1, None)
    assert (dose["dueTime"], dose["effectiveStart"]) == (DUE, "2026-03-01T08:05:30+00:00")
    assert (dose["patient"], dose["medication"]) == (order["patient"], {"id": order["medication"]["id"]})
    assert dose["dosage"] == {"dose": {"value": 500, "code": "mg"}, "route": {"coding": [{"code": "26643006"}]}}
    assert {name: count for (_, name), count in answer.statements.items() if name in STATEMENTS} == STATEMENTS


async def test_another_amount_may_be_given(pharmacy: Pharmacy) -> None:
    dose = await pharmacy.given((await pharmacy.ordered())["id"], dose={"value": "250", "code": "mg"})
    assert dose["dosage"]["dose"]["value"] == 250


@pytest.mark.parametrize("profile", [Profile.REGISTRAR, Profile.BILLING, Profile.PATIENT])
async def test_only_who_may_administer_does(pharmacy: Pharmacy, profile: Profile) -> None:
    order = (await pharmacy.ordered())["id"]
    for document, given in ((ADMINISTER, giving(order)), (RETRACT, changing(f"MedicationAdministration/{uuid4()}", 1))):
        answer = await pharmacy.graph.ask(document, profile, input=given)
        assert answer.codes == [Forbidden().code]
        assert not answer.statements


async def test_nothing_of_another_facility_is_there(pharmacy: Pharmacy) -> None:
    patient = await pharmacy.patient(pharmacy.graph.facilities[1].id)
    order = (await pharmacy.ordered(patient))["id"]
    dose = await pharmacy.given(order)
    theirs = await pharmacy.administer(order, facility=1)
    unknown = await pharmacy.administer(f"MedicationRequest/{uuid4()}", facility=1)
    assert refusal(theirs, "administerMedication") == refusal(unknown, "administerMedication")
    assert code(theirs) == "NOT_FOUND"
    assert code(await pharmacy.retract(dose["id"], facility=1), "retractMedicationAdministration") == "NOT_FOUND"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"status": "in-progress"}, "status"),
        ({"status": "not-done"}, "reason"),
        ({"status": "on-hold"}, "reason"),
        ({"reason": REASON}, "reason"),
        ({"status": "not-done", "reason": REASON, "givenAt": DUE}, "givenAt"),
        ({"status": "on-hold", "reason": REASON, "dose": {"value": "1", "code": "mg"}}, "dose"),
        ({"dose": {"value": "-1", "code": "mg"}}, "dose"),
        ({"dueTime": "2026-03-01T08:00:30Z"}, "dueTime"),
        ({"dueTime": "2026-03-01T08:00:00"}, "dueTime"),
        ({"givenAt": (datetime.now(UTC) + timedelta(hours=2)).isoformat()}, "givenAt"),
    ],
)
async def test_what_can_not_have_been_is_refused(pharmacy: Pharmacy, more: Mapping[str, Any], field: str) -> None:
    answer = await pharmacy.administer(f"MedicationRequest/{uuid4()}", **more)
    error = refusal(answer, "administerMedication")
    assert (error["code"], error["field"]) == ("INVALID", [field])
    assert not answer.statements


async def test_a_dose_is_given_once_for_each_due_time(pharmacy: Pharmacy) -> None:
    order = (await pharmacy.ordered())["id"]
    for status in ("on-hold", "not-done", "not-done"):
        kept = await pharmacy.given(order, status=status, reason=REASON)
        assert (kept["status"], kept["statusReason"], kept["effectiveStart"]) == (status, REASON, DUE)
    await pharmacy.given(order)
    same_instant, refused = {"dueTime": "2026-03-01T09:00:00+01:00"}, {"status": "not-done", "reason": REASON}
    again: list[dict[str, Any]] = [{}, same_instant, refused]
    for more in again:
        error = refusal(await pharmacy.administer(order, **more), "administerMedication")
        assert (error["code"], error["field"]) == ("ALREADY_EXISTS", ["dueTime"])
    await pharmacy.given(order, dueTime="2026-03-01T20:00:00+00:00")


async def test_of_twenty_who_give_one_dose_one_does(pharmacy: Pharmacy) -> None:
    order = (await pharmacy.ordered())["id"]
    answers = await asyncio.gather(*(pharmacy.administer(order) for _ in range(20)))
    assert sorted(code(one) or "-" for one in answers) == ["-"] + ["ALREADY_EXISTS"] * 19
    doses = await pharmacy.graph.stores.clinical.worker_fetch(DOSES, key_of(order))
    assert [row["status"] for row in doses] == ["completed"]


async def test_the_database_takes_no_second_dose_of_a_due_time(pharmacy: Pharmacy) -> None:
    clinical, order = pharmacy.graph.stores.clinical, key_of((await pharmacy.ordered())["id"])
    for status in ("on-hold", "not-done", "entered-in-error", "not-done", "completed", "not-done"):
        await clinical.worker_fetch(DOSE, order, status)
    for status in ("completed", "in-progress", "stopped"):
        with pytest.raises(ConstraintViolated) as caught:
            await clinical.worker_fetch(DOSE, order, status)
        assert caught.value.constraint == "medication_administration_once"


async def test_a_dose_of_an_order_with_times_has_one(pharmacy: Pharmacy) -> None:
    order = (await pharmacy.ordered())["id"]
    error = refusal(await pharmacy.administer(order, dueTime=None), "administerMedication")
    assert (error["code"], error["field"]) == ("INVALID", ["dueTime"])
    as_needed = (await pharmacy.ordered(dosage=AS_NEEDED))["id"]
    first, second = [await pharmacy.given(as_needed, dueTime=None) for _ in range(2)]
    assert first["id"] != second["id"]
    assert (first["dueTime"], second["dueTime"]) == (None, None)


async def test_a_dose_is_given_in_the_time_of_the_order(pharmacy: Pharmacy) -> None:
    bounds = {"start": "2026-03-01T06:00:00+00:00", "end": "2026-03-02T06:00:00+00:00"}
    order = (await pharmacy.ordered(dosage=TWICE_A_DAY | bounds))["id"]
    for due in ("2026-03-01T05:59:00Z", "2026-03-02T06:01:00Z"):
        error = refusal(await pharmacy.administer(order, dueTime=due), "administerMedication")
        assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["dueTime"])
    await pharmacy.given(order, dueTime="2026-03-02T06:00:00Z")
    as_needed = (await pharmacy.ordered(dosage=AS_NEEDED | bounds))["id"]
    error = refusal(await pharmacy.administer(as_needed, dueTime=None), "administerMedication")
    assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["givenAt"])
    await pharmacy.given(as_needed, dueTime=None, givenAt=DUE)


async def test_an_imported_order_may_end_on_a_day(pharmacy: Pharmacy) -> None:
    order = (await pharmacy.ordered())["id"]
    period = {"start": "2026-02", "end": "2026-03-01"}
    dosage = [{"timing": {"repeat": {"boundsPeriod": period}}}]
    imported = uuid4()
    await pharmacy.graph.stores.clinical.worker_fetch(IMPORTED, key_of(order), imported, dosage)
    for due, expected in (
        ("2026-01-31T23:59:00Z", "NOT_ALLOWED_NOW"),
        ("2026-02-01T00:00:00Z", None),
        ("2026-03-01T23:59:00Z", None),
        ("2026-03-02T00:00:00Z", "NOT_ALLOWED_NOW"),
    ):
        assert code(await pharmacy.administer(f"MedicationRequest/{imported}", dueTime=due)) == expected


async def test_nothing_is_given_of_an_order_that_is_not_active(pharmacy: Pharmacy) -> None:
    order = (await pharmacy.ordered())["id"]
    await pharmacy.given(order)
    written(await pharmacy.stop(order), "stopMedication")
    error = refusal(await pharmacy.administer(order, dueTime="2026-03-01T20:00:00Z"), "administerMedication")
    assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["orderId"])
    for status in ("on-hold", "completed", "draft"):
        other = (await pharmacy.ordered())["id"]
        sql = "UPDATE clinical.medication_request SET status = $2 WHERE id = $1"
        await pharmacy.graph.stores.clinical.worker_fetch(sql, key_of(other), status)
        assert code(await pharmacy.administer(other)) == "NOT_ALLOWED_NOW"


async def waiting(graph: Graph) -> None:
    """Returns when somebody waits for a lock."""
    while not (await graph.stores.clinical.worker_fetch(WAITING))[0][0]:  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.01)


async def test_a_dose_waits_for_a_stop_that_is_under_way(pharmacy: Pharmacy) -> None:
    graph, order = pharmacy.graph, (await pharmacy.ordered())["id"]
    reader = Reader(graph.stores, graph.caller())
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        async with reader.transaction() as writing:
            await stop_medication(writing, key_of(order), 1, REASON)
            dose = tasks.create_task(pharmacy.administer(order))
            await waiting(graph)
        await reader.close()
    assert code(dose.result()) == "NOT_ALLOWED_NOW"


async def test_a_stop_waits_for_a_dose_that_is_under_way(pharmacy: Pharmacy) -> None:
    graph, order = pharmacy.graph, (await pharmacy.ordered())["id"]
    reader = Reader(graph.stores, graph.caller(Profile.NURSE))
    due = datetime.fromisoformat(DUE)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        async with reader.transaction() as writing:
            await administer_medication(writing, NewAdministration(key_of(order), "completed", None, due, due, None))
            stop = tasks.create_task(pharmacy.stop(order))
            await waiting(graph)
        await reader.close()
    assert code(stop.result(), "stopMedication") is None
    assert len(await graph.stores.clinical.worker_fetch(DOSES, key_of(order))) == 1


async def test_of_a_stop_and_doses_at_once_no_dose_follows_the_stop(pharmacy: Pharmacy) -> None:
    order = (await pharmacy.ordered())["id"]
    dues = [f"2026-03-{day:02}T08:00:00Z" for day in range(1, 9)]
    doses = [pharmacy.administer(order, dueTime=due) for due in dues]
    *given, stopped = await asyncio.gather(*doses, pharmacy.stop(order))
    assert code(stopped, "stopMedication") is None
    assert {code(one) for one in given} <= {None, "NOT_ALLOWED_NOW"}
    kept = await pharmacy.graph.stores.clinical.worker_fetch(DOSES, key_of(order))
    assert len(kept) == sum(code(one) is None for one in given)
    assert code(await pharmacy.administer(order, dueTime="2026-03-09T08:00:00Z")) == "NOT_ALLOWED_NOW"


async def test_a_record_that_is_wrong_is_retracted_and_the_dose_given(pharmacy: Pharmacy) -> None:
    order = (await pharmacy.ordered())["id"]
    dose = await pharmacy.given(order)
    name = "retractMedicationAdministration"
    stale = refusal(await pharmacy.retract(dose["id"], version=7), name)
    assert (stale["code"], stale["version"]) == ("CONFLICT", 1)
    wrong = written(await pharmacy.retract(dose["id"]), name)["medicationAdministration"]
    assert (wrong["status"], wrong["version"]) == ("entered-in-error", 2)
    assert wrong["statusReason"] == {"text": "Not any more"}
    assert code(await pharmacy.retract(dose["id"], version=2), name) == "NOT_ALLOWED_NOW"
    await pharmacy.given(order)


async def test_what_labels_an_order_labels_its_doses(pharmacy: Pharmacy) -> None:
    orders = [(await pharmacy.ordered())["id"] for _ in range(2)]
    clinical = pharmacy.graph.stores.clinical
    for order, label in zip(orders, ("PSY", "ETH"), strict=True):
        sql = "UPDATE clinical.medication_request SET security = ARRAY[$2::text] WHERE id = $1"
        await clinical.worker_fetch(sql, key_of(order), label)
    await pharmacy.given(orders[0])
    assert [row["security"] for row in await clinical.worker_fetch(DOSES, key_of(orders[0]))] == [["PSY"]]
    assert code(await pharmacy.administer(orders[1])) == "NOT_FOUND", "who may not see an order gives nothing of it"
