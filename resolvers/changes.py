"""Subscriptions to what changes: which events each of them hears, and what a message shows.

An event says only that something changed. Each message is read when it is sent, with the caller's rights of that
moment: what the caller may not see is not told, and who may not see the chart any more is told that, and nothing more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from db.caller import Reach
from db.errors import Forbidden, InvalidArgument, Suppressed
from db.feed import Event, Place
from db.live import Change, Listener, Topic
from db.policy import Phi, hides, may_break_glass
from loaders.department import department_by_id, inpatients_of_departments
from loaders.encounter import EncounterRow
from loaders.page import TimePage
from loaders.patient import OPEN, RELATIONSHIP, patient_by_id
from loaders.vital_sign import VitalSignRow, new_vital_signs
from resolvers.arguments import resource_id
from resolvers.connection import link
from resolvers.context import Context
from resolvers.live import events, listening, messages, places
from resolvers.node import several

CHART, VITALS, WARD = "Subscription.chartChanged", "Subscription.vitals", "Subscription.wardChanged"
"""What cursors are good for."""
READINGS_MAX = 500
"""Readings of one patient in one message."""
INPATIENTS_MAX = 100
"""Patients of a ward whose readings are followed."""

TYPES: Mapping[str, str] = {
    "allergy_intolerance": "AllergyIntolerance",
    "appointment": "Appointment",
    "care_team": "CareTeam",
    "clinical_note": "ClinicalNote",
    "condition": "Condition",
    "consent": "Consent",
    "diagnostic_report": "DiagnosticReport",
    "encounter": "Encounter",
    "imaging_instance": "ImagingInstance",
    "imaging_series": "ImagingSeries",
    "imaging_study": "ImagingStudy",
    "immunization": "Immunization",
    "lab_result": "LabResult",
    "medication_administration": "MedicationAdministration",
    "medication_request": "MedicationRequest",
    "observation": "Observation",
    "patient": "Patient",
    "patient_identifier": "Patient",
    "patient_name": "Patient",
    "procedure": "Procedure",
    "registration": "Patient",
}
"""Type whose resources the rows of a table are, or are part of."""
FHIR_NAMES = {
    "ClinicalNote": "DocumentReference",
    "ImagingInstance": "ImagingStudy",
    "ImagingSeries": "ImagingStudy",
    "LabResult": "Observation",
}
"""FHIR type of those types whose name is another one: what the scopes of an app grant."""
OF_THE_PATIENT = frozenset(table for table, kind in TYPES.items() if kind == "Patient")
"""Tables whose rows are parts of the patient's own resource."""


@dataclass(frozen=True, slots=True)
class ChartChange:
    """That something in a patient's chart changed."""

    patient_id: UUID
    change: Change
    cursor: str
    resources: list[Any] = field(default_factory=list[Any])

    async def told(self, context: Context) -> bool:
        """Reads what changed; False where the caller sees nothing of it. Raises as `chart_open`."""
        await chart_open(context, self.patient_id)
        granted = context.caller.types
        changed = {
            kind: keys
            for kind, keys in self._changed().items()
            if granted is None or FHIR_NAMES.get(kind, kind) in granted
        }
        self.resources.extend(await several(context, changed))
        return bool(self.resources)

    def _changed(self) -> Mapping[str, Sequence[UUID]]:
        keys: dict[str, dict[UUID, None]] = {}
        for event in events(self.change):
            kind = TYPES.get(event.table)
            if kind is not None:
                found = [self.patient_id] if event.table in OF_THE_PATIENT else map(_key, event.row_keys)
                keys.setdefault(kind, {}).update(dict.fromkeys(found))
        return {kind: list(found) for kind, found in keys.items()}


@dataclass(frozen=True, slots=True)
class VitalsChange:
    """That readings of a patient arrived."""

    patient_id: UUID
    change: Change
    cursor: str
    readings: list[VitalSignRow] = field(default_factory=list[VitalSignRow])

    async def told(self, context: Context) -> bool:
        """Reads what arrived; False where the caller sees nothing of it. Raises as `chart_open`."""
        await chart_open(context, self.patient_id)
        self.readings.extend(await _readings(context, self.patient_id, list(events(self.change))))
        return bool(self.readings)


@dataclass(frozen=True, slots=True)
class WardChange:
    """That patients of a department came, went or moved, that their stay changed, or that readings of them arrived."""

    department_id: UUID
    change: Change
    cursor: str
    ward: Ward
    encounters: list[EncounterRow] = field(default_factory=list[EncounterRow])
    readings: list[VitalSignRow] = field(default_factory=list[VitalSignRow])

    async def told(self, context: Context) -> bool:
        """Reads what changed; False where the caller sees nothing of it. Raises Forbidden."""
        _may_see_ward(context, self.department_id)
        keys = [_key(key) for event in self.change.events.get("clinical", ()) for key in event.row_keys]
        if keys:
            self.encounters.extend(await several(context, {"Encounter": list(dict.fromkeys(keys))}))
            await self.ward.follow(context)
        of_patients: dict[UUID, list[Event]] = {}
        for event in self.change.events.get("vitals", ()):
            if event.patient_id is not None:
                of_patients.setdefault(event.patient_id, []).append(event)
        for patient_id, arrived in of_patients.items():
            self.readings.extend(await _readings(context, patient_id, arrived))
        return bool(self.encounters or self.readings)


