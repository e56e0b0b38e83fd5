"""Mutations of what projects ask for: datasets, versions, an end to an extraction, whom a research id stands for."""

from __future__ import annotations

import strawberry

import resolvers.writes.research_request
from db.policy import Phi
from db.research_method import Method
from graph.datatype import FhirDate
from graph.field import field, given
from graph.research_project import ResearchDatasetRequest, ResearchExtraction, ResearchReidentification
from graph.write import Payload, UpdateInput, WriteInput, mutation, write_input

UNSET = strawberry.UNSET


# Of a cohort nobody is shown and no small number told: so days and ages have no kind, which would bind every analyst.
@write_input("Whose records a dataset has; what is left out narrows nothing, and all that is given must be met")
class ResearchCohortInput:
    """Parts of loaders.research_definition.Cohort."""

    sex: list[str] | None = given(
        "Administrative genders (FHIR): male, female, other, unknown", phi=None, default=UNSET
    )
    age_from: int | None = given("Completed years on the day of the extraction, from 0 to 90", phi=None, default=UNSET)
    age_to: int | None = given("Completed years at most; 90 stands for 90 or older", phi=None, default=UNSET)
    facility_ids: list[strawberry.ID] | None = given(
        "Global ids of facilities, of those that approved the project; all of them by default", phi=None, default=UNSET
    )
    from_: FhirDate | None = given(
        "First day of the encounters and facts that count and that the dataset has",
        phi=None,
        default=UNSET,
        name="from",
    )
    to: FhirDate | None = given("Last day of them", phi=None, default=UNSET)
    encounter_class: list[str] | None = given(
        "Classes (HL7 v3 ActCode) of which an encounter must be", phi=None, default=UNSET
    )
    condition: list[str] | None = given(
        "Conditions, each entry as system|code, with commas between alternatives", phi=Phi.CLINICAL, default=UNSET
    )
    procedure: list[str] | None = given("Procedures, likewise", phi=Phi.CLINICAL, default=UNSET)
    medication: list[str] | None = given("Ordered medications, likewise", phi=Phi.CLINICAL, default=UNSET)
    lab_result: list[str] | None = given("Laboratory tests with a result, likewise", phi=Phi.CLINICAL, default=UNSET)
    without_condition: list[str] | None = given("Conditions of which none is there", phi=Phi.CLINICAL, default=UNSET)
    below: bool = given(
        "Whether a code stands for those below it too, where a hierarchy is given", phi=None, default=False
    )


@write_input("A dataset that a project asks for")
class RequestDatasetInput(WriteInput):
    """Parts of loaders.research_definition.Definition."""

    project_id: strawberry.ID = given("Global id of the project", phi=None)
    name: str = given("Name of the dataset, one of its own in the project, up to 200 characters", phi=None)
    method: Method = given("Method of de-identification, of those that the project is approved for", phi=None)
    tables: list[str] = given(
        "Tables beside that of the patients: encounters, conditions, procedures, medication_requests, "
        "medication_administrations, lab_results, vitals; notes and imaging not under SAFE_HARBOR",
        phi=None,
    )
    cohort: ResearchCohortInput | None = given("Whose records; everybody's by default", phi=None, default=UNSET)
    shift_dates: bool = given(
        "LIMITED only: whether the dates of each patient are moved, all alike, rather than kept",
        phi=None,
        default=False,
    )
    strict: bool = given(
        "Whether three digits of a postal code are kept only where every Census so far allows it",
        phi=None,
        default=False,
    )
    age_band_years: int = given("Width of bands of age, 5 or 10", phi=None, default=5)


@write_input("Which dataset gets its next version")
class RefreshDatasetInput(WriteInput):
    """A dataset that is made anew, of the records as they are now."""

    dataset_id: strawberry.ID = given("Global id of the request of the dataset", phi=None)


@write_input("Which extraction is cancelled")
class CancelExtractionInput(WriteInput):
    """An extraction that shall not go on."""

    id: strawberry.ID = given("Global id of the extraction", phi=None)


@write_input("Whom a research id stands for, asked for clinical necessity")
class RequestReidentificationInput(WriteInput):
    """A question that a privacy officer decides."""

    extraction_id: strawberry.ID = given("Global id of the extraction whose version has the research id", phi=None)
    research_id: str = given("Research id as the version has it", phi=None)
    reason: str = given("Why, in 10 to 2000 characters; for the privacy officer", phi=None)


@write_input("Whether it is said whom a research id stands for")
class DecideReidentificationInput(UpdateInput):
    """A decision, made once."""

    granted: bool = given("Whether the privacy officers of the caller's facility are told", phi=None)


@strawberry.type(description="What a request of a dataset came to")
class ResearchRequestPayload(Payload):
    """Served from Written."""

    request: ResearchDatasetRequest | None = field(
        "Dataset that is asked for", phi=None, batch=resolvers.writes.research_request.written
    )
    extraction: ResearchExtraction | None = field(
        "Extraction that makes the version", phi=None, batch=resolvers.writes.research_request.versions
    )
    patient_count: int | None = field(
        "Patients of the cohort, to a multiple of 10; 11 stands for 11 to 14, null for fewer. Requests that differ in "
        "one patient mostly tell the same number, but it has no noise: who asks for many cohorts that overlap could "
        "find where it changes. Each request is recorded; counts that bound what they tell are those of `cohort`",
        phi=None,
        value=resolvers.writes.research_request.patients,
    )
    patient_count_text: str | None = field(
        "Likewise in words; <11 for a cohort that is too small",
        phi=None,
        value=resolvers.writes.research_request.patients_in_words,
    )


@strawberry.type(description="What a write of an extraction came to")
class ResearchExtractionPayload(Payload):
    """Served from Written."""

    extraction: ResearchExtraction | None = field(
        "Extraction as it is now", phi=None, batch=resolvers.writes.research_request.written_extraction
    )


@strawberry.type(description="What a write of a request for re-identification came to")
class ResearchReidentificationPayload(Payload):
    """Served from Written."""

    reidentification: ResearchReidentification | None = field(
        "Request as it is now", phi=None, batch=resolvers.writes.research_request.written_reidentification
    )


@strawberry.type
class ResearchRequestMutations:
    """Roots of mutations of what projects ask for."""

    request_dataset: ResearchRequestPayload | None = mutation(
        "Asks for a dataset of an approved project, whose first version a job then makes; refused as TOO_FEW where the "
        "cohort has fewer than 11 patients: for members",
        RequestDatasetInput,
        resolvers.writes.research_request.ask,
    )
    refresh_dataset: ResearchRequestPayload | None = mutation(
        "Asks for the next version of a dataset, of the records as they are now and of the patients who do not refuse "
        "now: for members",
        RefreshDatasetInput,
        resolvers.writes.research_request.refresh,
    )
    cancel_extraction: ResearchExtractionPayload | None = mutation(
        "Ends an extraction, one that runs as soon as its worker looks: for members, and the privacy officer of the "
        "home facility",
        CancelExtractionInput,
        resolvers.writes.research_request.cancel,
    )
    request_reidentification: ResearchReidentificationPayload | None = mutation(
        "Asks whom a research id of a published TRUSTED version stands for, while the approval of the project holds: "
        "for members",
        RequestReidentificationInput,
        resolvers.writes.research_request.ask_who,
    )
    decide_reidentification: ResearchReidentificationPayload | None = mutation(
        "Grants or refuses such a request: for the privacy officer of a facility whose records of the patient are in "
        "the version, who must be another person than who asked",
        DecideReidentificationInput,
        resolvers.writes.research_request.decide,
    )
