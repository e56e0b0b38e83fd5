"""Conditions, procedures, allergies and immunizations: recorded and changed, refused, and what contradicts what."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.caller import Profile
from db.errors import Forbidden
from tests.asking import Answer, Graph
from tests.ids import ids_of
from tests.people import DIABETES, OPIOID_DEPENDENCE, People
from tests.writes.test_write import administrator_fetch, refusal, written

SNOMED = "http://snomed.info/sct"
NOT_ANY, NO_DRUG, NO_FOOD = "716186003", "409137002", "429625007"
ERRORS = "userErrors { code field message version }"
RECORDED = """
SELECT operation, before ->> 'note', after ->> 'note', actor FROM audit.change
WHERE table_name = 'condition' AND row_key = $1 ORDER BY occurred_at"""
STATUSES = """
SELECT clinical_status, verification_status, version FROM clinical.allergy_intolerance WHERE id = $1"""


@dataclass(frozen=True, slots=True)
class Kind:
    """One type: how it is written and read, what is recorded of it here, a change of it, and one that is refused."""

    name: str
    table: str
    root: str
    selection: str
    recorded: Mapping[str, Any]
    change: Mapping[str, Any]
    wrong: Mapping[str, Any]
    error: Mapping[str, Any]
    read: Mapping[str, Any]
    """What a new one reads as."""

    def document(self, verb: str) -> str:
        """The mutation that records or updates one."""
        selected = f"{self.root} {{ {READ} {self.selection} }} {ERRORS}"
        given = f"{verb.capitalize()}{self.stem}Input!"
        return f"mutation ($input: {given}) {{ {verb}{self.stem}(input: $input) {{ {selected} }} }}"

    @property
    def stem(self) -> str:
        """Name in mutations."""
        return "Allergy" if self.name == "AllergyIntolerance" else self.name

    async def record(self, graph: Graph, patient: str, who: Profile = Profile.CLINICIAN, /, **more: Any) -> Answer:
        """The answer to recording one."""
        given = {"idempotencyKey": str(uuid4()), "patientId": patient, **self.recorded, **more}
        return await graph.ask(self.document("record"), who, input=given)

    async def made(self, graph: Graph, patient: str, **more: Any) -> dict[str, Any]:
        """One that was recorded."""
        return written(await self.record(graph, patient, **more), f"record{self.stem}")[self.root]

    async def update(self, graph: Graph, one: Mapping[str, Any], facility: int = 0, **more: Any) -> Answer:
        """The answer to a change of one, from the version that it has."""
        given = {"idempotencyKey": str(uuid4()), "id": one["id"], "version": one["version"], **more}
        return await graph.ask(self.document("update"), facility=facility, input=given)

    async def changed(self, graph: Graph, one: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """One that was changed."""
        return written(await self.update(graph, one, **more), f"update{self.stem}")[self.root]


READ = "id version patient { id } encounter { id }"


def concept(code: str, text: str | None = None) -> dict[str, Any]:
    """Input of a concept."""
    return {"system": SNOMED, "code": code, "text": text}


CONDITION = Kind(
    "Condition", "condition", "condition",
    """clinicalStatus verificationStatus category severity { text } code { coding { code } text } bodySite { text }
    onsetDateTime abatementDateTime recordedDate note""",
    {
        "code": concept(DIABETES, "Diabetes"), "verificationStatus": "confirmed", "category": ["problem-list-item"],
        "severity": {"text": "mild"}, "bodySite": [{"text": "Pancreas"}], "onsetDateTime": "2019-03",
        "note": "Since spring",
    },
    {"clinicalStatus": "remission", "abatementDateTime": "2024", "note": None},
    {"abatementDateTime": "2024"}, {"code": "INVALID", "field": ["clinicalStatus"]},
    {"clinicalStatus": "active", "onsetDateTime": "2019-03", "note": "Since spring", "category": ["problem-list-item"]},
)  # fmt: skip
PROCEDURE = Kind(
    "Procedure", "procedure", "procedure",
    """status code { text } reason { text } reasonConditions { id } bodySite { text } performedStart performedEnd
    provider { id }""",
    {"code": concept("80146002", "Appendectomy"), "status": "in-progress", "performedStart": "2026-02-01T08:00:00Z",
     "reason": [{"text": "Appendicitis"}], "bodySite": [{"text": "Appendix"}]},
    {"status": "completed", "performedEnd": "2026-02-01T09:30:00Z"},
    {"performedEnd": "2026-01-31"}, {"code": "INVALID", "field": ["performedEnd"]},
    {"status": "in-progress", "performedEnd": None, "reason": [{"text": "Appendicitis"}], "reasonConditions": []},
)  # fmt: skip
ALLERGY = Kind(
    "AllergyIntolerance", "allergy_intolerance", "allergyIntolerance",
    """noKnownAllergy clinicalStatus verificationStatus type category criticality code { text coding { code } }
    onsetDateTime recordedDate reaction { substance { text } manifestation { text } severity description } note""",
    {"code": concept("91936005", "Penicillin"), "category": ["medication"], "type": "allergy", "criticality": "high",
     "reaction": [{"manifestation": [{"text": "Hives"}], "severity": "moderate"}]},
    {"clinicalStatus": "resolved", "criticality": "low", "reaction": []},
    {"clinicalStatus": None}, {"code": "INVALID", "field": ["clinicalStatus"]},
    {"noKnownAllergy": False, "clinicalStatus": "active", "category": ["medication"], "criticality": "high",
     "reaction": [{"manifestation": [{"text": "Hives"}], "severity": "moderate", "substance": None,
                   "description": None}]},
)  # fmt: skip
IMMUNIZATION = Kind(
    "Immunization", "immunization", "immunization",
    """status vaccineCode { text } occurrenceDateTime occurrenceString primarySource lotNumber
    doseQuantity { value unit }""",
    {"vaccineCode": concept("871875004", "MMR"), "status": "completed", "occurrenceDateTime": "2025-10-10",
     "lotNumber": "L-1", "primarySource": True, "doseQuantity": {"value": Decimal("0.50"), "unit": "mL"}},
    {"lotNumber": "L-2", "primarySource": None},
    {"status": None}, {"code": "INVALID", "field": ["status"]},
    {"occurrenceDateTime": "2025-10-10", "lotNumber": "L-1", "doseQuantity": {"value": Decimal("0.50"), "unit": "mL"}},
)  # fmt: skip
KINDS = [CONDITION, PROCEDURE, ALLERGY, IMMUNIZATION]
EACH = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def key_of(one: Mapping[str, Any]) -> UUID:
    """Key of a row by its global id."""
    return UUID(one["id"].partition("/")[2])


@EACH
async def test_what_is_recorded_is_answered_as_it_is_read(graph: Graph, patient: str, kind: Kind) -> None:
    stay = await People(graph.stores).stay(graph.facilities[0].id, key_of({"id": patient}))
    answer = await kind.record(graph, patient, encounterId=f"Encounter/{stay}")
    one = written(answer, f"record{kind.stem}")[kind.root]
    assert (one["version"], one["patient"], one["encounter"]) == (1, {"id": patient}, {"id": f"Encounter/{stay}"})
    assert {name: one[name] for name in kind.read} == kind.read
    text = f"query ($id: ID!) {{ node(id: $id) {{ ... on {kind.name} {{ {READ} {kind.selection} }} }} }}"
    read = await graph.ask(text, id=one["id"])
    assert read.data["node"] == one
    names = ["claim_idempotency_key", "lock_chart", "where_fact_is_recorded", f"record_{kind.table}", "keep_outcome"]
    names += ["refute_no_known_allergy"] if kind is ALLERGY else []
    names += [f"{kind.table}_by_id", "patient_by_id", "encounter_by_id"]
    assert answer.statements == Counter({("clinical", name): 1 for name in names})


@EACH
async def test_a_change_leaves_what_it_does_not_give(graph: Graph, patient: str, kind: Kind) -> None:
    one = await kind.made(graph, patient)
    answer = await kind.update(graph, one, **kind.change)
    new = written(answer, f"update{kind.stem}")[kind.root]
    assert new == {**one, "version": 2, **kind.change}
    names = [f"patient_of_{kind.table}", "lock_chart", f"{kind.table}_for_update", f"change_{kind.table}"]
    assert {("clinical", name): answer.statements["clinical", name] for name in names} == {
        ("clinical", name): 1 for name in names
    }
    same = await kind.changed(graph, new)
    assert same == new, "nothing given, nothing changed"


@EACH
async def test_a_change_that_is_wrong_is_refused_and_nothing_is_written(graph: Graph, patient: str, kind: Kind) -> None:
    one = await kind.made(graph, patient)
    error = refusal(await kind.update(graph, one, **kind.wrong), f"update{kind.stem}")
    assert {name: error[name] for name in kind.error} == kind.error
    assert (await kind.changed(graph, one)) == one


@EACH
async def test_what_was_entered_in_error_stays_so(graph: Graph, patient: str, kind: Kind) -> None:
    one = await kind.made(graph, patient)
    status = "verificationStatus" if "verificationStatus" in kind.selection else "status"
    error = refusal(await kind.record(graph, patient, **{status: "entered-in-error"}), f"record{kind.stem}")
    assert (error["code"], error["field"]) == ("INVALID", [status])
    wrong = await kind.changed(graph, one, **{status: "entered-in-error"})
    assert wrong[status] == "entered-in-error"
    assert wrong.get("clinicalStatus") is None
    error = refusal(await kind.update(graph, wrong, **kind.change), f"update{kind.stem}")
    assert error["code"] == "NOT_ALLOWED_NOW"


@EACH
async def test_of_many_changes_of_one_version_one_is_made(graph: Graph, patient: str, kind: Kind) -> None:
    one = await kind.made(graph, patient)
    answers = await asyncio.gather(*(kind.update(graph, one, **kind.change) for _ in range(6)))
    errors = [
        (answer.data[f"update{kind.stem}"]["userErrors"] or [{"code": "-", "version": 2}])[0] for answer in answers
    ]
    assert Counter((error["code"], error["version"]) for error in errors) == {("-", 2): 1, ("CONFLICT", 2): 5}


@EACH
async def test_another_facilitys_and_a_closed_chart_do_not_exist(graph: Graph, patient: str, kind: Kind) -> None:
    one = await kind.made(graph, patient)
    unknown = (await kind.update(graph, {"id": f"{kind.name}/{uuid4()}", "version": 1}, **kind.change)).data
    assert refusal(Answer(unknown, [], {}), f"update{kind.stem}")["code"] == "NOT_FOUND"
    nobody = (await kind.record(graph, f"Patient/{uuid4()}")).data
    assert (await kind.update(graph, one, facility=1, **kind.change)).data == unknown
    elsewhere = await People(graph.stores).patient(graph.facilities[1].id)
    assert (await kind.record(graph, f"Patient/{elsewhere}")).data == nobody
    await People(graph.stores).consent(graph.facilities[0].id, key_of({"id": patient}), type="deny")
    assert (await kind.update(graph, one, **kind.change)).data == unknown
    assert (await kind.record(graph, patient)).data == nobody


@EACH
async def test_profiles_write_what_the_policy_lists(graph: Graph, patient: str, kind: Kind) -> None:
    nurse = await kind.record(graph, patient, Profile.NURSE)
    if kind in (ALLERGY, IMMUNIZATION):
        assert written(nurse, f"record{kind.stem}")[kind.root]["version"] == 1
    else:
        assert nurse.codes == [Forbidden().code]
    for profile in (Profile.REGISTRAR, Profile.CDS, Profile.ANALYST):
        answer = await kind.record(graph, patient, profile)
        assert answer.codes == [Forbidden().code]
        assert not answer.statements


@EACH
async def test_what_a_fact_names_must_be_the_patients(graph: Graph, patient: str, kind: Kind) -> None:
    people, here = People(graph.stores), graph.facilities[0].id
    other = await people.patient(here)
    stay = await people.stay(here, other)
    error = refusal(await kind.record(graph, patient, encounterId=f"Encounter/{stay}"), f"record{kind.stem}")
    assert (error["code"], error["field"]) == ("NOT_FOUND", ["encounterId"])


async def test_a_procedure_names_provider_and_reasons(graph: Graph, patient: str) -> None:
    [provider] = await ids_of(graph, "Provider", limit=1)
    reason = await CONDITION.made(graph, patient)
    ids = {"providerId": provider, "reasonConditionIds": [reason["id"]]}
    one = await PROCEDURE.made(graph, patient, **ids)
    assert (one["provider"]["id"], one["reasonConditions"]) == (ids["providerId"], [{"id": reason["id"]}])
    other = f"Patient/{await People(graph.stores).patient(graph.facilities[0].id)}"
    foreign = {"reasonConditionIds": [reason["id"]]}
    assert refusal(await PROCEDURE.record(graph, other, **foreign), "recordProcedure")["field"] == [
        "reasonConditionIds"
    ]
    unknown = {"providerId": f"Provider/{uuid4()}"}
    assert refusal(await PROCEDURE.record(graph, patient, **unknown), "recordProcedure")["field"] == ["providerId"]


@pytest.mark.parametrize(
    ("kind", "wrong", "place"),
    [
        (CONDITION, {"clinicalStatus": "gone"}, "clinicalStatus"),
        (CONDITION, {"category": ["vital-signs"]}, "category"),
        (CONDITION, {"code": {"code": DIABETES}}, "code"),
        (CONDITION, {"bodySite": [{"text": "Leg"}, {}]}, "bodySite.1"),
        (CONDITION, {"abatementDateTime": "2018", "clinicalStatus": "resolved"}, "abatementDateTime"),
        (CONDITION, {"onsetDateTime": "spring"}, "onsetDateTime"),
        (PROCEDURE, {"status": "done"}, "status"),
        (PROCEDURE, {"reasonConditionIds": ["Encounter/x"]}, "reasonConditionIds.id"),
        (ALLERGY, {"category": ["drug"]}, "category"),
        (ALLERGY, {"criticality": "deadly"}, "criticality"),
        (ALLERGY, {"reaction": [{"manifestation": []}]}, "reaction.0.manifestation"),
        (ALLERGY, {"reaction": [{"manifestation": [{"text": "x"}], "severity": "bad"}]}, "reaction.0.severity"),
        (IMMUNIZATION, {"occurrenceString": "in autumn"}, "occurrenceDateTime"),
        (IMMUNIZATION, {"occurrenceDateTime": None}, "occurrenceDateTime"),
        (IMMUNIZATION, {"doseQuantity": {"value": 1, "comparator": "="}}, "doseQuantity.comparator"),
    ],
)
async def test_values_are_those_of_fhir(
    graph: Graph, patient: str, kind: Kind, wrong: Mapping[str, Any], place: str
) -> None:
    error = refusal(await kind.record(graph, patient, **wrong), f"record{kind.stem}")
    assert (error["code"], error["field"]) == ("INVALID", place.split("."))


async def test_a_label_is_set_and_may_hide_what_was_recorded(graph: Graph, patient: str) -> None:
    """42 CFR Part 2: a physician records a dependence, and sees no substance use without consent."""
    answer = await CONDITION.record(graph, patient, code=concept(OPIOID_DEPENDENCE))
    assert written(answer, "recordCondition")["condition"] is None
    asked = "SELECT id, label FROM clinical.condition WHERE patient_id = $1 AND code = $2 AND onset IS NOT NULL"
    [(id, label)] = await administrator_fetch(graph, asked, key_of({"id": patient}), OPIOID_DEPENDENCE)
    assert label == ["ETH"]
    hidden = await CONDITION.update(graph, {"id": f"Condition/{id}", "version": 1}, note="x")
    assert refusal(hidden, "updateCondition")["code"] == "NOT_FOUND"


async def test_a_change_is_recorded_with_before_and_after(graph: Graph, patient: str) -> None:
    one = await CONDITION.made(graph, patient)
    await CONDITION.changed(graph, one, note="Since summer")
    assert await administrator_fetch(graph, RECORDED, str(key_of(one))) == [
        ("INSERT", None, "Since spring", "test-clinician"),
        ("UPDATE", "Since spring", "Since summer", "test-clinician"),
    ]


async def test_digits_of_a_dose_are_kept(graph: Graph, patient: str) -> None:
    one = await IMMUNIZATION.made(graph, patient)
    assert str(one["doseQuantity"]["value"]) == "0.50"
    two = await IMMUNIZATION.changed(graph, one, doseQuantity={"value": Decimal("0.10")})
    assert str(two["doseQuantity"]["value"]) == "0.10"
    assert str((await IMMUNIZATION.changed(graph, two, lotNumber="L-3"))["doseQuantity"]["value"]) == "0.10"


async def test_a_procedure_is_ordered_by_when_it_begins(graph: Graph, patient: str) -> None:
    one = await PROCEDURE.made(graph, patient, status="preparation", performedStart=None)
    await PROCEDURE.changed(graph, one, status="in-progress", performedStart="2020-05-05")
    ordered = "SELECT sort_time::date::text FROM clinical.procedure WHERE id = $1"
    assert await administrator_fetch(graph, ordered, key_of(one)) == [("2020-05-05",)]


async def test_an_active_allergy_refutes_that_there_is_none(graph: Graph, patient: str) -> None:
    none = await ALLERGY.made(graph, patient, code=concept(NOT_ANY), category=None, reaction=None)
    no_drug = await ALLERGY.made(graph, patient, code=concept(NO_DRUG), category=None, reaction=None)
    no_food = await ALLERGY.made(graph, patient, code=concept(NO_FOOD), category=None, reaction=None)
    assert {one["noKnownAllergy"] for one in (none, no_drug, no_food)} == {True}
    await ALLERGY.made(graph, patient, clinicalStatus="inactive")
    await ALLERGY.made(graph, patient, verificationStatus="refuted")
    assert await administrator_fetch(graph, STATUSES, key_of(none)) == [("active", None, 1)]
    await ALLERGY.made(graph, patient)
    for one in (none, no_drug):
        assert await administrator_fetch(graph, STATUSES, key_of(one)) == [("inactive", "refuted", 2)]
    assert await administrator_fetch(graph, STATUSES, key_of(no_food)) == [("active", None, 1)]


async def test_none_is_known_only_where_there_is_none(graph: Graph, patient: str) -> None:
    one = await ALLERGY.made(graph, patient)
    for code in (NOT_ANY, NO_DRUG):
        error = refusal(await ALLERGY.record(graph, patient, code=concept(code), category=None), "recordAllergy")
        assert (error["code"], error["field"]) == ("NOT_ALLOWED_NOW", ["clinicalStatus"])
    assert (await ALLERGY.made(graph, patient, code=concept(NO_FOOD), category=None))["noKnownAllergy"]
    await ALLERGY.changed(graph, one, clinicalStatus="inactive")
    none = await ALLERGY.made(graph, patient, code=concept(NOT_ANY), category=None)
    await ALLERGY.changed(graph, {**one, "version": 2}, clinicalStatus="active")
    assert await administrator_fetch(graph, STATUSES, key_of(none)) == [("inactive", "refuted", 2)]
    error = refusal(await ALLERGY.update(graph, {**none, "version": 2}, clinicalStatus="active",
                                         verificationStatus="confirmed"), "updateAllergy")  # fmt: skip
    assert error["code"] == "NOT_ALLOWED_NOW"


async def test_an_allergy_and_that_there_is_none_are_never_both_active(graph: Graph, patient: str) -> None:
    """Recorded at one moment, in either order."""
    none = {"code": concept(NOT_ANY), "category": None}
    await asyncio.gather(*(ALLERGY.record(graph, patient, **more) for more in [none, {}] * 4))
    count = """SELECT count(*) FILTER (WHERE NOT no_known_allergy), count(*) FILTER (WHERE no_known_allergy)
        FROM clinical.allergy_intolerance WHERE patient_id = $1 AND clinical_status = 'active'"""
    assert await administrator_fetch(graph, count, key_of({"id": patient})) == [(4, 0)]
