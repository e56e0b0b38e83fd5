"""Orders of medications: made with their dosage or not at all, entered into the catalogue once, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.caller import Profile
from db.errors import ConstraintViolated, Forbidden
from db.ids import derived_id
from db.transaction import Transaction
from loaders.reader import Reader
from tests.asking import Graph
from tests.people import People
from tests.writes.pharmacy import (
    AS_NEEDED,
    METFORMIN,
    ORDER,
    RXNORM,
    STOP,
    TWICE_A_DAY,
    UCUM,
    Pharmacy,
    changing,
    ordering,
)
from tests.writes.test_write import administrator_fetch, refusal, written

STATEMENTS = {
    "claim_idempotency_key": 1,
    "lock_chart": 1,
    "where_medication_is_ordered": 1,
    "enter_medication": 1,
    "allergies_against": 1,
    "order_medication": 1,
    "keep_outcome": 1,
}
"""Statements of an order, before it is read."""
MADE = """/* made */
INSERT INTO medication_request (id, facility_id, patient_id, medication_id, status, intent, dosage, ordered_here,
    sort_time)
VALUES ($1, $2, $3, $4, 'active', 'order', $5, $6, now())"""
RECORDED = """
SELECT actor, operation, after ->> 'status' FROM audit.change
WHERE table_name = 'medication_request' AND row_key = $1 ORDER BY occurred_at"""
COMPLETE: dict[str, Any] = {
    "route": {"text": "PO"},
    "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
    "doseAndRate": [{"doseQuantity": {"value": 5, "code": "mg", "system": UCUM}}],
}


@pytest.fixture(scope="module")
def pharmacy(graph: Graph) -> Pharmacy:
    """That of the first facility."""
    return Pharmacy(graph, graph.facilities[0].id)


async def test_an_order_is_answered_as_it_is_read(pharmacy: Pharmacy) -> None:
    graph = pharmacy.graph
    patient = await pharmacy.patient()
    stay = await People(graph.stores).stay(pharmacy.facility, UUID(patient.removeprefix("Patient/")))
    dosage = {
        **TWICE_A_DAY,
        "dose": {"value": "0.10", "unit": "mg", "code": "mg"},
        "text": "Twice a day with meals",
        "patientInstruction": "Not on an empty stomach",
        "start": "2026-03-01T00:00:00+00:00",
        "end": "2026-03-08T00:00:00+00:00",
    }
    answer = await pharmacy.order(
        patient, encounterId=f"Encounter/{stay}", priority="urgent", reason={"text": "Diabetes"}, dosage=dosage
    )
    order = written(answer, "orderMedication")["medicationRequest"]
    assert (order["status"], order["intent"], order["version"], order["priority"]) == ("active", "order", 1, "urgent")
    assert (order["patient"], order["encounter"]) == ({"id": patient}, {"id": f"Encounter/{stay}"})
    assert order["reason"] == [{"text": "Diabetes"}]
    assert order["medication"]["code"]["coding"][0]["code"] == "6809"
    [taken] = order["dosageInstruction"]
    assert str(taken["dose"]["value"]) == "0.10"
    assert (taken["frequency"], taken["period"], taken["periodUnit"], taken["asNeeded"]) == (2, 1, "d", None)
    assert (taken["start"], taken["end"]) == (dosage["start"], dosage["end"])
    assert (taken["text"], taken["patientInstruction"]) == (dosage["text"], dosage["patientInstruction"])
    assert order["allergyOverrideReason"] is None
    counted = {name: count for (_, name), count in answer.statements.items() if name in STATEMENTS}
    assert counted == STATEMENTS


async def test_an_order_is_recorded_with_its_actor(pharmacy: Pharmacy) -> None:
    order = await pharmacy.ordered()
    written(await pharmacy.stop(order["id"]), "stopMedication")
    assert await administrator_fetch(pharmacy.graph, RECORDED, order["id"].removeprefix("MedicationRequest/")) == [
        ("test-clinician", "INSERT", "active"),
        ("test-clinician", "UPDATE", "stopped"),
    ]


@pytest.mark.parametrize("profile", [Profile.NURSE, Profile.REGISTRAR, Profile.CDS, Profile.PATIENT])
async def test_only_who_may_order_orders_and_stops(pharmacy: Pharmacy, profile: Profile) -> None:
    order = await pharmacy.ordered()
    for document, given in ((ORDER, ordering(order["patient"]["id"])), (STOP, changing(order["id"], 1))):
        answer = await pharmacy.graph.ask(document, profile, input=given)
        assert answer.codes == [Forbidden().code]
        assert not answer.statements


async def test_nothing_of_another_facility_is_there(pharmacy: Pharmacy) -> None:
    graph, order = pharmacy.graph, await pharmacy.ordered()
    theirs = await graph.ask(ORDER, facility=1, input=ordering(order["patient"]["id"]))
    unknown = await graph.ask(ORDER, facility=1, input=ordering(f"Patient/{uuid4()}"))
    assert refusal(theirs, "orderMedication") == refusal(unknown, "orderMedication")
    stopped = await pharmacy.stop(order["id"], facility=1)
    assert refusal(stopped, "stopMedication")["code"] == "NOT_FOUND"
    assert stopped.data["stopMedication"]["medicationRequest"] is None


async def test_what_an_order_names_must_be_there(pharmacy: Pharmacy) -> None:
    patient, other = await pharmacy.patient(), await pharmacy.patient()
    stay = await People(pharmacy.graph.stores).stay(pharmacy.facility, UUID(other.removeprefix("Patient/")))
    for field, id in (
        ("encounterId", f"Encounter/{uuid4()}"),
        ("encounterId", f"Encounter/{stay}"),
        ("providerId", f"Provider/{uuid4()}"),
        ("medicationId", f"Medication/{uuid4()}"),
    ):
        error = refusal(await pharmacy.order(patient, **{field: id}), "orderMedication")
        assert (error["code"], error["field"]) == ("NOT_FOUND", [field])


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"medication": None}, ["medicationId"]),
        ({"medication": {"text": "metformin"}}, ["medication"]),
        ({"medication": {**METFORMIN, "system": "http://example.org"}}, ["medication"]),
        ({"medication": {**METFORMIN, "code": "6809 mg"}}, ["medication"]),
        ({"medication": {**METFORMIN, "text": "for whom it is"}}, ["medication"]),
        ({"medication": {"system": RXNORM, "code": "6809"}}, ["medication"]),
        ({"priority": "soon"}, ["priority"]),
        ({"allergyOverrideReason": "too short"}, ["allergyOverrideReason"]),
        ({"allergyOverrideReason": "x" * 501}, ["allergyOverrideReason"]),
        ({"dosage": {**TWICE_A_DAY, "dose": {"value": "0", "code": "mg"}}}, ["dosage", "dose"]),
        ({"dosage": {**TWICE_A_DAY, "dose": {"value": "1", "unit": "mg"}}}, ["dosage", "dose"]),
        ({"dosage": {**TWICE_A_DAY, "dose": {"value": "1", "code": "m g"}}}, ["dosage", "dose"]),
        ({"dosage": {**TWICE_A_DAY, "dose": {"value": "1", "code": "mg", "comparator": "<"}}}, ["dosage", "dose"]),
        ({"dosage": {**TWICE_A_DAY, "frequency": None}}, ["dosage", "frequency"]),
        ({"dosage": {**TWICE_A_DAY, "frequency": -1}}, ["dosage", "frequency"]),
        ({"dosage": {**TWICE_A_DAY, "period": "-1"}}, ["dosage", "period"]),
        ({"dosage": {**TWICE_A_DAY, "periodUnit": "day"}}, ["dosage", "periodUnit"]),
        ({"dosage": {**AS_NEEDED, "asNeeded": False}}, ["dosage", "frequency"]),
        ({"dosage": {**AS_NEEDED, "start": "2026-03-01"}}, ["dosage", "start"]),
        ({"dosage": {**AS_NEEDED, "start": "2026-03-02T00:00:00Z", "end": "2026-03-01T00:00:00Z"}}, ["dosage", "end"]),
    ],
)  # fmt: skip
async def test_an_order_that_can_not_be_followed_is_refused(
    pharmacy: Pharmacy, more: Mapping[str, Any], field: list[str]
) -> None:
    answer = await pharmacy.order(f"Patient/{uuid4()}", **more)
    error = refusal(answer, "orderMedication")
    assert (error["code"], error["field"]) == ("INVALID", field)
    assert not answer.statements


async def test_a_code_is_entered_into_the_catalogue_once_as_an_import_would(pharmacy: Pharmacy) -> None:
    code = str(90_000_000 + uuid4().int % 9_999_999)
    patients = [await pharmacy.patient() for _ in range(4)]
    drugs = [{"system": RXNORM, "code": code, "display": f"name {place}"} for place in range(8)]
    orders = await asyncio.gather(
        *(pharmacy.ordered(patients[place % 4], medication=drug) for place, drug in enumerate(drugs))
    )
    assert {order["medication"]["id"] for order in orders} == {
        f"Medication/{derived_id('medication', RXNORM, code, None)}"
    }
    again = await pharmacy.ordered(medication=None, medicationId=orders[0]["medication"]["id"])
    assert again["medication"] == orders[0]["medication"]


def without(*path: str | int) -> list[dict[str, Any]]:
    """A complete dosage without one part."""
    made = deepcopy(COMPLETE)
    part: Any = made
    for step in path[:-1]:
        part = part[step]
    del part[path[-1]]
    return [made]


QUANTITY = ("doseAndRate", 0, "doseQuantity")
INCOMPLETE = {
    "none": [],
    "one of two": [COMPLETE, {"text": "as before"}],
    "text": [{"text": "one tablet twice a day"}],
    "route": without("route"),
    "timing": without("timing"),
    "frequency": without("timing", "repeat", "frequency"),
    "period": without("timing", "repeat", "period"),
    "unit of the period": without("timing", "repeat", "periodUnit"),
    "dose": without("doseAndRate"),
    "value": without(*QUANTITY, "value"),
    "unit": without(*QUANTITY, "code"),
    "system": without(*QUANTITY, "system"),
}


@contextmanager
def refused(constraint: str) -> Generator[None]:
    """What the database does not take, by this constraint."""
    with pytest.raises(ConstraintViolated) as caught:
        yield
    assert caught.value.constraint == constraint


async def insert(pharmacy: Pharmacy, dosage: list[dict[str, Any]], here: bool, drug: UUID | None = None) -> UUID:
    """Key of an order that a worker writes, past the application's checks."""
    key, patient = uuid4(), UUID((await pharmacy.patient()).removeprefix("Patient/"))
    sql: Any = MADE.replace("medication_request", "clinical.medication_request")
    clinical = pharmacy.graph.stores.clinical
    await clinical.worker_fetch(sql, key, pharmacy.facility, patient, drug, dosage, here)
    return key


