"""Mutations of appointments."""

from __future__ import annotations

from loaders.appointment import appointment_by_id
from loaders.write import Written
from loaders.writes.appointment import NewAppointment, Slot, book_appointment, cancel_appointment, move_appointment
from resolvers.connection import link
from resolvers.context import Context
from resolvers.write import Given, Input, Prepared, write

DESCRIPTION_MAX = 500
"""Characters of an appointment's reason as text."""

written = link(appointment_by_id, "id")


async def book(context: Context, input: Input) -> Written:
    """Books an appointment of a patient with a provider."""

    def prepare(given: Given) -> Prepared:
        new = NewAppointment(
            patient_id=given.needed_id("patient_id", "Patient"),
            provider_id=given.needed_id("provider_id", "Provider"),
            department_id=given.id("department_id", "Department"),
            slot=_slot(given),
            type=given.concept("type"),
            description=given.text("description", DESCRIPTION_MAX),
        )
        return lambda writing: book_appointment(writing, new)

    return await write(context, "bookAppointment", input, ["appointment"], prepare)


async def move(context: Context, input: Input) -> Written:
    """Moves an appointment to another slot, or to another provider."""

    def prepare(given: Given) -> Prepared:
        id, slot, provider_id = given.needed_id("id", "Appointment"), _slot(given), given.id("provider_id", "Provider")
        return lambda writing: move_appointment(writing, id, given.version, slot, provider_id)

    return await write(context, "moveAppointment", input, ["appointment"], prepare)


async def cancel(context: Context, input: Input) -> Written:
    """Cancels an appointment."""

    def prepare(given: Given) -> Prepared:
        id, reason = given.needed_id("id", "Appointment"), given.needed_concept("reason").fhir()
        return lambda writing: cancel_appointment(writing, id, given.version, reason)

    return await write(context, "cancelAppointment", input, ["appointment"], prepare)


def _slot(given: Given) -> Slot:
    """The slot. Raises Refusal for one that ends where it begins, or before."""
    slot = Slot(given.needed_time("start"), given.needed_time("end"))
    if slot.end <= slot.start:
        raise given.invalid("end", "must be after the start")
    return slot
