"""Departments of a facility, wards among them, and who lies there now (FHIR R4 Location, Encounter)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from loaders.encounter import COLUMNS as ENCOUNTER_COLUMNS
from loaders.encounter import EncounterRow
from loaders.facts import ByIdBatch, NewestBatch, by_id, newest_of_each
from loaders.reader import Reader

COLUMNS = "id, facility_id, parent_id, code, name, type, physical_type"
DEPARTMENT_BY_ID = by_id("department_by_id", COLUMNS, "department")

DEPARTMENTS_OF_FACILITIES = """/* departments_of_facilities */
SELECT facility_id, id, facility_id, parent_id, code, name, type, physical_type
FROM department
WHERE facility_id = ANY($1::uuid[]) AND ($2::text[] IS NULL OR physical_type = ANY($2::text[]))
ORDER BY name, id
LIMIT 500"""

INPATIENT = """status = 'in-progress' AND end_time IS NULL
      AND class_code IN ('IMP', 'ACUTE', 'NONAC', 'SS', 'OBSENC')"""
INPATIENTS_OF_DEPARTMENTS = newest_of_each(
    "inpatients_of_departments", ENCOUNTER_COLUMNS, "encounter", "department_id", INPATIENT
)
INPATIENTS_OF_FACILITIES = newest_of_each(
    "inpatients_of_facilities", ENCOUNTER_COLUMNS, "encounter", "facility_id", INPATIENT
)


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


async def departments_of_facilities(
    reader: Reader, ids: Sequence[UUID], physical_types: list[str] | None
) -> Mapping[UUID, Sequence[DepartmentRow]]:
    """Departments of each facility by name, of any physical type or of those given."""
    rows: dict[UUID, list[DepartmentRow]] = {facility_id: [] for facility_id in ids}
    for record in await reader.clinical.fetch(DEPARTMENTS_OF_FACILITIES, list(ids), physical_types):
        rows[record[0]].append(DepartmentRow(*record[1:]))
    return rows


department_by_id = ByIdBatch(DEPARTMENT_BY_ID, DepartmentRow)
inpatients_of_departments = NewestBatch(INPATIENTS_OF_DEPARTMENTS, EncounterRow)
inpatients_of_facilities = NewestBatch(INPATIENTS_OF_FACILITIES, EncounterRow)
