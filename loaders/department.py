"""Departments of a facility, wards among them, and who lies there now (FHIR R4 Location, Encounter)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from loaders.encounter import COLUMNS as ENCOUNTER_COLUMNS
from loaders.encounter import EncounterRow
from loaders.facts import ByIdBatch, ChildrenBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns, Statement

COLUMNS = Columns("department", "id, facility_id, parent_id, code, name, type, physical_type")
DEPARTMENT_BY_ID = by_id("department_by_id", COLUMNS)

DEPARTMENTS_OF_FACILITIES = Statement(
    """/* departments_of_facilities */
SELECT facility_id, {}
FROM department
WHERE facility_id = ANY($1::uuid[]) AND ($2::text[] IS NULL OR physical_type = ANY($2::text[]))
ORDER BY name, id
LIMIT 500""",
    COLUMNS,
)

INPATIENT = """status = 'in-progress' AND end_time IS NULL
      AND class_code IN ('IMP', 'ACUTE', 'NONAC', 'SS', 'OBSENC')"""
INPATIENTS_OF_DEPARTMENTS = newest_of_each("inpatients_of_departments", ENCOUNTER_COLUMNS, "department_id", INPATIENT)
INPATIENTS_OF_FACILITIES = newest_of_each("inpatients_of_facilities", ENCOUNTER_COLUMNS, "facility_id", INPATIENT)


@dataclass(frozen=True, slots=True)
class DepartmentRow:
    """One row of `department`, in the order of COLUMNS."""

    id: UUID
    facility_id: UUID
    parent_id: UUID | None
    code: str | None
    name: str
    type: dict[str, Any] | None
    physical_type: str | None


departments_of_facilities = ChildrenBatch(DEPARTMENTS_OF_FACILITIES, DepartmentRow)
department_by_id = ByIdBatch(DEPARTMENT_BY_ID, DepartmentRow)
inpatients_of_departments = NewestBatch(INPATIENTS_OF_DEPARTMENTS, EncounterRow)
inpatients_of_facilities = NewestBatch(INPATIENTS_OF_FACILITIES, EncounterRow)
