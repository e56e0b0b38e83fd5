"""Appointments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

import resolvers.facility
import resolvers.patient
import resolvers.provider
from db.policy import Phi
from graph.datatype import CodeableConcept, FhirDateTime
from graph.facility import Department
from graph.field import field
from graph.node import Node, node_id, row_version, served_from
from graph.provider import Provider
from loaders.appointment import AppointmentRow
from loaders.element import Element, concept

if TYPE_CHECKING:
    from graph.patient import Patient


@strawberry.type(description="A booked visit (FHIR R4 Appointment); a provider is never booked twice at a time")
@served_from(AppointmentRow)
class Appointment(Node):
    """Served from AppointmentRow."""

    id: strawberry.ID = node_id("Appointment")
    version: int = row_version()
    status: str | None = field("Status: booked, arrived, fulfilled, cancelled, …", phi=None)
    type: CodeableConcept | None = field("Kind of the appointment", phi=Phi.CLINICAL, value=concept)
    description: str | None = field("Reason as text", phi=Phi.FREE_TEXT)
    start: FhirDateTime | None = field("Start of the appointment", phi=Phi.DATE, value=Element("start_date_time"))
    end: FhirDateTime | None = field("End of the appointment", phi=Phi.DATE, value=Element("end_date_time"))
    cancelation_reason: CodeableConcept | None = field("Why the appointment was cancelled", phi=Phi.CLINICAL)
    patient: Annotated[Patient, strawberry.lazy("graph.patient")] | None = field(
        "Patient of the appointment", phi=None, batch=resolvers.patient.of_facts
    )
    provider: Provider | None = field("Provider of the appointment", phi=None, batch=resolvers.provider.of_facts)
    department: Department | None = field(
        "Department of the appointment", phi=None, batch=resolvers.facility.department
    )
