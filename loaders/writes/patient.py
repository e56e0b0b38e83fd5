"""Registering patients and changing what identifies them (FHIR R4 Patient)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from db.errors import ConstraintViolated
from db.transaction import Transaction
from loaders.write import Code, Refusal, row_for_update

DUPLICATES_MAX = 10
"""Possible duplicates that are offered at most."""
SCORE_MIN = Decimal("0.4")
"""Of a possible duplicate at least: a name that resembles, born that day, or nearly the name, born that month."""
MRN_TAKEN = "registration_facility_id_mrn_key"

LOCK_REGISTRATION = """/* lock_registration */
SELECT pg_advisory_xact_lock(key)
FROM (
    SELECT DISTINCT hashtextextended(concat_ws(' ', 'register', access.facility_id(), known), 0) AS key
    FROM (
        SELECT concat_ws(' ', normal_name(family), left($2::text, 7)) FROM unnest($1::text[]) AS family
        UNION ALL
        SELECT normal_identifier(value) FROM unnest($3::text[]) AS value
    ) AS one (known)
    ORDER BY key
) AS keys"""

REGISTERED_AS = """/* registered_as */
SELECT patient_id FROM registration WHERE facility_id = access.facility_id() AND mrn = $1::text"""

POSSIBLE_DUPLICATES = """/* possible_duplicates */
SELECT patient_id, score
FROM access.possible_duplicates($1::jsonb, $2::text, $3::jsonb, $4::numeric, $5::int)"""

REGISTER_PATIENT = """/* register_patient */
INSERT INTO patient (id, active, gender, birth_date, deceased, deceased_date_time, marital_status, multiple_birth, race,
    ethnicity, birth_sex, address, telecom, contact, communication)
SELECT $1::uuid, n.active, n.gender, n.birth_date, n.deceased, n.deceased_date_time, n.marital_status, n.multiple_birth,
    n.race, n.ethnicity, n.birth_sex, n.address, n.telecom, n.contact, n.communication
FROM jsonb_populate_record(NULL::patient, $2::jsonb) AS n"""

REGISTER_AT_FACILITY = """/* register_at_facility */
INSERT INTO registration (facility_id, patient_id, mrn)
SELECT access.facility_id(), $1::uuid, coalesce($2::text, (
    SELECT made.mrn
    FROM (SELECT 'M' || lpad(nextval('mrn_number')::text, 9, '0') AS mrn FROM generate_series(1, 1000)) AS made
    WHERE NOT EXISTS (SELECT FROM registration AS r WHERE r.facility_id = access.facility_id() AND r.mrn = made.mrn)
    LIMIT 1))"""

ADD_NAMES = """/* add_patient_names */
INSERT INTO patient_name (patient_id, position, use, family, given, prefix, suffix, text)
SELECT $1::uuid, n.position, n.use, n.family, n.given, n.prefix, n.suffix, n.text
FROM jsonb_to_recordset($2::jsonb) AS n (
    position smallint, use text, family text, given text[], prefix text[], suffix text[], text text)"""

REMOVE_NAMES = """/* remove_patient_names */
DELETE FROM patient_name WHERE patient_id = $1::uuid"""

ADD_IDENTIFIERS = """/* add_patient_identifiers */
INSERT INTO patient_identifier (patient_id, position, kind, type, system, value)
SELECT $1::uuid,
    n.position + coalesce((SELECT max(position) + 1 FROM patient_identifier WHERE patient_id = $1::uuid), 0),
    n.kind, n.type, n.system, n.value
FROM jsonb_to_recordset($2::jsonb) AS n (position smallint, kind text, type jsonb, system text, value text)"""

REMOVE_IDENTIFIERS = """/* remove_patient_identifiers */
DELETE FROM patient_identifier
WHERE patient_id = $1::uuid AND position IN (
    SELECT position
    FROM (SELECT position, row_number() OVER (ORDER BY position) - 1 AS place
        FROM patient_identifier WHERE patient_id = $1::uuid) AS listed
    WHERE place = ANY ($2::int[]))
RETURNING position"""

PATIENT_FOR_UPDATE = """/* patient_for_update */
SELECT version, birth_date, deceased_date_time
FROM patient
WHERE id = $1::uuid AND EXISTS (SELECT FROM access.standings(ARRAY[$1::uuid]))
FOR UPDATE OF patient"""

UPDATE_PATIENT = """/* update_patient */
UPDATE patient
SET (active, gender, birth_date, deceased, deceased_date_time, marital_status, multiple_birth, race, ethnicity,
    birth_sex, address, telecom, contact, communication, version) = (
    SELECT n.active, n.gender, n.birth_date, n.deceased, n.deceased_date_time, n.marital_status, n.multiple_birth,
        n.race, n.ethnicity, n.birth_sex, n.address, n.telecom, n.contact, n.communication, n.version + $3::int
    FROM jsonb_populate_record(patient, $2::jsonb) AS n)
