"""Laboratory results: recorded in batches, finalized, corrected, retracted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.caller import Profile
from db.errors import Forbidden
from db.ids import derived_id
from graph.body import read_json
from resolvers.writes.lab import RESULTS_MAX, is_loinc
from tests.asking import Graph
from tests.people import People
from tests.writes.lab_results import (
    CORRECT,
    COUNT,
    FINALIZE,
    GLUCOSE,
    HEMOGLOBIN,
    HIV_LOAD,
    LOINC,
    READ,
    RECORD,
    RECORDED,
    RETRACT,
    STEPS,
    batch,
    key_of,
    quantity,
    recorded,
    result,
    step,
    stepped,
)
from tests.writes.test_write import administrator_fetch, refusal, written


async def test_a_panel_is_recorded_in_one_transaction_as_it_is_read(graph: Graph, patient: str) -> None:
    absent = {"dataAbsentReason": {"text": "clotted"}}
    ranges = [{"low": {"value": Decimal("3.90")}, "high": {"value": Decimal("5.50")}}, {"text": "usual"}]
    results = [
        result(referenceRange=ranges, interpretation=[{"text": "low"}], specimen="Blood", note="Fasting"),
        result({"quantity": {"value": Decimal("1E-7"), "comparator": "<"}}, HEMOGLOBIN, status="preliminary"),
        result({"codeableConcept": {"text": "Positive"}}),
        result({"string": "see note"}),
        result({"dateTime": "2026-02"}),
        result(absent, effectiveDateTime="2026-03"),
    ]
    answer = await graph.ask(RECORD, input=batch(patient, *results))
    labs = written(answer, "recordLabResults")["labResults"]
    assert [f"{one['valueQuantity']['value']:f}" for one in labs[:2]] == ["0.10", "0.0000001"]
    assert labs[0]["referenceRange"] == [
        {"low": {"value": Decimal("3.90")}, "high": {"value": Decimal("5.50")}, "text": None},
        {"low": None, "high": None, "text": "usual"},
    ]
    assert str(labs[0]["referenceRange"][0]["low"]["value"]) == "3.90"
    assert labs[0]["valueQuantity"]["system"] == "http://unitsofmeasure.org"
    assert (labs[0]["specimen"], labs[0]["note"], labs[0]["interpretation"]) == ("Blood", "Fasting", [{"text": "low"}])
    assert (labs[1]["status"], labs[1]["valueQuantity"]["comparator"]) == ("preliminary", "<")
    assert (labs[2]["valueCodeableConcept"], labs[3]["valueString"]) == ({"text": "Positive"}, "see note")
    assert (labs[4]["valueDateTime"], labs[5]["dataAbsentReason"]) == ("2026-02", {"text": "clotted"})
    assert [one["effectiveDateTime"] for one in labs[4:]] == ["2026-03-01T08:00:00Z", "2026-03"]
    assert {(one["version"], one["issued"] is not None, len(one["history"])) for one in labs} == {(1, True, 0)}
    assert answer.statements == Counter(
        {
            ("clinical", name): 1
            for name in (
                *("claim_idempotency_key", "lock_chart", "where_results_are_recorded", "make_lab_tests"),
                *("find_lab_tests", "record_lab_result", "keep_outcome"),
                *("lab_result_by_id", "lab_test_by_id", "versions_of_lab_results"),
            )
        }
    )
    for one in labs:
        assert (await graph.ask(READ, id=one["id"])).data["labResult"] == one


async def test_a_batch_takes_as_many_statements_as_one_result(graph: Graph, patient: str) -> None:
    one = await graph.ask(RECORD, input=batch(patient, result()))
    most = await graph.ask(RECORD, input=batch(patient, *[result(quantity(str(n))) for n in range(RESULTS_MAX)]))
    assert most.statements == one.statements
    labs = written(most, "recordLabResults")["labResults"]
    assert [one["valueQuantity"]["value"] for one in labs] == list(range(RESULTS_MAX))


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"value": {}}, "value"),
        ({"value": {**quantity("1"), "string": "one"}}, "value"),
        ({"value": {"quantity": {"value": Decimal(1), "comparator": "~"}}}, "value.quantity.comparator"),
        ({"value": {"dateTime": "March"}}, "value.dateTime"),
        ({"status": "corrected"}, "status"),
        ({"testId": f"LabTest/{uuid4()}"}, "testId"),
        ({"code": {"system": LOINC, "code": "2345-8"}}, "code"),
        ({"code": {"system": "http://snomed.info/sct", "code": "2345-7"}}, "code"),
        ({"effectiveDateTime": "yesterday"}, "effectiveDateTime"),
        ({"referenceRange": [{"type": {"text": "normal"}}]}, "referenceRange.0.low"),
        ({"note": ""}, "note"),
    ],
)
async def test_a_refusal_names_the_result_and_nothing_is_written(
    graph: Graph, patient: str, wrong: Mapping[str, Any], place: str
) -> None:
    results = [*[result() for _ in range(3)], {**result(), **wrong}]
    answer = await graph.ask(RECORD, input=batch(patient, *results))
    error = refusal(answer, "recordLabResults")
    assert (error["code"], error["field"]) == ("INVALID", ["results", "3", *place.split(".")])
    assert answer.data["recordLabResults"]["labResults"] == []
    assert await administrator_fetch(graph, COUNT, key_of(patient)) == [(0,)]


async def test_a_batch_names_what_is_there(graph: Graph, patient: str) -> None:
    unknown = [result(), {**result(), "code": None, "testId": f"LabTest/{uuid4()}"}]
    error = refusal(await graph.ask(RECORD, input=batch(patient, *unknown)), "recordLabResults")
    assert (error["code"], error["field"]) == ("NOT_FOUND", ["results", "1", "testId"])
    for name, kind in {"encounterId": "Encounter", "reportId": "DiagnosticReport"}.items():
        answer = await graph.ask(RECORD, input=batch(patient, result(), **{name: f"{kind}/{uuid4()}"}))
        assert refusal(answer, "recordLabResults")["field"] == [name]
    people = People(graph.stores)
    other = await people.patient(graph.facilities[0].id)
    stay = await people.stay(graph.facilities[0].id, other)
    answer = await graph.ask(RECORD, input=batch(patient, result(), encounterId=f"Encounter/{stay}"))
    assert refusal(answer, "recordLabResults")["field"] == ["encounterId"], "another patient's"
    assert refusal(await graph.ask(RECORD, input=batch(patient)), "recordLabResults")["field"] == ["results"]
    assert await administrator_fetch(graph, COUNT, key_of(patient)) == [(0,)]


async def test_a_test_that_nobody_used_is_made_once(graph: Graph, patient: str) -> None:
    """Also where many use it first at one moment, and as an import would make it; without words of a client."""
    codes = ["96741-4", "94500-6"]
    assert all(map(is_loinc, codes))
    orders = [codes, codes[::-1]] * 4
    words = {"system": LOINC, "display": "words of a client", "text": "more of them"}
    batches = [batch(patient, *[{**result(), "code": {**words, "code": one}} for one in order]) for order in orders]
    answers = await asyncio.gather(*(graph.ask(RECORD, input=one) for one in batches))
    for answer in answers:
        assert len(written(answer, "recordLabResults")["labResults"]) == 2
    tests = "SELECT id, code, code_display FROM clinical.lab_test WHERE code = ANY ($1)"
    made = {tuple(row) for row in await administrator_fetch(graph, tests, codes)}
    assert made == {(derived_id("lab_test", LOINC, one, None), one, None) for one in codes}


async def test_a_batch_that_is_sent_again_is_answered_again(graph: Graph, patient: str) -> None:
    asked = batch(patient, result(), result(quantity("7.0")))
    first, *others = await asyncio.gather(*(graph.ask(RECORD, input=asked) for _ in range(4)))
    for again in (*others, await graph.ask(RECORD, input=asked)):
        assert again.data == first.data
    other = {**asked, "results": [result(), result(quantity("7.00"))]}
    assert refusal(await graph.ask(RECORD, input=other), "recordLabResults")["code"] == "IDEMPOTENCY_CONFLICT"
    assert await administrator_fetch(graph, COUNT, key_of(patient)) == [(2,)]


async def test_a_correction_is_recorded_with_before_and_after(graph: Graph, patient: str) -> None:
    [one] = await recorded(graph, patient, result(quantity("0.10")))
    await stepped(graph, CORRECT, one, value=quantity("0.20"))
    assert await administrator_fetch(graph, RECORDED, str(key_of(one["id"]))) == [
        (None, "0.10", "test-clinician"),
        ("0.10", "0.20", "test-clinician"),
    ]


async def test_a_correction_changes_what_it_gives(graph: Graph, patient: str) -> None:
    [one] = await recorded(graph, patient, result(note="Fasting", specimen="Blood"))
    assert refusal(await step(graph, CORRECT, one), CORRECT)["field"] == ["value"]
    assert refusal(await step(graph, CORRECT, one, value={}), CORRECT)["field"] == ["value"]
    error = refusal(await step(graph, CORRECT, one, effectiveDateTime=None), CORRECT)
    assert error["field"] == ["effectiveDateTime"]
    changed = await stepped(graph, CORRECT, one, note=None)
    assert (changed["note"], changed["specimen"]) == (None, "Blood")
    assert changed["valueQuantity"] == one["valueQuantity"]


async def test_who_may_not_record_results_is_refused(graph: Graph, patient: str) -> None:
    for profile in (Profile.NURSE, Profile.REGISTRAR, Profile.CDS, Profile.PATIENT):
        answer = await graph.ask(RECORD, profile, input=batch(patient, result()))
        assert answer.codes == [Forbidden().code]
        assert not answer.statements


async def test_another_facilitys_and_a_closed_chart_do_not_exist(graph: Graph, patient: str) -> None:
    [one] = await recorded(graph, patient, result())
    given = {"idempotencyKey": str(uuid4()), "id": one["id"], "version": 1, "note": "x"}
    unknown = await graph.ask(STEPS[CORRECT], facility=1, input={**given, "id": f"LabResult/{uuid4()}"})
    elsewhere = await graph.ask(STEPS[CORRECT], facility=1, input={**given, "idempotencyKey": str(uuid4())})
    assert refusal(unknown, CORRECT)["code"] == "NOT_FOUND"
    assert elsewhere.data == unknown.data
    there = await graph.ask(RECORD, facility=1, input=batch(patient, result()))
    nobody = await graph.ask(RECORD, facility=1, input=batch(f"Patient/{uuid4()}", result()))
    assert there.data == nobody.data
    await People(graph.stores).consent(graph.facilities[0].id, key_of(patient), type="deny")
    closed = await graph.ask(STEPS[CORRECT], input={**given, "idempotencyKey": str(uuid4())})
    assert closed.data == unknown.data
    assert (await graph.ask(RECORD, input=batch(patient, result()))).data == nobody.data


async def test_digits_are_kept_on_every_way_in(graph: Graph, patient: str) -> None:
    """As a number of the JSON body, as a text, and as a literal of the document."""
    body = orjson.dumps({"variables": {"input": batch(patient, result(quantity("0")))}}, default=str)
    body = body.replace(b'"value":"0"', b'"value":0.10')
    assert b"0.10" in body

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    read: Any = await read_json(receive, {"content-type": "application/json"})
    [sent] = written(await graph.ask(RECORD, **read["variables"]), "recordLabResults")["labResults"]
    [text] = await recorded(graph, patient, result({"quantity": {"value": "0.10"}}))
    document = f"""mutation {{ correctLabResult(input: {{
        idempotencyKey: "{uuid4()}", id: "{text["id"]}", version: 1, value: {{ quantity: {{ value: 0.100 }} }}
    }}) {{ labResult {{ valueQuantity {{ value }} }} userErrors {{ code }} }} }}"""
    literal = written(await graph.ask(document), CORRECT)["labResult"]
    assert [str(one["valueQuantity"]["value"]) for one in (sent, text, literal)] == ["0.10", "0.10", "0.100"]


@pytest.mark.parametrize("number", ["NaN", "1e999", "Infinity", "1" * 41, "one", "1_0", True, " 1"])
async def test_what_is_no_decimal_is_not_taken(graph: Graph, patient: str, number: object) -> None:
    answer = await graph.ask(RECORD, input=batch(patient, result({"quantity": {"value": number}})))
    assert answer.codes == ["BAD_USER_INPUT"]
    assert answer.errors[0]["message"] == "Variable '$input' expects a value of type 'RecordLabResultsInput!'."


def test_codes_of_loinc_have_their_check_digit() -> None:
    for code in (GLUCOSE, HEMOGLOBIN, HIV_LOAD, "4548-4", "33914-3", "1-8"):
        number, _, check = code.partition("-")
        assert [is_loinc(f"{number}-{digit}") for digit in range(10)] == [str(digit) == check for digit in range(10)]
    for code in ("", "-7", "2345", "2345-77", "12345678-1", "２345-7", "2345-7 "):
        assert not is_loinc(code)


AFTER: Mapping[tuple[str, str], str] = {
    ("preliminary", FINALIZE): "final",
    ("preliminary", CORRECT): "preliminary",
    ("preliminary", RETRACT): "entered-in-error",
    ("final", CORRECT): "corrected",
    ("final", RETRACT): "entered-in-error",
    ("corrected", CORRECT): "corrected",
    ("corrected", RETRACT): "entered-in-error",
}
"""The whole status machine: what is not here is not allowed."""


@settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(status=st.sampled_from(["preliminary", "final"]), steps=st.lists(st.sampled_from(list(STEPS)), max_size=6))
async def test_a_status_goes_on_as_the_machine_allows(
    graph: Graph, patient: str, status: str, steps: list[str]
) -> None:
    [one] = await recorded(graph, patient, result(status=status))
    statuses = [status]
    for number, name in enumerate(steps):
        more = {"value": quantity(f"{number}.50")} if name == CORRECT else {}
        answer = await step(graph, name, one, **more)
        expected = AFTER.get((one["status"], name))
        if expected is None:
            assert refusal(answer, name)["code"] == "NOT_ALLOWED_NOW"
            continue
        one = written(answer, name)["labResult"]
        assert one["status"] == expected
        statuses.append(expected)
    assert one["version"] == len(statuses)
    assert [entry["status"] for entry in one["history"]] == statuses[-2::-1]
