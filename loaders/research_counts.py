"""Counts of cohorts for research: with noise, paid from the project's privacy budget, without small cells.

The budget is charged first, then the patients are counted as the project may read them (clinical/0051), then noise is
added, then what is small is withheld (db/disclosure.py): since that looks at noisy counts alone, it tells nothing more.
Two sets of patients are neighbours where one has one patient more. The same question has the same answer for a day.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from itertools import product
from typing import TypeAlias
from uuid import UUID

from db.disclosure import Cell, Key, withheld
from db.errors import AppError
from db.research import Reading
from loaders.reader import Reader
from loaders.research_cohort import COHORT, arguments
from loaders.research_definition import Cohort
from loaders.research_noise import noisy
from loaders.writes.research_charge import Cells, charge, keep_answer

BUDGETS = """/* research_budgets */
SELECT p.id, p.epsilon,
    (SELECT coalesce(sum(c.epsilon), 0) FROM research_charge AS c WHERE c.project_id = p.id)
FROM research_project AS p
WHERE p.id = ANY ($1::uuid[]) AND p.status = 'APPROVED'"""

# A patient is in one row, wherever registered.
HISTOGRAM = f"""/* research_histogram */
WITH {COHORT}, person_once AS (
    SELECT DISTINCT patient_id, gender, race, ethnicity,
        CASE WHEN NOT unborn AND least(oldest, 90) / 10 = least(youngest, 90) / 10
            THEN least(oldest, 90) / 10 END AS decade
    FROM cohort
)
SELECT gender, decade, race, ethnicity, count(*)
FROM person_once
GROUP BY gender, decade, race, ethnicity"""


class CohortDimension(Enum):
    """What a count is broken down by: of each a patient has one value, so that nobody is in two cells.

    Not the facility, at several of which a patient may be registered.
    """

    SEX = "sex"
    AGE_BAND = "age-band"
    RACE = "race"
    ETHNICITY = "ethnicity"


UNKNOWN, OTHER = "unknown", "other"
BANDS = (*(f"{low}-{low + 9}" for low in range(0, 90, 10)), "90+")
VALUES: Mapping[CohortDimension, Sequence[str]] = {
    CohortDimension.SEX: ("female", "male", OTHER, UNKNOWN),
    CohortDimension.AGE_BAND: (*BANDS, UNKNOWN),
    CohortDimension.RACE: (
        "American Indian or Alaska Native",
        "Asian",
        "Black or African American",
        "Native Hawaiian or Other Pacific Islander",
        "White",
        OTHER,
        UNKNOWN,
    ),
    CohortDimension.ETHNICITY: ("Hispanic or Latino", "Not Hispanic or Latino", OTHER, UNKNOWN),
}
"""Every value of each dimension, none of them taken from data: which cells there are must tell nothing of anybody.

Race and ethnicity are OMB's categories as US Core has their texts; what is none of them is "other".
"""

DIMENSIONS_MAX = 3
"""Dimensions of one breakdown: all four have a thousand cells, of which hardly one would be large enough."""
CELLS_MAX = math.prod(sorted(map(len, VALUES.values()))[-DIMENSIONS_MAX:])
"""Cells of one breakdown at most."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question to be answered at the cost of ε: how many patients, by some dimensions or all together."""

    project_id: UUID
    cohort: Cohort
    dimensions: tuple[CohortDimension, ...]
    epsilon: Decimal
    as_of: date
    digest: bytes
    """HMAC of the rest, by which the question is known again."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Privacy budget of a project in ε, and how much of it has been spent."""

    total: Decimal
    spent: Decimal

    @property
    def left(self) -> Decimal:
        """What may be spent yet; 0 where more was spent than there is now."""
        return max(self.total - self.spent, Decimal(0))


Wanted: TypeAlias = Question | UUID
"""A question, or the project whose budget is asked for."""


async def answered(reader: Reader, wanted: Sequence[Wanted]) -> Mapping[Wanted, Cells | Budget | AppError]:
    """The answer of each question, or why there is none; then the budgets, which is to say what these answers left.

    An error is BudgetExhausted, Forbidden or of a store; what was charged stays charged, and the same question may be
    asked again that day at no further cost. Raises StoreError for the budgets.
    """
    found: dict[Wanted, Cells | Budget | AppError] = {}
    for one in wanted:
        if isinstance(one, Question):
            try:
                found[one] = await _answer(reader, one)
            except AppError as error:
                found[one] = error
    projects = [one for one in wanted if isinstance(one, UUID)]
    return {**found, **await budgets(reader, projects)} if projects else found


async def budgets(reader: Reader, project_ids: Sequence[UUID]) -> Mapping[UUID, Budget]:
    """Budgets of the approved ones among these projects, as far as the caller sees them. Raises StoreError."""
    records = await reader.clinical.fetch(BUDGETS, list(project_ids))
    return {record[0]: Budget(record[1], record[2]) for record in records}


async def _answer(reader: Reader, question: Question) -> Cells:
    async with reader.transaction() as writing:
        charged = await charge(writing, question.project_id, question.digest, question.epsilon)
    if charged.answer is not None:
        return charged.answer
    async with reader.research(question.project_id) as reading:
        counts = await histogram(reading, question.cohort, question.dimensions, question.as_of)
    cells = await asyncio.to_thread(_made, counts, question)
    async with reader.transaction() as writing:
        return await keep_answer(writing, charged.id, cells)


def _made(counts: Sequence[int], question: Question) -> Cells:
    return publishable(noisy(counts, float(question.epsilon)), question.dimensions)


def cells_of(dimensions: Sequence[CohortDimension]) -> Sequence[tuple[str, ...]]:
    """Values of every cell of a breakdown, in its order; without dimensions the one cell of everybody."""
    return list(product(*(VALUES[dimension] for dimension in dimensions)))


async def histogram(
    reading: Reading, cohort: Cohort, dimensions: Sequence[CohortDimension], as_of: date
) -> Sequence[int]:
    """How many patients are in each cell, in the order of `cells_of`: true counts, never shown. Raises StoreError."""
    counts: Counter[tuple[str, ...]] = Counter()
    for gender, decade, race, ethnicity, patients in await reading.fetch(HISTOGRAM, *arguments(cohort, as_of)):
        band = None if decade is None else BANDS[decade]
        value = dict(zip(CohortDimension, (gender, band, race, ethnicity), strict=True))
        counts[tuple(_category(dimension, value[dimension]) for dimension in dimensions)] += patients
    return [counts[cell] for cell in cells_of(dimensions)]


def _category(dimension: CohortDimension, value: str | None) -> str:
    if value is None:
        return UNKNOWN
    return value if value in VALUES[dimension] else OTHER


def publishable(counts: Sequence[int], dimensions: Sequence[CohortDimension]) -> Cells:
    """Noisy counts in the order of `cells_of`, without those of 1 to 10 patients and without those that tell these.

    Each total is taken as known, since other questions tell it, more or less. What noise made negative is 0.
    """
    inner = dict(zip(cells_of(dimensions), (max(count, 0) for count in counts), strict=True))
    table: Counter[Key] = Counter()
    for values, patients in inner.items():
        if patients:  # a cell that is missing counts nobody
            table.update(dict.fromkeys(product(*((value, None) for value in values)), patients))
    hidden = withheld({key: Cell(patients) for key, patients in table.items()}, [True] * len(dimensions))
    return [None if values in hidden else patients for values, patients in inner.items()]
