"""Mutations of laboratory results."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from loaders.lab import LabResultRow, lab_result_by_id
from loaders.write import Code, Refusal, Written
from loaders.writes.lab import (
    CORRECT,
    FINALIZE,
    LOINC,
    RETRACT,
    NewResult,
    Step,
    record_lab_results,
    step_lab_result,
)
from resolvers.connection import link
from resolvers.context import Context
from resolvers.write import TEXT_MAX, Given, Input, Prepared, write

RESULTS_MAX = 100
"""Results of one batch: a panel, and more than any."""
NOTE_MAX, VALUE_MAX = 10_000, 10_000
"""Characters of a remark, and of a value that is a text."""
LIST_MAX = 20
"""Interpretations and reference ranges of one result."""

_LOINC_CODE = re.compile(r"(\d{1,7})-(\d)", re.ASCII)
_VALUE = (
    "value_number", "value_comparator", "value_unit", "value_code", "value_system", "value_concept", "value_text",
    "value_date_time", "data_absent_reason",
)  # fmt: skip
_KINDS = ("quantity", "codeable_concept", "string", "date_time", "data_absent_reason")


async def record(context: Context, input: Input) -> Written:
    """Records results of a patient: all, or where one is not right none."""

    def prepare(given: Given) -> Prepared:
        patient = given.needed_id("patient_id", "Patient")
        encounter = given.id("encounter_id", "Encounter")
        report = given.id("report_id", "DiagnosticReport")
        results = [_new(one) for one in given.parts("results", RESULTS_MAX)]
        if not results:
            raise given.invalid("results", "must have an entry")
        return lambda writing: record_lab_results(writing, patient, encounter, report, results)

    return await write(context, "recordLabResults", input, ["lab_result", "lab_test"], prepare)


def _new(given: Given) -> NewResult:
    test, place = _test(given)
    status = given.needed_one_of("status", ("preliminary", "final"))
    return NewResult(place, test, {"status": status, **_said(given)})


def _test(given: Given) -> tuple[UUID | str, tuple[str, ...]]:
    """The test of a result, and where it stands. Raises Refusal unless it is an id or a code of LOINC, and not both."""
    id, code = given.id("test_id", "LabTest"), given.concept("code")
    if (id is None) == (code is None):
        raise given.invalid("test_id", "or code must be given, and not both")
    if code is None:
        assert id is not None
        return id, given.at("test_id")
    if code.system != LOINC or not is_loinc(code.code or ""):
        raise given.invalid("code", f"must be a code of {LOINC}")
    return code.code or "", given.at("code")


def is_loinc(code: str) -> bool:
    """Whether a text is formed as a code of LOINC: digits, a hyphen, and their check digit (Luhn's)."""
    parts = _LOINC_CODE.fullmatch(code)
    if parts is None:
        return False
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(parts[1]))]
    return (sum(n - 9 if n > 9 else n for n in doubled) + int(parts[2])) % 10 == 0


def _said(given: Given) -> dict[str, Any]:
    """Columns of what is given of a result."""
    said: Mapping[str, Callable[[], Mapping[str, Any]]] = {
        "value": lambda: _value(given),
        "effective_date_time": lambda: {"effective": given.needed_moment("effective_date_time")},
        "specimen": lambda: {"specimen": given.text("specimen", TEXT_MAX)},
        "interpretation": lambda: {
            "interpretation": [one.fhir() for one in given.concepts("interpretation", LIST_MAX)] or None
        },
        "reference_range": lambda: {
            "reference_range": [_range(one) for one in given.parts("reference_range", LIST_MAX)] or None
        },
        "note": lambda: {"note": given.text("note", NOTE_MAX)},
    }
    return {column: value for name, read in said.items() if name in given for column, value in read().items()}


def _value(given: Given) -> dict[str, Any]:
    """Columns of a value: those of one kind, none of the others. Raises Refusal for no kind, and for two."""
    value = given.part("value")
    kinds = [kind for kind in _KINDS if value and value.get(kind) is not None]
    if value is None or len(kinds) != 1:
        raise given.invalid("value", "must be one of quantity, codeableConcept, string, dateTime and dataAbsentReason")
    quantity = value.quantity("quantity") or {}
    concept, absent = value.concept("codeable_concept"), value.concept("data_absent_reason")
    return dict.fromkeys(_VALUE) | {
        **{f"value_{_QUANTITY[name]}": part for name, part in quantity.items()},
        "value_concept": concept and concept.fhir(),
        "value_text": value.text("string", VALUE_MAX),
        "value_date_time": value.moment("date_time"),
        "data_absent_reason": absent and absent.fhir(),
    }


_QUANTITY = {"value": "number", "comparator": "comparator", "unit": "unit", "code": "code", "system": "system"}
"""Column of each part of a quantity."""


def _range(given: Given) -> dict[str, Any]:
    """A FHIR Observation.referenceRange. Raises Refusal for one that says nothing (obs-3)."""
    type = given.concept("type")
    range = {
        "low": given.quantity("low"),
        "high": given.quantity("high"),
        "type": type and type.fhir(),
        "text": given.text("text", TEXT_MAX),
    }
    said = {name: part for name, part in range.items() if part is not None}
    if not said.keys() & {"low", "high", "text"}:
        raise Refusal(Code.INVALID, given.at("low"), "This, high or text must be given.")
    return said


def _stepper(operation: str, step: Step) -> Callable[[Context, Input], Awaitable[Written]]:
    """Resolver that takes a result a step on."""

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("id", "LabResult")
        said = _said(given)
        if step is CORRECT and not said:
            raise given.invalid("value", "or something else must be given: a correction changes something")
        return lambda writing: step_lab_result(writing, id, given.version, step, said)

    async def resolve(context: Context, input: Input) -> Written:
        return await write(context, operation, input, ["lab_result"], prepare)

    return resolve


finalize = _stepper("finalizeLabResult", FINALIZE)
correct = _stepper("correctLabResult", CORRECT)
retract = _stepper("retractLabResult", RETRACT)

written = link(lab_result_by_id, "id")


async def all_written(context: Context, parents: Sequence[Written]) -> Sequence[Sequence[LabResultRow | None]]:
    """The results of each batch, in its order; None for one that the caller may not see."""
    ids = list({id for parent in parents for id in parent.found})
    rows = dict(zip(ids, await context.reader.load_many(lab_result_by_id, ids), strict=True))
    return [[rows[id] for id in parent.found] for parent in parents]