@pytest.mark.parametrize("missing", INCOMPLETE)
async def test_an_order_of_ours_does_not_exist_without_its_dosage(pharmacy: Pharmacy, missing: str) -> None:
    drug = UUID((await pharmacy.ordered())["medication"]["id"].removeprefix("Medication/"))
    assert await insert(pharmacy, [COMPLETE], True, drug)
    assert await insert(pharmacy, [COMPLETE | {"asNeededBoolean": True, "timing": None}], True, drug)
    assert await insert(pharmacy, INCOMPLETE[missing], False, drug), "imported"
    with refused("ordered_with_dosage"):
        await insert(pharmacy, INCOMPLETE[missing], True, drug)
    with refused("ordered_with_dosage"):
        await insert(pharmacy, [COMPLETE], True)


async def test_an_order_of_ours_stays_one(pharmacy: Pharmacy) -> None:
    key = UUID((await pharmacy.ordered())["id"].removeprefix("MedicationRequest/"))
    clinical = pharmacy.graph.stores.clinical
    sql = "UPDATE clinical.medication_request SET ordered_here = false WHERE id = $1 RETURNING ordered_here"
    assert [row[0] for row in await clinical.worker_fetch(sql, key)] == [True]
    with refused("ordered_with_dosage"):
        await clinical.worker_fetch(
            "UPDATE clinical.medication_request SET ordered_here = false, dosage = '[]' WHERE id = $1", key
        )


