"""Mutations of the plain facts of a chart."""

from __future__ import annotations

import strawberry

import resolvers.writes.chart
from db.policy import Phi
from graph.chart import AllergyIntolerance, Condition, Immunization, Procedure
from graph.datatype import FhirDateTime
from graph.field import field, given
from graph.write import Payload, UpdateInput, WriteInput, mutation, write_input
from graph.writes.datatype import CodeableConceptInput, QuantityInput

UNSET = strawberry.UNSET


@write_input("What every fact is recorded with")
class FactInput(WriteInput):
    """Whose fact it is."""

    patient_id: strawberry.ID = given("Global id of the patient", phi=None)
    encounter_id: strawberry.ID | None = given(
        "Global id of the patient's encounter in which it is recorded", phi=None, default=UNSET
    )


@write_input("What a condition is recorded with")
class RecordConditionInput(FactInput):
    """FHIR Condition."""

    code: CodeableConceptInput = given("What the condition is", phi=Phi.CLINICAL)
    clinical_status: str | None = given(
        "active (by default), recurrence, relapse, inactive, remission or resolved", phi=Phi.CLINICAL, default=UNSET
    )
    verification_status: str | None = given(
        "unconfirmed, provisional, differential, confirmed or refuted", phi=Phi.CLINICAL, default=UNSET
    )
    category: list[str] | None = given("problem-list-item, encounter-diagnosis", phi=Phi.CLINICAL, default=UNSET)
    severity: CodeableConceptInput | None = given("Severity of the condition", phi=Phi.CLINICAL, default=UNSET)
    body_site: list[CodeableConceptInput] | None = given("Where in the body", phi=Phi.CLINICAL, default=UNSET)
    onset_date_time: FhirDateTime | None = given("When the condition began", phi=Phi.DATE, default=UNSET)
    abatement_date_time: FhirDateTime | None = given("When the condition ended", phi=Phi.DATE, default=UNSET)
    note: str | None = given("Remark on the condition", phi=Phi.FREE_TEXT, default=UNSET)


@write_input("What of a condition is changed")
class UpdateConditionInput(UpdateInput):
    """What is not given stays; null clears it."""

    clinical_status: str | None = given(
        "active, recurrence, relapse, inactive, remission or resolved", phi=Phi.CLINICAL, default=UNSET
    )
    verification_status: str | None = given(
        "unconfirmed, provisional, differential, confirmed, refuted or, for good, entered-in-error",
        phi=Phi.CLINICAL,
        default=UNSET,
    )
    abatement_date_time: FhirDateTime | None = given("When the condition ended", phi=Phi.DATE, default=UNSET)
    severity: CodeableConceptInput | None = given("Severity of the condition", phi=Phi.CLINICAL, default=UNSET)
    note: str | None = given("Remark on the condition", phi=Phi.FREE_TEXT, default=UNSET)


@write_input("What a procedure is recorded with")
class RecordProcedureInput(FactInput):
    """FHIR Procedure."""

    code: CodeableConceptInput = given("What was done", phi=Phi.CLINICAL)
    status: str = given("preparation, in-progress, not-done, on-hold, stopped, completed or unknown", phi=None)
    performed_start: FhirDateTime | None = given("When the procedure began", phi=Phi.DATE, default=UNSET)
    performed_end: FhirDateTime | None = given("When the procedure ended", phi=Phi.DATE, default=UNSET)
    reason: list[CodeableConceptInput] | None = given("Why it is done", phi=Phi.CLINICAL, default=UNSET)
    reason_condition_ids: list[strawberry.ID] | None = given(
        "Global ids of the patient's conditions that are the reason", phi=Phi.CLINICAL, default=UNSET
    )
    body_site: list[CodeableConceptInput] | None = given("Where in the body", phi=Phi.CLINICAL, default=UNSET)
    provider_id: strawberry.ID | None = given("Global id of the provider who does it", phi=None, default=UNSET)


