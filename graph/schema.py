"""Roots and schema; `python -m graph.schema` prints the SDL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import strawberry
from strawberry.schema.config import StrawberryConfig

import graph.node
import resolvers.audit
import resolvers.break_glass
import resolvers.clinical_note
import resolvers.encounter
import resolvers.facility
import resolvers.imaging_study
import resolvers.lab
import resolvers.patient
import resolvers.provider
import resolvers.research_counts
import resolvers.research_dataset
import resolvers.research_project
import resolvers.research_release
import resolvers.sync_status
from db.policy import Phi
from graph.audit import ACTOR, REPORT, AccessEvent, Disclosure
from graph.audit import RELEASE as READ_RELEASE
from graph.break_glass import GRANTS, BreakGlassGrant
from graph.clinical_note import SEARCH, ClinicalNoteSearch
from graph.connection import Connection
from graph.datatype import SCALARS
from graph.encounter import Encounter
from graph.explain_access import ARGUMENTS as EXPLAINED
from graph.explain_access import AccessExplanation, Verdict, explained
from graph.facility import Facility
from graph.field import PAGE, REQUIRED, arg, field
from graph.imaging_study import IMAGING_SEARCH, ImagingStudy, ImagingUpload
from graph.lab import LabResult
from graph.live import Subscription
from graph.me import Me, me
from graph.mutation import Mutation
from graph.node import Node
from graph.patient import Patient, PatientMatchConnection
from graph.provider import Provider
from graph.research_counts import COHORT, CohortCounts
from graph.research_dataset import RELEASE, ResearchDataset, ResearchDatasetVersion
from graph.research_project import ResearchExtraction, ResearchProject
from graph.sync_status import SyncStatus
from loaders.element import take
from resolvers.context import Context

SEARCH_WEIGHT = 1000
"""Cost of a question to a whole store, rather than about one patient."""


async def explain_access(context: Context, **arguments: Any) -> Sequence[Verdict] | None:
    """Explains by this schema; see graph.explain_access."""
    return await explained(schema._schema, context, **arguments)  # pyright: ignore[reportPrivateUsage] - no public name


@strawberry.type(description="Where every question starts")
class Query:
    """Roots; each is inside the caller's facility, and another facility's id is like one that was never issued."""

    me: Me = field("Caller of this request", phi=None, root=me)
    node: Node | None = field(
        "Resource of a global id",
        phi=None,
        root=graph.node.one,
        args=(arg("id", strawberry.ID, "Global id of the resource", phi=None, default=REQUIRED),),
    )
    patient: Patient | None = field(
        "Patient of an id or a medical record number",
        phi=None,
        root=resolvers.patient.one,
        args=(
            arg("id", strawberry.ID | None, "Global id of the patient", phi=None),
            arg("mrn", str | None, "Medical record number at the caller's facility", phi=Phi.MEDICAL_RECORD_NUMBER),
        ),
    )
    patients: PatientMatchConnection | None = field(
        "Patients of the facility; with `search` those that match, exact before prefix before similar",
        phi=None,
        root=resolvers.patient.search,
        args=(
            arg(
                "search",
                str | None,
                "Words of a name in any order, a birth date (YYYY-MM-DD), or a medical record number",
                phi=Phi.NAME,
            ),
            *PAGE,
        ),
        weight=SEARCH_WEIGHT,
    )
    encounter: Encounter | None = field(
        "Encounter of an id",
        phi=None,
        root=resolvers.encounter.one,
        args=(arg("id", strawberry.ID, "Global id of the encounter", phi=None, default=REQUIRED),),
    )
    facility: Facility | None = field(
        "Facility of the caller: its departments and current inpatients",
        phi=None,
        root=resolvers.facility.one,
        args=(arg("id", strawberry.ID | None, "Global id of the facility; the caller's own by default", phi=None),),
    )
    provider: Provider | None = field(
        "Provider of an id",
        phi=None,
        root=resolvers.provider.one,
        args=(arg("id", strawberry.ID, "Global id of the provider", phi=None, default=REQUIRED),),
    )
    lab_result: LabResult | None = field(
        "Laboratory result of an id",
        phi=Phi.CLINICAL,
        root=resolvers.lab.one,
        args=(arg("id", strawberry.ID, "Global id of the laboratory result", phi=None, default=REQUIRED),),
    )
    clinical_notes: ClinicalNoteSearch | None = field(
        "Notes of the facility that contain a text, newest first, with their number by type",
        phi=Phi.FREE_TEXT,
        root=resolvers.clinical_note.search,
        args=SEARCH,
        weight=SEARCH_WEIGHT,
    )
    imaging_studies: Connection[ImagingStudy] | None = field(
        "Imaging studies of the facility, newest first",
        phi=Phi.CLINICAL,
        root=resolvers.imaging_study.search,
        args=IMAGING_SEARCH,
        weight=SEARCH_WEIGHT,
    )
    imaging_upload: ImagingUpload | None = field(
        "Upload of an id: how far an object has come on its way into the archive",
        phi=Phi.CLINICAL,
        root=resolvers.imaging_study.upload,
        args=(arg("id", strawberry.ID, "Global id of the upload", phi=None, default=REQUIRED),),
    )
    research_datasets: Connection[ResearchDataset] | None = field(
        "De-identified datasets, newest first: of aggregates, and of records for members of their project",
        phi=None,
        root=resolvers.research_dataset.page,
        args=PAGE,
        weight=SEARCH_WEIGHT,
    )
    research_dataset: ResearchDatasetVersion | None = field(
        "Release of a dataset: of a number, the newest up to a moment, or the newest",
        phi=None,
        root=resolvers.research_release.one,
        args=RELEASE,
    )
    cohort: CohortCounts | None = field(
        "Counts of a cohort for a project of the caller: noisy, and paid from its privacy budget",
        phi=None,
        root=resolvers.research_counts.cohort,
        args=COHORT,
    )
    research_projects: Connection[ResearchProject] | None = field(
        "Projects of research, newest first: to members their own, to privacy officers those of the facility and those "
        "that ask for its records",
        phi=None,
        root=resolvers.research_project.page,
        args=PAGE,
    )
    research_holdings: Connection[ResearchExtraction] | None = field(
        "Published versions of datasets that hold a patient's records of the facility, newest first: for privacy "
        "officers; who holds them are the members of their projects",
        phi=None,
        root=resolvers.research_project.held,
        args=(arg("patient", strawberry.ID, "Global id of the patient", phi=None, default=REQUIRED), *PAGE),
    )
    break_glass_grants: Connection[BreakGlassGrant] | None = field(
        "Emergency accesses at the facility, newest first: for privacy officers",
        phi=None,
        root=resolvers.break_glass.grants,
        args=GRANTS,
    )
    access_report: Connection[Disclosure] | None = field(
        "Accounting of a patient's disclosures, newest first: for privacy officers, and for the patient",
        phi=None,
        root=resolvers.audit.report,
        args=REPORT,
    )
    accesses_by: Connection[AccessEvent] | None = field(
        "All that an actor saw at the facility, newest first: for privacy officers",
        phi=None,
        root=resolvers.audit.by_subject,
        args=ACTOR,
        weight=SEARCH_WEIGHT,
    )
    accesses_to_release: Connection[AccessEvent] | None = field(
        "All who read a release of research at the facility, its tables, rows, report or lineage, or had its files "
        "presigned, newest first: for privacy officers",
        phi=None,
        root=resolvers.audit.by_release,
        args=READ_RELEASE,
        weight=SEARCH_WEIGHT,
    )
    sync_status: list[SyncStatus] | None = field(
        "How far the copies of the clinical data are behind it", phi=None, root=resolvers.sync_status.every
    )
    explain_access: list[AccessExplanation] | None = field(
        "Why the caller, or for a privacy officer another one, sees fields of a patient's record, or does not",
        phi=None,
        root=explain_access,
        args=EXPLAINED,
    )


schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[],
    config=StrawberryConfig(default_resolver=take, scalar_map=SCALARS, enable_experimental_incremental_execution=True),
)
"""The schema that the API serves."""


if __name__ == "__main__":
    print(schema.as_str())
