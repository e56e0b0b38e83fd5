"""The summary of a chart, made from its sources: by a worker for the copy, or as a caller in place of the copy.

A document as db/notes_schema.py has it under PATIENT_SUMMARIES.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any, LiteralString, Protocol, TypeAlias
from uuid import UUID

from db.mongo import Document
from db.notes_schema import CARE_PLANS
from loaders import vital_sign
from loaders.element import concept, value_quantity
from loaders.reader import Reader
from loaders.statement import Columns, Statement

Key: TypeAlias = tuple[UUID, UUID]
"""Facility and patient."""

ENTRIES_MAX = 50
"""Entries of a list of a summary, the newest ones."""
ENCOUNTERS_MAX = 5
"""Last encounters of a summary: so many of each set of labels, of whom a caller sees the newest that are for them."""

CHARTS = "unnest($1::uuid[], $2::uuid[]) AS p (facility_id, patient_id)"
CODE = "code_system, code, code_display, code_text, code_translation"


def newest(name: LiteralString, table: LiteralString, where: LiteralString, columns: Columns) -> Statement:
    """Statement for the newest $3 rows of a table of each chart."""
    return Statement(
        f"""/* {name} */
SELECT p.facility_id, p.patient_id, f.*
FROM {CHARTS}
CROSS JOIN LATERAL (
    SELECT {{}}
    FROM {table}
    WHERE facility_id = p.facility_id AND patient_id = p.patient_id AND {where}
    ORDER BY sort_time DESC, id DESC
    LIMIT $3::int
) AS f""",
        columns,
    )


CONDITIONS = newest(
    "summary_conditions",
    "condition",
    "clinical_status IN ('active', 'recurrence', 'relapse')",
    Columns("condition", f"id, {CODE}, label, onset"),
)
ALLERGIES = newest(
    "summary_allergies",
    "allergy_intolerance",
    """NOT no_known_allergy
      AND clinical_status IS DISTINCT FROM 'inactive' AND clinical_status IS DISTINCT FROM 'resolved'
      AND verification_status IS DISTINCT FROM 'refuted'
      AND verification_status IS DISTINCT FROM 'entered-in-error'""",
    Columns("allergy_intolerance", f"id, {CODE}, label, criticality"),
)
MEDICATIONS = Statement(
    f"""/* summary_medications */
SELECT p.facility_id, p.patient_id, f.*
FROM {CHARTS}
CROSS JOIN LATERAL (
    SELECT {{}}, {{}}
    FROM medication_request AS r
    LEFT JOIN medication AS m ON m.id = r.medication_id
    WHERE r.facility_id = p.facility_id AND r.patient_id = p.patient_id AND r.status = 'active'
    ORDER BY r.sort_time DESC, r.id DESC
    LIMIT $3::int
) AS f""",
    Columns("medication_request", "id, label, authored_on", alias="r"),
    Columns("medication", CODE, alias="m"),
)
ENCOUNTERS = Statement(
    f"""/* summary_encounters */
SELECT p.facility_id, p.patient_id, f.*
FROM {CHARTS}
CROSS JOIN LATERAL (
    SELECT {{}}
    FROM (
        SELECT *, row_number() OVER (PARTITION BY label ORDER BY sort_time DESC, id DESC) AS place
        FROM encounter
        WHERE facility_id = p.facility_id AND patient_id = p.patient_id
    ) AS of_label
    WHERE place <= $3::int
    ORDER BY sort_time DESC, id DESC
) AS f""",
    Columns("encounter", f"id, {CODE}, label, status, class_code, period_start, period_end"),
)
# Of each test the newest of each set of labels: who may not see the newest one is shown the newest that is for them.
RESULTS = Statement(
    f"""/* summary_results */
