"""What tests of laboratory results ask, and how."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from tests.asking import Answer, Graph
from tests.writes.test_write import written

LOINC = "http://loinc.org"
GLUCOSE, HEMOGLOBIN, HIV_LOAD = "2345-7", "718-7", "20447-9"
SAID = """
id version status effectiveDateTime issued specimen note test { code { coding { system code } } }
valueQuantity { value comparator unit system code } valueString valueDateTime valueCodeableConcept { text }
dataAbsentReason { text } interpretation { text } referenceRange { low { value } high { value } text }
history { version status effectiveDateTime issued supersededAt valueString valueQuantity { value unit } }"""
ERRORS = "userErrors { code field message version }"
RECORD = (
    "mutation ($input: RecordLabResultsInput!) { recordLabResults(input: $input) "
    f"{{ labResults {{ {SAID} }} {ERRORS} }} }}"
)
STEPS = {
    name: f"mutation ($input: {kind}!) {{ {name}(input: $input) {{ labResult {{ {SAID} }} {ERRORS} }} }}"
    for name, kind in {
        "finalizeLabResult": "LabResultStepInput",
        "correctLabResult": "CorrectLabResultInput",
        "retractLabResult": "LabResultStepInput",
    }.items()
}
FINALIZE, CORRECT, RETRACT = STEPS
READ = f"query ($id: ID!) {{ labResult(id: $id) {{ {SAID} }} }}"
COUNT = "SELECT count(*) FROM clinical.lab_result WHERE patient_id = $1"
ROWS = "SELECT tableoid::regclass::text, version FROM clinical.lab_result WHERE id = $1"
KEPT = "SELECT version, value_number FROM clinical.lab_result_version WHERE id = $1 ORDER BY version"
RECORDED = """
SELECT before ->> 'value_number', after ->> 'value_number', actor FROM audit.change
WHERE table_name = 'lab_result' AND row_key LIKE $1 || '/%' ORDER BY occurred_at, before IS NULL"""


def result(value: Mapping[str, Any] | None = None, code: str = GLUCOSE, **more: Any) -> dict[str, Any]:
    """Input of one result."""
    return {
        "status": "final",
        "code": {"system": LOINC, "code": code},
        "value": value or {"quantity": {"value": Decimal("0.10"), "unit": "mmol/L", "code": "mmol/L"}},
        "effectiveDateTime": "2026-03-01T08:00:00Z",
        **more,
    }


def batch(patient: str, *results: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Input of a batch."""
    return {"idempotencyKey": str(uuid4()), "patientId": patient, "results": list(results), **more}


def quantity(value: str) -> dict[str, Any]:
    """Input of a value."""
    return {"quantity": {"value": Decimal(value)}}


async def recorded(graph: Graph, patient: str, *results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Results, recorded by a physician."""
    answer = await graph.ask(RECORD, input=batch(patient, *results))
    return written(answer, "recordLabResults")["labResults"]


async def step(graph: Graph, name: str, one: Mapping[str, Any], **more: Any) -> Answer:
    """A step of a result, from the version that it has."""
    given = {"idempotencyKey": str(uuid4()), "id": one["id"], "version": one["version"], **more}
    return await graph.ask(STEPS[name], input=given)


async def stepped(graph: Graph, name: str, one: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The result after a step that was made."""
    return written(await step(graph, name, one, **more), name)["labResult"]


def key_of(id: str) -> UUID:
    """Key of a global id."""
    return UUID(id.partition("/")[2])
