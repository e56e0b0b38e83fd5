"""Projects of research: who approved what, who works in them, what they asked for, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import strawberry

from db.policy import Phi
from db.research_method import Method
from graph.connection import Connection
from graph.datatype import FhirDate, FhirDateTime, instant
from graph.field import PAGE, enum, field
from graph.node import Node, node_id, row_version, served_from
from graph.patient import Patient
from loaders.element import GlobalId, Member
from loaders.research_project import ExtractionRow, ProjectRow, ReidentificationRow, RequestRow
from resolvers import research_project

enum(Method, "Method by which a dataset is de-identified", phi=None, name="ResearchMethod")


def _day(name: str) -> Callable[[Any], str | None]:
    """Value function of a day; None where there is none."""

    def value(row: Any) -> str | None:
        day = getattr(row, name)
        return day and day.isoformat()

    return value


def _seconds_left(row: ExtractionRow) -> int | None:
    """At the pace so far; None before the first partition is done, and once it is over."""
    if row.state != "RUNNING" or row.started_at is None or not row.partitions or not row.partitions_done:
        return None
    elapsed = (datetime.now(UTC) - row.started_at).total_seconds()
    return round(elapsed * (row.partitions - row.partitions_done) / row.partitions_done)


@strawberry.type(description="Agreement under which limited data sets are given (45 CFR 164.514(e)(4))")
class DataUseAgreement:
    """Served from ProjectRow."""

    reference: str = field(
        "Number or place of the agreement on file", phi=None, value=lambda row: row.data_use_agreement
    )
    expires: FhirDate = field("Last day on which it holds", phi=None, value=_day("data_use_expires"))


@strawberry.type(description="Approval of an institutional review board, for trusted data sets")
class IrbApproval:
    """Served from ProjectRow."""

    reference: str = field("Number or place of the approval on file", phi=None, value=lambda row: row.irb_approval)
    expires: FhirDate = field("Last day on which it holds", phi=None, value=_day("irb_expires"))
    kinds: list[Phi] = field(
        "Kinds of identifiers that trusted data sets may keep",
        phi=None,
        value=lambda row: [Phi(kind) for kind in row.irb_kinds],
    )


@strawberry.type(description="A facility whose records a project asks for; they are read while it approves")
class ResearchFacility:
    """Served from FacilityRow."""

    facility_id: strawberry.ID = field("Global id of the facility", phi=None, value=GlobalId("Facility", "facility_id"))
    approved_by: str | None = field("Privacy officer of the facility who approved", phi=None)
    approved_at: FhirDateTime | None = field(
        "When its privacy officer approved", phi=None, value=instant("approved_at")
    )
    revoked_by: str | None = field("Privacy officer of the facility who revoked the approval", phi=None)
    revoked_at: FhirDateTime | None = field("When the approval was revoked", phi=None, value=instant("revoked_at"))


@strawberry.type(description="Somebody who may act for a project")
class ResearchMember:
    """Served from MemberRow."""

    subject: str = field("Subject of the member's tokens", phi=None)
    added_by: str = field("Who added the member; a proposer is one from the start", phi=None)
    added_at: FhirDateTime = field("When the member was added", phi=None, value=instant("added_at"))


@strawberry.type(description="How far an extraction is")
class ResearchProgress:
    """Served from ExtractionRow."""

    rows_done: int = field("Rows that are read and de-identified", phi=None)
    rows_estimate: int | None = field("Rows in all, as far as known", phi=None)
    partitions_done: int = field("Parts of the cohort that are done", phi=None)
    partitions: int | None = field("Parts in all; null before the cohort is selected", phi=None)
    seconds_left: int | None = field(
        "Seconds until all parts are done, at the pace so far", phi=None, value=_seconds_left
    )


@strawberry.type(
    description="A project of research: approved at its home facility, and by each other whose records it asks for"
)
@served_from(ProjectRow)
class ResearchProject(Node):
    """Served from ProjectRow."""

    id: strawberry.ID = node_id("ResearchProject")
    version: int = row_version()
    home_facility_id: strawberry.ID = field(
        "Global id of the facility whose privacy officer approves the project, where its members work",
        phi=None,
        value=GlobalId("Facility", "facility_id"),
    )
    name: str = field("Name of the project", phi=None)
    aim: str = field("What the project wants to find out", phi=None)
    status: str = field("PROPOSED, APPROVED or REVOKED, which is final", phi=None)
    methods: list[Method] = field(
        "Methods of de-identification that are approved",
        phi=None,
        value=lambda row: [Method(method) for method in row.methods],
    )
    data_use_agreement: DataUseAgreement | None = field(
        "Agreement on file for limited data sets", phi=None, value=lambda row: row if row.data_use_agreement else None
    )
    irb_approval: IrbApproval | None = field(
        "Approval on file for trusted data sets", phi=None, value=lambda row: row if row.irb_approval else None
    )
    labels: list[str] = field(
        "Sensitivity labels (HL7 v3-ActCode) of records that the project may get beside those without", phi=None
    )
    k: int = field("Fewest patients who are alike in what tells people apart (k-anonymity)", phi=None)
    l: int = field("Fewest diagnoses among such patients (l-diversity)", phi=None)  # noqa: E741 - its name
    epsilon: Decimal = field("Privacy budget of noisy counts, over the life of the project", phi=None)
    budget_spent: Decimal = field("Privacy budget that counts have cost so far", phi=None)
    proposed_by: str = field("Subject who proposed the project", phi=None)
    proposed_at: FhirDateTime = field("When the project was proposed", phi=None, value=instant("proposed_at"))
    approved_by: str | None = field("Privacy officer who approved the project last", phi=None)
    approved_at: FhirDateTime | None = field("When that was", phi=None, value=instant("approved_at"))
    revoked_by: str | None = field("Privacy officer who revoked the project", phi=None)
    revoked_at: FhirDateTime | None = field("When that was", phi=None, value=instant("revoked_at"))
    facilities: list[ResearchFacility] | None = field(
        "Facilities whose records the project asks for", phi=None, batch=research_project.facilities
    )
    members: list[ResearchMember] | None = field(
        "Who may act for the project", phi=None, batch=research_project.members
    )
    datasets: Connection[ResearchDatasetRequest] | None = field(
        "Datasets that the project asked for, newest first", phi=None, batch=research_project.requests, args=PAGE
    )
    extractions: Connection[ResearchExtraction] | None = field(
        "Extractions for the project, newest first", phi=None, batch=research_project.extractions, args=PAGE
    )
    reidentifications: Connection[ResearchReidentification] | None = field(
        "Questions whom research ids stand for, newest first",
        phi=None,
        batch=research_project.reidentifications,
        args=PAGE,
    )


@strawberry.type(description="A dataset that a project asked for; each extraction of it makes a version")
@served_from(RequestRow)
class ResearchDatasetRequest(Node):
    """Served from RequestRow."""

    id: strawberry.ID = node_id("ResearchDatasetRequest")
    name: str = field("Name of the dataset, one of its own in the project", phi=None)
    method: Method = field("Method of de-identification", phi=None, value=Member(Method, "method"))
    definition: str = field("Cohort, tables and options of the dataset, as JSON", phi=None)
    requested_by: str = field("Member who asked for the dataset", phi=None)
    requested_at: FhirDateTime = field("When it was asked for", phi=None, value=instant("requested_at"))
    project: ResearchProject | None = field("Project that asked", phi=None, batch=research_project.project)
    extractions: Connection[ResearchExtraction] | None = field(
        "Extractions of the dataset, newest first", phi=None, batch=research_project.versions, args=PAGE
    )


@strawberry.type(description="The making of a version of a dataset: a job; what it published never changes")
@served_from(ExtractionRow)
class ResearchExtraction(Node):
    """Served from ExtractionRow."""

    id: strawberry.ID = node_id("ResearchExtraction")
    version: int = field("Number of the version, from 1", phi=None)
    state: str = field(
        "QUEUED, RUNNING, PUBLISHED, QUARANTINED (not valid: nobody sees it), FAILED or CANCELLED", phi=None
    )
    stage: str = field("SELECT, PLAN, EXTRACT, LOAD, VALIDATE or DONE", phi=None)
    progress: ResearchProgress = field("How far it is", phi=None, value=lambda row: row)
    as_of: FhirDate = field("Day on which ages count and consents hold", phi=None, value=_day("as_of"))
    requested_by: str = field("Member who asked for the version", phi=None)
    requested_at: FhirDateTime = field("When it was asked for", phi=None, value=instant("requested_at"))
    started_at: FhirDateTime | None = field("When work on it began", phi=None, value=instant("started_at"))
    finished_at: FhirDateTime | None = field("When it was over", phi=None, value=instant("finished_at"))
    cancelled_by: str | None = field("Who cancelled it", phi=None)
    report: str | None = field(
        "Report of the validation, as JSON: counts, anonymity, findings of the scan, digests", phi=None
    )
    sha256: str | None = field("SHA-256 of the content", phi=None)
    error: str | None = field("Code of what ended it", phi=None)
    request: ResearchDatasetRequest | None = field("What was asked for", phi=None, batch=research_project.request)
    project: ResearchProject | None = field("Project that asked", phi=None, batch=research_project.project)


@strawberry.type(
    description="A question whom a research id stands for, for clinical necessity: asked by one, decided by another"
)
@served_from(ReidentificationRow)
class ResearchReidentification(Node):
    """Served from ReidentificationRow."""

    id: strawberry.ID = node_id("ResearchReidentification")
    version: int = row_version()
    research_id: str = field("Research id, as the dataset has it", phi=None, value=lambda row: str(row.research_id))
    reason: str = field("Reason that the member gave", phi=None)
    requested_by: str = field("Member who asked", phi=None)
    requested_at: FhirDateTime = field("When it was asked", phi=None, value=instant("requested_at"))
    decided_by: str | None = field("Privacy officer who decided", phi=None)
    decided_at: FhirDateTime | None = field("When that was", phi=None, value=instant("decided_at"))
    granted: bool | None = field("Whether it was granted; null before the decision", phi=None)
    extraction: ResearchExtraction | None = field(
        "Version that has the research id", phi=None, batch=research_project.extraction
    )
    project: ResearchProject | None = field("Project that asked", phi=None, batch=research_project.project)
    patient: Patient | None = field(
        "Whom it stands for, once granted: to the privacy officers of the facility that decided, and nobody else",
        phi=None,
        batch=research_project.patients,
    )
