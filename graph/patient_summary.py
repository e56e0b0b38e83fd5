"""Patient summary: the chart at a glance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import strawberry

from db.policy import Phi
from graph.datatype import CodeableConcept, Coding, FhirDateTime, Quantity
from graph.field import arg, field

MAX_STALENESS = arg(
    "max_staleness",
    int | None,
    "Seconds by which the answer may be behind what was committed; of any age without it",
    phi=None,
    graphql_name="maxStaleness",
)
"""Argument of what is answered from a copy."""
UCUM = "http://unitsofmeasure.org"


def _id(type_name: str) -> Callable[[dict[str, Any]], str]:
    return lambda entry: f"{type_name}/{entry['id']}"


def _count(name: str) -> Callable[[Any], int]:
    return lambda counts: counts[name]


@strawberry.type(description="An active condition of a summary")
class SummaryCondition:
    """Served from the dicts of `active_conditions`."""

    id: strawberry.ID = field("Global id of the condition", phi=None, value=_id("Condition"))
    code: CodeableConcept | None = field("What the condition is", phi=Phi.CLINICAL)
    onset_date_time: FhirDateTime | None = field(
        "When the condition began", phi=Phi.DATE, value=lambda entry: entry.get("onset")
    )


@strawberry.type(description="An active medication of a summary")
class SummaryMedication:
    """Served from the dicts of `active_medications`."""

    id: strawberry.ID = field("Global id of the order", phi=None, value=_id("MedicationRequest"))
    medication: CodeableConcept | None = field("What is taken", phi=Phi.CLINICAL)
    authored_on: FhirDateTime | None = field(
        "When it was ordered", phi=Phi.DATE, value=lambda entry: entry.get("authored_on")
    )


@strawberry.type(description="An allergy of a summary")
class SummaryAllergy:
    """Served from the dicts of `allergies`."""

    id: strawberry.ID = field("Global id of the allergy", phi=None, value=_id("AllergyIntolerance"))
    code: CodeableConcept | None = field("What the patient is allergic to", phi=Phi.CLINICAL)
    criticality: str | None = field("Potential harm: low, high or unable-to-assess", phi=Phi.CLINICAL)


@strawberry.type(description="One of the last encounters of a summary")
class SummaryEncounter:
    """Served from the dicts of `last_encounters`."""

    id: strawberry.ID = field("Global id of the encounter", phi=None, value=_id("Encounter"))
    status: str | None = field("Status of the encounter", phi=None)
    class_: str | None = field(
        "Class of the encounter (AMB, IMP, EMER, …)", phi=None, value=lambda entry: entry["class"], name="class"
    )
    type: CodeableConcept | None = field("Type of the encounter", phi=Phi.CLINICAL)
    period_start: FhirDateTime | None = field(
        "Start of the encounter", phi=Phi.DATE, value=lambda entry: entry.get("start")
    )
    period_end: FhirDateTime | None = field("End of the encounter", phi=Phi.DATE, value=lambda entry: entry.get("end"))


@strawberry.type(description="Latest result of a laboratory test of a summary")
class SummaryResult:
    """Served from the dicts of `latest_results`."""

    id: strawberry.ID = field("Global id of the result", phi=None, value=_id("LabResult"))
    test: CodeableConcept | None = field("Test that gave the result", phi=Phi.CLINICAL)
    status: str | None = field("Status of the result: final, preliminary, …", phi=None)
    effective_date_time: FhirDateTime | None = field(
        "When the specimen was taken", phi=Phi.DATE, value=lambda entry: entry.get("effective")
    )
    value_quantity: Quantity | None = field(
        "Value as an amount", phi=Phi.CLINICAL, value=lambda entry: entry.get("value")
    )
    value_codeable_concept: CodeableConcept | None = field(
        "Value as a concept", phi=Phi.CLINICAL, value=lambda entry: entry.get("concept")
    )
    interpretation: list[CodeableConcept] | None = field("High, low, normal, critical, …", phi=Phi.CLINICAL)


def _reading(entry: dict[str, Any]) -> dict[str, Any] | None:
    value = entry.get("value")
    return value and {**value, "system": UCUM if value["code"] else None}


@strawberry.type(description="Latest reading of a vital sign of a summary")
class SummaryVitalSign:
    """Served from the dicts of `latest_vitals`."""

    id: strawberry.ID = field("Global id of the reading", phi=None, value=_id("VitalSign"))
    code: Coding | None = field("What was measured, usually LOINC", phi=Phi.CLINICAL)
    status: str | None = field("Status of the reading: final, preliminary, …", phi=None)
    effective_date_time: FhirDateTime | None = field(
        "When it was measured", phi=Phi.DATE, value=lambda entry: entry.get("effective")
    )
    value_quantity: Quantity | None = field("Value with its unit", phi=Phi.CLINICAL, value=_reading)


@strawberry.type(description="An active care plan of a summary")
class SummaryCarePlan:
    """Served from the dicts of `care_plans`."""

    id: strawberry.ID = field("Global id of the care plan", phi=None, value=_id("CarePlan"))
    title: str | None = field("Title of the care plan", phi=Phi.CLINICAL)
    category: list[CodeableConcept] | None = field("Kinds of the care plan", phi=Phi.CLINICAL)
    period_start: FhirDateTime | None = field(
        "Start of the care plan", phi=Phi.DATE, value=lambda entry: entry.get("start")
    )


@strawberry.type(
    description="How much the chart of a patient holds, without what has a sensitivity label or could not be labelled"
)
class SummaryCounts:
    """Served from the dict of `counts`."""

    encounters: int = field("Number of encounters", phi=None, value=_count("encounters"))
    conditions: int = field("Number of conditions, active or not", phi=None, value=_count("conditions"))
    procedures: int = field("Number of procedures", phi=None, value=_count("procedures"))
    medication_requests: int = field("Number of medication orders", phi=None, value=_count("medication_requests"))


@strawberry.type(description="Chart of a patient at a glance, kept in step with the chart by the sync worker")
class PatientSummary:
    """Served from PatientSummaryRow."""

    as_of: FhirDateTime | None = field(
        "What was committed before then is in the summary",
        phi=None,
        value=lambda row: row.as_of and row.as_of.isoformat(timespec="milliseconds"),
    )
    updated: FhirDateTime | None = field("When the summary last changed", phi=Phi.DATE)
    active_conditions: list[SummaryCondition] | None = field("Active conditions, newest first", phi=Phi.CLINICAL)
    active_medications: list[SummaryMedication] | None = field("Active medications, newest first", phi=Phi.CLINICAL)
    allergies: list[SummaryAllergy] | None = field("Allergies of the patient, newest first", phi=Phi.CLINICAL)
    last_encounter: SummaryEncounter | None = field(
        "Last encounter of the patient", phi=None, value=lambda row: next(iter(row.last_encounters), None)
    )
    last_encounters: list[SummaryEncounter] | None = field("Last encounters of the patient, newest first", phi=None)
    latest_results: list[SummaryResult] | None = field(
        "Latest result of each laboratory test, newest first: amounts and concepts", phi=Phi.CLINICAL, size=20
    )
    latest_vital_signs: list[SummaryVitalSign] | None = field(
        "Latest reading of each vital sign", phi=Phi.CLINICAL, value=lambda row: row.latest_vitals, size=10
    )
    care_plans: list[SummaryCarePlan] | None = field("Active care plans, newest first", phi=Phi.CLINICAL)
    counts: SummaryCounts | None = field("How much the chart holds", phi=Phi.CLINICAL)
