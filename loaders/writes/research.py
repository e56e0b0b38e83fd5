"""Projects of research: proposed by who wants to know, approved by who answers for patients, never by one person.

Row-level security says the same once more (clinical/0050): what a policy refuses here raises Forbidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID, uuid4

from db.research_method import Method
from db.transaction import Transaction
from loaders.write import Code, Refusal, not_found, row_for_update

PROPOSE_PROJECT = """/* propose_research_project */
INSERT INTO research_project (id, facility_id, name, aim, proposed_by)
SELECT $1::uuid, c.facility_id, $2::text, $3::text, c.subject FROM access.context() AS c"""

JOIN_OWN_PROJECT = """/* join_own_research_project */
INSERT INTO research_member (project_id, facility_id, subject, added_by)
SELECT $1::uuid, c.facility_id, c.subject, c.subject FROM access.context() AS c"""

ASK_FACILITIES = """/* ask_research_facilities */
INSERT INTO research_facility (project_id, facility_id)
SELECT $1::uuid, id FROM facility WHERE id = ANY ($2::uuid[])
RETURNING facility_id"""

PROJECT_FOR_UPDATE = """/* research_project_for_update */
SELECT version, status, proposed_by = (access.context()).subject AS own
FROM research_project
WHERE id = $1::uuid
FOR UPDATE"""

APPROVE_PROJECT = """/* approve_research_project */
UPDATE research_project
SET status = 'APPROVED', methods = $2::text[], data_use_agreement = $3::text, data_use_expires = $4::date,
    irb_approval = $5::text, irb_expires = $6::date, irb_kinds = $7::text[], labels = $8::text[], k = $9::int,
    l = $10::int, epsilon = $11::numeric, approved_by = (SELECT (access.context()).subject),
    approved_at = clock_timestamp()
WHERE id = $1::uuid"""

REVOKE_PROJECT = """/* revoke_research_project */
UPDATE research_project
SET status = 'REVOKED', revoked_by = (SELECT (access.context()).subject), revoked_at = clock_timestamp()
WHERE id = $1::uuid"""

PROJECT_OF_RESEARCH = """/* status_of_research_project */
SELECT status, proposed_by = (access.context()).subject AS own FROM research_project WHERE id = $1::uuid"""

APPROVE_FACILITY = """/* approve_research_facility */
UPDATE research_facility
SET approved_by = (SELECT (access.context()).subject), approved_at = clock_timestamp(), revoked_by = NULL,
    revoked_at = NULL
WHERE project_id = $1::uuid AND facility_id = (SELECT access.facility_id())
    AND (approved_at IS NULL OR revoked_at IS NOT NULL)
RETURNING project_id"""

REVOKE_FACILITY = """/* revoke_research_facility */
UPDATE research_facility
SET revoked_by = (SELECT (access.context()).subject), revoked_at = clock_timestamp()
WHERE project_id = $1::uuid AND facility_id = (SELECT access.facility_id())
    AND approved_at IS NOT NULL AND revoked_at IS NULL
