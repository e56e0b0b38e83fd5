"""Facilities, departments and their current inpatients: the ward list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

import resolvers.facility
from graph.connection import Connection
from graph.datatype import BusinessAddress, BusinessContactPoint, CodeableConcept
from graph.field import PAGE, arg, field
from graph.node import Node, node_id, served_from
from loaders.department import DepartmentRow
from loaders.facility import FacilityRow

if TYPE_CHECKING:
    from graph.encounter import Encounter


@strawberry.type(description="A department of a facility, such as a ward (FHIR R4 Location)")
@served_from(DepartmentRow)
class Department(Node):
    """Served from DepartmentRow."""

    id: strawberry.ID = node_id("Department")
    code: str | None = field("Code of the department", phi=None)
    name: str | None = field("Name of the department", phi=None)
    type: CodeableConcept | None = field("Kind of the department", phi=None)
    physical_type: str | None = field("Physical kind: wi (wing), wa (ward), ro (room), bd (bed), …", phi=None)
    parent: Annotated[Department, strawberry.lazy("graph.facility")] | None = field(
        "Department that it is part of", phi=None, batch=resolvers.facility.parent_department
    )
    inpatients: Connection[Annotated[Encounter, strawberry.lazy("graph.encounter")]] | None = field(
        "Stays that are in progress there now, the latest admission first",
        phi=None,
        batch=resolvers.facility.department_inpatients,
        args=PAGE,
    )


@strawberry.type(description="A hospital or clinic: the tenant (FHIR R4 Organization)")
@served_from(FacilityRow)
class Facility(Node):
    """Served from FacilityRow."""

    id: strawberry.ID = node_id("Facility")
    code: str | None = field("Code of the facility in the network", phi=None)
    name: str | None = field("Name of the facility", phi=None)
    type: CodeableConcept | None = field("Kind of the facility", phi=None)
    address: BusinessAddress | None = field("Address of the facility", phi=None)
    telecom: list[BusinessContactPoint] | None = field("Ways to reach the facility", phi=None)
    departments: list[Department] | None = field(
        "Departments of the facility by name, 500 at most",
        phi=None,
        batch=resolvers.facility.departments,
        args=(arg("physical_type", list[str] | None, "Physical kinds of which one must match: wa, bd, …", phi=None),),
    )
    inpatients: Connection[Annotated[Encounter, strawberry.lazy("graph.encounter")]] | None = field(
        "Stays that are in progress at the facility now, the latest admission first",
        phi=None,
        batch=resolvers.facility.inpatients,
        args=PAGE,
    )
