"""Mutation of vital signs."""

from __future__ import annotations

from decimal import Decimal

import strawberry

import resolvers.writes.vital_sign
from db.policy import Phi
from graph.datatype import FhirDateTime
from graph.field import field, given
from graph.vital_sign import VitalSign
from graph.write import Payload, WriteInput, mutation, write_input

UNSET = strawberry.UNSET


@write_input("A reading: one value of one vital sign")
class ReadingInput:
    """FHIR Observation of category vital-signs, or a component of one."""

    sequence: Decimal | None = given(
        "Number that the device gave the reading, which no other of its readings has; with deviceId only",
        phi=None,
        default=UNSET,
    )
    code: str = given("What was measured (LOINC)", phi=Phi.CLINICAL)
    panel_code: str | None = given(
        "Panel that the reading is part of, such as blood pressure (LOINC)", phi=Phi.CLINICAL, default=UNSET
    )
    value: Decimal = given("Value; its digits are kept", phi=Phi.CLINICAL)
    unit: str | None = given("Unit as people write it", phi=Phi.CLINICAL, default=UNSET)
    unit_code: str | None = given("Unit in UCUM", phi=Phi.CLINICAL, default=UNSET)
    effective: FhirDateTime = given("When it was measured: an instant with its offset, however long ago", phi=Phi.DATE)
    status: str | None = given("Status: final or preliminary; final by default", phi=None, default=UNSET)


@write_input("Readings of one patient")
class RecordVitalsInput(WriteInput):
    """A batch of readings, in any order."""

    patient_id: strawberry.ID = given("Global id of the patient", phi=None)
    encounter_id: strawberry.ID | None = given("Global id of the encounter", phi=None, default=UNSET)
    device_id: str | None = given(
        "Identifier of the device that measured them; none for values charted by hand", phi=Phi.DEVICE, default=UNSET
    )
    readings: list[ReadingInput] = given("Readings, up to 100", phi=None)


@strawberry.type(description="What recording readings came to: each is recorded, a duplicate, or among the user errors")
class RecordVitalsPayload(Payload):
    """Served from Written. A conflict costs its reading only; any other user error all of them."""

    recorded: int = field(
        "How many readings are new", phi=None, value=lambda written: written.counts.get("recorded", 0)
    )
    duplicates: int = field(
        "How many readings had been recorded before under their device and sequence, or came twice",
        phi=None,
        value=lambda written: written.counts.get("duplicates", 0),
    )
    vital_signs: list[VitalSign] | None = field(
        "Vital signs that were recorded", phi=None, batch=resolvers.writes.vital_sign.recorded, size=100
    )


@strawberry.type
class VitalSignMutations:
    """Roots of mutations of vital signs."""

    record_vitals: RecordVitalsPayload | None = mutation(
        "Records readings of a patient: of a device each sequence once, or charted by hand",
        RecordVitalsInput,
        resolvers.writes.vital_sign.record,
    )
