"""Data and policies of the benchmark: the demo network, more patients at one facility, open views, a context to share.

Everything happens in a throwaway instance; what is changed in it is written down here and in docs/benchmarks.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg

from db.caller import Caller, Profile, PurposeOfUse
from db.context import role_password, sign
from db.migrate import DECLARED_COLUMNS
from db.policy import Form, Phi, View
from db.postgres import login_url
from db.roles import WORKER
from db.settings import Settings
from db.views import Column, view_ddl

OPEN = View("engines", Profile.CLINICIAN, (PurposeOfUse.TREAT,), dict.fromkeys(Phi, Form.SHOW))
"""A policy that shows everything: its views, of the same owner as the masked ones, are under the same policies."""
DATABASES = ("clinical", "imaging", "vitals")
PATIENTS = 200
"""Added patients; all are inpatients, and have the highest ids and the latest admissions: they fill the first pages."""
CHARTS = 40
"""Patients whose charts are asked for, one after the other."""
WARD, TABLE = 50, 20
"""Inpatients of a ward's page, patients of a table's: as the documents say."""
SECONDS_SHARED = 12 * 3600
"""How long the rivals' context is good for."""

MORE = Path(__file__).with_name("patients.sql")
"""Adds patients, the same ones every time."""
ADDED = "SELECT EXISTS (SELECT FROM patient WHERE id = ('ffff' || substr(md5('patient 1'), 5))::uuid)"

UNBOUND = """
SELECT replace(pg_get_functiondef('access.verified(text, text, int)'::regprocedure),
    '::int <> pg_backend_pid()', '::int NOT IN (0, pg_backend_pid())')"""
"""The verifying function with one more number that a context may be signed for: 0, any session. Rivals can't sign."""

ONLY_INPATIENTS = """
CREATE VIEW engines.inpatient AS
SELECT * FROM engines.encounter
WHERE status = 'in-progress' AND end_time IS NULL AND class_code IN ('IMP', 'ACUTE', 'NONAC', 'SS', 'OBSENC');
CREATE FUNCTION engines.search_patients(terms text[], rows_max int) RETURNS SETOF engines.patient
LANGUAGE sql STABLE ROWS 20 AS $$
    SELECT p.*
    FROM access.search_patients(terms, NULL, 2, 'ffffffff-ffff-ffff-ffff-ffffffffffff', rows_max) AS m
    JOIN engines.patient AS p ON p.id = m.patient_id
    ORDER BY m.score DESC, m.patient_id DESC
$$;
ALTER VIEW engines.inpatient OWNER TO caregraph_view;
GRANT SELECT ON engines.inpatient TO caregraph_clinician;
"""
"""What rivals need beside the open views: the ward's encounters, and the search as a function that gives patients."""

_OF_PATIENT = "@foreignKey (patient_id) references engines.patient (id)|@foreignFieldName "
_PLACES = """@primaryKey id
@foreignKey (department_id) references engines.department (id)|@fieldName department
@foreignKey (provider_id) references engines.provider (id)|@fieldName provider
"""
_TO_MEDICATION = "@foreignKey (medication_id) references engines.medication (id)|@fieldName medication"
_TO_TEST = "@foreignKey (lab_test_id) references engines.lab_test (id)|@fieldName test"
KEYS: Mapping[str, str] = {
    "patient": "@primaryKey id",
    "registration": f"@primaryKey patient_id\n{_OF_PATIENT}registration|@fieldName patient",
    "patient_name": f"@primaryKey patient_id,position\n{_OF_PATIENT}names",
    "department": "@primaryKey id",
    "provider": "@primaryKey id",
    "lab_test": "@primaryKey id",
    "medication": "@primaryKey id",
    "encounter": f"{_PLACES}{_OF_PATIENT}encounters",
    "inpatient": f"{_PLACES}{_OF_PATIENT}stays|@fieldName patient",
    "condition": f"@primaryKey id\n{_OF_PATIENT}conditions",
    "allergy_intolerance": f"@primaryKey id\n{_OF_PATIENT}allergyIntolerances",
    "medication_request": f"@primaryKey id\n{_OF_PATIENT}medicationRequests\n{_TO_MEDICATION}",
    "lab_result": f"@primaryKey id\n{_OF_PATIENT}labResults\n{_TO_TEST}",
}
"""Smart tags: a view has no keys that PostGraphile could find, so comments tell it, as its documentation says."""


@dataclass(frozen=True, slots=True)
class Pages:
    """What is asked for, by keys that each server turns into its own arguments."""

    charts: list[str]
    """Ids of patients."""
    wards: list[str | None]
    """`sort_time|id` of the stay before each page; None before the first one."""
    tables: list[str | None]
    """Id of the patient before each page."""


async def prepare(settings: Settings, facility_id: UUID) -> Pages:
    """Adds the patients, makes the open views and what rivals need; says which pages there are."""
    await _add(settings, facility_id)
    for database in DATABASES:
        connection = await asyncpg.connect(getattr(settings, f"{database}_url"))
        try:
            async with connection.transaction():
                columns = [Column(*row) for row in await connection.fetch(DECLARED_COLUMNS, database)]
                await connection.execute(view_ddl(database, OPEN, columns))
            if database == "clinical":
                await connection.execute(await connection.fetchval(UNBOUND))
                await connection.execute(ONLY_INPATIENTS)
                for view, tags in KEYS.items():
                    quoted = tags.replace("'", "''")
                    await connection.execute(f"COMMENT ON VIEW engines.{view} IS '{quoted}'")
            await connection.execute("VACUUM ANALYZE")
        finally:
            await connection.close()
    return await _pages(settings)


async def _add(settings: Settings, facility_id: UUID) -> None:
    """The patients that the demo lacks, as the worker role; the same ones every time."""
    url = login_url(settings.clinical_url, WORKER, role_password(settings.secret, WORKER))
    connection = await asyncpg.connect(url, server_settings={"search_path": "clinical, public", "app.actor": "bench"})
    try:
        if await connection.fetchval(ADDED):
            return
        async with connection.transaction():
            for statement in MORE.read_text("utf-8").split(";\n")[:-1]:
                # Each statement takes as many of the values as it names.
                values = [facility_id, PATIENTS][: 2 if "$2" in statement else "$1" in statement]
                await connection.execute(statement, *values)
    finally:
        await connection.close()


async def _pages(settings: Settings) -> Pages:
    connection = await asyncpg.connect(settings.clinical_url)
    try:
        ids = await connection.fetch("SELECT id::text FROM clinical.patient ORDER BY id DESC LIMIT $1", PATIENTS)
        stays = await connection.fetch(
            "SELECT sort_time::text || '|' || id FROM clinical.encounter WHERE end_time IS NULL AND code = '32485007' "
            "AND sort_time > '2026-07-01 09:00Z' ORDER BY sort_time DESC, id DESC"
        )
    finally:
        await connection.close()
    patients = [row[0] for row in ids]
    return Pages(
        charts=patients[:CHARTS],
        wards=[stays[n - 1][0] if n else None for n in range(0, PATIENTS, WARD)],
        tables=[patients[n - 1] if n else None for n in range(0, PATIENTS, TABLE)],
    )


def shared_context(settings: Settings, caller: Caller, now: int) -> str:
    """`app.context` of the caller for every session, which the bench's own `access.verified` takes."""
    return sign(settings.secret, caller, 0, now + SECONDS_SHARED)
