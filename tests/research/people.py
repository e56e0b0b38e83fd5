"""People and projects of tests of research: who proposes, who approves, and projects as far as they have come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from db.caller import Caller, Profile, PurposeOfUse
from db.stores import Stores
from tests.asking import Graph
from tests.writes.mutating import send, written

SCHOLAR, COLLEAGUE, OFFICER = "test-scholar", "test-colleague", "test-officer"
OTHER = 2
"""Place of the facility whose records projects of the first one ask for too: none that tests/tenancy compares."""
PROJECT = """project { id version status name aim methods labels k l epsilon budgetSpent
    dataUseAgreement { reference expires } irbApproval { reference expires kinds }
    facilities { facilityId approvedBy revokedBy } members { subject addedBy } proposedBy approvedBy revokedBy }"""
AGREEMENT = {"reference": "DUA 17", "expires": (datetime.now(UTC).date() + timedelta(days=90)).isoformat()}
APPROVAL = {**AGREEMENT, "reference": "IRB 4", "kinds": ["DATE"]}

MADE_PROJECT = """
INSERT INTO clinical.research_project (id, facility_id, name, aim, status, methods, irb_approval, irb_expires,
    proposed_by, approved_by, approved_at)
VALUES ($1, $2, 'Falls', 'Why people fall', 'APPROVED', '{SAFE_HARBOR, TRUSTED}', 'IRB 4', current_date + 90, $3, $4,
    now())"""
MADE_FACILITY = """
INSERT INTO clinical.research_facility (project_id, facility_id, approved_by, approved_at) VALUES ($1, $2, $3, now())"""
MADE_MEMBER = """
INSERT INTO clinical.research_member (project_id, facility_id, subject, added_by) VALUES ($1, $2, $3, $3)"""
MADE_DATASET = """
INSERT INTO clinical.research_dataset (id, facility_id, project_id, name, method, definition, requested_by)
VALUES ($1, $2, $3, 'falls', 'TRUSTED', $4, $5)"""
MADE_EXTRACTION = """
INSERT INTO clinical.research_extraction (id, facility_id, project_id, dataset_id, version, state, stage, requested_by,
    report, finished_at)
VALUES ($1, $2, $3, $4, 1, 'PUBLISHED', 'DONE', $5, '{}', now())"""
MADE_REIDENTIFICATION = """
INSERT INTO clinical.research_reidentification (id, facility_id, project_id, extraction_id, research_id, reason,
    requested_by, decided_by, decided_at, decided_facility_id, granted)
VALUES ($1, $2, $3, $4, $5, 'A finding that needs care', $6, $7, now(), $2, true)"""
SURROGATE = """/* test_surrogate */
INSERT INTO vault.surrogate (project_id, patient_id, research_id, shift_days) VALUES ($1, $2, $3, 7)"""
HELD = """/* test_member */
INSERT INTO vault.member (extraction_id, partition, facility_id, patient_id, research_id) VALUES ($1, 0, $2, $3, $4)"""
SETTLE = """
UPDATE clinical.research_extraction SET state = 'CANCELLED'
WHERE state IN ('QUEUED', 'RUNNING') AND requested_by IN ($1, $2)"""
DEFINITION = {
    "cohort": {},
    "tables": ["patients"],
    "method": "TRUSTED",
    "shift_dates": False,
    "strict": False,
    "age_band_years": 5,
}


def researcher(graph: Graph, facility: int = 0, subject: str = SCHOLAR) -> Caller:
    """An analyst who asks for research."""
    return replace(graph.caller(Profile.ANALYST, facility), subject=subject, purpose=PurposeOfUse.HRESCH)


def officer(graph: Graph, facility: int = 0, subject: str = OFFICER) -> Caller:
    """A privacy officer of a facility."""
    return replace(graph.caller(Profile.PRIVACY_OFFICER, facility), subject=subject)


def facility_id(graph: Graph, facility: int = 0) -> str:
    """Global id of a facility."""
    return f"Facility/{graph.facilities[facility].id}"


async def proposed(graph: Graph, *facilities: int) -> dict[str, Any]:
    """A project that a scholar of the first facility proposed; by default it asks for the records of that one."""
    asked = [facility_id(graph, one) for one in facilities or (0,)]
    given = {"name": f"Falls {uuid4().hex[:8]}", "aim": "Why people fall", "facilityIds": asked}
    return written(await send(graph, "proposeResearchProject", PROJECT, researcher(graph), **given))


async def approved(graph: Graph, *facilities: int, **terms: Any) -> dict[str, Any]:
    """Such a project, approved at its home, for SAFE_HARBOR unless the terms say otherwise."""
    project = await proposed(graph, *facilities)
    given = {"id": project["id"], "version": project["version"], "methods": ["SAFE_HARBOR"], **terms}
    return written(await send(graph, "approveResearchProject", PROJECT, officer(graph), **given))


async def settled(stores: Stores) -> None:
    """Ends extractions that tests asked for, so that no worker of another test makes them."""
    await stores.clinical.worker_fetch(SETTLE, SCHOLAR, COLLEAGUE)


@dataclass(frozen=True, slots=True)
class Made:
    """A project of one facility with a published version that holds one patient, and a request that was granted."""

    project: UUID
    dataset: UUID
    extraction: UUID
    reidentification: UUID
    research_id: int


async def made(stores: Stores, at: UUID, patient: UUID) -> Made:
    """Writes such a project, as the workers write."""
    new, fetch = Made(uuid4(), uuid4(), uuid4(), uuid4(), uuid4().int >> 66), stores.clinical.worker_fetch
    await fetch(MADE_PROJECT, new.project, at, SCHOLAR, OFFICER)
    await fetch(MADE_FACILITY, new.project, at, OFFICER)
    await fetch(MADE_MEMBER, new.project, at, SCHOLAR)
    await fetch(MADE_DATASET, new.dataset, at, new.project, DEFINITION, SCHOLAR)
    await fetch(MADE_EXTRACTION, new.extraction, at, new.project, new.dataset, SCHOLAR)
    async with stores.research.notes() as writing:
        await writing.fetch(SURROGATE, new.project, patient, new.research_id)
        await writing.fetch(HELD, new.extraction, at, patient, new.research_id)
    asked = (new.reidentification, at, new.project, new.extraction, new.research_id, SCHOLAR, OFFICER)
    await fetch(MADE_REIDENTIFICATION, *asked)
    return new
