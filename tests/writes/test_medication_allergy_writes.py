"""Allergies against what is ordered: found by substance, class and name, seen or not, and overridden with a reason."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from db.caller import Profile
from db.ids import derived_id
from db.transaction import Transaction
from loaders.reader import Reader
from tests.asking import Answer, Graph
from tests.callers import caller_of
from tests.psql.transcript import psql
from tests.writes.pharmacy import AMOXICILLIN, METFORMIN, RXNORM, SNOMED, Pharmacy
from tests.writes.test_write import administrator_fetch, refusal

WHY = "Tolerated twice since then, no other drug fits"
RECORDED = """
SELECT actor, after ->> 'allergy_override_reason' FROM audit.change
WHERE table_name = 'medication_request' AND row_key = $1"""
AGAINST = "SELECT id FROM access.allergies_against($1, $2)"
DRUG = """
INSERT INTO clinical.medication (id, code_system, code, code_text, code_translation, ingredient)
VALUES ($1, $2, $3, $4, $5, $6)"""

PENICILLIN = {"system": SNOMED, "code": "764146007", "display": "Penicillin"}


def snomed(code: str, display: str) -> dict[str, str]:
    """A concept of SNOMED CT."""
    return {"system": SNOMED, "code": code, "display": display}


def rxnorm(code: str, display: str) -> dict[str, str]:
    """A concept of RxNorm."""
    return {"system": RXNORM, "code": code, "display": display}


AGAINST_EACH_OTHER = {
    "the same code": (AMOXICILLIN, AMOXICILLIN),
    "the same code without class": (METFORMIN, METFORMIN | {"display": "as one calls it elsewhere"}),
    "another system": (snomed("372687004", "Amoxicillin (substance)"), AMOXICILLIN),
    "the class": (PENICILLIN, AMOXICILLIN),
    "the class as the demo has it": (snomed("373270004", "Substance with penicillin structure"), AMOXICILLIN),
    "another of the class": (rxnorm("733", "ampicillin"), AMOXICILLIN),
    "the disorder": (snomed("91936005", "Allergy to penicillin"), AMOXICILLIN),
    "the class of a combination": (snomed("387406002", "Sulfonamide"), rxnorm("10831", "Bactrim")),
    "opioids": (snomed("387494007", "Codeine"), rxnorm("7052", "morphine")),
    "the name of a product": ({"text": "Erythromycin"}, rxnorm("999901", "erythromycin 250 MG Oral Tablet")),
    "the name of a class": ({"text": "Sulfa drugs"}, rxnorm("10180", "sulfamethoxazole")),
    "a name without code": ({"text": "Allergy to METFORMIN"}, rxnorm("999902", "metformin 500 MG")),
    "a name with more": ({"text": "metformin hydrochloride, rash"}, METFORMIN),
}
"""Allergies, and what may then not be ordered."""
ASIDE: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "another class": (PENICILLIN, {}),
    "a word of the same letters": ({"text": "met"}, {}),
    "resolved": (METFORMIN, {"status": "resolved"}),
    "inactive": (METFORMIN, {"status": "inactive"}),
    "refuted": (METFORMIN, {"verification": "refuted"}),
    "entered in error": (METFORMIN, {"status": None, "verification": "entered-in-error"}),
    "that there is none": (METFORMIN | {"text": "No known allergy to metformin"}, {"is_none": True}),
    "nothing said": ({"text": "Allergy"}, {}),
}
"""Allergies that are not against metformin, or not now."""


@pytest.fixture(scope="module")
def pharmacy(graph: Graph) -> Pharmacy:
    """That of the first facility."""
    return Pharmacy(graph, graph.facilities[0].id)


def refused(answer: Answer) -> tuple[str, list[str], str]:
    """Code of a refusal, ids of the allergies that it shows, and its message."""
    error, payload = refusal(answer, "orderMedication"), answer.data["orderMedication"]
    assert payload["medicationRequest"] is None
    return error["code"], [one["id"] for one in payload["allergies"]], error["message"]


@pytest.mark.parametrize("case", AGAINST_EACH_OTHER)
async def test_what_the_patient_is_allergic_to_is_not_ordered(pharmacy: Pharmacy, case: str) -> None:
    allergy, drug = AGAINST_EACH_OTHER[case]
    patient = await pharmacy.patient()
    known = await pharmacy.allergy(patient, allergy)
    code, shown, _ = refused(await pharmacy.order(patient, medication=drug))
    assert (code, shown) == ("ALLERGY", [known])


@pytest.mark.parametrize("case", ASIDE)
async def test_what_is_no_allergy_to_it_does_not_matter(pharmacy: Pharmacy, case: str) -> None:
    allergy, more = ASIDE[case]
    patient = await pharmacy.patient()
    await pharmacy.allergy(patient, allergy, **more)
    assert (await pharmacy.ordered(patient))["allergyOverrideReason"] is None


async def test_an_allergy_without_status_counts(pharmacy: Pharmacy) -> None:
    patient = await pharmacy.patient()
    known = await pharmacy.allergy(patient, METFORMIN, status=None)
    assert refused(await pharmacy.order(patient))[1] == [known]


async def test_reactions_and_ingredients_name_substances_too(pharmacy: Pharmacy) -> None:
    patient, drug = await pharmacy.patient(), uuid4()
    ingredient = [{"itemCodeableConcept": {"coding": [PENICILLIN]}}]
    clinical = pharmacy.graph.stores.clinical
    await clinical.worker_fetch(DRUG, drug, None, None, "House mixture", None, ingredient)
    substance = {"coding": [rxnorm("733", "ampicillin")]}
    known = await pharmacy.allergy(patient, {"text": "Reaction to a drug"}, substance=substance)
    answer = await pharmacy.order(patient, medication=None, medicationId=f"Medication/{drug}")
    assert refused(answer)[:2] == ("ALLERGY", [known])
    other = uuid4()
    await clinical.worker_fetch(DRUG, other, "http://example.org", "1", "House mixture 2", [rxnorm("723", "x")], [])
    answer = await pharmacy.order(patient, medication=None, medicationId=f"Medication/{other}")
    assert refused(answer)[:2] == ("ALLERGY", [known])


async def test_a_refused_order_leaves_nothing(pharmacy: Pharmacy) -> None:
    patient, code = await pharmacy.patient(), str(80_000_000 + uuid4().int % 9_999_999)
    await pharmacy.allergy(patient, {"text": "Penicillin"})
    refused(await pharmacy.order(patient, medication=rxnorm(code, "penicillin G 1 MG")))
    clinical, entered = pharmacy.graph.stores.clinical, derived_id("medication", RXNORM, code, None)
    assert not await clinical.worker_fetch("SELECT FROM clinical.medication WHERE id = $1", entered)
    key = UUID(patient.removeprefix("Patient/"))
    assert not await clinical.worker_fetch("SELECT FROM clinical.medication_request WHERE patient_id = $1", key)


async def test_an_allergy_of_another_patient_does_not_matter(pharmacy: Pharmacy) -> None:
    await pharmacy.allergy(await pharmacy.patient(), METFORMIN)
    await pharmacy.ordered()


async def test_a_reason_overrides_and_is_kept_and_recorded(pharmacy: Pharmacy) -> None:
    patient = await pharmacy.patient()
    await pharmacy.allergy(patient, PENICILLIN)
    order = await pharmacy.ordered(patient, medication=AMOXICILLIN, allergyOverrideReason=WHY)
    assert order["allergyOverrideReason"] == WHY
    key = order["id"].removeprefix("MedicationRequest/")
    assert await administrator_fetch(pharmacy.graph, RECORDED, key) == [("test-clinician", WHY)]


async def test_a_reason_that_overrides_nothing_is_not_kept(pharmacy: Pharmacy) -> None:
    assert (await pharmacy.ordered(allergyOverrideReason=WHY))["allergyOverrideReason"] is None


async def test_an_allergy_that_the_caller_may_not_see_forbids_as_well(pharmacy: Pharmacy) -> None:
    patient = await pharmacy.patient()
    await pharmacy.allergy(patient, METFORMIN, "ETH")
    code, shown, hidden_alone = refused(await pharmacy.order(patient))
    assert (code, shown) == ("ALLERGY", [])
    seen = await pharmacy.allergy(patient, METFORMIN)
    assert refused(await pharmacy.order(patient)) == ("ALLERGY", [seen], hidden_alone)
    other = await pharmacy.patient()
    await pharmacy.allergy(other, METFORMIN)
    assert refused(await pharmacy.order(other))[2] != hidden_alone
    order = await pharmacy.ordered(patient, allergyOverrideReason=WHY)
    assert order["allergyOverrideReason"] == WHY


async def test_the_same_key_shows_the_same_allergies(pharmacy: Pharmacy) -> None:
    patient, key = await pharmacy.patient(), str(uuid4())
    known = await pharmacy.allergy(patient, METFORMIN)
    first = refused(await pharmacy.order(patient, idempotencyKey=key))
    assert first[:2] == ("ALLERGY", [known])
    assert refused(await pharmacy.order(patient, idempotencyKey=key)) == first


async def test_who_is_not_the_application_learns_of_no_allergy(pharmacy: Pharmacy, graph: Graph) -> None:
    """The function runs past labels; a login that takes on its writer role has a context and no proof."""
    patient = await pharmacy.patient(graph.facilities[1].id)
    await pharmacy.allergy(patient, METFORMIN)
    order = await pharmacy.ordered(patient, allergyOverrideReason=WHY)
    key, drug = UUID(patient.removeprefix("Patient/")), UUID(order["medication"]["id"].removeprefix("Medication/"))
    caller = caller_of(Profile.CLINICIAN, pharmacy.facility)
    request = UUID(order["id"].removeprefix("MedicationRequest/"))
    functions = ((AGAINST, (key, drug)), ("SELECT id FROM access.order_to_administer($1)", (request,)))
    async with psql(graph.settings, caller) as session:
        for sql, args in functions:
            assert (await session.say(sql, *args)).sqlstate == "42501"
        await session.say("SET ROLE caregraph_clinician_writer")
        for sql, args in functions:
            said = await session.say(sql, *args)
            assert (said.rows, said.sqlstate) == ([], None)

    async def asked(facility: int, sql: Any, args: tuple[UUID, ...]) -> int:
        reader = Reader(graph.stores, graph.caller(facility=facility))
        writing: Transaction
        try:
            async with reader.transaction() as writing:
                return len(await writing.fetch("/* asked */ " + sql, *args))
        finally:
            await reader.close()

    for sql, args in functions:
        assert [await asked(facility, sql, args) for facility in (0, 1)] == [1, 0]
