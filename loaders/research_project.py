"""Projects of research as those see them who have to do with them: members, and privacy officers.

Row-level security shows a project to its members and to the privacy officers of the facilities whose records it asks
for (clinical/0050); the vault answers privacy officers of a patient's own facility alone (clinical/0051).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import LiteralString, TypeVar
from uuid import UUID

from loaders.facts import ByIdBatch, ChildrenBatch, RowBatch, by_id, grouped
from loaders.page import TimePage
from loaders.reader import Reader
from loaders.statement import Columns, Statement

R = TypeVar("R")

PROJECT = Columns(
    "research_project",
    """
    id, facility_id, name, aim, status, methods, data_use_agreement, data_use_expires, irb_approval, irb_expires,
    irb_kinds, labels, k, l, epsilon, proposed_by, proposed_at, approved_by, approved_at, revoked_by, revoked_at,
    version
    """,
    computed="""(SELECT coalesce(sum(c.epsilon), 0) FROM research_charge AS c WHERE c.project_id = research_project.id)
        AS budget_spent""",
)
DATASET = Columns(
    "research_dataset",
    "id, project_id, name, method, requested_by, requested_at",
    computed="definition::text AS definition",
)
EXTRACTION = Columns(
    "research_extraction",
    """
    id, facility_id, project_id, dataset_id, version, state, stage, requested_by, requested_at, cancelled_by, as_of,
    started_at, finished_at, partitions, partitions_done, rows_done, rows_estimate, sha256, error
    """,
    computed="report::text AS report",
)
REIDENTIFICATION = Columns(
    "research_reidentification",
    """
    id, project_id, extraction_id, research_id, reason, requested_by, requested_at, decided_by, decided_at, granted,
    version
    """,
)


def _newest(name: LiteralString, columns: Columns, parent: LiteralString) -> Statement:
    """Statement for RequestedBatch: $1 parent ids, $2 rows for each, $3 and $4 position."""
    return Statement(
        f"""/* {name} */
SELECT parents.id, asked.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    SELECT {{}}
    FROM {columns.table}
    WHERE {parent} = parents.id AND (requested_at, id) < ($3::timestamptz, $4::uuid)
    ORDER BY requested_at DESC, id DESC
    LIMIT $2::int
) AS asked""",
        columns,
    )


RESEARCH_PROJECTS = Statement(
    """/* research_projects */
SELECT {}
FROM research_project
WHERE (proposed_at, id) < ($1::timestamptz, $2::uuid)
ORDER BY proposed_at DESC, id DESC
LIMIT $3::int""",
    PROJECT,
)
PROJECT_BY_ID = by_id("research_project_by_id", PROJECT)
FACILITIES_OF_PROJECTS = Statement(
    """/* facilities_of_research_projects */
SELECT project_id, {}
FROM research_facility
WHERE project_id = ANY($1::uuid[])
ORDER BY project_id, facility_id""",
    Columns("research_facility", "facility_id, approved_by, approved_at, revoked_by, revoked_at"),
)
MEMBERS_OF_PROJECTS = Statement(
    """/* members_of_research_projects */
SELECT project_id, {}
FROM research_member
WHERE project_id = ANY($1::uuid[])
ORDER BY project_id, subject""",
    Columns("research_member", "subject, added_by, added_at"),
)
DATASET_BY_ID = by_id("research_request_by_id", DATASET)
DATASETS_OF_PROJECTS = _newest("requests_of_research_projects", DATASET, "project_id")
EXTRACTION_BY_ID = by_id("research_extraction_by_id", EXTRACTION)
EXTRACTIONS_OF_PROJECTS = _newest("extractions_of_research_projects", EXTRACTION, "project_id")
EXTRACTIONS_OF_DATASETS = _newest("extractions_of_research_requests", EXTRACTION, "dataset_id")
REIDENTIFICATION_BY_ID = by_id("research_reidentification_by_id", REIDENTIFICATION)
REIDENTIFICATIONS_OF_PROJECTS = _newest("reidentifications_of_research_projects", REIDENTIFICATION, "project_id")

REIDENTIFIED = """/* research_reidentified */
SELECT id, patient_id FROM access.research_reidentified($1::uuid[])"""
HOLDINGS = """/* research_holdings */
SELECT extraction_id, patient_id FROM access.research_holdings($1::uuid, $2::timestamptz, $3::uuid, $4::int)"""


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project, in the order of PROJECT."""

    id: UUID
    facility_id: UUID
    name: str
    aim: str
    status: str
    methods: list[str]
    data_use_agreement: str | None
    data_use_expires: date | None
    irb_approval: str | None
    irb_expires: date | None
    irb_kinds: list[str]
    labels: list[str]
    k: int
    l: int  # noqa: E741 - the name of l-diversity
    epsilon: Decimal
    proposed_by: str
    proposed_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    revoked_by: str | None
    revoked_at: datetime | None
    version: int
    budget_spent: Decimal
    """Privacy budget that counts have cost so far."""

    @property
    def sort_time(self) -> datetime:
        """What pages are ordered by."""
        return self.proposed_at


