"""Care teams of patients (FHIR R4 CareTeam)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, ChildrenBatch, NewestBatch, by_id, newest_of_each
from loaders.statement import Columns, Statement

COLUMNS = Columns(
    "care_team",
    """
    id, patient_id, encounter_id, status, name, category, period_start, period_end, sort_time
    """,
)

FILTER = """($7::text[] IS NULL OR status = ANY($7::text[]))"""
CARE_TEAMS_OF_PATIENTS = newest_of_each("care_teams_of_patients", COLUMNS, "patient_id", FILTER)
CARE_TEAM_BY_ID = by_id("care_team_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class CareTeamRow:
    """One row of `care_team`, in the order of COLUMNS."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    status: str | None
    name: str | None
    category: list[dict[str, Any]] | None
    period_start: str | None
    period_end: str | None
    sort_time: datetime


care_teams_of_patients = NewestBatch(CARE_TEAMS_OF_PATIENTS, CareTeamRow)
care_team_by_id = ByIdBatch(CARE_TEAM_BY_ID, CareTeamRow)

PARTICIPANTS_OF_CARE_TEAMS = Statement(
    """/* participants_of_care_teams */
SELECT care_team_id, {}
FROM care_team_participant
WHERE care_team_id = ANY($1::uuid[])
ORDER BY care_team_id, position""",
    Columns("care_team_participant", "provider_id, member, role"),
)


@dataclass(frozen=True, slots=True)
class CareTeamParticipantRow:
    """One member of a care team: a provider, or the FHIR type of another member."""

    provider_id: UUID | None
    member: str | None
    role: dict[str, Any] | None


participants_of_care_teams = ChildrenBatch(PARTICIPANTS_OF_CARE_TEAMS, CareTeamParticipantRow)
