"""The caller's facility, its departments and their current inpatients: the ward list."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from loaders.department import (
    DepartmentRow,
    department_by_id,
    departments_of_facilities,
    inpatients_of_departments,
    inpatients_of_facilities,
)
from loaders.facility import FacilityRow, facility_by_id
from resolvers.arguments import codes, resource_id
from resolvers.connection import link, relation
from resolvers.context import Context

PHYSICAL_TYPES = ("si", "bu", "wi", "wa", "lvl", "co", "ro", "bd", "ve", "ho", "ca", "rd", "area", "jdn", "vi")
"""FHIR R4 location-physical-type."""

of_facts = link(facility_by_id, "facility_id")
inpatients = relation("Facility.inpatients", inpatients_of_facilities)
department = link(department_by_id, "department_id")
parent_department = link(department_by_id, "parent_id")
department_inpatients = relation("Department.inpatients", inpatients_of_departments)


async def departments(
    context: Context, parents: Sequence[FacilityRow], *, physical_type: list[str] | None
) -> Sequence[Sequence[DepartmentRow]]:
    """Departments of each facility by name."""
    wanted = codes("physicalType", physical_type, PHYSICAL_TYPES)
    found = await departments_of_facilities(context.reader, [parent.id for parent in parents], wanted)
    return [found[parent.id] for parent in parents]


async def one(context: Context, *, id: str | None) -> FacilityRow | None:
    """The facility of an id, by default the caller's own; another facility does not exist."""
    facility_id: UUID = context.caller.facility_id if id is None else resource_id("id", id, "Facility")
    [row] = await context.reader.load_many(facility_by_id, [facility_id])
    return row
