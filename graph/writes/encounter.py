"""Mutations of encounters."""

from __future__ import annotations

import strawberry

import resolvers.encounter
import resolvers.writes.encounter
from db.policy import Phi
from graph.datatype import FhirDateTime
from graph.encounter import Encounter
from graph.field import field, given
from graph.write import Payload, UpdateInput, WriteInput, mutation, write_input
from graph.writes.datatype import CodeableConceptInput

UNSET = strawberry.UNSET


@write_input("What an encounter is opened with")
class OpenEncounterInput(WriteInput):
    """FHIR Encounter at its start."""

    patient_id: strawberry.ID = given("Global id of the patient", phi=None)
    class_: str = given("Class of the encounter (HL7 v3 ActCode: AMB, IMP, EMER, …)", phi=None, name="class")
    type: CodeableConceptInput = given("Type of the encounter: a code, by which it is labelled", phi=Phi.CLINICAL)
    department_id: strawberry.ID | None = given("Global id of the department", phi=None, default=UNSET)
    provider_id: strawberry.ID | None = given("Global id of the provider who leads it", phi=None, default=UNSET)
    status: str | None = given(
        "Status: planned, arrived, triaged or in-progress, which is the default", phi=None, default=UNSET
    )
    period_start: FhirDateTime | None = given("When it began; now by default", phi=Phi.DATE, default=UNSET)
    reason: CodeableConceptInput | None = given("Why the patient came", phi=Phi.CLINICAL, default=UNSET)
    admit_source: CodeableConceptInput | None = given("From where the patient came", phi=Phi.CLINICAL, default=UNSET)


@write_input("What of an encounter is changed")
class UpdateEncounterInput(UpdateInput):
    """What an encounter is; where it is, TransferEncounterInput says."""

    class_: str | None = given(
        "Class of the encounter (HL7 v3 ActCode: AMB, IMP, EMER, …)", phi=None, default=UNSET, name="class"
    )
    type: CodeableConceptInput | None = given("Type of the encounter: a code", phi=Phi.CLINICAL, default=UNSET)
    reason: CodeableConceptInput | None = given(
        "Why the patient came, in place of all reasons before; null for none", phi=Phi.CLINICAL, default=UNSET
    )
    provider_id: strawberry.ID | None = given(
        "Global id of the provider who leads it; null for nobody", phi=None, default=UNSET
    )
    status: str | None = given(
        "Next status: arrived, triaged, in-progress, onleave, finished; cancelled before it is in progress",
        phi=None,
        default=UNSET,
    )


@write_input("Where a patient is taken")
class TransferEncounterInput(UpdateInput):
    """FHIR Encounter.location."""

    department_id: strawberry.ID = given("Global id of the department", phi=None)
    location: str | None = given("Where in it, such as a bed", phi=Phi.FREE_TEXT, default=UNSET)
    provider_id: strawberry.ID | None = given(
        "Global id of the provider who leads the encounter from then on; by default who led it before",
        phi=None,
        default=UNSET,
    )
    when: FhirDateTime | None = given("When it happens; now by default", phi=Phi.DATE, default=UNSET)


@write_input("What an encounter is ended with")
class DischargeEncounterInput(UpdateInput):
    """FHIR Encounter at its end."""

    period_end: FhirDateTime | None = given("When it ended; now by default", phi=Phi.DATE, default=UNSET)
    discharge_disposition: CodeableConceptInput | None = given(
        "Where the patient went", phi=Phi.CLINICAL, default=UNSET
    )


@strawberry.type(description="What a write of an encounter came to")
class EncounterPayload(Payload):
    """Served from Written."""

    encounter: Encounter | None = field("Encounter as it is now", phi=None, batch=resolvers.encounter.written)


@strawberry.type
class EncounterMutations:
    """Roots of mutations of encounters."""

    open_encounter: EncounterPayload | None = mutation(
        "Opens an encounter of a patient", OpenEncounterInput, resolvers.writes.encounter.open_one
    )
    update_encounter: EncounterPayload | None = mutation(
        "Changes what an encounter is, or its status", UpdateEncounterInput, resolvers.writes.encounter.update
    )
    transfer_encounter: EncounterPayload | None = mutation(
        "Takes a patient to another department or bed", TransferEncounterInput, resolvers.writes.encounter.transfer
    )
    discharge_encounter: EncounterPayload | None = mutation(
        "Ends an encounter: the patient leaves", DischargeEncounterInput, resolvers.writes.encounter.discharge
    )
