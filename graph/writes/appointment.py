"""Mutations of appointments."""

from __future__ import annotations

import strawberry

import resolvers.writes.appointment
from db.policy import Phi
from graph.datatype import FhirDateTime
from graph.field import field, given
from graph.schedule import Appointment
from graph.write import Payload, UpdateInput, WriteInput, mutation, write_input
from graph.writes.datatype import CodeableConceptInput

UNSET = strawberry.UNSET


@write_input("What an appointment is booked with")
class BookAppointmentInput(WriteInput):
    """FHIR Appointment."""

    patient_id: strawberry.ID = given("Global id of the patient", phi=None)
    provider_id: strawberry.ID = given("Global id of the provider", phi=None)
    department_id: strawberry.ID | None = given("Global id of the department", phi=None, default=UNSET)
    start: FhirDateTime = given("When it begins, with its offset", phi=Phi.DATE)
    end: FhirDateTime = given("When it ends, with its offset: the next one may begin then", phi=Phi.DATE)
    type: CodeableConceptInput | None = given("Kind of the appointment", phi=Phi.CLINICAL, default=UNSET)
    description: str | None = given("Reason as text", phi=Phi.FREE_TEXT, default=UNSET)


@write_input("Where an appointment is moved")
class MoveAppointmentInput(UpdateInput):
    """The new slot as a whole."""

    start: FhirDateTime = given("When it begins, with its offset", phi=Phi.DATE)
    end: FhirDateTime = given("When it ends, with its offset", phi=Phi.DATE)
    provider_id: strawberry.ID | None = given(
        "Global id of the provider; by default who had it before", phi=None, default=UNSET
    )


@write_input("What an appointment is cancelled with")
class CancelAppointmentInput(UpdateInput):
    """FHIR Appointment.cancelationReason."""

    reason: CodeableConceptInput = given("Why it is cancelled", phi=Phi.CLINICAL)


@strawberry.type(description="What a write of an appointment came to")
class AppointmentPayload(Payload):
    """Served from Written."""

    appointment: Appointment | None = field(
        "Appointment as it is now", phi=None, batch=resolvers.writes.appointment.written
    )


@strawberry.type
class AppointmentMutations:
    """Roots of mutations of appointments."""

    book_appointment: AppointmentPayload | None = mutation(
        "Books an appointment, refused as SLOT_TAKEN where the provider is not free",
        BookAppointmentInput,
        resolvers.writes.appointment.book,
    )
    move_appointment: AppointmentPayload | None = mutation(
        "Moves an appointment to another slot or provider, refused as SLOT_TAKEN where the provider is not free",
        MoveAppointmentInput,
        resolvers.writes.appointment.move,
    )
    cancel_appointment: AppointmentPayload | None = mutation(
        "Cancels an appointment: its slot is free again", CancelAppointmentInput, resolvers.writes.appointment.cancel
    )
