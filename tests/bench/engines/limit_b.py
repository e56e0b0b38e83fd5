"""Limit B: one SQL statement makes the whole JSON, which is passed through: no server in between can be faster."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tests.bench.engines.bare import LAST_ID, Bare, before


def nodes(table: str, pairs: str, first: int, where: str = "true") -> str:
    """Expression for the newest rows of the patient p as JSON."""
    return f"""json_build_object('nodes', (
    SELECT coalesce(json_agg(json_build_object({pairs})), '[]')
    FROM (
        SELECT * FROM {table} WHERE patient_id = p.id AND {where} ORDER BY sort_time DESC, id DESC LIMIT {first}
    ) AS f))"""


TEXT = "'code', json_build_object('text', f.code_text)"
MEDICATION = """(SELECT json_build_object('code', json_build_object('text', code_text))
    FROM medication WHERE id = f.medication_id)"""
TEST = """(SELECT json_build_object('code', json_build_object('text', code_text, 'coding', json_build_array(
    json_build_object('code', code)))) FROM lab_test WHERE id = f.lab_test_id)"""
SHORT_TEST = (
    "(SELECT json_build_object('code', json_build_object('text', code_text)) FROM lab_test WHERE id = f.lab_test_id)"
)
VALUE = "'valueQuantity', json_build_object('value', f.value_number, 'unit', f.value_unit)"
PLACES = """'department', (SELECT json_build_object('name', name) FROM department WHERE id = f.department_id),
    'provider', (SELECT json_build_object('npi', npi) FROM provider WHERE id = f.provider_id)"""
NAMES = """(SELECT json_agg(json_build_object('use', use, 'family', family, 'given', given) ORDER BY position)
    FROM patient_name WHERE patient_id = p.id)"""
PERSON = f"'id', p.id, 'mrn', r.mrn, 'gender', p.gender, 'birthDate', p.birth_date, 'name', {NAMES}"


def results(first: int) -> str:
    """Expression for laboratory results with all that the chart and the table show."""
    pairs = f"""'id', f.id, 'status', f.status, 'effectiveDateTime', f.effective, 'issued', f.issued, {VALUE},
    'test', {TEST}"""
    return nodes("lab_result", pairs, first)


VISIT = f"""'id', f.id, 'status', f.status, 'class', f.class_code, 'periodStart', f.period_start,
    'periodEnd', f.period_end, {PLACES}"""
CONDITION = f"""'id', f.id, 'clinicalStatus', f.clinical_status, {TEXT}, 'onsetDateTime', f.onset,
    'recordedDate', f.recorded_date"""
ALLERGY = f"'id', f.id, 'criticality', f.criticality, 'noKnownAllergy', f.no_known_allergy, {TEXT}"
ORDER = f"'id', f.id, 'status', f.status, 'intent', f.intent, 'authoredOn', f.authored_on, 'medication', {MEDICATION}"
CHART = f"""SELECT json_build_object('patient', json_build_object({PERSON},
    'encounters', {nodes("encounter", VISIT, 10)},
    'conditions', {nodes("condition", CONDITION, 15)},
    'allergyIntolerances', {nodes("allergy_intolerance", ALLERGY, 5)},
    'medicationRequests', {nodes("medication_request", ORDER, 15)},
    'labResults', {results(45)}))::text
FROM registration AS r JOIN patient AS p ON p.id = r.patient_id WHERE r.patient_id = $1::uuid"""

SHORT_ALLERGY = f"'id', f.id, 'criticality', f.criticality, {TEXT}"
SHORT_CONDITION = f"'id', f.id, 'onsetDateTime', f.onset, {TEXT}"
SHORT_ORDER = f"'id', f.id, 'authoredOn', f.authored_on, 'medication', {MEDICATION}"
SHORT_RESULT = f"'id', f.id, 'effectiveDateTime', f.effective, {VALUE}, 'test', {SHORT_TEST}"
IN_WARD = f"""(SELECT json_build_object({PERSON},
    'allergyIntolerances', {nodes("allergy_intolerance", SHORT_ALLERGY, 3)},
    'conditions', {nodes("condition", SHORT_CONDITION, 5, where="clinical_status = 'active'")},
    'medicationRequests', {nodes("medication_request", SHORT_ORDER, 5, where="status = 'active'")},
    'labResults', {nodes("lab_result", SHORT_RESULT, 5)})
FROM registration AS r JOIN patient AS p ON p.id = r.patient_id WHERE r.patient_id = f.patient_id)"""
WARD = f"""SELECT json_build_object('facility', json_build_object('inpatients', json_build_object('nodes', json_agg(
    json_build_object('id', f.id, 'class', f.class_code, 'periodStart', f.period_start, {PLACES}, 'patient', {IN_WARD})
    ))))::text
FROM (
    SELECT * FROM inpatient WHERE (sort_time, id) < ($1::timestamptz, $2::uuid)
    ORDER BY sort_time DESC, id DESC LIMIT 50
) AS f"""

TABLE = f"""SELECT json_build_object('patients', json_build_object('nodes', json_agg(
    json_build_object('id', p.id, 'labResults', {results(100)}))))::text
FROM (SELECT patient_id AS id FROM registration WHERE patient_id < $1::uuid ORDER BY patient_id DESC LIMIT 20) AS p"""

SEARCH = f"""SELECT json_build_object('patients', json_build_object('nodes',
    json_agg(json_build_object({PERSON}) ORDER BY m.score DESC, m.patient_id DESC)))::text
FROM access.search_patients($1::text[], NULL, 2, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 20) AS m
JOIN registration AS r ON r.patient_id = m.patient_id JOIN patient AS p ON p.id = m.patient_id"""


async def chart(connection: Any, variables: Mapping[str, Any]) -> bytes:
    """One patient's chart."""
    return (await connection.fetchval(CHART, variables["patient"])).encode()


async def ward(connection: Any, variables: Mapping[str, Any]) -> bytes:
    """A page of inpatients."""
    time, key = before(variables["after"])
    return (await connection.fetchval(WARD, datetime.fromisoformat(time).replace(tzinfo=UTC), key)).encode()


async def table(connection: Any, variables: Mapping[str, Any]) -> bytes:
    """A page of patients with their results."""
    return (await connection.fetchval(TABLE, variables["after"] or LAST_ID)).encode()


async def search(connection: Any, variables: Mapping[str, Any]) -> bytes:
    """Patients by name."""
    return (await connection.fetchval(SEARCH, variables["search"].split(" "))).encode()


app = Bare({"Chart": chart, "Ward": ward, "Table": table, "Search": search})
