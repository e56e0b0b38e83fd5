"""The plain facts of the chart: conditions, procedures, allergies, immunizations, reports, teams, consents."""

from __future__ import annotations

import strawberry

import resolvers.chart
import resolvers.lab
import resolvers.provider
from db.policy import Phi
from graph.connection import Connection
from graph.datatype import CodeableConcept, FhirDateTime, Quantity, ReferenceRange
from graph.fact import ClinicalFact
from graph.field import FACTS, field
from graph.lab import LabResult, ObservationComponent
from graph.node import Node, node_id, row_version, served_from
from graph.provider import Provider
from loaders.allergy_intolerance import AllergyIntoleranceRow
from loaders.care_team import CareTeamRow
from loaders.condition import ConditionRow
from loaders.consent import ConsentRow
from loaders.diagnostic_report import DiagnosticReportRow
from loaders.element import Element, Inside, Listed, concept, value_quantity
from loaders.immunization import ImmunizationRow
from loaders.observation import ObservationRow
from loaders.procedure import ProcedureRow


@strawberry.type(description="A problem, diagnosis or finding of a patient (FHIR R4 Condition)")
@served_from(ConditionRow)
class Condition(ClinicalFact):
    """Served from ConditionRow."""

    id: strawberry.ID = node_id("Condition")
    version: int = row_version()
    clinical_status: str | None = field(
        "Clinical status: active, resolved, …; null where the source has none", phi=Phi.CLINICAL
    )
    verification_status: str | None = field("How certain the condition is: confirmed, refuted, …", phi=Phi.CLINICAL)
    category: list[str] | None = field("Categories: problem-list-item, encounter-diagnosis, …", phi=Phi.CLINICAL)
    severity: CodeableConcept | None = field("Severity of the condition", phi=Phi.CLINICAL)
    code: CodeableConcept | None = field("What the condition is", phi=Phi.CLINICAL, value=concept)
    body_site: list[CodeableConcept] | None = field("Where in the body the condition is", phi=Phi.CLINICAL)
    onset_date_time: FhirDateTime | None = field("When the condition began", phi=Phi.DATE, value=Element("onset"))
    abatement_date_time: FhirDateTime | None = field(
        "When the condition ended", phi=Phi.DATE, value=Element("abatement")
    )
    recorded_date: FhirDateTime | None = field("When the condition was first recorded", phi=Phi.DATE)
    note: str | None = field("Remark on the condition", phi=Phi.FREE_TEXT)


@strawberry.type(description="Something done on a patient (FHIR R4 Procedure)")
@served_from(ProcedureRow)
class Procedure(ClinicalFact):
    """Served from ProcedureRow."""

    id: strawberry.ID = node_id("Procedure")
    version: int = row_version()
    status: str | None = field("Status: completed, in-progress, not-done, …", phi=None)
    code: CodeableConcept | None = field("What was done", phi=Phi.CLINICAL, value=concept)
    reason: list[CodeableConcept] | None = field("Why it was done", phi=Phi.CLINICAL)
    reason_conditions: list[Condition] | None = field(
        "Conditions that are the reason", phi=Phi.CLINICAL, batch=resolvers.chart.reason_conditions
    )
    body_site: list[CodeableConcept] | None = field("Where in the body it was done", phi=Phi.CLINICAL)
    performed_start: FhirDateTime | None = field("When the procedure began", phi=Phi.DATE)
    performed_end: FhirDateTime | None = field("When the procedure ended", phi=Phi.DATE)
    provider: Provider | None = field("Provider who did it", phi=None, batch=resolvers.provider.of_facts)


@strawberry.type(description="A reaction to a substance (FHIR R4 AllergyIntolerance.reaction)")
class AllergyReaction:
    """Served from a FHIR fragment."""

    substance: CodeableConcept | None = field("Substance of the reaction", phi=Phi.CLINICAL)
    manifestation: list[CodeableConcept] | None = field(
        "Signs of the reaction", phi=Phi.CLINICAL, value=Listed("manifestation")
    )
    severity: str | None = field("Severity: mild, moderate or severe", phi=Phi.CLINICAL)
    description: str | None = field("Reaction as text", phi=Phi.FREE_TEXT)


@strawberry.type(description="An allergy or intolerance of a patient, or the statement that none is known")
@served_from(AllergyIntoleranceRow)
class AllergyIntolerance(ClinicalFact):
    """Served from AllergyIntoleranceRow."""

    id: strawberry.ID = node_id("AllergyIntolerance")
    version: int = row_version()
    no_known_allergy: bool | None = field(
        "Whether this states that no allergy is known: then it is not an allergy", phi=Phi.CLINICAL
    )
    clinical_status: str | None = field("Clinical status: active, inactive or resolved", phi=Phi.CLINICAL)
    verification_status: str | None = field("How certain it is: confirmed, refuted, …", phi=Phi.CLINICAL)
    type: str | None = field("Mechanism: allergy or intolerance", phi=Phi.CLINICAL)
    category: list[str] | None = field("Categories: food, medication, environment, biologic", phi=Phi.CLINICAL)
    criticality: str | None = field("Potential harm: low, high or unable-to-assess", phi=Phi.CLINICAL)
    code: CodeableConcept | None = field("What the patient reacts to", phi=Phi.CLINICAL, value=concept)
    onset_date_time: FhirDateTime | None = field("When it began", phi=Phi.DATE, value=Element("onset"))
    recorded_date: FhirDateTime | None = field("When it was first recorded", phi=Phi.DATE)
    reaction: list[AllergyReaction] | None = field("Reactions that the patient had", phi=Phi.CLINICAL)
    note: str | None = field("Remark on it", phi=Phi.FREE_TEXT)


