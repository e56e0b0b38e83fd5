"""Patient summary: the chart at a glance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import strawberry

from db.policy import Phi
from graph.datatype import CodeableConcept, FhirDateTime
from graph.field import field


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


@strawberry.type(description="The last encounter of a summary")
class SummaryEncounter:
    """Served from the dict of `last_encounter`."""

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


@strawberry.type(
    description="How much the chart of a patient holds, without what has a sensitivity label or could not be labelled"
)
class SummaryCounts:
    """Served from the dict of `counts`."""

    encounters: int = field("Number of encounters", phi=None, value=_count("encounters"))
    conditions: int = field("Number of conditions, active or not", phi=None, value=_count("conditions"))
    procedures: int = field("Number of procedures", phi=None, value=_count("procedures"))
    medication_requests: int = field("Number of medication orders", phi=None, value=_count("medication_requests"))


@strawberry.type(description="Chart of a patient at a glance, as of the last run of the summary worker")
class PatientSummary:
    """Served from PatientSummaryRow."""

    updated: FhirDateTime | None = field("When the summary last changed", phi=Phi.DATE)
    active_conditions: list[SummaryCondition] | None = field("Active conditions, newest first", phi=Phi.CLINICAL)
    active_medications: list[SummaryMedication] | None = field("Active medications, newest first", phi=Phi.CLINICAL)
    allergies: list[SummaryAllergy] | None = field("Allergies of the patient, newest first", phi=Phi.CLINICAL)
    last_encounter: SummaryEncounter | None = field("Last encounter of the patient", phi=None)
    counts: SummaryCounts | None = field("How much the chart holds", phi=Phi.CLINICAL)
