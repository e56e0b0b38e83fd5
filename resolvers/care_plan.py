"""Care plans and goals of patients, and the goals of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loaders.care_plan import GoalRow, care_plans_of_patients, goal_by_id, goals_of_patients
from resolvers.connection import one_of, relation
from resolvers.context import Context

PLAN_STATUS = one_of("draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown")
GOAL_STATUS = one_of(
    "proposed", "planned", "accepted", "active", "on-hold", "completed", "cancelled", "entered-in-error", "rejected",
    "unknown",
)  # fmt: skip

of_patients = relation("Patient.carePlans", care_plans_of_patients, status=PLAN_STATUS)
patient_goals = relation("Patient.goals", goals_of_patients, status=GOAL_STATUS)


async def goals_of_plans(context: Context, parents: Sequence[Any]) -> Sequence[Sequence[GoalRow]]:
    """Goals of each care plan, in the plan's order; a goal that is not in the store is left out."""
    wanted = [goal_id for parent in parents for goal_id in parent.goal_ids]
    known = dict(zip(wanted, await context.reader.load_many(goal_by_id, wanted), strict=True))
    return [[row for goal_id in parent.goal_ids if (row := known[goal_id])] for parent in parents]
