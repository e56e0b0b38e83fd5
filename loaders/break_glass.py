"""Emergency access to charts: grants, for who broke the glass and for the facility's privacy officer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from db.transaction import Transaction
from loaders.facts import ByIdBatch
from loaders.page import TimePage
from loaders.reader import Reader
from loaders.statement import Statement

COLUMNS = """
    id, patient_id, subject, profile, reason, granted_at, expires_at, reviewed_at, reviewed_by, review, closed_at
"""
"""Columns of a BreakGlassRow; the functions give nothing to who may not have it."""

BREAK_GLASS = """/* break_glass */
SELECT id FROM access.break_glass($1::uuid, $2::text, $3::int)"""

REVIEW_BREAK_GLASS = """/* review_break_glass */
SELECT id FROM access.review_break_glass($1::uuid, $2::text, $3::boolean)"""

BREAK_GLASS_GRANTS = f"""/* break_glass_grants */
SELECT {COLUMNS}FROM access.break_glass_grants($1::timestamptz, $2::uuid, $3::boolean, $4::int)"""

BREAK_GLASS_GRANT_BY_ID = Statement(f"""/* break_glass_grant_by_id */
SELECT id, {COLUMNS}FROM access.break_glass_grants_by_id($1::uuid[])""")


@dataclass(frozen=True, slots=True)
class BreakGlassRow:
    """One grant, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    subject: str
    profile: str
    reason: str
    granted_at: datetime
    expires_at: datetime
    reviewed_at: datetime | None
    reviewed_by: str | None
    review: str | None
    closed_at: datetime | None

    @property
    def sort_time(self) -> datetime:
        """What pages are ordered by."""
        return self.granted_at


break_glass_grant_by_id = ByIdBatch(BREAK_GLASS_GRANT_BY_ID, BreakGlassRow)


async def break_glass(writing: Transaction, patient_id: UUID, reason: str, minutes: int) -> UUID | None:
    """Opens a patient's chart to the caller; the id of the grant, None for a patient whom the caller does not find."""
    records = await writing.fetch(BREAK_GLASS, patient_id, reason, minutes)
    return records[0]["id"] if records else None


async def review_break_glass(writing: Transaction, grant_id: UUID, review: str, close: bool) -> UUID | None:
    """Records a review; None for a grant that is not the facility's, or reviewed already."""
    records = await writing.fetch(REVIEW_BREAK_GLASS, grant_id, review, close)
    return records[0]["id"] if records else None


async def break_glass_grants(reader: Reader, page: TimePage, unreviewed: bool) -> Sequence[BreakGlassRow]:
    """Up to page.first + 1 grants of the facility, newest first; none to who is no privacy officer."""
    records = await reader.clinical.fetch(
        BREAK_GLASS_GRANTS, page.before_time, page.before_id, unreviewed, page.first + 1
    )
    return [BreakGlassRow(*record) for record in records]
