"""That somebody has a chart open, or has closed it."""

from __future__ import annotations

from uuid import UUID

from db.transaction import Transaction
from loaders.presence import SILENCE
from loaders.write import not_found

# Whoever tells of one chart tidies up: one's own notes of other charts that nobody repeats any more.
NOTE_CHART_PRESENCE = f"""/* note_chart_presence */
WITH here AS (
    SELECT c.facility_id, c.subject, c.provider_id FROM access.context() AS c WHERE access.chart_is_open($1::uuid)
),
forgotten AS (
    DELETE FROM chart_presence AS p USING here
    WHERE p.facility_id = here.facility_id AND p.subject = here.subject AND p.patient_id <> $1::uuid
        AND p.seen_at < now() - {SILENCE}
)
INSERT INTO chart_presence AS p (facility_id, patient_id, subject, role, provider_id, editing)
SELECT here.facility_id, $1::uuid, here.subject, $2::text, here.provider_id, $3::boolean FROM here
ON CONFLICT (facility_id, patient_id, subject) DO UPDATE
SET role = excluded.role, provider_id = excluded.provider_id, editing = excluded.editing, seen_at = excluded.seen_at,
    since = CASE WHEN p.seen_at < now() - {SILENCE} THEN excluded.since ELSE p.since END
RETURNING patient_id"""

LEAVE_CHART = """/* leave_chart */
DELETE FROM chart_presence
WHERE facility_id = (SELECT access.facility_id()) AND patient_id = $1::uuid
    AND subject = (SELECT (access.context()).subject)"""


async def note_presence(writing: Transaction, patient_id: UUID, role: str, editing: bool) -> UUID:
    """Says that the caller has a chart open, and gives the patient's id. Raises Refusal for a chart that is not."""
    if not await writing.fetch(NOTE_CHART_PRESENCE, patient_id, role, editing):
        raise not_found("patientId")
    return patient_id


async def leave_chart(writing: Transaction, patient_id: UUID) -> UUID:
    """Says that the caller has closed a chart: of which there may be no note any more."""
    await writing.fetch(LEAVE_CHART, patient_id)
    return patient_id
