"""Encounters from their beginning to their end (FHIR R4 Encounter).

Each write locks the chart and then the encounter's row: writers of one chart come one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from db.transaction import Transaction
from loaders.write import Code, Concept, Refusal, lock_chart
from loaders.writes.facts import locked, patient_of
from loaders.writes.place import check_place

MOVES: Mapping[str, Sequence[str]] = {
    "planned": ("arrived", "triaged", "in-progress", "cancelled"),
    "arrived": ("triaged", "in-progress", "cancelled"),
    "triaged": ("in-progress", "cancelled"),
    "in-progress": ("onleave", "finished"),
    "onleave": ("in-progress", "finished"),
}
"""Statuses that may follow each status of an encounter that has not ended (FHIR R4 EncounterStatus).

Steps on the way to in-progress may be left out; cancelled is what ends before it has begun.
"""
BEGINNINGS = ("planned", "arrived", "triaged", "in-progress")
"""Statuses in which an encounter is opened."""
PRESENT = ("arrived", "triaged", "in-progress", "onleave")
"""Statuses in which the patient has a place."""

OPEN_ENCOUNTER = """/* open_encounter */
INSERT INTO encounter (id, facility_id, patient_id, department_id, provider_id, status, class_code, code_system, code,
    code_display, code_text, period_start, sort_time, details)
VALUES ($1::uuid, access.facility_id(), $2::uuid, $3::uuid, $4::uuid, $5::text, $6::text, $7::text, $8::text, $9::text,
    $10::text, $11::text, $12::timestamptz, $13::jsonb)"""

PATIENT_OF_ENCOUNTER = patient_of("encounter")

ENCOUNTER_FOR_UPDATE = """/* encounter_for_update */
SELECT e.version, d.name, e.details -> 'locations' AS locations, e.details -> 'hospitalization' AS hospitalization,
    e.status, e.class_code, e.code_system, e.code, e.code_display, e.code_text, e.department_id, e.provider_id,
    e.period_start, e.sort_time, e.period_end, e.end_time
FROM encounter AS e
LEFT JOIN department AS d ON d.id = e.department_id
WHERE e.id = $1::uuid
FOR UPDATE OF e"""

# Further codings are of the concept that was there before.
UPDATE_ENCOUNTER = """/* update_encounter */
UPDATE encounter
SET details = details || $2::jsonb, status = $3::text, class_code = $4::text, code_system = $5::text, code = $6::text,
    code_display = $7::text, code_text = $8::text,
    code_translation =
        CASE WHEN (code_system, code) IS NOT DISTINCT FROM ($5::text, $6::text) THEN code_translation END,
    department_id = $9::uuid, provider_id = $10::uuid, period_start = $11::text, sort_time = $12::timestamptz,
    period_end = $13::text, end_time = $14::timestamptz
WHERE id = $1::uuid"""

Details = dict[str, Any]
"""Parts of encounter.details: reason, hospitalization, locations."""


@dataclass(frozen=True, slots=True)
class NewEncounter:
    """What an encounter is opened with; `start` has its offset."""

    patient_id: UUID
    status: str
    class_code: str
    type: Concept
    department_id: UUID | None
    provider_id: UUID | None
    start: datetime
    details: Details


@dataclass(frozen=True, slots=True)
class EncounterChange:
    """What is changed: columns by name, parts of the details; the status where it is given. The rest stays."""

    columns: Mapping[str, Any]
    details: Details
    status: str | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """Where a patient goes at an instant, and where in the department; without a provider who led before goes on."""

    department_id: UUID
    location: str | None
    provider_id: UUID | None
    at: datetime


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns that change, in the order of ENCOUNTER_FOR_UPDATE and UPDATE_ENCOUNTER."""

    status: str
    class_code: str | None
    code_system: str | None
    code: str | None
    code_display: str | None
    code_text: str | None
    department_id: UUID | None
    provider_id: UUID | None
    period_start: str | None
    sort_time: datetime
    period_end: str | None
    end_time: datetime | None


@dataclass(frozen=True, slots=True)
class _Locked:
    """An encounter as it is, which nobody else changes before the end of the transaction."""

    department: str | None
    locations: Sequence[Details]
    hospitalization: Details
    columns: _Columns

    @property
    def since(self) -> datetime:
        """When it began, or where the patient came to the present place: nothing that follows is earlier."""
        starts = [(place.get("period") or {}).get("start") or "" for place in self.locations]
        instants = [datetime.fromisoformat(start) for start in starts if "T" in start]  # a date has no instant
        return max([self.columns.sort_time, *instants])

    def places(self, until: datetime, *then: Details) -> Details:
        """The places up to an instant, and where the patient is then: what of the details says it."""
        been = list(self.locations)
        if not been and self.department and self.columns.status in PRESENT:
            been = [{"display": self.department, "period": {"start": self.columns.period_start}}]
        return {"locations": [*(_left(place, until) for place in been), *then]}


