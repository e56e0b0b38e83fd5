"""Statements around the bulk writes: registrations, roles, moved observations, texts, and what waits for something."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

from db.bulk import Bulk
from workers.fhir.elements import Json
from workers.fhir.link import Row
from workers.fhir.lookup import HOMES

Pair = tuple[UUID, UUID]

REGISTER = """/* register_patients */
INSERT INTO clinical.registration AS t (facility_id, patient_id, mrn)
SELECT n.facility_id, n.patient_id,
    CASE WHEN n.nth > 1 OR EXISTS (SELECT FROM clinical.registration AS o
        WHERE o.facility_id = n.facility_id AND o.mrn = n.mrn AND o.patient_id <> n.patient_id)
    THEN n.patient_id::text ELSE n.mrn END
FROM (SELECT f.facility_id, s.patient_id, s.mrn,
        row_number() OVER (PARTITION BY f.facility_id, s.mrn ORDER BY s.patient_id) AS nth
    FROM unnest($1::uuid[], $2::uuid[]) AS f (facility_id, patient_id)
    JOIN clinical.patient_source AS s ON s.patient_id = f.patient_id) AS n
ON CONFLICT (facility_id, patient_id) DO UPDATE SET mrn = excluded.mrn WHERE t.mrn <> excluded.mrn
"""

REGISTRATIONS = """/* registrations_of_patients */
SELECT facility_id, patient_id FROM clinical.registration WHERE patient_id = ANY($1::uuid[])
"""

ACT = """/* providers_act */
INSERT INTO clinical.provider_role (facility_id, provider_id)
SELECT * FROM unnest($1::uuid[], $2::uuid[]) ON CONFLICT DO NOTHING
"""

# Of several roles of one provider at one facility the one with a department counts, then the least id.
ROLES = """/* provider_roles */
INSERT INTO clinical.provider_role AS t (facility_id, provider_id, department_id, role, specialty)
SELECT DISTINCT ON (r.facility_id, r.provider_id) r.facility_id, r.provider_id, r.department_id, r.role, r.specialty
FROM unnest($1::uuid[]) AS k (id)
JOIN clinical.practitioner_role AS b ON b.id = k.id
JOIN clinical.practitioner_role AS r ON r.facility_id = b.facility_id AND r.provider_id = b.provider_id
ORDER BY r.facility_id, r.provider_id, r.department_id IS NULL, r.id
ON CONFLICT (facility_id, provider_id) DO UPDATE
    SET department_id = excluded.department_id, role = excluded.role, specialty = excluded.specialty
    WHERE (t.department_id, t.role, t.specialty)
        IS DISTINCT FROM (excluded.department_id, excluded.role, excluded.specialty)
"""

# A patient who is registered elsewhere leaves a facility that has neither an encounter nor an appointment of theirs,
# nor manages them: facts without an encounter are at home, and the others follow their encounter.
LEAVE_FACILITIES = """/* leave_facilities */
DELETE FROM clinical.registration AS t
USING unnest($1::uuid[], $2::uuid[]) AS k (facility_id, patient_id)
WHERE t.facility_id = k.facility_id AND t.patient_id = k.patient_id
    AND EXISTS (SELECT FROM clinical.registration AS o
        WHERE o.patient_id = t.patient_id AND o.facility_id <> t.facility_id)
    AND NOT EXISTS (SELECT FROM clinical.patient_source AS s
        WHERE s.patient_id = t.patient_id AND s.facility_id = t.facility_id)
    AND NOT EXISTS (SELECT FROM clinical.encounter AS e
        WHERE e.facility_id = t.facility_id AND e.patient_id = t.patient_id)
    AND NOT EXISTS (SELECT FROM clinical.appointment AS a
        WHERE a.facility_id = t.facility_id AND a.patient_id = t.patient_id)