SELECT p.facility_id, p.patient_id, f.*
FROM {CHARTS}
CROSS JOIN LATERAL (
    SELECT {{}}, {{}}
    FROM (
        SELECT DISTINCT ON (lab_test_id, label) *
        FROM lab_result
        WHERE facility_id = p.facility_id AND patient_id = p.patient_id
          AND status NOT IN ('cancelled', 'entered-in-error')
          AND (value_number IS NOT NULL OR value_concept IS NOT NULL)
        ORDER BY lab_test_id, label, sort_time DESC, id DESC
    ) AS r
    JOIN lab_test AS t ON t.id = r.lab_test_id
    ORDER BY r.sort_time DESC, r.id DESC
    LIMIT $3::int
) AS f""",
    Columns(
        "lab_result",
        """id, lab_test_id, label, status, effective, value_number, value_comparator, value_unit, value_code,
        value_system, value_concept, interpretation""",
        alias="r",
    ),
    Columns("lab_test", "code_system, code, code_display, code_text", alias="t"),
)
COUNTED = ("encounters", "conditions", "procedures", "medication_requests")
# Everybody who reads a summary may know these numbers: what has labels, or is unlabelled, does not count.
# Read first: what was committed before then is in everything that is read afterwards.
COUNTS = """/* summary_counts */
SELECT p.facility_id, p.patient_id, transaction_timestamp() AS as_of,
    (SELECT count(*) FROM encounter AS f
     WHERE f.facility_id = p.facility_id AND f.patient_id = p.patient_id AND f.label = '{}'),
    (SELECT count(*) FROM condition AS f
     WHERE f.facility_id = p.facility_id AND f.patient_id = p.patient_id AND f.label = '{}'),
    (SELECT count(*) FROM procedure AS f
     WHERE f.facility_id = p.facility_id AND f.patient_id = p.patient_id AND f.label = '{}'),
    (SELECT count(*) FROM medication_request AS f
     WHERE f.facility_id = p.facility_id AND f.patient_id = p.patient_id AND f.label = '{}')
FROM unnest($1::uuid[], $2::uuid[]) AS p (facility_id, patient_id)
JOIN registration AS r USING (facility_id, patient_id)"""


class Sources(Protocol):
    """The stores that a summary is made of, as a worker or as a caller reads them."""

    async def counts(self, facilities: Sequence[UUID], patients: Sequence[UUID]) -> Sequence[Any]:
        """Records of COUNTS. Raises StoreError."""
        ...

    async def clinical(self, statement: Statement, *args: object) -> Sequence[Any]:
        """Records of a statement. Raises StoreError."""
        ...

    async def vitals(self, statement: Statement, *args: object) -> Sequence[Any]:
        """Records of a statement. Raises StoreError."""
        ...

    async def care_plans(self, patients: Sequence[UUID]) -> Sequence[Document]:
        """Active care plans of the patients. Raises StoreError."""
        ...


class ReaderSources:
    """As the caller of a request."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def counts(self, facilities: Sequence[UUID], patients: Sequence[UUID]) -> Sequence[Any]:
        """See Sources."""
        return await self._reader.clinical.fetch(COUNTS, facilities, patients)

    async def clinical(self, statement: Statement, *args: object) -> Sequence[Any]:
        """See Sources."""
        return await self._reader.clinical.fetch(statement.for_caller(self._reader.caller), *args)

    async def vitals(self, statement: Statement, *args: object) -> Sequence[Any]:
        """See Sources."""
        return await self._reader.vitals.fetch(statement.for_caller(self._reader.caller), *args)

    async def care_plans(self, patients: Sequence[UUID]) -> Sequence[Document]:
        """See Sources."""
        keys = {"metadata.patient_id": {"$in": [str(patient) for patient in patients]}, "status": "active"}
        return await self._reader.notes.find("summary_care_plans", CARE_PLANS, keys)


