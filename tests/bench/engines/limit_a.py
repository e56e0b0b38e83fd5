"""Limit A: what a careful Python programmer writes for these questions alone: a batch per level, dicts, orjson.

No GraphQL, no types, no cursors; each statement gives exactly what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import orjson

from tests.bench.engines.bare import LAST_ID, Bare, before

Row: TypeAlias = dict[str, Any]
Shape: TypeAlias = Callable[[Any], Row]
"""From a record to what JSON shows of it."""

PATIENTS = """SELECT p.id::text, r.mrn, p.gender, p.birth_date AS "birthDate"
FROM registration AS r JOIN patient AS p ON p.id = r.patient_id WHERE r.patient_id = ANY($1::uuid[])"""
NAMES = """SELECT patient_id::text AS parent, use, family, given FROM patient_name
WHERE patient_id = ANY($1::uuid[]) ORDER BY patient_id, position"""
FOUND = """SELECT p.id::text, r.mrn, p.gender, p.birth_date AS "birthDate"
FROM access.search_patients($1::text[], NULL, 2, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 20) AS m
JOIN registration AS r ON r.patient_id = m.patient_id JOIN patient AS p ON p.id = m.patient_id
ORDER BY m.score DESC, m.patient_id DESC"""
PAGE = "SELECT patient_id::text AS id FROM registration WHERE patient_id < $1::uuid ORDER BY patient_id DESC LIMIT 20"
INPATIENTS = """SELECT id::text, class_code, period_start, department_id, provider_id, patient_id::text
FROM inpatient WHERE (sort_time, id) < ($1::timestamptz, $2::uuid) ORDER BY sort_time DESC, id DESC LIMIT 50"""
DEPARTMENTS = "SELECT id, name FROM department WHERE id = ANY($1::uuid[])"
PROVIDERS = "SELECT id, npi FROM provider WHERE id = ANY($1::uuid[])"
MEDICATIONS = "SELECT id, code_text FROM medication WHERE id = ANY($1::uuid[])"
TESTS = "SELECT id, code_text, code FROM lab_test WHERE id = ANY($1::uuid[])"


def newest(table: str, columns: str, where: str = "true") -> str:
    """Statement for the newest rows of each patient ($1), so many each ($2)."""
    return f"""SELECT parents.id::text AS parent, facts.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    SELECT {columns} FROM {table} WHERE patient_id = parents.id AND {where}
    ORDER BY sort_time DESC, {table}.id DESC LIMIT $2
) AS facts"""


VISITS = newest(
    "encounter", "id::text AS key, status, class_code, period_start, period_end, department_id, provider_id"
)
CONDITIONS = newest("condition", "id::text AS key, clinical_status, code_text, onset, recorded_date")
ACTIVE_CONDITIONS = newest("condition", "id::text AS key, code_text, onset", "clinical_status = 'active'")
ALLERGIES = newest("allergy_intolerance", "id::text AS key, criticality, no_known_allergy, code_text")
SHORT_ALLERGIES = newest("allergy_intolerance", "id::text AS key, criticality, code_text")
ORDERS = newest("medication_request", "id::text AS key, status, intent, authored_on, medication_id")
ACTIVE_ORDERS = newest("medication_request", "id::text AS key, authored_on, medication_id", "status = 'active'")
RESULTS = newest(
    "lab_result",
    "id::text AS key, status, effective, issued, value_number::float8 AS value, value_unit AS unit, lab_test_id",
)
SHORT_RESULTS = newest(
    "lab_result", "id::text AS key, effective, value_number::float8 AS value, value_unit AS unit, lab_test_id"
)


async def lists(connection: Any, sql: str, ids: Sequence[str], shape: Shape, *first: int) -> dict[str, list[Row]]:
    """Rows of each patient."""
    found: dict[str, list[Row]] = {key: [] for key in ids}
    for record in await connection.fetch(sql, ids, *first):
        found[record["parent"]].append(shape(record))
    return found


async def named(connection: Any, sql: str, ids: Sequence[Any], shape: Shape) -> dict[Any, Row]:
    """Rows by id."""
    return {record["id"]: shape(record) for record in await connection.fetch(sql, list({key for key in ids if key}))}


def text(record: Any) -> Row:
    """The concept of a record."""
    return {"text": record["code_text"]}


def coded(record: Any) -> Row:
    """The concept of a test, with its code."""
    return {"code": {"text": record["code_text"], "coding": [{"code": record["code"]}]}}


def person(record: Any) -> Row:
    """One name of a patient."""
    return {"use": record["use"], "family": record["family"], "given": record["given"]}


async def linked(
    connection: Any, sql: str, ids: Sequence[str], first: int, shape: Shape, key: str, to: tuple[str, str, Shape]
) -> dict[str, list[Row]]:
    """Rows of each patient, with the row that their key names put in its place."""
    target, field, target_shape = to
    records = await connection.fetch(sql, ids, first)
    targets = await named(connection, target, [record[key] for record in records], target_shape)
    found: dict[str, list[Row]] = {patient: [] for patient in ids}
    for record in records:
        found[record["parent"]].append({**shape(record), field: targets[record[key]]})
    return found


async def places(connection: Any, records: Sequence[Any]) -> tuple[dict[Any, Row], dict[Any, Row]]:
    """Departments and providers of encounters."""
    departments = await named(connection, DEPARTMENTS, [r["department_id"] for r in records], lambda r: {"name": r[1]})
    providers = await named(connection, PROVIDERS, [r["provider_id"] for r in records], lambda r: {"npi": r[1]})
    return departments, providers


def order(record: Any) -> Row:
    """An order of the chart."""
    return {"id": record[1], "status": record[2], "intent": record[3], "authoredOn": record[4]}


def result(record: Any) -> Row:
    """A laboratory result of the chart and of the table."""
    quantity = {"value": record[5], "unit": record[6]}
    return {
        "id": record[1],
        "status": record[2],
        "effectiveDateTime": record[3],
        "issued": record[4],
        "valueQuantity": quantity,
    }


async def chart(connection: Any, variables: Mapping[str, Any]) -> bytes:
    """One patient's chart."""
    ids = [variables["patient"]]
    patient = dict(await connection.fetchrow(PATIENTS, ids))
    patient["name"] = (await lists(connection, NAMES, ids, person))[ids[0]]
    visits = await connection.fetch(VISITS, ids, 10)
    departments, providers = await places(connection, visits)
    encounters = [
        {"id": r[1], "status": r[2], "class": r[3], "periodStart": r[4], "periodEnd": r[5]}
        | {"department": departments.get(r[6]), "provider": providers.get(r[7])}
        for r in visits
    ]

    def condition(r: Any) -> Row:
        return {"id": r[1], "clinicalStatus": r[2], "code": text(r), "onsetDateTime": r[4], "recordedDate": r[5]}

    def allergy(r: Any) -> Row:
        return {"id": r[1], "criticality": r[2], "noKnownAllergy": r[3], "code": text(r)}

    conditions = await lists(connection, CONDITIONS, ids, condition, 15)
    allergies = await lists(connection, ALLERGIES, ids, allergy, 5)
    to_medication = (MEDICATIONS, "medication", lambda r: {"code": text(r)})
    orders = await linked(connection, ORDERS, ids, 15, order, "medication_id", to_medication)
    results = await linked(connection, RESULTS, ids, 45, result, "lab_test_id", (TESTS, "test", coded))
    patient["encounters"] = {"nodes": encounters}
    patient["conditions"] = {"nodes": conditions[ids[0]]}
    patient["allergyIntolerances"] = {"nodes": allergies[ids[0]]}
    patient["medicationRequests"] = {"nodes": orders[ids[0]]}
    patient["labResults"] = {"nodes": results[ids[0]]}
    return orjson.dumps({"patient": patient})


