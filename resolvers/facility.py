"""The caller's facility, its departments and their current inpatients: the ward list."""

from __future__ import annotations

from uuid import UUID

from loaders.department import (
    department_by_id,
    departments_of_facilities,
    inpatients_of_departments,
    inpatients_of_facilities,
)
from loaders.facility import FacilityRow, facility_by_id
from resolvers.arguments import resource_id
from resolvers.connection import link, listing, one_of, relation
from resolvers.context import Context

PHYSICAL_TYPE = one_of(
    "si", "bu", "wi", "wa", "lvl", "co", "ro", "bd", "ve", "ho", "ca", "rd", "area", "jdn", "vi"
)  # fmt: skip
"""FHIR R4 location-physical-type."""

departments = listing(departments_of_facilities, physical_type=PHYSICAL_TYPE)
of_facts = link(facility_by_id, "facility_id")
inpatients = relation("Facility.inpatients", inpatients_of_facilities)
department = link(department_by_id, "department_id")
parent_department = link(department_by_id, "parent_id")
department_inpatients = relation("Department.inpatients", inpatients_of_departments)


async def one(context: Context, *, id: str | None) -> FacilityRow | None:
    """The facility of an id, by default the caller's own; another facility does not exist."""
    facility_id: UUID = context.caller.facility_id if id is None else resource_id("id", id, "Facility")
    [row] = await context.reader.load_many(facility_by_id, [facility_id])
    return row
