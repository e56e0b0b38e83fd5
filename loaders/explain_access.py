"""What stands between a caller and one patient: for the caller of the request, or for another one of the facility."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from db.caller import Caller
from loaders.reader import Reader

EXPLAINED = """/* explained */
SELECT found, standing, unbroken, broken
FROM access.explained($1::uuid)"""

EXPLAINED_FOR = """/* explained_for */
SELECT found, standing, unbroken, broken
FROM access.explained_for($1::uuid, $2::uuid, $3::text, $4::text, $5::text, $6::text, $7::uuid, $8::uuid, $9::text[],
    $10::text[])"""


@dataclass(frozen=True, slots=True)
class StandingRow:
    """Standing of a caller towards a patient: OPEN, RELATIONSHIP or CONSENT."""

    found: bool
    """Whether the patient exists for the caller."""
    standing: str
    unbroken: str
    """The standing that it would be without break-glass."""
    broken: bool
    """Whether a grant of break-glass is open."""


async def standing_of_caller(reader: Reader, patient_id: UUID) -> StandingRow | None:
    """Standing of the caller; None for a patient whom the caller does not find."""
    records = await reader.clinical.fetch(EXPLAINED, patient_id)
    return StandingRow(*records[0]) if records else None


async def standing_of_other(reader: Reader, patient_id: UUID, other: Caller) -> StandingRow | None:
    """Standing that another caller has; None for a patient of no registration, or unless a privacy officer asks."""
    role = other.role
    records = await reader.clinical.fetch(
        EXPLAINED_FOR,
        patient_id,
        other.department_id,
        other.profile.value,
        other.purpose.value,
        other.subject,
        other.reach.value,
        other.provider_id,
        other.patient_id,
        sorted(role.labels),
        sorted(role.lifts),
    )
    return StandingRow(*records[0]) if records else None
