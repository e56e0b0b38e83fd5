"""Care plans and goals of patients (FHIR R4 CarePlan, Goal)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from db.mongo import Document
from db.notes_schema import CARE_PLANS, GOALS
from loaders.documents import documents_by_id, key, newest_documents


@dataclass(frozen=True, slots=True)
class CarePlanRow:
    """One document of care_plans."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    status: str
    intent: str
    title: str | None
    category: list[dict[str, Any]] | None
    period: dict[str, Any] | None
    addresses: list[str] | None
    activity: list[dict[str, Any]] | None
    goal_ids: list[UUID]
    care_team_ids: list[str]
    note: str | None
    sort_time: datetime


@dataclass(frozen=True, slots=True)
class GoalRow:
    """One document of goals."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    lifecycle_status: str
    achievement_status: str | None
    description: dict[str, Any] | None
    target: list[dict[str, Any]] | None
    start: str | None
    addresses: list[str] | None
    sort_time: datetime


def care_plan_row(document: Document) -> CarePlanRow:
    """Row of a document; a field that the policy hides is None."""
    return CarePlanRow(
        id=UUID(document["_id"]),
        patient_id=UUID(document["metadata"]["patient_id"]),
        encounter_id=key(document["metadata"]["encounter_id"]),
        status=document["status"],
        intent=document["intent"],
        title=document.get("title"),
        category=document.get("category"),
        period=document["period"],
        addresses=document.get("addresses"),
        activity=document.get("activity"),
        goal_ids=[UUID(one) for one in document["goal_ids"]],
        care_team_ids=document["care_team_ids"],
        note=document.get("note"),
        sort_time=document["sort_time"],
    )


def goal_row(document: Document) -> GoalRow:
    """Row of a document; a field that the policy hides is None."""
    return GoalRow(
        id=UUID(document["_id"]),
        patient_id=UUID(document["metadata"]["patient_id"]),
        encounter_id=key(document["metadata"]["encounter_id"]),
        lifecycle_status=document["lifecycle_status"],
        achievement_status=document.get("achievement_status"),
        description=document.get("description"),
        target=document.get("target"),
        start=document.get("start"),
        addresses=document.get("addresses"),
        sort_time=document["sort_time"],
    )


care_plans_of_patients = newest_documents(
    "care_plans_of_patients", CARE_PLANS, "metadata.patient_id", care_plan_row, ("status",)
)
care_plan_by_id = documents_by_id("care_plan_by_id", CARE_PLANS, care_plan_row)
goals_of_patients = newest_documents("goals_of_patients", GOALS, "metadata.patient_id", goal_row, ("lifecycle_status",))
goal_by_id = documents_by_id("goal_by_id", GOALS, goal_row)