async def test_a_caller_makes_no_order_but_ours(pharmacy: Pharmacy) -> None:
    order = await pharmacy.ordered()
    patient, drug = (UUID(order[one]["id"].partition("/")[2]) for one in ("patient", "medication"))

    def made(dosage: list[dict[str, Any]], here: bool) -> Callable[[Transaction], Awaitable[object]]:
        return lambda writing: writing.fetch(MADE, uuid4(), pharmacy.facility, patient, drug, dosage, here)

    for change, error in (
        (made([COMPLETE], True), None),
        (made([COMPLETE], False), Forbidden),
        (made([], True), ConstraintViolated),
    ):
        reader = Reader(pharmacy.graph.stores, pharmacy.graph.caller())
        try:
            if error is None:
                async with reader.transaction() as writing:
                    await change(writing)
            else:
                with pytest.raises(error):
                    async with reader.transaction() as writing:
                        await change(writing)
        finally:
            await reader.close()


async def test_an_order_is_stopped_once_and_by_who_saw_it(pharmacy: Pharmacy) -> None:
    order = await pharmacy.ordered()
    stale = refusal(await pharmacy.stop(order["id"], version=7), "stopMedication")
    assert (stale["code"], stale["version"]) == ("CONFLICT", 1)
    stopped = written(await pharmacy.stop(order["id"]), "stopMedication")["medicationRequest"]
    assert (stopped["status"], stopped["version"], stopped["statusReason"]) == ("stopped", 2, {"text": "Not any more"})
    again = refusal(await pharmacy.stop(order["id"], version=2), "stopMedication")
    assert again["code"] == "NOT_ALLOWED_NOW"


async def test_an_imported_order_can_be_stopped(pharmacy: Pharmacy) -> None:
    key = await insert(pharmacy, [], False)
    stopped = written(await pharmacy.stop(f"MedicationRequest/{key}"), "stopMedication")["medicationRequest"]
    assert stopped["status"] == "stopped"