RETURNING project_id"""

ADD_MEMBER = """/* add_research_member */
INSERT INTO research_member (project_id, facility_id, subject, added_by)
SELECT $1::uuid, c.facility_id, $2::text, c.subject FROM access.context() AS c
ON CONFLICT DO NOTHING
RETURNING project_id"""

REMOVE_MEMBER = """/* remove_research_member */
DELETE FROM research_member WHERE project_id = $1::uuid AND subject = $2::text RETURNING project_id"""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A paper on file; `kinds` are those of PHI that an approval of an IRB lets a dataset keep."""

    reference: str
    expires: date
    kinds: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a project may do, and how: see the columns of research_project."""

    methods: Sequence[Method]
    data_use: Agreement | None
    irb: Agreement | None
    labels: Sequence[str]
    k: int
    l: int  # noqa: E741 - the name of l-diversity
    epsilon: Decimal


async def propose_project(writing: Transaction, name: str, aim: str, facility_ids: Sequence[UUID]) -> UUID:
    """Records a project and the facilities whose records it asks for, with its proposer as first member.

    Raises Refusal for a facility that is not there.
    """
    id = uuid4()
    await writing.fetch(PROPOSE_PROJECT, id, name, aim)
    await writing.fetch(JOIN_OWN_PROJECT, id)
    if len(await writing.fetch(ASK_FACILITIES, id, list(facility_ids))) < len(facility_ids):
        raise not_found("facilityIds")
    return id


async def approve_project(writing: Transaction, id: UUID, version: int, terms: Terms) -> UUID:
    """Approves a project on these terms, which replace those before, and lets it read its home facility's records.

    Raises Refusal for one's own and for a revoked project.
    """
    _check(await row_for_update(writing, PROJECT_FOR_UPDATE, id, version), "id")
    data_use, irb = terms.data_use, terms.irb
    await writing.fetch(
        APPROVE_PROJECT, id, [method.value for method in terms.methods],
        data_use and data_use.reference, data_use and data_use.expires,
        irb and irb.reference, irb and irb.expires, list(irb.kinds) if irb else [],
        list(terms.labels), terms.k, terms.l, terms.epsilon,
    )  # fmt: skip
    await writing.fetch(APPROVE_FACILITY, id)
    return id


async def revoke_project(writing: Transaction, id: UUID, version: int) -> UUID:
    """Ends a project: from now on nobody reads, asks or counts for it. Raises Refusal for one that has ended."""
    row = await row_for_update(writing, PROJECT_FOR_UPDATE, id, version)
    if row["status"] == "REVOKED":
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The project was revoked already.")
    await writing.fetch(REVOKE_PROJECT, id)
    return id


async def approve_facility(writing: Transaction, project_id: UUID) -> UUID:
    """Lets a project read the caller's facility's records. Raises Refusal where it does not ask, or reads already."""
    _check(await _project(writing, project_id), "projectId")
    return await _once(writing, APPROVE_FACILITY, project_id, "It does not ask for these records, or has them.")


async def revoke_facility(writing: Transaction, project_id: UUID) -> UUID:
    """Lets a project read the caller's facility's records no longer. Raises Refusal where it does not."""
    await _project(writing, project_id)
    return await _once(writing, REVOKE_FACILITY, project_id, "It does not have these records.")


async def add_member(writing: Transaction, project_id: UUID, subject: str) -> UUID:
    """Lets somebody of the caller's facility act for a project. Raises Refusal for who does already."""
    await _project(writing, project_id)
    if not await writing.fetch(ADD_MEMBER, project_id, subject):
        raise Refusal(Code.ALREADY_EXISTS, "subject", "This subject is a member already.")
    return project_id


async def remove_member(writing: Transaction, project_id: UUID, subject: str) -> UUID:
    """Lets somebody act for a project no longer. Raises Refusal for who does not."""
    await _project(writing, project_id)
    if not await writing.fetch(REMOVE_MEMBER, project_id, subject):
        raise not_found("subject")
    return project_id


async def _project(writing: Transaction, project_id: UUID) -> Any:
    rows = await writing.fetch(PROJECT_OF_RESEARCH, project_id)
    if not rows:
        raise not_found("projectId")
    return rows[0]


async def _once(writing: Transaction, sql: LiteralString, project_id: UUID, why_not: str) -> UUID:
    if not await writing.fetch(sql, project_id):
        raise Refusal(Code.NOT_ALLOWED_NOW, "projectId", why_not)
    return project_id


def _check(row: Any, field: str) -> None:
    if row["status"] == "REVOKED":
        raise Refusal(Code.NOT_ALLOWED_NOW, field, "The project was revoked, and stays so.")
    if row["own"]:
        raise Refusal(Code.NOT_ALLOWED_NOW, field, "You proposed this project; somebody else must approve it.")