WHERE id = $1::uuid"""

UNSAID: Mapping[str, Any] = {"active": True, "address": [], "telecom": [], "contact": [], "communication": []}
"""Demographics of a new patient of whom nobody says more."""


@dataclass(frozen=True, slots=True)
class NewPatient:
    """Whom a facility registers; `mrn` is made where none is given.

    `demographics` are columns of `patient` by name; `names` and `identifiers` are rows likewise, in their order, and
    `words` what each name is searched by.
    """

    mrn: str | None
    demographics: Mapping[str, Any]
    names: Sequence[Mapping[str, Any]]
    words: Sequence[Sequence[str]]
    identifiers: Sequence[Mapping[str, Any]]
    confirmed: bool
    """Whether the possible duplicates were looked at, and are others."""


@dataclass(frozen=True, slots=True)
class PatientChange:
    """What changes of a patient; a column that is not among `demographics` stays as it is.

    `names` replace those before, unless there are none; `removed` are places in the list of identifiers.
    """

    demographics: Mapping[str, Any]
    names: Sequence[Mapping[str, Any]]
    added: Sequence[Mapping[str, Any]]
    removed: Sequence[int]


async def register_patient(writing: Transaction, new: NewPatient) -> UUID:
    """Registers a new patient at the caller's facility and gives the id. Raises Refusal.

    Of two who register one person at once the second waits for the first, and then finds whom it registered.
    """
    birth_date = new.demographics.get("birth_date")
    _check_times(birth_date, new.demographics.get("deceased_date_time"))
    families, values = [words[0] for words in new.words], [one["value"] for one in new.identifiers]
    await writing.fetch(LOCK_REGISTRATION, families, birth_date, values)
    if new.mrn is not None and (taken := await writing.fetch(REGISTERED_AS, new.mrn)):
        raise _mrn_taken(taken[0]["patient_id"])
    if not new.confirmed:
        await _look_for_duplicates(writing, new)
    id = uuid4()
    await writing.fetch(REGISTER_PATIENT, id, {**UNSAID, **new.demographics})
    try:
        await writing.fetch(REGISTER_AT_FACILITY, id, new.mrn)
    except ConstraintViolated as violated:  # by who does not lock: the importer
        if violated.constraint != MRN_TAKEN:
            raise
        raise _mrn_taken() from None
    await writing.fetch(ADD_NAMES, id, _placed(new.names))
    if new.identifiers:
        await writing.fetch(ADD_IDENTIFIERS, id, _placed(new.identifiers))
    return id


async def update_patient(writing: Transaction, id: UUID, version: int, change: PatientChange) -> UUID:
    """Changes a patient, names and identifiers with it, as one version. Raises Refusal."""
    row = await row_for_update(writing, PATIENT_FOR_UPDATE, id, version)
    now = dict(row) | dict(change.demographics)
    _check_times(now["birth_date"], now["deceased_date_time"])
    if change.names:
        await writing.fetch(REMOVE_NAMES, id)
        await writing.fetch(ADD_NAMES, id, _placed(change.names))
    if change.removed:
        gone = await writing.fetch(REMOVE_IDENTIFIERS, id, list(change.removed))
        if len(gone) != len(change.removed):
            raise Refusal(Code.NOT_FOUND, "removeIdentifier", "There is nothing at this place.")
    if change.added:
        await writing.fetch(ADD_IDENTIFIERS, id, _placed(change.added))
    others = bool(change.names or change.added or change.removed)
    await writing.fetch(UPDATE_PATIENT, id, dict(change.demographics), int(others))
    return id


async def _look_for_duplicates(writing: Transaction, new: NewPatient) -> None:
    found = await writing.fetch(
        POSSIBLE_DUPLICATES,
        [list(words) for words in new.words],
        new.demographics.get("birth_date"),
        [dict(one) for one in new.identifiers],
        SCORE_MIN,
        DUPLICATES_MAX,
    )
    if found:
        raise Refusal(
            Code.POSSIBLE_DUPLICATE,
            "confirmedNew",
            "Somebody who may be this patient is registered; look, then confirm that this is somebody else.",
            found=[row["patient_id"] for row in found],
            scores=[row["score"] for row in found],
        )


def _mrn_taken(*by: UUID) -> Refusal:
    return Refusal(
        Code.ALREADY_EXISTS, "mrn", "Another patient has this number.", found=by, scores=[Decimal(1) for _ in by]
    )


def _check_times(birth_date: str | None, deceased: str | None) -> None:
    """Raises Refusal for a death before the birth, as far as both are known."""
    known = min(len(birth_date or ""), len(deceased or ""))
    if known and (deceased or "")[:known] < (birth_date or "")[:known]:
        raise Refusal(Code.INVALID, "deceasedDateTime", "This must not be before the birth.")


def _placed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "position": place} for place, row in enumerate(rows)]
