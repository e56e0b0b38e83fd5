"""Counts of cohorts for research projects: noisy, paid from a privacy budget, without small cells."""

from __future__ import annotations

import strawberry

from db.policy import Phi
from graph.field import PERIOD, REQUIRED, arg, enum, field
from graph.research_dataset import ResearchStratum
from loaders.research_counts import CELLS_MAX, CohortDimension
from loaders.research_noise import margin
from resolvers import research_counts
from resolvers.research_counts import CellRow

COUNT_WEIGHT = 1000
"""Cost of a count: it looks at the records of whole facilities."""

enum(CohortDimension, "What counts of a cohort are broken down by: of each a patient has one value", phi=None)

# A day or an age that an analyst gives narrows what is counted, and what is counted is told with noise: the answer does
# not tell what the caller may not read. Hence no kinds, which would refuse these arguments to every analyst.
COHORT = (
    arg("project", strawberry.ID, "Global id of the research project that pays", phi=None, default=REQUIRED),
    arg("epsilon", float, "Cost of each answer, and how exact it is: from 0.01 to 20", phi=None, default=REQUIRED),
    arg("sex", list[str] | None, "Administrative genders of which one must match", phi=None),
    arg("age_from", int | None, "Least age in years; 90 stands for 90 or older", phi=None),
    arg("age_to", int | None, "Greatest age in years; 90 stands for 90 or older", phi=None),
    arg("facility", list[strawberry.ID] | None, "Facilities of which one must match", phi=None),
    *(arg(one.name, one.type, one.description, phi=None, graphql_name=one.graphql_name) for one in PERIOD),
    arg("encounter_class", list[str] | None, "Classes of encounters of which one must match", phi=None),
    arg(
        "condition",
        list[str] | None,
        "Conditions that all must be met, each as system|code with alternatives joined by commas",
        phi=Phi.CLINICAL,
    ),
    arg("procedure", list[str] | None, "Procedures that all must be met, as for conditions", phi=Phi.CLINICAL),
    arg("medication", list[str] | None, "Medications that all must be met, as for conditions", phi=Phi.CLINICAL),
    arg("lab_result", list[str] | None, "Laboratory tests that all must be met, as for conditions", phi=Phi.CLINICAL),
    arg("without_condition", list[str] | None, "Conditions of which none may be met", phi=Phi.CLINICAL),
    arg("below", bool, "Whether a code means those below it too, where a hierarchy is given", phi=None, default=False),
)
"""Arguments of `Query.cohort`."""


def _strata(row: CellRow) -> list[dict[str, str]]:
    return [{"dimension": dimension.value, "value": value} for dimension, value in row.values.items()]


@strawberry.type(description="Privacy budget of a research project, in ε of differential privacy; costs add up")
class PrivacyBudget:
    """Served from Budget."""

    total: float = field("What the project may spend over its life", phi=None)
    spent: float = field("What its answers have cost, failed ones included", phi=None)
    left: float = field("What may be spent yet", phi=None)


@strawberry.type(description="Patients of a cohort who have certain values")
class CohortCell:
    """Served from CellRow."""

    strata: list[ResearchStratum] = field(
        "Values that the patients share, one of each dimension", phi=None, value=_strata
    )
    count: int | None = field("Patients, with noise; null when suppressed", phi=Phi.CLINICAL)
    suppressed: bool = field(
        "Whether the count is withheld, because it or one that follows from it is of 1 to 10 patients",
        phi=None,
        value=lambda row: row.count is None,
    )


@strawberry.type(
    description="Noisy counts of a cohort for a research project: each costs `epsilon`, and is the same for a day"
)
class CohortCounts:
    """Served from Asked."""

    epsilon: float = field("Cost of each answer: of the count, and of each breakdown", phi=None)
    margin: int = field(
        "Half the width of the 95 % interval of a count: so far from the truth is one in twenty at most",
        phi=None,
        value=lambda row: margin(row.epsilon),
    )
    count: int | None = field(
        "Patients, with noise; null when there are 1 to 10",
        phi=Phi.CLINICAL,
        batch=research_counts.count,
        weight=COUNT_WEIGHT,
    )
    by: list[CohortCell] | None = field(
        "Patients by these dimensions together, with every value that each has; one answer",
        phi=Phi.CLINICAL,
        batch=research_counts.by,
        args=(arg("dimension", list[CohortDimension], "Dimensions, 1 to 3", phi=None, default=REQUIRED),),
        weight=COUNT_WEIGHT,
        size=CELLS_MAX,
    )
    budget: PrivacyBudget | None = field(
        "Budget of the project, after the answers beside it", phi=None, batch=research_counts.budget
    )
