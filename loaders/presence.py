"""Who has a chart open now: what clients tell every few seconds while they show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from loaders.facts import ChildrenBatch
from loaders.statement import Columns, Statement

SILENCE: LiteralString = "interval '60 seconds'"
"""After so much silence somebody is gone: three times as long as clients wait between two notes."""

CHART_PRESENCE_OF_PATIENTS = Statement(
    f"""/* chart_presence_of_patients */
SELECT patient_id, {{}}
FROM chart_presence
WHERE patient_id = ANY($1::uuid[]) AND seen_at > now() - {SILENCE}
    AND subject <> (SELECT (access.context()).subject)
ORDER BY patient_id, since, subject""",
    Columns("chart_presence", "subject, role, provider_id, editing, since"),
)


@dataclass(frozen=True, slots=True)
class ChartPresenceRow:
    """One person at one chart, in the order of CHART_PRESENCE_OF_PATIENTS after its key."""

    subject: str
    role: str
    provider_id: UUID | None
    editing: bool
    since: datetime


chart_presence_of_patients = ChildrenBatch(CHART_PRESENCE_OF_PATIENTS, ChartPresenceRow)
