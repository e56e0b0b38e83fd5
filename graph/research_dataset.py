"""Research datasets: aggregates of the warehouse, without a row about anybody; and a patient's cohort in them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry

from db.policy import Phi
from graph.connection import Connection
from graph.datatype import Coding, FhirDateTime
from graph.field import CODE, PAGE, arg, field
from graph.node import Node, node_id, served_from
from loaders.research_dataset import AggregateRow, DatasetRow, VersionRow
from resolvers import research_dataset

DIMENSIONS = ("sex", "age_band", "encounter_class", "calendar_year")


def _released(row: Any) -> str:
    time: datetime = row.sort_time
    return time.isoformat()


def _code(row: Any) -> dict[str, str | None] | None:
    if row.code is None:
        return None
    return {"system": row.code_system, "code": row.code, "display": row.code_display}


def _strata(row: AggregateRow) -> list[dict[str, str]]:
    values = {name.replace("_", "-"): getattr(row, name) for name in DIMENSIONS}
    return [{"dimension": name, "value": value} for name, value in values.items() if value is not None]


@strawberry.type(description="A property that the patients or events of a cell share")
class ResearchStratum:
    """Served from a dict."""

    dimension: str = field("Dimension: sex, age-band, encounter-class or calendar-year", phi=None)
    value: str = field("Value of the dimension; unknown where the source has none", phi=None)


@strawberry.type(description="A count of a research dataset")
class ResearchAggregate:
    """Served from AggregateRow."""

    measure: str = field("What is counted: population, condition-prevalence, encounters or lab-results", phi=None)
    scope: str = field(
        "Whose patients: those of the caller's facility, or of the whole network",
        phi=None,
        value=lambda row: "facility" if row.facility_id else "network",
    )
    code: Coding | None = field("Condition or test that is counted", phi=Phi.CLINICAL, value=_code)
    strata: list[ResearchStratum] = field("Properties that are shared; none is a total", phi=None, value=_strata)
    patient_count: int | None = field("Patients; null when suppressed", phi=Phi.CLINICAL)
    event_count: int | None = field(
        "Encounters or results; null when suppressed, or where patients are counted", phi=Phi.CLINICAL
    )
    suppressed: bool = field(
        "Whether the count is withheld, because it or one that follows from it is of 1 to 10 patients",
        phi=None,
        value=lambda row: row.patient_count is None,
    )


@strawberry.type(description="A release of a research dataset; it never changes")
@served_from(VersionRow)
class ResearchDatasetVersion(Node):
    """Served from VersionRow."""

    id: strawberry.ID = node_id("ResearchDatasetVersion")
    version: int = field("Number of the release, from 1", phi=None)
    released: FhirDateTime = field("When the release was made", phi=None, value=_released)
    as_of: str = field("Day whose facts are counted", phi=None)
    row_count: int = field("Counts of the release over all facilities", phi=None)
    suppressed_count: int = field("Counts that are withheld", phi=None, value=lambda row: row.withheld_count)
    sha256: str = field("SHA-256 of the content", phi=None)
    aggregates: Connection[ResearchAggregate] | None = field(
        "Counts of the release, of the network and of the caller's facility",
        phi=Phi.CLINICAL,
        batch=research_dataset.aggregates,
        args=(arg("measure", list[str] | None, "Measures of which one must match", phi=None), CODE, *PAGE),
        weight=200,
    )


@strawberry.type(description="A dataset of aggregates for research, in releases")
@served_from(DatasetRow)
class ResearchDataset(Node):
    """Served from DatasetRow."""

    id: strawberry.ID = node_id("ResearchDataset")
    name: str = field("Name of the dataset in lower case with hyphens", phi=None)
    title: str = field("Title of the dataset", phi=None)
    description: str = field("Description of the dataset", phi=None)
    purpose: str = field("Purpose of use (HL7 v3-PurposeOfUse)", phi=None)
    method: str = field("Method of de-identification", phi=None)
    threshold: int = field("Fewest patients of a count that is shown", phi=None)
    versions: Connection[ResearchDatasetVersion] | None = field(
        "Releases of the dataset, newest first", phi=None, batch=research_dataset.versions, args=PAGE
    )
    latest_version: ResearchDatasetVersion | None = field(
        "Newest release of the dataset", phi=None, batch=research_dataset.latest_version
    )


@strawberry.type(description="A frequent condition of a cohort")
class CohortCondition:
    """Served from CohortConditionRow."""

    code: Coding | None = field("Condition", phi=Phi.CLINICAL, value=_code)
    patient_count: int | None = field("Patients of the cohort who have the condition", phi=Phi.CLINICAL)


@strawberry.type(description="Patients like this one in the network, counted: nothing in it is about the patient")
class CohortSummary:
    """Served from CohortRow: the narrowest cohort that may be shown."""

    sex: str | None = field("Administrative gender of the cohort; null for all", phi=None)
    age_band: str | None = field("Ten-year age band of the cohort; null for all ages", phi=Phi.DATE)
    patient_count: int | None = field("Living patients of the cohort", phi=Phi.CLINICAL)
    as_of: str | None = field("Day whose facts are counted", phi=None)
    top_conditions: list[CohortCondition] | None = field(
        "Most frequent conditions of the cohort, up to 5", phi=Phi.CLINICAL, value=lambda row: row.conditions
    )