"""

NAME_FACILITIES = """/* name_facilities */
UPDATE clinical.facility AS t SET code = k.code FROM unnest($1::uuid[], $2::text[]) AS k (id, code)
WHERE t.id = k.id AND t.code LIKE 'UNKNOWN-%' AND t.code <> k.code
"""

# Facts without an encounter are at home; home is where most encounters are, which changes as encounters come in.
MOVES = """/* moves_of_patients */
SELECT r.patient_id, r.facility_id AS source, h.home
FROM unnest($1::uuid[], $2::uuid[]) AS h (patient_id, home)
JOIN clinical.registration AS r ON r.patient_id = h.patient_id AND r.facility_id <> h.home
"""

ENSURE_FALLBACK = """/* ensure_fallback_facility */
INSERT INTO clinical.facility (id, code, name) VALUES ($1, 'UNASSIGNED', 'Facility not known') ON CONFLICT DO NOTHING
"""

_MOVE = (
    " AS t SET facility_id = m.home FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS m (patient_id, source, home) "
    "WHERE t.facility_id = m.source AND t.patient_id = m.patient_id"
)
_FLOATS = _MOVE + " AND t.encounter_id IS NULL"
MOVE_FACTS: tuple[LiteralString, ...] = (
    "UPDATE clinical.condition" + _FLOATS,
    "UPDATE clinical.procedure" + _FLOATS,
    "UPDATE clinical.allergy_intolerance" + _FLOATS,
    "UPDATE clinical.immunization" + _FLOATS,
    "UPDATE clinical.medication_request" + _FLOATS,
    "UPDATE clinical.medication_administration" + _FLOATS,
    "UPDATE clinical.care_team" + _FLOATS,
    "UPDATE clinical.diagnostic_report" + _FLOATS,
    "UPDATE clinical.lab_result" + _FLOATS,
    "UPDATE clinical.observation" + _FLOATS,
    "UPDATE clinical.consent" + _MOVE,
    "UPDATE clinical.care_team_participant AS t SET facility_id = c.facility_id FROM clinical.care_team AS c "
    "WHERE c.id = t.care_team_id AND c.facility_id <> t.facility_id "
    "AND (c.patient_id, t.facility_id, c.facility_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]))",
)
_FOLLOW = (
    " AS t SET facility_id = m.target "
    "FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS m (encounter_id, source, target) "
    "WHERE t.facility_id = m.source AND t.encounter_id = m.encounter_id"
)
FOLLOW_ENCOUNTERS: tuple[LiteralString, ...] = (
    "UPDATE clinical.condition" + _FOLLOW,
    "UPDATE clinical.procedure" + _FOLLOW,
    "UPDATE clinical.allergy_intolerance" + _FOLLOW,
    "UPDATE clinical.immunization" + _FOLLOW,
    "UPDATE clinical.medication_request" + _FOLLOW,
    "UPDATE clinical.medication_administration" + _FOLLOW,
    "UPDATE clinical.care_team_participant AS t SET facility_id = m.target "
    "FROM clinical.care_team AS c "
    "JOIN unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS m (encounter_id, source, target) "
    "ON c.facility_id = m.source AND c.encounter_id = m.encounter_id "
    "WHERE t.facility_id = m.source AND t.care_team_id = c.id",
    "UPDATE clinical.care_team" + _FOLLOW,
    "UPDATE clinical.diagnostic_report" + _FOLLOW,
    "UPDATE clinical.lab_result" + _FOLLOW,
    "UPDATE clinical.observation" + _FOLLOW,
)
FOLLOW_VITALS = "UPDATE vitals.vital_sign" + _FOLLOW
# Objects of the archive lie under the facility's prefix: a study that has some stays.
_NO_OBJECTS = (
    " AND NOT EXISTS (SELECT FROM imaging.imaging_series AS s JOIN imaging.imaging_instance AS i "
    "ON i.imaging_series_id = s.id WHERE s.imaging_study_id = t.id AND i.s3_key IS NOT NULL)"
)
FOLLOW_STUDIES = "UPDATE imaging.imaging_study" + _FOLLOW + _NO_OBJECTS

MOVE_VITALS = "UPDATE vitals.vital_sign" + _FLOATS
MOVE_STUDIES = "UPDATE imaging.imaging_study" + _FLOATS + _NO_OBJECTS

PLACES = """/* places_of_observations */
SELECT resource_id, place, sort_time FROM clinical.observation_place WHERE resource_id = ANY($1::uuid[])
"""
_LEFT = (
    " AS t USING unnest($1::uuid[], $2::timestamptz[]) AS o (id, sort_time) "
    "WHERE t.id = o.id AND t.sort_time = o.sort_time"
)
LEAVE_LAB: LiteralString = "DELETE FROM clinical.lab_result" + _LEFT
LEAVE_OTHER: LiteralString = "DELETE FROM clinical.observation" + _LEFT
LEAVE_VITALS: LiteralString = "DELETE FROM vitals.vital_sign" + _LEFT

LINK_RESULTS = """/* link_results */
UPDATE clinical.lab_result AS t SET diagnostic_report_id = x.report_id
FROM (SELECT DISTINCT ON (r.result_id) r.result_id, r.report_id, p.sort_time
    FROM clinical.report_result AS r
    JOIN clinical.observation_place AS p ON p.resource_id = r.result_id AND p.place = 'lab_result'
    WHERE r.result_id = ANY($1::uuid[]) ORDER BY r.result_id, r.report_id) AS x
