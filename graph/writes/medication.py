"""Mutations of medications: ordering, stopping, giving."""

from __future__ import annotations

from decimal import Decimal

import strawberry

import resolvers.writes.medication
from db.policy import Phi
from graph.chart import AllergyIntolerance
from graph.datatype import FhirDateTime
from graph.field import field, given
from graph.medication import MedicationAdministration, MedicationRequest
from graph.write import Payload, UpdateInput, WriteInput, mutation, write_input
from graph.writes.datatype import CodeableConceptInput, QuantityInput

UNSET = strawberry.UNSET


@write_input("How a medication is to be taken")
class DosageInput:
    """FHIR Dosage that can be followed: an amount, a route, and how often or that it is as needed."""

    dose: QuantityInput = given("Amount of one dose, its unit in UCUM", phi=Phi.CLINICAL)
    route: CodeableConceptInput = given("Way into the body", phi=Phi.CLINICAL)
    frequency: int | None = given("Times in each period", phi=Phi.CLINICAL, default=UNSET)
    period: Decimal | None = given("Length of the period", phi=Phi.CLINICAL, default=UNSET)
    period_unit: str | None = given("Unit of the period: s, min, h, d, wk, mo or a", phi=Phi.CLINICAL, default=UNSET)
    as_needed: bool | None = given("Whether it is taken when needed", phi=Phi.CLINICAL, default=UNSET)
    start: FhirDateTime | None = given("When it begins", phi=Phi.DATE, default=UNSET)
    end: FhirDateTime | None = given("When it ends: nothing is given later", phi=Phi.DATE, default=UNSET)
    text: str | None = given("Instruction as text", phi=Phi.FREE_TEXT, default=UNSET)
    patient_instruction: str | None = given("Instruction for the patient", phi=Phi.FREE_TEXT, default=UNSET)


@write_input("What a medication is ordered with")
class OrderMedicationInput(WriteInput):
    """FHIR MedicationRequest; the medication is named by its id or by its code."""

    patient_id: strawberry.ID = given("Global id of the patient", phi=None)
    encounter_id: strawberry.ID | None = given("Global id of the encounter", phi=None, default=UNSET)
    provider_id: strawberry.ID | None = given(
        "Global id of the provider who orders; by default the caller", phi=None, default=UNSET
    )
    medication_id: strawberry.ID | None = given(
        "Global id of the medication in the catalogue", phi=Phi.CLINICAL, default=UNSET
    )
    medication: CodeableConceptInput | None = given(
        "Medication as code of RxNorm with its display, where no id is given", phi=Phi.CLINICAL, default=UNSET
    )
    dosage: DosageInput = given("How it is to be taken", phi=Phi.CLINICAL)
    priority: str | None = given("Priority: routine (default), urgent, asap or stat", phi=Phi.CLINICAL, default=UNSET)
    reason: CodeableConceptInput | None = given("Why it is ordered", phi=Phi.CLINICAL, default=UNSET)
    allergy_override_reason: str | None = given(
        "Why it is ordered in spite of an allergy, 10 to 500 characters", phi=Phi.FREE_TEXT, default=UNSET
    )


@write_input("What an order is stopped with")
class StopMedicationInput(UpdateInput):
    """FHIR MedicationRequest at its end."""

    reason: CodeableConceptInput = given("Why it is stopped", phi=Phi.CLINICAL)


@write_input("What became of a dose")
class AdministerMedicationInput(WriteInput):
    """FHIR MedicationAdministration."""

    order_id: strawberry.ID = given("Global id of the order", phi=None)
    status: str = given("completed (given), not-done (refused) or on-hold (held)", phi=Phi.CLINICAL)
    due_time: FhirDateTime | None = given(
        "When the order wants the dose, to the minute; needed unless it is as needed", phi=Phi.DATE, default=UNSET
    )
    given_at: FhirDateTime | None = given("When it was given; now by default", phi=Phi.DATE, default=UNSET)
    dose: QuantityInput | None = given("Amount given; by default as ordered", phi=Phi.CLINICAL, default=UNSET)
    reason: CodeableConceptInput | None = given("Why it was not given", phi=Phi.CLINICAL, default=UNSET)


@write_input("What the record of a dose is retracted with")
class RetractMedicationAdministrationInput(UpdateInput):
    """FHIR MedicationAdministration that is entered in error."""

    reason: CodeableConceptInput = given("Why it is wrong", phi=Phi.CLINICAL)


@strawberry.type(description="What a write of an order came to")
class MedicationRequestPayload(Payload):
    """Served from Written."""

    medication_request: MedicationRequest | None = field(
        "Order as it is now", phi=None, batch=resolvers.writes.medication.written_request
    )


@strawberry.type(description="What ordering a medication came to")
class OrderMedicationPayload(MedicationRequestPayload):
    """Served from Written."""

    allergies: list[AllergyIntolerance] | None = field(
        "Allergies because of which it is refused, of those that the caller may see",
        phi=Phi.CLINICAL,
        batch=resolvers.writes.medication.found_allergies,
    )


@strawberry.type(description="What a write of the record of a dose came to")
class MedicationAdministrationPayload(Payload):
    """Served from Written."""

    medication_administration: MedicationAdministration | None = field(
        "Record as it is now", phi=None, batch=resolvers.writes.medication.written_administration
    )


@strawberry.type
class MedicationMutations:
    """Roots of mutations of medications."""

    order_medication: OrderMedicationPayload | None = mutation(
        "Orders a medication; refused for an allergy to it or its class, unless a reason overrides that",
        OrderMedicationInput,
        resolvers.writes.medication.order,
    )
    stop_medication: MedicationRequestPayload | None = mutation(
        "Stops an order: nothing is given of it from now on", StopMedicationInput, resolvers.writes.medication.stop
    )
    administer_medication: MedicationAdministrationPayload | None = mutation(
        "Records that a dose was given, refused or held; a dose is given once for each due time",
        AdministerMedicationInput,
        resolvers.writes.medication.administer,
    )
    retract_medication_administration: MedicationAdministrationPayload | None = mutation(
        "Marks the record of a dose as entered in error",
        RetractMedicationAdministrationInput,
        resolvers.writes.medication.retract,
    )
