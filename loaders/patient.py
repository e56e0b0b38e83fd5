"""Patients registered at the caller's facility (FHIR R4 Patient), their names and identifiers, the search for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, ChildrenBatch
from loaders.reader import Reader
from loaders.statement import Columns, Statement

PATIENT_BY_ID = Statement(
    """/* patient_by_id */
SELECT p.id AS patient_id, p.id, s.standing, {}, {}
FROM registration AS r
JOIN patient AS p ON p.id = r.patient_id
LEFT JOIN access.standings($1::uuid[]) AS s ON s.patient_id = p.id
WHERE r.patient_id = ANY($1::uuid[])""",
    Columns("registration", "mrn", "r"),
    Columns(
        "patient",
        """
    active, gender, birth_date, age, deceased, deceased_date_time, marital_status, multiple_birth, race, ethnicity,
    birth_sex, address, telecom, contact, communication, version
    """,
        "p",
    ),
)

PATIENT_ID_BY_MRN = """/* patient_id_by_mrn */
SELECT mrn, patient_id FROM registration WHERE mrn = ANY($1::text[])"""

NAMES_OF_PATIENTS = Statement(
    """/* names_of_patients */
SELECT patient_id, {}
FROM patient_name
WHERE patient_id = ANY($1::uuid[])
ORDER BY patient_id, position""",
    Columns("patient_name", "use, family, given, prefix, suffix, text"),
)

IDENTIFIERS_OF_PATIENTS = Statement(
    """/* identifiers_of_patients */
SELECT patient_id, {}
FROM patient_identifier
WHERE patient_id = ANY($1::uuid[])
ORDER BY patient_id, position""",
    Columns("patient_identifier", "kind, type, system, value"),
)

PATIENTS_BY_SEARCH = """/* patients_by_search */
SELECT patient_id, score
FROM access.search_patients($1::text[], $2::text, $3::numeric, $4::uuid, $5::int)"""

PATIENTS_OF_FACILITY = """/* patients_of_facility */
SELECT patient_id, 1::numeric
FROM registration
WHERE facility_id = $1::uuid AND patient_id < $2::uuid
ORDER BY patient_id DESC
LIMIT $3::int"""


OPEN, RELATIONSHIP = "OPEN", "RELATIONSHIP"
"""Standings of a patient's chart; the third one is CONSENT."""


@dataclass(frozen=True, slots=True)
class PatientRow:
    """One patient as registered at the caller's facility, in the order of PATIENT_BY_ID after its key."""

    id: UUID
    standing: str | None
    """OPEN, or what stands between the caller and the chart: RELATIONSHIP or CONSENT."""
    mrn: str | None
    active: bool
    gender: str | None
    birth_date: str | None
    age: str | None
    deceased: bool | None
    deceased_date_time: str | None
    marital_status: dict[str, Any] | None
    multiple_birth: int | None
    race: str | None
    ethnicity: str | None
    birth_sex: str | None
    address: list[dict[str, Any]] | None
    telecom: list[dict[str, Any]] | None
    contact: list[dict[str, Any]] | None
    communication: list[dict[str, Any]] | None
    version: int


@dataclass(frozen=True, slots=True)
class HumanNameRow:
    """One name of a patient."""

    use: str | None
    family: str | None
    given: list[str] | None
    prefix: list[str] | None
    suffix: list[str] | None
    text: str | None


@dataclass(frozen=True, slots=True)
class IdentifierRow:
    """One identifier of a patient; `kind` is its PHI kind."""

    kind: str
    type: dict[str, Any] | None
    system: str | None
    value: str | None


@dataclass(frozen=True, slots=True)
class Match:
    """One patient that a search found; score 1 is exact, above 0.8 a prefix, below fuzzy."""

    patient_id: UUID
    score: Decimal


patient_by_id = ByIdBatch(PATIENT_BY_ID, PatientRow)
names_of_patients = ChildrenBatch(NAMES_OF_PATIENTS, HumanNameRow)
identifiers_of_patients = ChildrenBatch(IDENTIFIERS_OF_PATIENTS, IdentifierRow)


async def patient_id_by_mrn(reader: Reader, mrns: Sequence[str]) -> Mapping[str, UUID]:
    """Patient ids by medical record number of the caller's facility."""
    return {row[0]: row[1] for row in await reader.clinical.fetch(PATIENT_ID_BY_MRN, list(mrns))}


async def patients_by_search(
    reader: Reader, terms: Sequence[str], birth_date: str | None, before: Match, limit: int
) -> Sequence[Match]:
    """Best matches that come after `before`: exact, then prefix, then fuzzy, by falling score."""
    records = await reader.clinical.fetch(
        PATIENTS_BY_SEARCH, list(terms), birth_date, before.score, before.patient_id, limit
    )
    return [Match(*record) for record in records]


async def patients_of_facility(reader: Reader, before: Match, limit: int) -> Sequence[Match]:
    """Patients of the caller's facility that come after `before`, by id."""
    records = await reader.clinical.fetch(PATIENTS_OF_FACILITY, reader.caller.facility_id, before.patient_id, limit)
    return [Match(*record) for record in records]