WHERE t.id = x.result_id AND t.sort_time = x.sort_time AND t.diagnostic_report_id IS DISTINCT FROM x.report_id
"""

FORGET_REFERENCES = """/* forget_references */
DELETE FROM clinical.unresolved_reference AS t USING unnest($1::text[], $2::uuid[]) AS k (type, id)
WHERE t.resource_type = k.type AND t.resource_id = k.id
"""
FORGET_DEFERRED = """/* forget_deferred */
DELETE FROM clinical.deferred_resource AS t USING unnest($1::text[], $2::uuid[]) AS k (type, id)
WHERE t.resource_type = k.type AND t.resource_id = k.id
"""

READY = """/* ready_resources */
SELECT d.resource_type, d.resource_id, d.waits_for, d.written, d.resource
FROM clinical.deferred_resource AS d
WHERE d.resource_type = ANY($1::text[]) AND (d.resource_type, d.resource_id) > ($2::text, $3::uuid)
    AND (NOT d.written AND d.waits_for IN ('encounter', 'facility') OR EXISTS (
        SELECT FROM clinical.unresolved_reference AS u
        WHERE u.resource_type = d.resource_type AND u.resource_id = d.resource_id
        AND CASE
            WHEN u.value IS NOT NULL THEN EXISTS (SELECT FROM clinical.resource_identifier AS i
                WHERE i.resource_type = u.target_type AND i.value = u.value AND (i.system = u.system OR u.system = ''))
            WHEN u.target_type = 'Patient' THEN EXISTS (SELECT FROM clinical.patient WHERE id = u.target_id)
            WHEN u.target_type = 'Encounter' THEN EXISTS (SELECT FROM clinical.encounter WHERE id = u.target_id)
            WHEN u.target_type = 'Practitioner' THEN EXISTS (SELECT FROM clinical.provider WHERE id = u.target_id)
            WHEN u.target_type = 'Location' THEN EXISTS (SELECT FROM clinical.department WHERE id = u.target_id)
            WHEN u.target_type = 'Medication' THEN EXISTS (SELECT FROM clinical.medication WHERE id = u.target_id)
            WHEN u.target_type = 'MedicationRequest' THEN
                EXISTS (SELECT FROM clinical.medication_request WHERE id = u.target_id)
            WHEN u.target_type = 'PractitionerRole' THEN EXISTS (SELECT FROM clinical.resource_identifier AS i
                WHERE i.resource_type = u.target_type AND i.system = 'urn:caregraph:row'
                    AND i.value = u.target_id::text)
        END))
ORDER BY d.resource_type, d.resource_id
LIMIT $4
"""

CLAIMS = """/* claims_of_texts */
SELECT t.patient_id, t.sha256, t.resource_type, t.resource_id
FROM clinical.note_text AS t
JOIN unnest($1::uuid[], $2::bytea[]) AS k (patient_id, sha256) ON t.patient_id = k.patient_id AND t.sha256 = k.sha256
"""
CLAIM = """/* claim_texts */
INSERT INTO clinical.note_text AS t (patient_id, sha256, resource_type, resource_id)
SELECT DISTINCT ON (patient_id, sha256) patient_id, sha256, $3, resource_id
FROM unnest($1::uuid[], $2::bytea[], $4::uuid[]) AS k (patient_id, sha256, resource_id)
ORDER BY patient_id, sha256, resource_id
ON CONFLICT (patient_id, sha256) DO UPDATE
    SET resource_type = excluded.resource_type, resource_id = excluded.resource_id
    WHERE t.resource_type = 'DiagnosticReport' AND excluded.resource_type = 'DocumentReference'
