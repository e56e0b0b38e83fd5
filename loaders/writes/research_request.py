"""What members of a project ask for: datasets, their next versions, an end to an extraction, whom a number stands for.

A cohort is counted before anything of it is read: what would hold fewer than THRESHOLD patients is not made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

from db.disclosure import THRESHOLD
from db.research_method import TODAY, Method
from db.transaction import Transaction
from loaders.reader import Reader
from loaders.research_cohort import count
from loaders.research_definition import Definition, parse
from loaders.write import Code, Refusal, Written, not_found, row_for_update

ROUNDED = 10
"""To a multiple of which a count of patients is told."""
PATIENTS = "patients"
"""Name of that count in what a request came to."""

PROJECT_FOR_REQUEST = f"""/* research_project_for_request */
SELECT status, methods, data_use_expires >= {TODAY} AS data_use, irb_expires >= {TODAY} AS irb,
    ARRAY(SELECT f.facility_id FROM research_facility AS f
        WHERE f.project_id = p.id AND f.approved_at IS NOT NULL AND f.revoked_at IS NULL) AS facility_ids
FROM research_project AS p
WHERE id = $1::uuid"""

REQUEST_DATASET = """/* request_research_dataset */
INSERT INTO research_dataset (id, facility_id, project_id, name, method, definition, requested_by)
SELECT $1::uuid, c.facility_id, $2::uuid, $3::text, $4::text, $5::jsonb, c.subject FROM access.context() AS c
ON CONFLICT (project_id, name) DO NOTHING
RETURNING id"""

DATASET_FOR_UPDATE = """/* research_dataset_for_update */
SELECT project_id, definition, EXISTS (
        SELECT FROM research_extraction AS e WHERE e.dataset_id = d.id AND e.state IN ('QUEUED', 'RUNNING')) AS waits
FROM research_dataset AS d
WHERE id = $1::uuid
FOR UPDATE"""

REQUEST_VERSION = """/* request_research_version */
INSERT INTO research_extraction (id, facility_id, project_id, dataset_id, version, requested_by, as_of)
SELECT $1::uuid, c.facility_id, $2::uuid, $3::uuid, (
        SELECT coalesce(max(e.version), 0) + 1 FROM research_extraction AS e WHERE e.dataset_id = $3::uuid),
    c.subject, $4::date
FROM access.context() AS c"""

EXTRACTION_FOR_UPDATE = """/* research_extraction_for_update */
SELECT state, cancelled_by FROM research_extraction WHERE id = $1::uuid FOR UPDATE"""

CANCEL_EXTRACTION = """/* cancel_research_extraction */
UPDATE research_extraction
SET cancelled_by = (SELECT (access.context()).subject),
    state = CASE state WHEN 'QUEUED' THEN 'CANCELLED' ELSE state END,
    error = CASE state WHEN 'QUEUED' THEN 'CANCELLED' ELSE error END,
    finished_at = CASE state WHEN 'QUEUED' THEN clock_timestamp() ELSE finished_at END
WHERE id = $1::uuid"""

TRUSTED = f"p.status = 'APPROVED' AND 'TRUSTED' = ANY (p.methods) AND p.irb_expires >= {TODAY}"
VERSION_TO_ASK_OF = f"""/* research_version_to_ask_of */
SELECT e.state = 'PUBLISHED' AND d.method = 'TRUSTED' AND {TRUSTED} AS allowed,
    access.research_holds(e.id, $2::bigint) AS held
FROM research_extraction AS e
JOIN research_dataset AS d ON d.id = e.dataset_id
JOIN research_project AS p ON p.id = e.project_id
WHERE e.id = $1::uuid"""

ASK_WHO = """/* request_reidentification */
INSERT INTO research_reidentification (id, facility_id, project_id, extraction_id, research_id, reason, requested_by)
SELECT $1::uuid, c.facility_id, e.project_id, e.id, $3::bigint, $4::text, c.subject
FROM access.context() AS c, research_extraction AS e
WHERE e.id = $2::uuid"""

REIDENTIFICATION_FOR_UPDATE = f"""/* reidentification_for_update */
SELECT r.version, r.granted IS NOT NULL AS decided, r.requested_by = (access.context()).subject AS own,
    access.research_holds(r.extraction_id, r.research_id) AS here, {TRUSTED} AS allowed
FROM research_reidentification AS r
JOIN research_project AS p ON p.id = r.project_id
WHERE r.id = $1::uuid
FOR UPDATE OF r"""

DECIDE = """/* decide_reidentification */
UPDATE research_reidentification
SET granted = $2::boolean, decided_by = (SELECT (access.context()).subject), decided_at = clock_timestamp(),
    decided_facility_id = (SELECT access.facility_id())
