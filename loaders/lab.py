"""Laboratory tests and results, and the latest result of each test (FHIR R4 Observation, category laboratory)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, ChildrenBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns, Statement

TEST_COLUMNS = Columns("lab_test", "id, code_system, code, code_display, code_text")
LAB_TEST_BY_ID = by_id("lab_test_by_id", TEST_COLUMNS)

COLUMNS = Columns(
    "lab_result",
    """
    id, patient_id, encounter_id, lab_test_id, diagnostic_report_id, status, effective, issued, value_number,
    value_comparator, value_unit, value_code, value_system, value_concept, value_text, value_date_time,
    data_absent_reason, component, member_id, interpretation, reference_range, specimen, note, sort_time, version
    """,
)
FILTER = """($7::text[] IS NULL OR status = ANY($7::text[]))
      AND ($8::text[] IS NULL OR lab_test_id = ANY (
          ARRAY(SELECT t.id FROM lab_test AS t WHERE t.code = ANY($8::text[]))))"""
LAB_RESULTS_OF_PATIENTS = newest_of_each("lab_results_of_patients", COLUMNS, "patient_id", FILTER)
LAB_RESULTS_OF_ENCOUNTERS = newest_of_each("lab_results_of_encounters", COLUMNS, "encounter_id", FILTER)
LAB_RESULTS_OF_REPORTS = newest_of_each("lab_results_of_reports", COLUMNS, "diagnostic_report_id", FILTER)
LAB_RESULT_BY_ID = by_id("lab_result_by_id", COLUMNS)

# Where tests are named by code, those alone are looked for, in the newest partition first. Without codes a patient's
# results are read once: to hop from test to test in the index, in each partition anew, is three to six times as dear
# (docs/scale.md).
LATEST_LAB_RESULTS_OF_PATIENTS = Statement(
    """/* latest_lab_results_of_patients */
SELECT parents.id, latest.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    (
        SELECT DISTINCT ON (lab_test_id) {}
        FROM lab_result
        WHERE patient_id = parents.id AND $2::text[] IS NULL
        ORDER BY lab_test_id, sort_time DESC, id DESC
    )
    UNION ALL
    SELECT latest_of_test.*
    FROM unnest(ARRAY(SELECT t.id FROM lab_test AS t WHERE t.code = ANY($2::text[]))) AS named (id)
    CROSS JOIN LATERAL (
        SELECT {}
        FROM lab_result
        WHERE patient_id = parents.id AND lab_test_id = named.id
        ORDER BY sort_time DESC, id DESC
        LIMIT 1
    ) AS latest_of_test
) AS latest
ORDER BY parents.id, latest.sort_time DESC, latest.id DESC""",
    COLUMNS,
    COLUMNS,
)

VERSION_COLUMNS = Columns(
    "lab_result_version",
    """
    patient_id, version, status, effective, issued, value_number, value_comparator, value_unit, value_code,
    value_system, value_concept, value_text, value_date_time, data_absent_reason, component, interpretation,
    reference_range, specimen, note, superseded_at
    """,
)
VERSIONS_OF_LAB_RESULTS = Statement(
    """/* versions_of_lab_results */
SELECT id, {}
FROM lab_result_version
WHERE id = ANY($1::uuid[])
ORDER BY id, version DESC""",
    VERSION_COLUMNS,
)


@dataclass(frozen=True, slots=True)
class LabTestRow:
    """One row of `lab_test`, in the order of TEST_COLUMNS."""

    id: UUID
    code_system: str | None
    code: str | None
    code_display: str | None
    code_text: str | None


@dataclass(frozen=True, slots=True)
class LabResultRow:
    """One row of `lab_result`, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    lab_test_id: UUID | None
    diagnostic_report_id: UUID | None
    status: str
    effective: str | None
    issued: str | None
    value_number: Decimal | None
    value_comparator: str | None
    value_unit: str | None
    value_code: str | None
    value_system: str | None
    value_concept: dict[str, Any] | None
    value_text: str | None
    value_date_time: str | None
    data_absent_reason: dict[str, Any] | None
    component: list[dict[str, Any]] | None
    member_id: list[UUID] | None
    interpretation: list[dict[str, Any]] | None
    reference_range: list[dict[str, Any]] | None
    specimen: str | None
    note: str | None
    sort_time: datetime
    version: int


@dataclass(frozen=True, slots=True)
class LabResultVersionRow:
    """One row of `lab_result_version`, in the order of VERSION_COLUMNS: what a result said before."""

    patient_id: UUID
    version: int
    status: str
    effective: str | None
    issued: str | None
    value_number: Decimal | None
    value_comparator: str | None
    value_unit: str | None
    value_code: str | None
    value_system: str | None
    value_concept: dict[str, Any] | None
    value_text: str | None
    value_date_time: str | None
    data_absent_reason: dict[str, Any] | None
    component: list[dict[str, Any]] | None
    interpretation: list[dict[str, Any]] | None
    reference_range: list[dict[str, Any]] | None
    specimen: str | None
    note: str | None
    superseded_at: str


lab_test_by_id = ByIdBatch(LAB_TEST_BY_ID, LabTestRow)
lab_result_by_id = ByIdBatch(LAB_RESULT_BY_ID, LabResultRow)
lab_results_of_patients = NewestBatch(LAB_RESULTS_OF_PATIENTS, LabResultRow)
lab_results_of_encounters = NewestBatch(LAB_RESULTS_OF_ENCOUNTERS, LabResultRow)
lab_results_of_reports = NewestBatch(LAB_RESULTS_OF_REPORTS, LabResultRow)
versions_of_lab_results = ChildrenBatch(VERSIONS_OF_LAB_RESULTS, LabResultVersionRow)
latest_lab_results_of_patients = ChildrenBatch(LATEST_LAB_RESULTS_OF_PATIENTS, LabResultRow)