@dataclass(slots=True)
class Ward:
    """The patients of a department whose readings a subscription follows."""

    department_id: UUID
    listener: Listener
    with_vitals: bool
    followed: set[UUID] = field(default_factory=set[UUID])

    async def follow(self, context: Context, after: Place | None = None) -> None:
        """Follows who is there now, and nobody who has left."""
        if not self.with_vitals:
            return
        page = TimePage(INPATIENTS_MAX)
        found = await inpatients_of_departments(context.reader, [self.department_id], page)
        here = {row.patient_id for row in found.get(self.department_id, ())}
        facility_id = context.caller.facility_id
        for patient_id in self.followed - here:
            self.listener.ignore("vitals", Topic(facility_id, patient_id))
        for patient_id in here - self.followed:
            await self.listener.hear("vitals", Topic(facility_id, patient_id), after)
        self.followed = here


async def chart_changed(context: Context, *, patient: str, after: str | None) -> AsyncGenerator[ChartChange, None]:
    """Changes of a patient's chart. Raises InvalidArgument for nobody of this facility, Suppressed, CursorExpired."""
    patient_id = resource_id("patient", patient, "Patient")
    await chart_open(context, patient_id)
    topic = Topic(context.caller.facility_id, patient_id)
    listener = await listening(context, CHART, {"clinical": topic, "imaging": topic}, after)
    return messages(listener, context, CHART, lambda change, cursor: ChartChange(patient_id, change, cursor))


async def vitals(context: Context, *, patient: str, after: str | None) -> AsyncGenerator[VitalsChange, None]:
    """Readings of a patient as they arrive. Raises as `chart_changed`, Forbidden for who sees no clinical fact."""
    if hides(context.caller, Phi.CLINICAL):
        raise Forbidden
    patient_id = resource_id("patient", patient, "Patient")
    await chart_open(context, patient_id)
    topic = Topic(context.caller.facility_id, patient_id)
    listener = await listening(context, VITALS, {"vitals": topic}, after)
    return messages(listener, context, VITALS, lambda change, cursor: VitalsChange(patient_id, change, cursor))


async def ward_changed(
    context: Context, *, department: str, vitals: bool, after: str | None
) -> AsyncGenerator[WardChange, None]:
    """Changes of a ward. Raises InvalidArgument for no department of this facility, Forbidden, CursorExpired."""
    department_id = resource_id("department", department, "Department")
    _may_see_ward(context, department_id)
    [row] = await context.reader.load_many(department_by_id, [department_id])
    if row is None:
        raise InvalidArgument("department", "is not a department of this facility")
    topic = Topic(context.caller.facility_id, department_id=department_id, tables=frozenset({"encounter"}))
    since = places(context, WARD, after)
    listener = context.reader.listener()
    ward = Ward(department_id, listener, vitals and not hides(context.caller, Phi.CLINICAL))
    try:
        await listener.hear("clinical", topic, since.get("clinical"))
        await ward.follow(context, since.get("vitals"))
    except BaseException:
        listener.close()
        raise
    return messages(listener, context, WARD, lambda change, cursor: WardChange(department_id, change, cursor, ward))


async def chart_open(context: Context, patient_id: UUID) -> None:
    """Returns where the caller may see a patient's chart now. Raises InvalidArgument, Suppressed."""
    [row] = await context.reader.load_many(patient_by_id, [patient_id])
    if row is None:
        raise InvalidArgument("patient", "is not a patient of this facility")
    if row.standing != OPEN:
        raise Suppressed(row.standing or RELATIONSHIP, break_glass=may_break_glass(context.caller))


def _may_see_ward(context: Context, department_id: UUID) -> None:
    """Raises Forbidden for a caller who is bound to another department."""
    caller = context.caller
    if caller.reach is Reach.DEPARTMENT and caller.department_id != department_id:
        raise Forbidden


async def _readings(context: Context, patient_id: UUID, of_patient: Sequence[Event]) -> Sequence[VitalSignRow]:
    """New readings of a patient, oldest first, up to READINGS_MAX; an event without keys tells of all of its time."""
    times = [time for event in of_patient for time in (event.since, event.until) if time is not None]
    if not times or hides(context.caller, Phi.CLINICAL):
        return []
    named = all(event.row_keys for event in of_patient)
    keys = [key for event in of_patient for key in event.row_keys] if named else None
    return await new_vital_signs(context.reader, patient_id, min(times), max(times), keys, READINGS_MAX)


def _key(row_key: str) -> UUID:
    """Id of a row whose key may have more parts: that of a laboratory result has its time."""
    return UUID(row_key.partition("/")[0])


patient = link(patient_by_id, "patient_id")
department = link(department_by_id, "department_id")