@write_input("What of a procedure is changed")
class UpdateProcedureInput(UpdateInput):
    """What is not given stays; null clears it."""

    status: str | None = given(
        "preparation, in-progress, not-done, on-hold, stopped, completed, unknown or, for good, entered-in-error",
        phi=None,
        default=UNSET,
    )
    performed_start: FhirDateTime | None = given("When the procedure began", phi=Phi.DATE, default=UNSET)
    performed_end: FhirDateTime | None = given("When the procedure ended", phi=Phi.DATE, default=UNSET)
    reason: list[CodeableConceptInput] | None = given("Why it is done", phi=Phi.CLINICAL, default=UNSET)
    body_site: list[CodeableConceptInput] | None = given("Where in the body", phi=Phi.CLINICAL, default=UNSET)


@write_input("A reaction that a patient had")
class AllergyReactionInput:
    """FHIR AllergyIntolerance.reaction."""

    manifestation: list[CodeableConceptInput] = given("Signs of the reaction", phi=Phi.CLINICAL)
    substance: CodeableConceptInput | None = given("Substance of the reaction", phi=Phi.CLINICAL, default=UNSET)
    severity: str | None = given("mild, moderate or severe", phi=Phi.CLINICAL, default=UNSET)
    description: str | None = given("Reaction as text", phi=Phi.FREE_TEXT, default=UNSET)


@write_input("What an allergy is recorded with, or the statement that none is known")
class RecordAllergyInput(FactInput):
    """FHIR AllergyIntolerance; SNOMED CT 716186003 and its children state that there is none."""

    code: CodeableConceptInput = given("What the patient reacts to", phi=Phi.CLINICAL)
    clinical_status: str | None = given("active (by default), inactive or resolved", phi=Phi.CLINICAL, default=UNSET)
    verification_status: str | None = given("unconfirmed, confirmed or refuted", phi=Phi.CLINICAL, default=UNSET)
    type: str | None = given("allergy or intolerance", phi=Phi.CLINICAL, default=UNSET)
    category: list[str] | None = given("food, medication, environment, biologic", phi=Phi.CLINICAL, default=UNSET)
    criticality: str | None = given("low, high or unable-to-assess", phi=Phi.CLINICAL, default=UNSET)
    onset_date_time: FhirDateTime | None = given("When it began", phi=Phi.DATE, default=UNSET)
    reaction: list[AllergyReactionInput] | None = given(
        "Reactions that the patient had", phi=Phi.CLINICAL, default=UNSET
    )
    note: str | None = given("Remark on it", phi=Phi.FREE_TEXT, default=UNSET)


@write_input("What of an allergy is changed")
class UpdateAllergyInput(UpdateInput):
    """What is not given stays; null clears it."""

    clinical_status: str | None = given("active, inactive or resolved", phi=Phi.CLINICAL, default=UNSET)
    verification_status: str | None = given(
        "unconfirmed, confirmed, refuted or, for good, entered-in-error", phi=Phi.CLINICAL, default=UNSET
    )
    criticality: str | None = given("low, high or unable-to-assess", phi=Phi.CLINICAL, default=UNSET)
    reaction: list[AllergyReactionInput] | None = given(
        "Reactions that the patient had, all of them", phi=Phi.CLINICAL, default=UNSET
    )
    note: str | None = given("Remark on it", phi=Phi.FREE_TEXT, default=UNSET)


@write_input("What an immunization is recorded with")
class RecordImmunizationInput(FactInput):
    """FHIR Immunization; one of occurrenceDateTime and occurrenceString says when."""

    vaccine_code: CodeableConceptInput = given("Vaccine given", phi=Phi.CLINICAL)
    status: str = given("completed or not-done", phi=None)
    occurrence_date_time: FhirDateTime | None = given("When it was given", phi=Phi.DATE, default=UNSET)
    occurrence_string: str | None = given("When it was given, as text", phi=Phi.FREE_TEXT, default=UNSET)
    primary_source: bool | None = given("Whether who records it also gave it", phi=None, default=UNSET)
    lot_number: str | None = given("Lot number of the vaccine", phi=Phi.OTHER_IDENTIFIER, default=UNSET)
    dose_quantity: QuantityInput | None = given("Amount given", phi=Phi.CLINICAL, default=UNSET)


