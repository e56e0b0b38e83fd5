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

PATIENT_IDS_OF_PROVIDERS = Statement("""/* patient_ids_of_providers */
SELECT providers.id, seen.id, seen.sort_time
FROM unnest($1::uuid[]) AS providers (id)
CROSS JOIN LATERAL (
    SELECT patient_id AS id, max(sort_time) AS sort_time
    FROM encounter
    WHERE provider_id = providers.id AND sort_time >= $5::timestamptz AND sort_time < $6::timestamptz
    GROUP BY patient_id
    HAVING (max(sort_time), patient_id) < ($3::timestamptz, $4::uuid)
    ORDER BY max(sort_time) DESC, patient_id DESC
    LIMIT $2::int
) AS seen""")


@dataclass(frozen=True, slots=True)
class SeenPatientRow:
    """A patient's id, and when the provider's latest encounter with the patient began."""

    id: UUID
    sort_time: datetime


patient_ids_of_providers = NewestBatch(PATIENT_IDS_OF_PROVIDERS, SeenPatientRow)