async def chart_summaries(sources: Sources, keys: Sequence[Key]) -> Mapping[Key, Document]:
    """Summary of each of these charts that there is: of a patient who is registered at the facility.

    `as_of` is when reading began: what was committed before is in it. Raises StoreError.
    """
    counted = await sources.counts([key[0] for key in keys], [key[1] for key in keys])
    made = {(row[0], row[1]): _empty(row[0], row[1], row[2], row[3:]) for row in counted}
    charts = [key[0] for key in made], [key[1] for key in made]
    if not made:
        return made
    for key, row in await _rows(sources, CONDITIONS, *charts, ENTRIES_MAX):
        made[key]["active_conditions"].append(_entry(row, "code") | {"onset": row.onset})
    for key, row in await _rows(sources, MEDICATIONS, *charts, ENTRIES_MAX):
        made[key]["active_medications"].append(_entry(row, "medication") | {"authored_on": row.authored_on})
    for key, row in await _rows(sources, ALLERGIES, *charts, ENTRIES_MAX):
        made[key]["allergies"].append(_entry(row, "code") | {"criticality": row.criticality})
    for key, row in await _rows(sources, ENCOUNTERS, *charts, ENCOUNTERS_MAX):
        made[key]["last_encounters"].append(_encounter(row))
    for key, row in await _rows(sources, RESULTS, *charts, ENTRIES_MAX * 2):
        made[key]["latest_results"].append(_result(row))
    for facility_id, patient_id, as_of, *values in await sources.vitals(
        vital_sign.LATEST_VITAL_SIGNS_OF_CHARTS, *charts
    ):
        summary = made[facility_id, patient_id]
        summary["as_of"] = min(summary["as_of"], as_of)
        if values[0] is not None:
            summary["latest_vitals"].append(_vital_sign(_named(vital_sign.LATEST_VITAL_SIGNS_OF_CHARTS, values)))
    for plan in await sources.care_plans(charts[1]):
        key = UUID(plan["metadata"]["facility_id"]), UUID(plan["metadata"]["patient_id"])
        if key in made:
            made[key]["care_plans"].append(_care_plan(plan))
    for summary in made.values():
        summary["care_plans"].sort(key=lambda plan: (plan["start"] or "", plan["id"]), reverse=True)
    return made


async def _rows(sources: Sources, statement: Statement, *args: object) -> Sequence[tuple[Key, Any]]:
    """Records of a statement by chart, their columns as attributes."""
    records = await sources.clinical(statement, *args)
    return [((record[0], record[1]), _named(statement, list(record)[2:])) for record in records]


def _named(statement: Statement, values: Sequence[Any]) -> Any:
    names = [name for columns in statement.columns for name in columns.names]
    return SimpleNamespace(**dict(zip(names, values, strict=True)))


def _empty(facility_id: UUID, patient_id: UUID, as_of: datetime, counts: Sequence[int]) -> Document:
    return {
        "_id": f"{facility_id}/{patient_id}",
        "metadata": {"facility_id": str(facility_id), "patient_id": str(patient_id)},
        "updated": as_of,
        "as_of": as_of,
        "active_conditions": [],
        "active_medications": [],
        "allergies": [],
        "last_encounters": [],
        "latest_results": [],
        "latest_vitals": [],
        "care_plans": [],
        "counts": dict(zip(COUNTED, counts, strict=True)),
    }


def _entry(row: Any, name: str) -> Document:
    """Id, main concept and labels of a row."""
    return {"id": str(row.id), name: concept(row), "security": row.label}


def _encounter(row: Any) -> Document:
    period = {"start": row.period_start, "end": row.period_end}
    return _entry(row, "type") | {"status": row.status, "class": row.class_code} | period


def _result(row: Any) -> Document:
    return _entry(row, "test") | {
        "test_id": str(row.lab_test_id) if row.lab_test_id else None,
        "status": row.status,
        "effective": row.effective,
        "value": value_quantity(row),
        "concept": row.value_concept,
        "interpretation": row.interpretation,
    }


def _vital_sign(row: Any) -> Document:
    value = {"value": row.value, "unit": row.value_unit, "code": row.value_code}
    return {
        "id": f"{row.id}.{row.position}",
        "code": {"system": row.code_system, "code": row.code, "display": row.code_display},
        "panel": row.panel_code,
        "status": row.status,
        "effective": row.effective,
        "value": None if row.value is None else value,
    }


def _care_plan(plan: Document) -> Document:
    return {
        "id": plan["_id"],
        "title": plan.get("title"),
        "category": plan.get("category"),
        "start": plan["period"]["start"],
        "security": plan["security"],
    }