@dataclass(frozen=True, slots=True)
class FacilityRow:
    """That a project asks for a facility's records, and whether it may have them."""

    facility_id: UUID
    approved_by: str | None
    approved_at: datetime | None
    revoked_by: str | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class MemberRow:
    """Somebody who may act for a project."""

    subject: str
    added_by: str
    added_at: datetime


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A dataset that a project asked for, in the order of DATASET; `definition` is JSON."""

    id: UUID
    project_id: UUID
    name: str
    method: str
    requested_by: str
    requested_at: datetime
    definition: str

    @property
    def sort_time(self) -> datetime:
        """What pages are ordered by."""
        return self.requested_at


@dataclass(frozen=True, slots=True)
class ExtractionRow:
    """The making of a version, in the order of EXTRACTION; `report` is JSON."""

    id: UUID
    facility_id: UUID
    project_id: UUID
    dataset_id: UUID
    version: int
    state: str
    stage: str
    requested_by: str
    requested_at: datetime
    cancelled_by: str | None
    as_of: date
    started_at: datetime | None
    finished_at: datetime | None
    partitions: int | None
    partitions_done: int
    rows_done: int
    rows_estimate: int | None
    sha256: str | None
    error: str | None
    report: str | None

    @property
    def sort_time(self) -> datetime:
        """What pages are ordered by."""
        return self.requested_at


@dataclass(frozen=True, slots=True)
class ReidentificationRow:
    """A question whom a research id stands for, in the order of REIDENTIFICATION."""

    id: UUID
    project_id: UUID
    extraction_id: UUID
    research_id: int
    reason: str
    requested_by: str
    requested_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    granted: bool | None
    version: int

    @property
    def sort_time(self) -> datetime:
        """What pages are ordered by."""
        return self.requested_at


@dataclass(frozen=True)
class RequestedBatch(RowBatch[R]):
    """Batch function of what was asked for, newest first: up to page.first + 1 rows of each parent."""

    async def __call__(self, reader: Reader, ids: Sequence[UUID], page: TimePage) -> Mapping[UUID, Sequence[R]]:
        distinct = list(dict.fromkeys(ids))
        position = (page.first + 1, page.before_time, page.before_id)
        return grouped(distinct, await self.session(reader).fetch(self.sql(reader), distinct, *position), self.row)


project_by_id = ByIdBatch(PROJECT_BY_ID, ProjectRow)
facilities_of_projects = ChildrenBatch(FACILITIES_OF_PROJECTS, FacilityRow)
members_of_projects = ChildrenBatch(MEMBERS_OF_PROJECTS, MemberRow)
request_by_id = ByIdBatch(DATASET_BY_ID, RequestRow)
requests_of_projects = RequestedBatch(DATASETS_OF_PROJECTS, RequestRow)
extraction_by_id = ByIdBatch(EXTRACTION_BY_ID, ExtractionRow)
extractions_of_projects = RequestedBatch(EXTRACTIONS_OF_PROJECTS, ExtractionRow)
extractions_of_requests = RequestedBatch(EXTRACTIONS_OF_DATASETS, ExtractionRow)
reidentification_by_id = ByIdBatch(REIDENTIFICATION_BY_ID, ReidentificationRow)
reidentifications_of_projects = RequestedBatch(REIDENTIFICATIONS_OF_PROJECTS, ReidentificationRow)


async def research_projects(reader: Reader, page: TimePage) -> Sequence[ProjectRow]:
    """Up to page.first + 1 projects that the caller has to do with, newest first."""
    sql = RESEARCH_PROJECTS.for_caller(reader.caller)
    return [
        ProjectRow(*row) for row in await reader.clinical.fetch(sql, page.before_time, page.before_id, page.first + 1)
    ]


async def reidentified(reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, UUID]:
    """Patients by the granted request that was decided at the caller's facility. For privacy officers alone."""
    return {row[0]: row[1] for row in await reader.clinical.fetch(REIDENTIFIED, list(ids))}


async def holdings(reader: Reader, patient_id: UUID, page: TimePage) -> Sequence[UUID]:
    """Up to page.first + 1 published versions that hold a patient's records of the facility, newest first.

    For privacy officers alone.
    """
    position = (page.before_time, page.before_id, page.first + 1)
    return [row[0] for row in await reader.clinical.fetch(HOLDINGS, patient_id, *position)]
