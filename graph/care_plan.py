"""Care plans and goals."""

from __future__ import annotations

import strawberry

import resolvers.care_plan
from db.policy import Phi
from graph.datatype import CodeableConcept, FhirDate, FhirDateTime, Period, Quantity
from graph.fact import ClinicalFact
from graph.field import field
from graph.node import node_id, served_from
from loaders.care_plan import CarePlanRow, GoalRow
from loaders.element import Element


def _conditions(row: CarePlanRow | GoalRow) -> list[str] | None:
    return None if row.addresses is None else [f"Condition/{key}" for key in row.addresses]


@strawberry.type(description="What a goal aims at, and until when")
class GoalTarget:
    """FHIR Goal.target."""

    measure: CodeableConcept | None = field("What is measured", phi=Phi.CLINICAL)
    detail_quantity: Quantity | None = field("Value aimed at", phi=Phi.CLINICAL)
    detail_string: str | None = field("Value aimed at, as text", phi=Phi.CLINICAL)
    detail_codeable_concept: CodeableConcept | None = field("Value aimed at, as a concept", phi=Phi.CLINICAL)
    due_date: FhirDate | None = field("Date until which the target is to be reached", phi=Phi.DATE)


@strawberry.type(description="What a patient's care aims at (FHIR R4 Goal)")
@served_from(GoalRow)
class Goal(ClinicalFact):
    """Served from GoalRow."""

    id: strawberry.ID = node_id("Goal")
    lifecycle_status: str | None = field("Status: proposed, active, completed, …", phi=None)
    achievement_status: str | None = field("How far the goal is reached: in-progress, achieved, …", phi=Phi.CLINICAL)
    description: CodeableConcept | None = field("What the goal is", phi=Phi.CLINICAL)
    target: list[GoalTarget] | None = field("Targets of the goal", phi=Phi.CLINICAL)
    start_date: FhirDateTime | None = field("When work on the goal begins", phi=Phi.DATE, value=Element("start"))
    addresses: list[strawberry.ID] | None = field(
        "Global ids of the conditions that the goal is about", phi=Phi.CLINICAL, value=_conditions
    )


@strawberry.type(description="Something that a care plan provides for")
class CarePlanActivity:
    """Served from the dicts of `activity`."""

    code: CodeableConcept | None = field("What is to be done", phi=Phi.CLINICAL)
    status: str | None = field("Status of the activity: not-started, in-progress, completed, …", phi=Phi.CLINICAL)
    description: str | None = field("Remark on the activity", phi=Phi.FREE_TEXT)
    location: str | None = field("Where the activity takes place", phi=Phi.CLINICAL)


@strawberry.type(description="A plan of care for a patient (FHIR R4 CarePlan)")
@served_from(CarePlanRow)
class CarePlan(ClinicalFact):
    """Served from CarePlanRow."""

    id: strawberry.ID = node_id("CarePlan")
    status: str | None = field("Status: active, completed, revoked, …", phi=None)
    intent: str | None = field("Intent: proposal, plan, order or option", phi=None)
    title: str | None = field("Title of the plan", phi=Phi.CLINICAL)
    category: list[CodeableConcept] | None = field("Categories of the plan", phi=Phi.CLINICAL)
    period: Period | None = field("Time that the plan covers", phi=None)
    addresses: list[strawberry.ID] | None = field(
        "Global ids of the conditions that the plan is about", phi=Phi.CLINICAL, value=_conditions
    )
    activity: list[CarePlanActivity] | None = field("What the plan provides for", phi=Phi.CLINICAL)
    goals: list[Goal] | None = field("Goals of the plan", phi=Phi.CLINICAL, batch=resolvers.care_plan.goals_of_plans)
    care_team_ids: list[strawberry.ID] | None = field(
        "Global ids of the care teams of the plan",
        phi=None,
        value=lambda row: [f"CareTeam/{key}" for key in row.care_team_ids],
    )
    note: str | None = field("Remark on the plan", phi=Phi.FREE_TEXT)
