"""Projects of research: who works in them, what they asked for, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence

from db.caller import Profile, PurposeOfUse
from db.errors import Forbidden
from loaders.patient import PatientRow, patient_by_id
from loaders.research_project import (
    ExtractionRow,
    ProjectRow,
    ReidentificationRow,
    extraction_by_id,
    extractions_of_projects,
    extractions_of_requests,
    facilities_of_projects,
    holdings,
    members_of_projects,
    project_by_id,
    reidentifications_of_projects,
    reidentified,
    request_by_id,
    requests_of_projects,
    research_projects,
)
from resolvers.arguments import resource_id
from resolvers.connection import Slice, link, listing, relation, scope, time_page, time_slice
from resolvers.context import Context

PROJECTS, HOLDINGS = "Query.researchProjects", "Query.researchHoldings"
"""What cursors are good for."""

project = link(project_by_id, "project_id")
facilities = listing(facilities_of_projects)
members = listing(members_of_projects)
request = link(request_by_id, "dataset_id")
requests = relation("ResearchProject.datasets", requests_of_projects)
extraction = link(extraction_by_id, "extraction_id")
extractions = relation("ResearchProject.extractions", extractions_of_projects)
versions = relation("ResearchDatasetRequest.extractions", extractions_of_requests)
reidentifications = relation("ResearchProject.reidentifications", reidentifications_of_projects)


def may_research(context: Context) -> bool:
    """Whether the caller asks as a researcher: an analyst, for research."""
    return context.caller.profile is Profile.ANALYST and context.caller.purpose is PurposeOfUse.HRESCH


def is_officer(context: Context) -> bool:
    """Whether the caller asks as a privacy officer."""
    return context.caller.profile is Profile.PRIVACY_OFFICER


async def page(context: Context, *, first: int, after: str | None) -> Slice[ProjectRow]:
    """Projects that the caller has to do with, newest first. Raises Forbidden for other profiles and purposes."""
    if not may_research(context) and not is_officer(context):
        raise Forbidden
    asked = time_page(context, PROJECTS, first, after)
    return time_slice(scope(context, PROJECTS), asked, await research_projects(context.reader, asked))


async def held(context: Context, *, patient: str, first: int, after: str | None) -> Slice[ExtractionRow] | None:
    """Published versions that hold a patient's records of the facility; None for a patient who is not there.

    Raises Forbidden for who is no privacy officer.
    """
    if not is_officer(context):
        raise Forbidden
    [row] = await context.reader.load_many(patient_by_id, [resource_id("patient", patient, "Patient")])
    if row is None:
        return None
    asked = time_page(context, HOLDINGS, first, after)
    found = await context.reader.load_many(extraction_by_id, await holdings(context.reader, row.id, asked))
    return time_slice(scope(context, HOLDINGS), asked, [version for version in found if version is not None])


async def patients(context: Context, parents: Sequence[ReidentificationRow]) -> Sequence[PatientRow | None]:
    """Whom granted requests are about, for privacy officers of the facility that decided; None for anybody else."""
    if not is_officer(context):
        return [None] * len(parents)
    known = await reidentified(context.reader, [parent.id for parent in parents])
    return await context.reader.load_many(patient_by_id, [known.get(parent.id) for parent in parents])