async def ward(connection: Any, variables: Mapping[str, Any]) -> bytes:
    """A page of inpatients."""
    time, key = before(variables["after"])
    stays = await connection.fetch(INPATIENTS, datetime.fromisoformat(time).replace(tzinfo=UTC), key)
    departments, providers = await places(connection, stays)
    ids = list({r["patient_id"] for r in stays})
    patients = {record["id"]: dict(record) for record in await connection.fetch(PATIENTS, ids)}

    def short_result(r: Any) -> Row:
        return {"id": r[1], "effectiveDateTime": r[2], "valueQuantity": {"value": r[3], "unit": r[4]}}

    names = await lists(connection, NAMES, ids, person)
    allergies = await lists(
        connection, SHORT_ALLERGIES, ids, lambda r: {"id": r[1], "criticality": r[2], "code": text(r)}, 3
    )
    conditions = await lists(
        connection, ACTIVE_CONDITIONS, ids, lambda r: {"id": r[1], "onsetDateTime": r[3], "code": text(r)}, 5
    )
    to_medication = (MEDICATIONS, "medication", lambda r: {"code": text(r)})
    orders = await linked(
        connection, ACTIVE_ORDERS, ids, 5, lambda r: {"id": r[1], "authoredOn": r[2]}, "medication_id", to_medication
    )
    to_test = (TESTS, "test", lambda r: {"code": text(r)})
    results = await linked(connection, SHORT_RESULTS, ids, 5, short_result, "lab_test_id", to_test)
    for patient, row in patients.items():
        row["name"] = names[patient]
        row["allergyIntolerances"] = {"nodes": allergies[patient]}
        row["conditions"] = {"nodes": conditions[patient]}
        row["medicationRequests"] = {"nodes": orders[patient]}
        row["labResults"] = {"nodes": results[patient]}
    nodes = [
        {"id": r["id"], "class": r["class_code"], "periodStart": r["period_start"]}
        | {"department": departments.get(r["department_id"]), "provider": providers.get(r["provider_id"])}
        | {"patient": patients[r["patient_id"]]}
        for r in stays
    ]
    return orjson.dumps({"facility": {"inpatients": {"nodes": nodes}}})


async def table(connection: Any, variables: Mapping[str, Any]) -> bytes:
    """A page of patients with their results."""
    ids = [record["id"] for record in await connection.fetch(PAGE, variables["after"] or LAST_ID)]
    results = await linked(connection, RESULTS, ids, 100, result, "lab_test_id", (TESTS, "test", coded))
    return orjson.dumps({"patients": {"nodes": [{"id": key, "labResults": {"nodes": results[key]}} for key in ids]}})


async def search(connection: Any, variables: Mapping[str, Any]) -> bytes:
    """Patients by name."""
    patients = [dict(record) for record in await connection.fetch(FOUND, variables["search"].split(" "))]
    names = await lists(connection, NAMES, [patient["id"] for patient in patients], person)
    for patient in patients:
        patient["name"] = names[patient["id"]]
    return orjson.dumps({"patients": {"nodes": patients}})


app = Bare({"Chart": chart, "Ward": ward, "Table": table, "Search": search})
