"""Counts of cohorts for a member of a research project, and what is left of the project's privacy budget."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import orjson

from db.errors import AppError, InvalidArgument
from db.policy import may_write
from loaders.research_counts import (
    DIMENSIONS_MAX,
    VALUES,
    Budget,
    CohortDimension,
    Question,
    answered,
    budgets,
    cells_of,
)
from loaders.research_definition import Cohort
from loaders.writes.research_charge import Cells
from resolvers.arguments import codes, resource_id, time_range
from resolvers.context import Context

EPSILON_MIN, EPSILON_MAX = 0.01, 20
"""ε of one answer: below, the noise is of hundreds of patients; above, no project has so much."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A cohort about which a project may ask, each answer at the cost of ε."""

    project_id: UUID
    cohort: Cohort
    epsilon: float
    as_of: date


@dataclass(frozen=True, slots=True)
class CellRow:
    """Patients of a cohort who have these values; None where they are withheld."""

    values: dict[CohortDimension, str]
    count: int | None


async def cohort(context: Context, *, project: str, epsilon: float, **given: Any) -> Asked | None:
    """A cohort to be counted; None where the caller is no member of an approved project of this id, for research.

    Nothing is charged yet: each answer is, when it is made. Raises InvalidArgument and InvalidId.
    """
    project_id = resource_id("project", project, "ResearchProject")
    if not EPSILON_MIN <= epsilon <= EPSILON_MAX:
        raise InvalidArgument("epsilon", f"must be from {EPSILON_MIN} to {EPSILON_MAX}")
    wanted = cohort_of(**given)
    if not may_write(context.caller, "research_charge"):
        return None
    [budget] = await context.reader.load_many(budgets, [project_id])
    return budget and Asked(project_id, wanted, epsilon, datetime.now(UTC).date())


def cohort_of(
    *,
    sex: list[str] | None,
    age_from: int | None,
    age_to: int | None,
    facility: list[str] | None,
    start: str | None,
    end: str | None,
    encounter_class: list[str] | None,
    condition: list[str] | None,
    procedure: list[str] | None,
    medication: list[str] | None,
    lab_result: list[str] | None,
    without_condition: list[str] | None,
    below: bool,
) -> Cohort:
    """The cohort that arguments mean, in one order of what has none. Raises InvalidArgument and InvalidId."""
    first, after = time_range(start, end)
    made = Cohort(
        sex=_sorted(codes("sex", sex, VALUES[CohortDimension.SEX])),
        age_from=age_from,
        age_to=age_to,
        facility_ids=tuple(sorted({resource_id("facility", one, "Facility") for one in facility or ()})),
        start=None if start is None else first.date(),
        end=None if end is None else (after - timedelta.resolution).date(),
        encounter_class=_sorted(codes("encounterClass", encounter_class)),
        condition=_sorted(condition),
        procedure=_sorted(procedure),
        medication=_sorted(medication),
        lab_result=_sorted(lab_result),
        without_condition=_sorted(without_condition),
        below=below,
    )
    made.validate()
    return made


def _sorted(values: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(sorted(set(values or ())))


async def count(context: Context, parents: Sequence[Asked]) -> Sequence[int | AppError | None]:
    """How many patients each cohort has; None where they are too few."""
    answers = await _answers(context, parents, ())
    return [one if isinstance(one, AppError) else one[0] for one in answers]


async def by(
    context: Context, parents: Sequence[Asked], *, dimension: list[CohortDimension]
) -> Sequence[list[CellRow] | AppError]:
    """The cells of each cohort by these dimensions, each with every value it could have. Raises InvalidArgument."""
    dimensions = tuple(one for one in CohortDimension if one in dimension)
    if not 1 <= len(dimensions) <= DIMENSIONS_MAX:
        raise InvalidArgument("dimension", f"must have 1 to {DIMENSIONS_MAX} entries")
    keys = [dict(zip(dimensions, values, strict=True)) for values in cells_of(dimensions)]
    answers = await _answers(context, parents, dimensions)
    return [
        one if isinstance(one, AppError) else [CellRow(*row) for row in zip(keys, one, strict=True)] for one in answers
    ]


async def budget(context: Context, parents: Sequence[Asked]) -> Sequence[Budget | None]:
    """What is left of each project's budget, after the answers about its cohort that are asked for beside it."""
    found = await context.reader.load_many(answered, [parent.project_id for parent in parents])
    return cast("Sequence[Budget | None]", found)


async def _answers(
    context: Context, parents: Sequence[Asked], dimensions: tuple[CohortDimension, ...]
) -> Sequence[Cells | AppError]:
    found = await context.reader.load_many(answered, [_question(context, parent, dimensions) for parent in parents])
    return cast("Sequence[Cells | AppError]", found)


def _question(context: Context, asked: Asked, dimensions: tuple[CohortDimension, ...]) -> Question:
    epsilon = Decimal(str(asked.epsilon))  # as it was written: sums of it come out even
    parts = [asked.project_id, asdict(asked.cohort), [one.value for one in dimensions], str(epsilon), asked.as_of]
    raw = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    digest = hmac.digest(context.cursor_key, b"research question\n" + raw, hashlib.sha256)
    return Question(asked.project_id, asked.cohort, dimensions, epsilon, asked.as_of, digest)
