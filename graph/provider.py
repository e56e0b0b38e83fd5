"""Providers: who gives care at the facility."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

import resolvers.chart
import resolvers.encounter
import resolvers.facility
import resolvers.provider
from graph.connection import Connection
from graph.datatype import BusinessContactPoint, CodeableConcept
from graph.facility import Department
from graph.field import PAGE, PERIOD, STATUS, field
from graph.node import Node, node_id, served_from
from loaders.element import joined_name
from loaders.provider import ProviderRow

if TYPE_CHECKING:
    from graph.encounter import Encounter
    from graph.patient import Patient
    from graph.schedule import Appointment


@strawberry.type(description="A professional who gives care at the caller's facility (FHIR R4 Practitioner)")
@served_from(ProviderRow)
class Provider(Node):
    """Served from ProviderRow. A provider's own name and number do not identify a patient: they carry no PHI kind."""

    id: strawberry.ID = node_id("Provider")
    npi: str | None = field("National Provider Identifier", phi=None)
    name: str | None = field("Name of the provider with prefix", phi=None, value=joined_name)
    family: str | None = field("Family name of the provider", phi=None)
    given: list[str] | None = field("Given names of the provider", phi=None)
    prefix: list[str] | None = field("What stands before the provider's name", phi=None)
    gender: str | None = field("Administrative gender of the provider", phi=None)
    role: CodeableConcept | None = field("Role of the provider at the facility", phi=None)
    specialty: CodeableConcept | None = field("Specialty of the provider at the facility", phi=None)
    department: Department | None = field("Department of the provider", phi=None, batch=resolvers.facility.department)
    telecom: list[BusinessContactPoint] | None = field("Ways to reach the provider", phi=None)
    appointments: Connection[Annotated[Appointment, strawberry.lazy("graph.schedule")]] | None = field(
        "Appointments of the provider, latest first",
        phi=None,
        batch=resolvers.chart.provider_appointments,
        args=(*PAGE, *PERIOD, STATUS),
    )
    encounters: Connection[Annotated[Encounter, strawberry.lazy("graph.encounter")]] | None = field(
        "Encounters that the provider led, newest first",
        phi=None,
        batch=resolvers.encounter.of_providers,
        args=(*PAGE, *PERIOD, STATUS),
    )
    patients: Connection[Annotated[Patient, strawberry.lazy("graph.patient")]] | None = field(
        "Patients whom the provider saw, the latest seen first",
        phi=None,
        batch=resolvers.provider.patients,
        args=(*PAGE, *PERIOD),
    )
