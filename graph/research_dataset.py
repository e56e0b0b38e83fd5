"""Research datasets in releases: aggregates for all, records for the members of a project; and a patient's cohort.

What is in a release of records, the approval of its project decides (docs/decisions/0018): its values are CLINICAL,
whatever kinds their sources have.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import strawberry

from db.policy import Phi
from graph.connection import Connection
from graph.datatype import Coding, FhirDateTime
from graph.field import CODE, PAGE, REQUIRED, arg, field
from graph.imaging_study import EXPIRES
from graph.node import Node, node_id, served_from
from loaders.element import GlobalId
from loaders.research_dataset import AggregateRow, DatasetRow, VersionRow
from loaders.research_release import RecordRow
from resolvers import research_dataset, research_release

RELEASE = (
    arg("id", strawberry.ID, "Global id of the dataset", phi=None, default=REQUIRED),
    arg("version", int | None, "Number of the release; the newest by default", phi=None),
    arg(
        "as_of",
        str | None,
        "Moment as FHIR dateTime up to which the release was made; a partial one means its end",
        phi=None,
    ),
)
"""Arguments of the root researchDataset."""
DIMENSIONS = ("sex", "age_band", "encounter_class", "calendar_year")


def _released(row: Any) -> str:
    time: datetime = row.sort_time
    return time.isoformat()


def _research_id(row: RecordRow) -> str:
    return str(row.research_id)


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

    dimension: str = field("Dimension: sex, age-band, race, ethnicity, encounter-class or calendar-year", phi=None)
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


@strawberry.type(description="A column of a table of records")
class ResearchColumn:
    """Served from ColumnRow."""

    name: str = field("Name of the column", phi=None)
    type: str = field("Type of the values (Snowflake)", phi=None)
    description: str = field("What the values are", phi=None)
    kind: str | None = field(
        "Kind of protected health information that the source of the values carries; null for none", phi=None
    )
    rule: str = field("What de-identification did to the values", phi=None)


@strawberry.type(description="A row of a table of records")
class ResearchRow:
    """Served from RecordRow."""

    research_id: str = field(
        "Number of the patient: random, the same in all datasets of the project", phi=None, value=_research_id
    )
    values: list[str | None] | None = field("Values as text, in the order of the table's columns", phi=Phi.CLINICAL)


@strawberry.type(description="A part of a table of records, as a parquet file")
class ResearchFile:
    """Served from FileRow."""

    rows: int = field("Rows of the file", phi=None)
    size_bytes: float = field("Size of the file in bytes", phi=None)
    sha256: str = field("SHA-256 of the file", phi=None)
    presigned_url: str | None = field(
        "Short-lived URL that reads the file",
        phi=Phi.CLINICAL,
        batch=research_release.presigned_urls,
        args=EXPIRES,
        weight=10,
    )


@strawberry.type(description="A table of records of a release")
class ResearchTable:
    """Served from TableRow."""

    name: str = field("Name of the table", phi=None)
    row_count: int = field("Rows of the table", phi=None)
    columns: list[ResearchColumn] = field("Columns of the table, in the order of the values of its rows", phi=None)
    rows: Connection[ResearchRow] | None = field(
        "Rows of the table, by patient", phi=Phi.CLINICAL, batch=research_release.rows, args=PAGE, weight=200
    )
    files: Connection[ResearchFile] | None = field(
        "Parquet files that together are the table", phi=None, batch=research_release.files, args=PAGE
    )


@strawberry.type(description="How it was validated that a release of records is de-identified")
class ResearchReport:
    """Served from ReportRow."""

    k: int | None = field("Fewest patients who share all that could identify them (k-anonymity)", phi=None)
    l: int | None = field(  # noqa: E741 - the name of l-diversity
        "Fewest different diagnoses among patients who share what could identify them (l-diversity)", phi=None
    )
    t: float | None = field(
        "Farthest that diagnoses of such patients are distributed from those of all (t-closeness)", phi=None
    )
    patients_in: int | None = field("Patients of the cohort", phi=None)
    patients_out: int | None = field("Patients of the release", phi=None)
    suppressed_share: float | None = field("Share of the cohort that was left out, from 0 to 1", phi=None)
    risk: float | None = field("Highest probability to re-identify a patient by what could identify", phi=None)
    findings: int | None = field("Identifiers that a scan of all values found", phi=None)
    json: str = field("Whole report, as JSON", phi=None)


@strawberry.type(description="What a release of records was made of, and by what")
class ResearchLineage:
    """Served from LineageRow."""

    extraction: strawberry.ID = field(
        "Global id of the extraction that made the release",
        phi=None,
        value=GlobalId("ResearchExtraction", "extraction_id"),
    )
    definition: str = field("Cohort, tables and method that were asked for, as JSON", phi=None)
    code_version: str = field("Version of the code that made the release", phi=None)
    rules_version: str = field("Version of the rules of de-identification", phi=None)


@strawberry.type(description="A release of a research dataset; it never changes")
@served_from(VersionRow)
class ResearchDatasetVersion(Node):
    """Served from VersionRow."""

    id: strawberry.ID = node_id("ResearchDatasetVersion")
    version: int = field("Number of the release, from 1", phi=None)
    released: FhirDateTime = field("When the release was made", phi=None, value=_released)
    method: str = field("Method of de-identification", phi=None)
    as_of: str = field("Day whose facts are counted; of records, on which ages count and consents hold", phi=None)
    row_count: int = field("Counts of the release over all facilities, or rows of its records", phi=None)
    suppressed_count: int = field(
        "Counts that are withheld; of records the report says it", phi=None, value=lambda row: row.withheld_count
    )
    sha256: str = field("SHA-256 of the content", phi=None)
    aggregates: Connection[ResearchAggregate] | None = field(
        "Counts of the release, of the network and of the caller's facility",
        phi=Phi.CLINICAL,
        batch=research_dataset.aggregates,
        args=(arg("measure", list[str] | None, "Measures of which one must match", phi=None), CODE, *PAGE),
        weight=200,
    )
    dataset: Annotated[ResearchDataset, strawberry.lazy("graph.research_dataset")] | None = field(
        "Dataset of the release", phi=None, batch=research_dataset.of_versions
    )
    tables: list[ResearchTable] | None = field(
        "Tables of records; none in a release of aggregates",
        phi=Phi.CLINICAL,
        batch=research_release.tables,
        args=(arg("name", list[str] | None, "Names of the tables that are wanted; all by default", phi=None),),
        size=10,
    )
    report: ResearchReport | None = field(
        "Validation of the release; null for aggregates", phi=Phi.CLINICAL, batch=research_release.reports
    )
    lineage: ResearchLineage | None = field(
        "Origin of the release; null for aggregates", phi=None, batch=research_release.lineages
    )


@strawberry.type(
    description="A dataset for research, in releases: of aggregates, or of records for a project's members"
)
@served_from(DatasetRow)
class ResearchDataset(Node):
    """Served from DatasetRow."""

    id: strawberry.ID = node_id("ResearchDataset")
    name: str = field("Name of the dataset in lower case with hyphens", phi=None)
    title: str = field("Title of the dataset", phi=None)
    description: str = field("Description of the dataset", phi=None)
    purpose: str = field("Purpose of use (HL7 v3-PurposeOfUse)", phi=None)
    method: str = field("Method of de-identification", phi=None)
    threshold: int = field(
        "Fewest patients of a count that is shown; of records, fewest who share what could identify them", phi=None
    )
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
