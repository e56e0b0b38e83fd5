"""The audit as privacy officers and patients read it (FHIR R4 AuditEvent): accesses to records, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loaders.facts import grouped
from loaders.page import TimePage
from loaders.reader import Reader
from loaders.statement import Statement

COLUMNS = """id, sort_time, kind, subject, role, purpose, facility_id, home_facility_id, shown, masked, result, grants,
    request_id, patients"""
"""Columns of an AccessRow but the last; the functions give nothing to who may not read the audit."""

ACCESSES_OF_PATIENTS = Statement(f"""/* accesses_of_patients */
SELECT patient_id, {COLUMNS}
FROM access.accesses_of_patients($1::uuid[], $2::int, $3::timestamptz, $4::timestamptz, $5::timestamptz)""")

ACCESSES_OF_SUBJECT = Statement(f"""/* accesses_of_subject */
SELECT {COLUMNS}, releases
FROM access.accesses_of_subject($1::text, $2::int, $3::timestamptz, $4::timestamptz, $5::timestamptz)""")

ACCESSES_OF_RELEASE = Statement(f"""/* accesses_of_release */
SELECT {COLUMNS}, releases
FROM access.accesses_of_release($1::uuid, $2::int, $3::timestamptz, $4::timestamptz, $5::timestamptz)""")


@dataclass(frozen=True, slots=True)
class AccessRow:
    """One event of the audit, in the order of COLUMNS.

    In a patient's log it names that patient and nothing else that was read. `releases`: versions of research datasets.
    """

    id: UUID
    sort_time: datetime
    kind: str
    subject: str | None
    role: str | None
    purpose: str | None
    facility_id: UUID
    home_facility_id: UUID | None
    shown: list[str]
    masked: list[str]
    result: str
    grants: list[UUID]
    request_id: str
    patients: list[UUID]
    releases: Sequence[UUID] = ()


async def accesses_of_patients(
    reader: Reader, ids: Sequence[UUID], page: TimePage
) -> Mapping[UUID, Sequence[AccessRow]]:
    """Up to page.first + 1 accesses to each patient's records, newest first; each names that patient alone.

    No two events have the same time, so that the time is their place.
    """
    distinct = list(dict.fromkeys(ids))
    bounds = (page.first + 1, page.before_time, page.start, page.end)
    records = await reader.clinical.fetch(ACCESSES_OF_PATIENTS.for_caller(reader.caller), distinct, *bounds)
    return grouped(distinct, records, AccessRow)


async def accesses_of_subject(reader: Reader, subject: str, page: TimePage) -> Sequence[AccessRow]:
    """Up to page.first + 1 events of a subject, newest first, with all patients whose records they showed."""
    return await _accesses(reader, ACCESSES_OF_SUBJECT, subject, page)


async def accesses_of_release(reader: Reader, release_id: UUID, page: TimePage) -> Sequence[AccessRow]:
    """Up to page.first + 1 events that read a release or had its files presigned, newest first; as of a subject."""
    return await _accesses(reader, ACCESSES_OF_RELEASE, release_id, page)


async def _accesses(reader: Reader, statement: Statement, of: object, page: TimePage) -> Sequence[AccessRow]:
    bounds = (page.first + 1, page.before_time, page.start, page.end)
    records = await reader.clinical.fetch(statement.for_caller(reader.caller), of, *bounds)
    rows = [AccessRow(*record) for record in records]
    reader.seen.add(reader.caller.facility_id, [patient for row in rows for patient in row.patients])
    return rows