@strawberry.type(description="A vaccination of a patient (FHIR R4 Immunization)")
@served_from(ImmunizationRow)
class Immunization(ClinicalFact):
    """Served from ImmunizationRow."""

    id: strawberry.ID = node_id("Immunization")
    version: int = row_version()
    status: str | None = field("Status: completed, entered-in-error or not-done", phi=None)
    vaccine_code: CodeableConcept | None = field("Vaccine given", phi=Phi.CLINICAL, value=concept)
    occurrence_date_time: FhirDateTime | None = field("When it was given", phi=Phi.DATE, value=Element("occurrence"))
    occurrence_string: str | None = field(
        "When it was given, as text", phi=Phi.FREE_TEXT, value=Element("occurrence_text")
    )
    primary_source: bool | None = field("Whether who recorded it also gave it", phi=None)
    lot_number: str | None = field("Lot number of the vaccine", phi=Phi.OTHER_IDENTIFIER)
    dose_quantity: Quantity | None = field("Amount given", phi=Phi.CLINICAL)


@strawberry.type(description="An observation that is neither laboratory nor vital sign (FHIR R4 Observation)")
@served_from(ObservationRow)
class Observation(ClinicalFact):
    """Served from ObservationRow."""

    id: strawberry.ID = node_id("Observation")
    version: int = row_version()
    status: str | None = field("Status: final, preliminary, amended, …", phi=None)
    category: list[str] | None = field("Categories: social-history, survey, …", phi=Phi.CLINICAL)
    code: CodeableConcept | None = field("What was observed", phi=Phi.CLINICAL, value=concept)
    effective_date_time: FhirDateTime | None = field(
        "When it was true of the patient", phi=Phi.DATE, value=Element("effective")
    )
    issued: FhirDateTime | None = field("When it was made available", phi=Phi.DATE)
    value_quantity: Quantity | None = field("Value as an amount", phi=Phi.CLINICAL, value=value_quantity)
    value_codeable_concept: CodeableConcept | None = field(
        "Value as a concept", phi=Phi.CLINICAL, value=Element("value_concept")
    )
    value_string: str | None = field("Value as text", phi=Phi.FREE_TEXT, value=Element("value_text"))
    value_date_time: FhirDateTime | None = field("Value as a time", phi=Phi.DATE)
    data_absent_reason: CodeableConcept | None = field("Why there is no value", phi=Phi.CLINICAL)
    component: list[ObservationComponent] | None = field("Parts that have values of their own", phi=Phi.CLINICAL)
    interpretation: list[CodeableConcept] | None = field("High, low, normal, …", phi=Phi.CLINICAL)
    reference_range: list[ReferenceRange] | None = field("Ranges in which the value is usual", phi=Phi.CLINICAL)
    note: str | None = field("Remark on the observation", phi=Phi.FREE_TEXT)


@strawberry.type(description="A report that groups results (FHIR R4 DiagnosticReport)")
@served_from(DiagnosticReportRow)
class DiagnosticReport(ClinicalFact):
    """Served from DiagnosticReportRow."""

    id: strawberry.ID = node_id("DiagnosticReport")
    version: int = row_version()
    status: str | None = field("Status: final, preliminary, amended, …", phi=None)
    category: list[CodeableConcept] | None = field("Services that made the report", phi=Phi.CLINICAL)
    code: CodeableConcept | None = field("Kind of the report", phi=Phi.CLINICAL, value=concept)
    effective_date_time: FhirDateTime | None = field(
        "When the results were true of the patient", phi=Phi.DATE, value=Element("effective")
    )
    issued: FhirDateTime | None = field("When the report was made available", phi=Phi.DATE)
    results: Connection[LabResult] | None = field(
        "Laboratory results of the report",
        phi=Phi.CLINICAL,
        batch=resolvers.lab.of_reports,
        args=FACTS,
    )


@strawberry.type(description="A member of a care team")
class CareTeamParticipant:
    """Served from CareTeamParticipantRow."""

    provider: Provider | None = field(
        "Member who is a provider of the facility", phi=None, batch=resolvers.provider.of_facts
    )
    member: str | None = field("FHIR type of a member who is not: Patient, RelatedPerson, Organization", phi=None)
    role: CodeableConcept | None = field("Role of the member", phi=None)


@strawberry.type(description="People who care for a patient together (FHIR R4 CareTeam)")
@served_from(CareTeamRow)
class CareTeam(ClinicalFact):
    """Served from CareTeamRow."""

    id: strawberry.ID = node_id("CareTeam")
    status: str | None = field("Status: active, inactive, …", phi=None)
    name: str | None = field("Name of the team", phi=Phi.CLINICAL)
    category: list[CodeableConcept] | None = field("Kinds of the team", phi=Phi.CLINICAL)
    period_start: FhirDateTime | None = field("When the team began", phi=Phi.DATE)
    period_end: FhirDateTime | None = field("When the team ended", phi=Phi.DATE)
    participant: list[CareTeamParticipant] | None = field(
        "Members of the team", phi=None, batch=resolvers.chart.care_team_participants
    )


@strawberry.type(description="What a patient agreed to or refused (FHIR R4 Consent)")
@served_from(ConsentRow)
class Consent(Node):
    """Served from ConsentRow."""

    id: strawberry.ID = node_id("Consent")
    version: int = row_version()
    status: str | None = field("Status: active, rejected, …", phi=None)
    scope: CodeableConcept | None = field("Scope of the consent: privacy, research, treatment, …", phi=None)
    category: list[CodeableConcept] | None = field("Kinds of the consent", phi=None)
    date_time: FhirDateTime | None = field("When the patient consented", phi=Phi.DATE)
    provision_type: str | None = field(
        "Whether the rule permits or denies", phi=None, value=Inside("provision", ("type",))
    )