@write_input("What of an immunization is changed")
class UpdateImmunizationInput(UpdateInput):
    """What is not given stays; null clears it."""

    status: str | None = given("completed, not-done or, for good, entered-in-error", phi=None, default=UNSET)
    primary_source: bool | None = given("Whether who recorded it also gave it", phi=None, default=UNSET)
    lot_number: str | None = given("Lot number of the vaccine", phi=Phi.OTHER_IDENTIFIER, default=UNSET)
    dose_quantity: QuantityInput | None = given("Amount given", phi=Phi.CLINICAL, default=UNSET)


@strawberry.type(description="What a write of a condition came to")
class ConditionPayload(Payload):
    """Served from Written; no object where its code has a label that the caller may not see."""

    condition: Condition | None = field(
        "Condition as it is now; null where the caller may not see it",
        phi=Phi.CLINICAL,
        batch=resolvers.writes.chart.condition,
    )


@strawberry.type(description="What a write of a procedure came to")
class ProcedurePayload(Payload):
    """Served from Written; no object where its code has a label that the caller may not see."""

    procedure: Procedure | None = field(
        "Procedure as it is now; null where the caller may not see it",
        phi=Phi.CLINICAL,
        batch=resolvers.writes.chart.procedure,
    )


@strawberry.type(description="What a write of an allergy came to")
class AllergyPayload(Payload):
    """Served from Written; no object where its code has a label that the caller may not see."""

    allergy_intolerance: AllergyIntolerance | None = field(
        "Allergy as it is now; null where the caller may not see it",
        phi=Phi.CLINICAL,
        batch=resolvers.writes.chart.allergy,
    )


@strawberry.type(description="What a write of an immunization came to")
class ImmunizationPayload(Payload):
    """Served from Written; no object where its code has a label that the caller may not see."""

    immunization: Immunization | None = field(
        "Immunization as it is now; null where the caller may not see it",
        phi=Phi.CLINICAL,
        batch=resolvers.writes.chart.immunization,
    )


@strawberry.type
class ChartMutations:
    """Roots of mutations of the plain facts."""

    record_condition: ConditionPayload | None = mutation(
        "Records a condition of a patient", RecordConditionInput, resolvers.writes.chart.record_condition
    )
    update_condition: ConditionPayload | None = mutation(
        "Changes what is said of a condition", UpdateConditionInput, resolvers.writes.chart.update_condition
    )
    record_procedure: ProcedurePayload | None = mutation(
        "Records a procedure on a patient", RecordProcedureInput, resolvers.writes.chart.record_procedure
    )
    update_procedure: ProcedurePayload | None = mutation(
        "Changes what is said of a procedure", UpdateProcedureInput, resolvers.writes.chart.update_procedure
    )
    record_allergy: AllergyPayload | None = mutation(
        "Records an allergy of a patient, or that none is known: an active allergy refutes that none is known",
        RecordAllergyInput,
        resolvers.writes.chart.record_allergy,
    )
    update_allergy: AllergyPayload | None = mutation(
        "Changes what is said of an allergy", UpdateAllergyInput, resolvers.writes.chart.update_allergy
    )
    record_immunization: ImmunizationPayload | None = mutation(
        "Records a vaccination of a patient", RecordImmunizationInput, resolvers.writes.chart.record_immunization
    )
    update_immunization: ImmunizationPayload | None = mutation(
        "Changes what is said of a vaccination", UpdateImmunizationInput, resolvers.writes.chart.update_immunization
    )
