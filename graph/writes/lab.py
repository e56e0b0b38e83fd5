"""Mutations of laboratory results."""

from __future__ import annotations

import strawberry

import resolvers.writes.lab
from db.policy import Phi
from graph.datatype import FhirDateTime
from graph.field import field, given
from graph.lab import LabResult
from graph.write import Payload, UpdateInput, WriteInput, mutation, write_input
from graph.writes.datatype import CodeableConceptInput, QuantityInput

UNSET = strawberry.UNSET


@write_input("Value of a result: exactly one of these")
class LabValueInput:
    """FHIR Observation.value[x], or why there is none."""

    quantity: QuantityInput | None = given("Value as an amount", phi=Phi.CLINICAL, default=UNSET)
    codeable_concept: CodeableConceptInput | None = given("Value as a concept", phi=Phi.CLINICAL, default=UNSET)
    string: str | None = given("Value as text", phi=Phi.FREE_TEXT, default=UNSET)
    date_time: FhirDateTime | None = given("Value as a time", phi=Phi.DATE, default=UNSET)
    data_absent_reason: CodeableConceptInput | None = given("Why there is no value", phi=Phi.CLINICAL, default=UNSET)


@write_input("A range in which values are usual")
class ReferenceRangeInput:
    """FHIR Observation.referenceRange: a low end, a high end or a text."""

    low: QuantityInput | None = given("Low end of the range", phi=None, default=UNSET)
    high: QuantityInput | None = given("High end of the range", phi=None, default=UNSET)
    type: CodeableConceptInput | None = given("Kind of the range, such as normal or critical", phi=None, default=UNSET)
    text: str | None = given("Range as text", phi=None, default=UNSET)


@write_input("A result of a laboratory test")
class LabResultInput:
    """FHIR Observation, category laboratory; testId or code says of which test."""

    status: str = given("preliminary or final", phi=None)
    test_id: strawberry.ID | None = given("Global id of the test", phi=Phi.CLINICAL, default=UNSET)
    code: CodeableConceptInput | None = given(
        "Code of the test in LOINC; one that nobody used before is added to the tests", phi=Phi.CLINICAL, default=UNSET
    )
    value: LabValueInput = given("Value of the result", phi=Phi.CLINICAL)
    effective_date_time: FhirDateTime | None = given(
        "When the specimen was taken; not known by default", phi=Phi.DATE, default=UNSET
    )
    specimen: str | None = given("Specimen that was tested", phi=Phi.CLINICAL, default=UNSET)
    interpretation: list[CodeableConceptInput] | None = given(
        "High, low, normal, critical, …", phi=Phi.CLINICAL, default=UNSET
    )
    reference_range: list[ReferenceRangeInput] | None = given(
        "Ranges in which the value is usual", phi=Phi.CLINICAL, default=UNSET
    )
    note: str | None = given("Remark on the result", phi=Phi.FREE_TEXT, default=UNSET)


@write_input("What results are recorded with: those of one patient, from 1 to 100, all or none")
class RecordLabResultsInput(WriteInput):
    """A panel, or any number of results that a laboratory posts at once."""

    patient_id: strawberry.ID = given("Global id of the patient", phi=None)
    encounter_id: strawberry.ID | None = given(
        "Global id of the patient's encounter that they belong to", phi=None, default=UNSET
    )
    report_id: strawberry.ID | None = given(
        "Global id of the patient's report that they are part of", phi=Phi.CLINICAL, default=UNSET
    )
    results: list[LabResultInput] = given("Results, in the order in which they are answered", phi=Phi.CLINICAL)


@write_input("What of a result is corrected")
class CorrectLabResultInput(UpdateInput):
    """What is not given stays; null clears it."""

    value: LabValueInput | None = given(
        "Value of the result, in place of all of the old one", phi=Phi.CLINICAL, default=UNSET
    )
    effective_date_time: FhirDateTime | None = given("When the specimen was taken", phi=Phi.DATE, default=UNSET)
    specimen: str | None = given("Specimen that was tested", phi=Phi.CLINICAL, default=UNSET)
    interpretation: list[CodeableConceptInput] | None = given(
        "High, low, normal, critical, …", phi=Phi.CLINICAL, default=UNSET
    )
    reference_range: list[ReferenceRangeInput] | None = given(
        "Ranges in which the value is usual", phi=Phi.CLINICAL, default=UNSET
    )
    note: str | None = given("Remark on the result", phi=Phi.FREE_TEXT, default=UNSET)


@write_input("What a result goes on by")
class LabResultStepInput(UpdateInput):
    """The result, in the version that the client saw."""


@strawberry.type(description="What recording laboratory results came to")
class LabResultsPayload(Payload):
    """Served from Written."""

    lab_results: list[LabResult | None] | None = field(
        "Results in the order of the input, none where they were refused; null for one that the caller may not see",
        phi=Phi.CLINICAL,
        batch=resolvers.writes.lab.all_written,
    )


@strawberry.type(description="What a write of a laboratory result came to")
class LabResultPayload(Payload):
    """Served from Written."""

    lab_result: LabResult | None = field(
        "Result as it is now; null where the caller may not see it",
        phi=Phi.CLINICAL,
        batch=resolvers.writes.lab.written,
    )


@strawberry.type
class LabMutations:
    """Roots of mutations of laboratory results."""

    record_lab_results: LabResultsPayload | None = mutation(
        "Records laboratory results of a patient, all or none; a refusal names the one by its place",
        RecordLabResultsInput,
        resolvers.writes.lab.record,
    )
    finalize_lab_result: LabResultPayload | None = mutation(
        "Makes a preliminary result final", LabResultStepInput, resolvers.writes.lab.finalize
    )
    correct_lab_result: LabResultPayload | None = mutation(
        "Corrects a result: a final one is corrected then, a preliminary one stays so. What it said before is kept",
        CorrectLabResultInput,
        resolvers.writes.lab.correct,
    )
    retract_lab_result: LabResultPayload | None = mutation(
        "Says that a result was entered in error, which is for good", LabResultStepInput, resolvers.writes.lab.retract
    )