"""


def parsed(text: str) -> Json:
    """A stored resource, its numbers exact."""
    return json.loads(text, parse_float=Decimal)


async def register(bulk: Bulk, pairs: Iterable[Pair]) -> None:
    """Registers (facility, patient) pairs, with the number that the patient's source gave."""
    if ordered := sorted(set(pairs)):
        await bulk.fetch("clinical", REGISTER, [pair[0] for pair in ordered], [pair[1] for pair in ordered])


async def registrations(bulk: Bulk, patients: Sequence[UUID]) -> set[Pair]:
    """(facility, patient) pairs of these patients."""
    return {(row["facility_id"], row["patient_id"]) for row in await bulk.fetch("clinical", REGISTRATIONS, patients)}


async def act(bulk: Bulk, pairs: Iterable[Pair]) -> None:
    """Gives providers a role at the facilities where they act."""
    if ordered := sorted(set(pairs)):
        await bulk.fetch("clinical", ACT, [pair[0] for pair in ordered], [pair[1] for pair in ordered])


async def follow_encounters(
    bulk: Bulk, encounters: Sequence[UUID], sources: Sequence[UUID], targets: Sequence[UUID]
) -> None:
    """Moves the facts of encounters from one facility to another."""
    for statement in FOLLOW_ENCOUNTERS:
        await bulk.fetch("clinical", statement, encounters, sources, targets)
    await bulk.fetch("vitals", FOLLOW_VITALS, encounters, sources, targets)
    await bulk.fetch("imaging", FOLLOW_STUDIES, encounters, sources, targets)


async def leave(bulk: Bulk, pairs: Iterable[Pair]) -> None:
    """Ends registrations (facility, patient) that nothing stands for any more."""
    if ordered := sorted(set(pairs)):
        await bulk.fetch("clinical", LEAVE_FACILITIES, [pair[0] for pair in ordered], [pair[1] for pair in ordered])


async def settle_homes(bulk: Bulk, patients: Sequence[UUID]) -> dict[UUID, UUID]:
    """Moves facts without an encounter to where their patient is at home now; home of each patient with a move."""
    homes = [row for row in await bulk.fetch("clinical", HOMES, patients) if row["facility_id"]]
    moves = await bulk.fetch("clinical", MOVES, [row["id"] for row in homes], [row["facility_id"] for row in homes])
    if moves:
        args = tuple([row[column] for row in moves] for column in ("patient_id", "source", "home"))
        for statement in MOVE_FACTS:
            await bulk.fetch("clinical", statement, *args)
        await bulk.fetch("vitals", MOVE_VITALS, *args)
        await bulk.fetch("imaging", MOVE_STUDIES, *args)
    return {row["patient_id"]: row["home"] for row in moves}


async def leave_places(bulk: Bulk, rows: Sequence[Row]) -> None:
    """Deletes the old rows of observations that change their table or their time."""
    now = {row.values["resource_id"]: (row.values["place"], row.values["sort_time"]) for row in rows}
    found = await bulk.fetch("clinical", PLACES, list(now))
    left = [row for row in found if now[row["resource_id"]] != (row["place"], row["sort_time"])]
    statements: dict[str, tuple[str, LiteralString]] = {
        "lab_result": ("clinical", LEAVE_LAB),
        "observation": ("clinical", LEAVE_OTHER),
        "vital_sign": ("vitals", LEAVE_VITALS),
    }
    for place, (database, statement) in statements.items():
        gone = [row for row in left if row["place"] == place]
        if gone:
            ids, times = [row["resource_id"] for row in gone], [row["sort_time"] for row in gone]
            await bulk.fetch(database, statement, ids, times)


async def ensure_fallback(bulk: Bulk, fallback_id: UUID) -> None:
    """Makes the facility of what names none."""
    await bulk.fetch("clinical", ENSURE_FALLBACK, fallback_id)


async def adopt(bulk: Bulk, patients: Sequence[UUID], fallback_id: UUID) -> None:
    """Registers patients who are registered nowhere at the fallback facility, so that somebody sees them."""
    registered = {patient for _, patient in await registrations(bulk, patients)}
    if homeless := [patient for patient in patients if patient not in registered]:
        await ensure_fallback(bulk, fallback_id)
        await register(bulk, [(fallback_id, patient) for patient in homeless])