async def open_encounter(writing: Transaction, new: NewEncounter) -> UUID:
    """Opens an encounter and gives its id. Raises Refusal."""
    await lock_chart(writing, new.patient_id)
    department = await check_place(writing, new.patient_id, new.department_id, new.provider_id)
    here = department and new.status in PRESENT
    details = new.details | ({"locations": [_place(department, None, new.start)]} if here else {})
    id = uuid4()
    await writing.fetch(
        OPEN_ENCOUNTER, id, new.patient_id, new.department_id, new.provider_id, new.status, new.class_code,
        new.type.system, new.type.code, new.type.display, new.type.text, new.start.isoformat(), new.start, details,
    )  # fmt: skip
    return id


async def update_encounter(writing: Transaction, id: UUID, version: int, change: EncounterChange, at: datetime) -> UUID:
    """Changes what an encounter is, and at an instant its status. Raises Refusal."""
    found = await _locked(writing, id, version)
    await check_place(writing, None, None, change.columns.get("provider_id"))
    columns, details = replace(found.columns, **change.columns), change.details
    if change.status and change.status != columns.status:
        moved, places = _moved(found, change.status, at)
        columns, details = replace(columns, **moved), details | places
    return await _update(writing, id, columns, details)


def _moved(found: _Locked, status: str, at: datetime) -> tuple[Mapping[str, Any], Details]:
    """Columns and details of an encounter whose status changes at an instant. Raises Refusal for a wrong move."""
    before = found.columns.status
    if status not in MOVES.get(before, ()):
        raise Refusal(Code.NOT_ALLOWED_NOW, "status", "The encounter cannot go on to this status from its own.")
    if status == "finished":
        return _ended(found, at, "status")
    if status == "cancelled":
        return {"status": status}, found.places(at)
    if before != "planned":
        return {"status": status}, {}
    here = [_place(found.department, None, at)] if found.department else []
    # What was planned for another time begins now.
    return {"status": status, "period_start": at.isoformat(), "sort_time": at}, {"locations": here}


async def transfer_encounter(writing: Transaction, id: UUID, version: int, transfer: Transfer) -> UUID:
    """Takes a patient who is here to another place. Raises Refusal."""
    found = await _locked(writing, id, version)
    if found.columns.status not in PRESENT:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The encounter has not begun, or has ended.")
    if transfer.at < found.since:
        raise Refusal(Code.INVALID, "when", "This must not be before the patient came to the present place.")
    department = await check_place(writing, None, transfer.department_id, transfer.provider_id)
    place = _place(department, transfer.location, transfer.at)
    provider_id = transfer.provider_id or found.columns.provider_id
    columns = replace(found.columns, department_id=transfer.department_id, provider_id=provider_id)
    return await _update(writing, id, columns, found.places(transfer.at, place))


async def discharge_encounter(
    writing: Transaction, id: UUID, version: int, end: datetime, disposition: Details | None
) -> UUID:
    """Ends an encounter at an instant. Raises Refusal for one that is not in course, or that began later."""
    found = await _locked(writing, id, version)
    if "finished" not in MOVES.get(found.columns.status, ()):
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The encounter is not in progress.")
    ended, details = _ended(found, end, "periodEnd")
    if disposition is not None:
        details |= {"hospitalization": found.hospitalization | {"dischargeDisposition": disposition}}
    return await _update(writing, id, replace(found.columns, **ended), details)


def _ended(found: _Locked, end: datetime, field: str) -> tuple[Mapping[str, Any], Details]:
    if end < found.since:
        raise Refusal(Code.INVALID, field, "The encounter began later, or the patient came to the present place later.")
    return {"status": "finished", "period_end": end.isoformat(), "end_time": end}, found.places(end)


def _place(department: str | None, location: str | None, start: datetime) -> Details:
    """Encounter.location as the importer keeps it: a place in words, and since when."""
    display = ", ".join(filter(None, (department, location)))
    return {"display": display, "period": {"start": start.isoformat()}}


def _left(place: Details, at: datetime) -> Details:
    """A place that has been left: at this instant, where it was not before."""
    period: Details = place.get("period") or {}
    return place | {"period": {"end": at.isoformat()} | period}


async def _locked(writing: Transaction, id: UUID, version: int) -> _Locked:
    """The encounter as it is. Raises Refusal for another version, and for what the caller may not change."""
    row = await locked(writing, PATIENT_OF_ENCOUNTER, ENCOUNTER_FOR_UPDATE, id, version)
    _, department, locations, hospitalization, *columns = row.values()
    return _Locked(department, locations or (), hospitalization or {}, _Columns(*columns))


async def _update(writing: Transaction, id: UUID, columns: _Columns, details: Details) -> UUID:
    await writing.fetch(UPDATE_ENCOUNTER, id, details, *astuple(columns))
    return id
