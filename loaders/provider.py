"""Providers of the caller's facility, with their role there (FHIR R4 Practitioner, PractitionerRole)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, NewestBatch
from loaders.statement import Columns, Statement

PROVIDER_BY_ID = Statement(
    """/* provider_by_id */
SELECT p.id, {}, {}
FROM provider_role AS r
JOIN provider AS p ON p.id = r.provider_id
WHERE r.provider_id = ANY($1::uuid[])""",
    Columns("provider", "id, npi, family, given, prefix, gender, qualification, telecom, active", "p"),
    Columns("provider_role", "department_id, role, specialty", "r"),
)


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """One provider and the role at the caller's facility, in the order of PROVIDER_BY_ID after its key."""

    id: UUID
    npi: str | None
    family: str | None
    given: list[str] | None
    prefix: list[str] | None
    gender: str | None
    qualification: list[dict[str, Any]] | None
    telecom: list[dict[str, Any]] | None
    active: bool
    department_id: UUID | None
    role: dict[str, Any] | None
    specialty: dict[str, Any] | None


provider_by_id = ByIdBatch(PROVIDER_BY_ID, ProviderRow)

# From the newest encounter backwards, each patient at the latest one with the provider: it ends with the page, however
# many encounters there are. IS NOT DISTINCT FROM keeps the index of the provider away from the look at the patient's
# later encounters, which are fewer.
PATIENT_IDS_OF_PROVIDERS = Statement("""/* patient_ids_of_providers */
SELECT providers.id, seen.id, seen.sort_time
FROM unnest($1::uuid[]) AS providers (id)
CROSS JOIN LATERAL (
    SELECT e.patient_id AS id, e.sort_time
    FROM encounter AS e
    WHERE e.provider_id = providers.id AND (e.sort_time, e.patient_id) < ($3::timestamptz, $4::uuid)
        AND e.sort_time >= $5::timestamptz AND e.sort_time < $6::timestamptz
        AND NOT EXISTS (
            SELECT FROM encounter AS later
            WHERE later.patient_id = e.patient_id AND later.provider_id IS NOT DISTINCT FROM providers.id
                AND (later.sort_time, later.id) > (e.sort_time, e.id) AND later.sort_time < $6::timestamptz
        )
    ORDER BY e.sort_time DESC, e.patient_id DESC
    LIMIT $2::int
) AS seen""")


@dataclass(frozen=True, slots=True)
class SeenPatientRow:
    """A patient's id, and when the provider's latest encounter with the patient began."""

    id: UUID
    sort_time: datetime


patient_ids_of_providers = NewestBatch(PATIENT_IDS_OF_PROVIDERS, SeenPatientRow)