WHERE id = $1::uuid"""


@dataclass(frozen=True, slots=True)
class NewDataset:
    """A dataset that a project asks for."""

    project_id: UUID
    name: str
    definition: Definition


async def request_dataset(writing: Transaction, reader: Reader, new: NewDataset) -> Written:
    """Asks for a dataset and its first version: ids of both, and about how many patients it has.

    Raises Refusal, TOO_FEW for a cohort of fewer than THRESHOLD.
    """
    await _check_project(writing, new.project_id, new.definition)
    id, method = uuid4(), new.definition.method.value
    if not await writing.fetch(REQUEST_DATASET, id, new.project_id, new.name, method, new.definition.json()):
        raise Refusal(Code.ALREADY_EXISTS, "name", "The project has a dataset of this name; ask for its next version.")
    return await _request_version(writing, reader, new.project_id, id, new.definition, "cohort")


async def refresh_dataset(writing: Transaction, reader: Reader, id: UUID) -> Written:
    """Asks for the next version of a dataset, as `request_dataset` does. Raises Refusal while one is being made."""
    rows = await writing.fetch(DATASET_FOR_UPDATE, id)
    if not rows:
        raise not_found("datasetId")
    project_id, definition = rows[0]["project_id"], parse(rows[0]["definition"])
    await _check_project(writing, project_id, definition)
    if rows[0]["waits"]:
        raise Refusal(Code.NOT_ALLOWED_NOW, "datasetId", "A version of it is being made.")
    return await _request_version(writing, reader, project_id, id, definition, "datasetId")


async def _request_version(
    writing: Transaction, reader: Reader, project_id: UUID, dataset_id: UUID, definition: Definition, field: str
) -> Written:
    today, id = _today(), uuid4()
    async with reader.research(project_id) as reading:
        patients = await count(reading, definition.cohort, today)
    if patients < THRESHOLD:
        raise Refusal(Code.TOO_FEW, field, f"The cohort has fewer than {THRESHOLD} patients.")
    await writing.fetch(REQUEST_VERSION, id, project_id, dataset_id, today)
    return Written(dataset_id, found=(id,), counts={PATIENTS: about(patients)})


def about(patients: int) -> int:
    """A number of patients from THRESHOLD on as it is told: to a multiple of ROUNDED, THRESHOLD where that is less."""
    return max((patients + ROUNDED // 2) // ROUNDED * ROUNDED, THRESHOLD)


async def cancel_extraction(writing: Transaction, id: UUID) -> UUID:
    """Ends an extraction, one that runs as soon as its worker looks. Raises Refusal for one that is over."""
    rows = await writing.fetch(EXTRACTION_FOR_UPDATE, id)
    if not rows:
        raise not_found("id")
    if rows[0]["state"] not in ("QUEUED", "RUNNING") or rows[0]["cancelled_by"] is not None:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The extraction is over, or is being cancelled.")
    await writing.fetch(CANCEL_EXTRACTION, id)
    return id


async def request_reidentification(writing: Transaction, extraction_id: UUID, research_id: int, reason: str) -> UUID:
    """Asks whom a research id of a trusted dataset stands for. Raises Refusal where nobody may be told."""
    rows = await writing.fetch(VERSION_TO_ASK_OF, extraction_id, research_id)
    if not rows:
        raise not_found("extractionId")
    if not rows[0]["allowed"]:
        why = "Only of a published version of a TRUSTED dataset, while its approval holds."
        raise Refusal(Code.NOT_ALLOWED_NOW, "extractionId", why)
    if not rows[0]["held"]:
        raise not_found("researchId")
    id = uuid4()
    await writing.fetch(ASK_WHO, id, extraction_id, research_id, reason)
    return id


async def decide_reidentification(writing: Transaction, id: UUID, version: int, granted: bool) -> UUID:
    """Grants or refuses such a request, of a patient whose records the caller's facility gave.

    Raises Refusal for one's own, and for one that is decided.
    """
    row = await row_for_update(writing, REIDENTIFICATION_FOR_UPDATE, id, version)
    if row["decided"]:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The request was decided already.")
    if row["own"]:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "You asked; somebody else must decide.")
    if not row["here"]:
        why = "The records are another facility's, whose privacy officer decides."
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", why)
    if granted and not row["allowed"]:
        raise Refusal(Code.NOT_ALLOWED_NOW, "granted", "The approval of the project holds no more.")
    await writing.fetch(DECIDE, id, granted)
    return id


async def _check_project(writing: Transaction, project_id: UUID, definition: Definition) -> None:
    """Raises Refusal for a project that may not have such a dataset now, in words that tell why."""
    rows = await writing.fetch(PROJECT_FOR_REQUEST, project_id)
    if not rows:
        raise not_found("projectId")
    project = rows[0]
    if project["status"] != "APPROVED":
        raise Refusal(Code.NOT_ALLOWED_NOW, "projectId", "The project is not approved.")
    _check_method(project, definition.method)
    approved = set(project["facility_ids"])
    if not approved:
        raise Refusal(Code.NOT_ALLOWED_NOW, "projectId", "No facility lets the project read its records.")
    if not approved.issuperset(definition.cohort.facility_ids):
        why = "Not all of these facilities let the project read their records."
        raise Refusal(Code.NOT_ALLOWED_NOW, ("cohort", "facilityIds"), why)


def _check_method(project: Any, method: Method) -> None:
    if method.value not in project["methods"]:
        raise Refusal(Code.NOT_ALLOWED_NOW, "method", "The project is not approved for this method.")
    if method is Method.LIMITED and not project["data_use"]:
        raise Refusal(Code.NOT_ALLOWED_NOW, "method", "The data use agreement of the project has expired.")
    if method is Method.TRUSTED and not project["irb"]:
        raise Refusal(Code.NOT_ALLOWED_NOW, "method", "The approval of the project by the IRB has expired.")


def _today() -> date:
    return datetime.now(UTC).date()
