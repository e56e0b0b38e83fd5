"""Booking, moving and cancelling appointments (FHIR R4 Appointment).

That a provider is never booked twice at a time, the constraint appointment_provider_is_free says, over all facilities.
Writers of one calendar come one after the other: two that check it at once would wait for each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

from db.errors import ConstraintViolated
from db.transaction import Transaction
from loaders.write import Code, Concept, Refusal, lock_chart
from loaders.writes.facts import for_update, locked, patient_of
from loaders.writes.place import check_place

AHEAD = ("proposed", "pending", "booked", "waitlist")
"""Statuses of an appointment for which nobody has come yet."""
TAKEN = "appointment_provider_is_free"

LOCK_CALENDAR = """/* lock_calendar */
SELECT pg_advisory_xact_lock(hashtextextended('calendar ' || $1::uuid, 0))"""

BOOK_APPOINTMENT = """/* book_appointment */
INSERT INTO appointment (id, facility_id, patient_id, provider_id, department_id, status, code_system, code,
    code_display, code_text, description, start_date_time, sort_time, end_date_time, end_time)
VALUES ($1::uuid, access.facility_id(), $2::uuid, $3::uuid, $4::uuid, 'booked', $5::text, $6::text, $7::text, $8::text,
    $9::text, $10::text, $11::timestamptz, $12::text, $13::timestamptz)"""

PATIENT_OF_APPOINTMENT = patient_of("appointment")
APPOINTMENT_FOR_UPDATE = for_update("appointment", "status, provider_id")

MOVE_APPOINTMENT = """/* move_appointment */
UPDATE appointment
SET provider_id = $2::uuid, start_date_time = $3::text, sort_time = $4::timestamptz, end_date_time = $5::text,
    end_time = $6::timestamptz
WHERE id = $1::uuid"""

CANCEL_APPOINTMENT = """/* cancel_appointment */
UPDATE appointment SET status = 'cancelled', cancelation_reason = $2::jsonb WHERE id = $1::uuid"""


@dataclass(frozen=True, slots=True)
class Slot:
    """From when until when, without the end itself; both with their offset."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class NewAppointment:
    """What an appointment is booked with."""

    patient_id: UUID
    provider_id: UUID
    department_id: UUID | None
    slot: Slot
    type: Concept | None
    description: str | None


async def book_appointment(writing: Transaction, new: NewAppointment) -> UUID:
    """Books an appointment and gives its id. Raises Refusal, SLOT_TAKEN where the provider is not free."""
    await lock_chart(writing, new.patient_id)
    await check_place(writing, new.patient_id, new.department_id, new.provider_id)
    id, type = uuid4(), new.type or Concept(None, None, None, None)
    await _write_slot(
        writing, new.provider_id, BOOK_APPOINTMENT, id, new.patient_id, new.provider_id, new.department_id, type.system,
        type.code, type.display, type.text, new.description, *_times(new.slot),
    )  # fmt: skip
    return id


async def move_appointment(writing: Transaction, id: UUID, version: int, slot: Slot, provider_id: UUID | None) -> UUID:
    """Moves an appointment to another slot, and to another provider where one is given. Raises Refusal, SLOT_TAKEN."""
    booked = await _ahead(writing, id, version)
    await check_place(writing, None, None, provider_id)
    provider_id = provider_id or booked["provider_id"]
    await _write_slot(writing, provider_id, MOVE_APPOINTMENT, id, provider_id, *_times(slot))
    return id


async def cancel_appointment(writing: Transaction, id: UUID, version: int, reason: dict[str, Any]) -> UUID:
    """Cancels an appointment: its slot is free. Raises Refusal."""
    await _ahead(writing, id, version)
    await writing.fetch(CANCEL_APPOINTMENT, id, reason)
    return id


async def _ahead(writing: Transaction, id: UUID, version: int) -> Mapping[str, Any]:
    """The appointment as it is. Raises Refusal for another version, and for one to which somebody has come."""
    booked = await locked(writing, PATIENT_OF_APPOINTMENT, APPOINTMENT_FOR_UPDATE, id, version)
    if booked["status"] not in AHEAD:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The appointment is over, or cancelled.")
    return booked


async def _write_slot(writing: Transaction, provider_id: UUID | None, sql: LiteralString, *args: object) -> None:
    await writing.fetch(LOCK_CALENDAR, provider_id)
    try:
        await writing.fetch(sql, *args)
    except ConstraintViolated as error:
        if error.constraint != TAKEN:
            raise
        raise Refusal(Code.SLOT_TAKEN, "start", "The provider is not free then.") from None


def _times(slot: Slot) -> tuple[object, ...]:
    return slot.start.isoformat(), slot.start, slot.end.isoformat(), slot.end
