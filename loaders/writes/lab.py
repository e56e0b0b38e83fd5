"""Recording laboratory results, and what becomes of them: preliminary, final, corrected (FHIR R4 Observation.status).

What a result said before stays in lab_result_version, put there by trigger (clinical.keep_superseded).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString, TypeAlias
from uuid import UUID, uuid4

from db.ids import derived_id
from db.transaction import Transaction
from loaders.write import Code, Moment, Refusal, Written, lock_chart, not_found
from loaders.writes.facts import ENTERED_IN_ERROR, Columns, changed, for_update, locked, patient_of, plain, recorded

LOINC = "http://loinc.org"

_SAID: LiteralString = """status, issued, effective, sort_time, value_number, value_comparator, value_unit, value_code,
    value_system, value_concept, value_text, value_date_time, data_absent_reason, interpretation, reference_range,
    specimen, note"""
LAB_RESULT_PATIENT = patient_of("lab_result")
LAB_RESULT_FOR_UPDATE = for_update("lab_result", "status")
RECORD_LAB_RESULTS = recorded("lab_result", f"id, encounter_id, diagnostic_report_id, lab_test_id, {_SAID}")
CHANGE_LAB_RESULT = changed("lab_result", _SAID)

WHERE_RESULTS_ARE_RECORDED = """/* where_results_are_recorded */
SELECT access.chart_is_open($1::uuid),
    $2::uuid IS NULL OR EXISTS (SELECT FROM encounter WHERE id = $2::uuid AND patient_id = $1::uuid),
    $3::uuid IS NULL OR EXISTS (SELECT FROM diagnostic_report WHERE id = $3::uuid AND patient_id = $1::uuid)"""

# In the order of their codes, so that two who make the same ones wait for each other in one order.
MAKE_LAB_TESTS = """/* make_lab_tests */
INSERT INTO lab_test (id, code_system, code)
SELECT id, $1::text, code FROM unnest($2::uuid[], $3::text[]) AS new (id, code) ORDER BY code
ON CONFLICT DO NOTHING"""
FIND_LAB_TESTS = """/* find_lab_tests */
SELECT id, CASE WHEN code_system = $1::text THEN code END FROM lab_test
WHERE id = ANY ($2::uuid[]) OR code = ANY ($3::text[]) AND code_system = $1::text AND code_text IS NULL"""

Step: TypeAlias = Mapping[str, str]
"""What a result of each status becomes; of another one nothing becomes anything."""
FINALIZE: Step = {"registered": "final", "preliminary": "final"}
CORRECT: Step = {
    "registered": "registered",
    "preliminary": "preliminary",
    "final": "corrected",
    "amended": "corrected",
    "corrected": "corrected",
}
"""What is not final yet is only updated."""
RETRACT: Step = dict.fromkeys((*CORRECT, "unknown"), ENTERED_IN_ERROR)


@dataclass(frozen=True, slots=True)
class NewResult:
    """One result; its test is an id, or a code of LOINC that need not be known yet."""

    place: tuple[str, ...]
    """Where in the input its test stands."""
    test: UUID | str
    columns: Columns


async def record_lab_results(
    writing: Transaction, patient_id: UUID, encounter_id: UUID | None, report_id: UUID | None, new: Sequence[NewResult]
) -> Written:
    """Records results of one patient, all or none, and gives their ids. Raises Refusal."""
    await lock_chart(writing, patient_id)
    [found] = await writing.fetch(WHERE_RESULTS_ARE_RECORDED, patient_id, encounter_id, report_id)
    for there, name in zip(found, ("patientId", "encounterId", "reportId"), strict=True):
        if not there:
            raise not_found(name)
    tests = await _tests(writing, new)
    where = {"encounter_id": encounter_id, "diagnostic_report_id": report_id, "issued": _now().isoformat()}
    ids = tuple(uuid4() for _ in new)
    rows = [
        {**plain(one.columns), **where, "id": id, "lab_test_id": str(test), "sort_time": _effective(one.columns)}
        for id, one, test in zip(ids, new, tests, strict=True)
    ]
    await writing.fetch(RECORD_LAB_RESULTS, patient_id, rows)
    return Written(ids[0], found=ids)


async def _tests(writing: Transaction, new: Sequence[NewResult]) -> Sequence[UUID]:
    """The test of each result, made where nobody knows it yet. Raises Refusal for an id of none.

    A catalogue is all facilities': of what a client says of a test only its code is kept, no words.
    """
    codes = sorted({one.test for one in new if isinstance(one.test, str)})
    ids = [one.test for one in new if isinstance(one.test, UUID)]
    if codes:
        # As an import derives them, so that both mean one row.
        await writing.fetch(MAKE_LAB_TESTS, LOINC, [derived_id("lab_test", LOINC, code, None) for code in codes], codes)
    found: dict[UUID | str | None, UUID] = {}
    for id, code in await writing.fetch(FIND_LAB_TESTS, LOINC, ids, codes):
        found[id] = found[code] = id
    for one in new:
        if one.test not in found:
            raise not_found(one.place)
    return [found[one.test] for one in new]


async def step_lab_result(writing: Transaction, id: UUID, version: int, step: Step, given: Columns) -> UUID:
    """Takes a result a step on, with what is given of it. Raises Refusal for a status that does not allow it."""
    row = await locked(writing, LAB_RESULT_PATIENT, LAB_RESULT_FOR_UPDATE, id, version)
    status = step.get(row["status"])
    if status is None:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The status of the result does not allow it.")
    columns: dict[str, Any] = {**given, "status": status, "issued": _now().isoformat()}
    if isinstance(columns.get("effective"), Moment):
        columns["sort_time"] = columns["effective"].instant
    await writing.fetch(CHANGE_LAB_RESULT, id, plain(columns))
    return id


def _effective(columns: Columns) -> datetime:
    effective = columns.get("effective")
    return effective.instant if isinstance(effective, Moment) else _now()


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
