"""The pipeline that case studies of such platforms print, which `make bench-research` is compared with.

Patient after patient, each table is asked for the patient's records, each record is a dict, each of its fields goes
through the rule of its kind, and rows are inserted one by one, or some at a time. It is not made slow: statements are
prepared, on one connection that no policy narrows, and each finds its rows by an index. Its rules are those of Safe
Harbor, field by field. Of a release it has neither vital signs nor a plan against small groups, an archive or a check.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

import asyncpg

from db.declared import kinds
from db.warehouse import Row, Warehouse

TIMEOUT_S = 60.0
SURROGATE_BITS = 53
"""What JSON keeps exactly."""
PEOPLE = """SELECT patient_id, array_agg(facility_id) FROM clinical.registration
GROUP BY patient_id ORDER BY patient_id LIMIT $1"""
"""Ids of tests.bench.research_data are hashes, so that the first ones are a sample."""

NUMBER: LiteralString = "NUMBER(19, 0)"
TEXT: LiteralString = "VARCHAR"
CODED: Mapping[LiteralString, LiteralString] = {"code_system": TEXT, "code": TEXT}


@dataclass(frozen=True, slots=True)
class Source:
    """A table of the release: whence ($1 patient, $2 facilities), kinds of its fields, and columns with their types."""

    sql: LiteralString
    kinds: Mapping[str, str]
    columns: Mapping[LiteralString, LiteralString]


SOURCES: Mapping[LiteralString, Source] = {
    "patients": Source(
        """SELECT p.id AS patient_id, n.family, n.given, p.gender, p.birth_date, p.deceased_date_time, p.race,
            p.ethnicity, p.telecom, p.address
        FROM clinical.patient AS p
        LEFT JOIN clinical.patient_name AS n ON n.patient_id = p.id AND n.position = 0
        WHERE p.id = $1 AND $2::uuid[] IS NOT NULL""",
        {**kinds("patient_name"), **kinds("patient")},
        {
            "patient_id": NUMBER, "gender": TEXT, "birth_date": TEXT, "deceased_date_time": TEXT, "race": TEXT,
            "ethnicity": TEXT, "address": TEXT,
        },
    ),
    "encounters": Source(
        """SELECT patient_id, id AS encounter_id, status, class_code, code_system, code, period_start,
            period_end
        FROM clinical.encounter WHERE facility_id = ANY ($2::uuid[]) AND patient_id = $1""",
        {**kinds("encounter"), "encounter_id": "NONE"},
        {
            "patient_id": NUMBER, "encounter_id": NUMBER, "status": TEXT, "class_code": TEXT, **CODED,
            "period_start": TEXT, "period_end": TEXT,
        },
    ),
    "conditions": Source(
        """SELECT patient_id, encounter_id, clinical_status, verification_status, code_system, code, onset,
            abatement, recorded_date, note
        FROM clinical.condition WHERE facility_id = ANY ($2::uuid[]) AND patient_id = $1""",
        kinds("condition"),
        {
            "patient_id": NUMBER, "encounter_id": NUMBER, "clinical_status": TEXT, "verification_status": TEXT, **CODED,
            "onset": TEXT, "abatement": TEXT, "recorded_date": TEXT,
        },
    ),
    "procedures": Source(
        """SELECT patient_id, encounter_id, status, code_system, code, performed_start, performed_end
        FROM clinical.procedure WHERE facility_id = ANY ($2::uuid[]) AND patient_id = $1""",
        kinds("procedure"),
        {
            "patient_id": NUMBER, "encounter_id": NUMBER, "status": TEXT, **CODED, "performed_start": TEXT,
            "performed_end": TEXT,
        },
    ),
    "medication_requests": Source(
        """SELECT r.patient_id, r.encounter_id, r.status, r.intent, m.code_system, m.code, r.authored_on
        FROM clinical.medication_request AS r JOIN clinical.medication AS m ON m.id = r.medication_id
        WHERE r.facility_id = ANY ($2::uuid[]) AND r.patient_id = $1""",
        {**kinds("medication"), **kinds("medication_request")},
        {
            "patient_id": NUMBER, "encounter_id": NUMBER, "status": TEXT, "intent": TEXT, **CODED, "authored_on": TEXT,
        },
    ),
    "medication_administrations": Source(
        """SELECT a.patient_id, a.encounter_id, a.status, m.code_system, m.code, a.effective_start
        FROM clinical.medication_administration AS a JOIN clinical.medication AS m ON m.id = a.medication_id
        WHERE a.facility_id = ANY ($2::uuid[]) AND a.patient_id = $1""",
        {**kinds("medication"), **kinds("medication_administration")},
        {"patient_id": NUMBER, "encounter_id": NUMBER, "status": TEXT, **CODED, "effective_start": TEXT},
    ),
    "lab_results": Source(
        """SELECT r.patient_id, r.encounter_id, r.status, t.code_system, t.code, r.value_number,
            r.value_unit, r.effective, r.issued, r.note
        FROM clinical.lab_result AS r JOIN clinical.lab_test AS t ON t.id = r.lab_test_id
        WHERE r.facility_id = ANY ($2::uuid[]) AND r.patient_id = $1""",
        {**kinds("lab_test"), **kinds("lab_result")},
        {
            "patient_id": NUMBER, "encounter_id": NUMBER, "status": TEXT, **CODED, "value_number": "FLOAT",
            "value_unit": TEXT, "effective": TEXT, "issued": TEXT,
        },
    ),
}  # fmt: skip


class Rules:
    """What of a field is released, by its kind; a kind that is not here is not released."""

    def __init__(self, prefixes: frozenset[str], day: date) -> None:
        self._prefixes = prefixes
        self._day = day
        self._surrogates: defaultdict[UUID, int] = defaultdict(lambda: secrets.randbits(SURROGATE_BITS))
        self._by_kind: Mapping[str, Callable[[Any], Any]] = {
            "NONE": self._kept,
            "CLINICAL": self._kept,
            "DATE": self._year,
            "GEOGRAPHY": self._area,
        }

    def deidentified(self, record: Mapping[str, Any], declared: Mapping[str, str]) -> dict[str, Any]:
        """A record without identifiers; patients and encounters have numbers by chance, the same one each time."""
        released: dict[str, Any] = {}
        for name, value in record.items():
            rule = self._by_kind.get(declared[name])
            if rule is not None and value is not None:
                released[name] = rule(value)
        if self._day.year - int(released.get("birth_date") or self._day.year) > 89:  # every year that says so is hidden
            released |= {"birth_date": "90+", "deceased_date_time": None}
        return released

    def _kept(self, value: Any) -> Any:
        if isinstance(value, UUID):
            return self._surrogates[value]
        return float(value) if isinstance(value, Decimal) else value

    def _year(self, value: str) -> str:
        return value[:4]

    def _area(self, value: str) -> str | None:
        """State and first three digits of the postal code of the first of several addresses, 000 where few live."""
        for address in json.loads(value):
            prefix = str(address.get("postalCode", ""))[:3]
            return f"{address.get('state', '')} {prefix if prefix in self._prefixes else '000'}"
        return None


async def naive(clinical_url: str, warehouse_url: str, sample: int, batch: int) -> float:
    """Seconds from the first read to the last insert for this many patients, with so many rows in an INSERT.

    Needs the administrator of the clinical database; leaves nothing in the warehouse. Raises StoreError.
    """
    connection = await asyncpg.connect(clinical_url)
    warehouse = Warehouse("warehouse", warehouse_url, TIMEOUT_S)
    try:
        for table, source in SOURCES.items():
            columns = ", ".join(f"{name} {kind}" for name, kind in source.columns.items())
            await warehouse.worker_execute(f"CREATE OR REPLACE TABLE naive_{table} ({columns})")
        return await _release(connection, warehouse, sample, batch)
    finally:
        for table in SOURCES:
            await warehouse.worker_execute(f"DROP TABLE IF EXISTS naive_{table}")
        await warehouse.close()
        await connection.close()


async def _release(connection: asyncpg.Connection, warehouse: Warehouse, sample: int, batch: int) -> float:
    people = await connection.fetch(PEOPLE, sample)
    prefixes = await connection.fetch("SELECT prefix FROM access.zip3")
    rules = Rules(frozenset(row[0] for row in prefixes), datetime.now(UTC).date())
    statements = {table: await connection.prepare(source.sql) for table, source in SOURCES.items()}
    waiting: dict[str, list[Row]] = {table: [] for table in SOURCES}
    started = time.perf_counter()
    for patient_id, facilities in people:
        for table, source in SOURCES.items():
            rows = waiting[table]
            for record in await statements[table].fetch(patient_id, facilities):
                released = rules.deidentified(dict(record), source.kinds)
                rows.append(tuple(released.get(column) for column in source.columns))
            if len(rows) >= batch:
                await warehouse.worker_load(f"naive_{table}", source.columns, rows)
                rows.clear()
    for table, source in SOURCES.items():
        await warehouse.worker_load(f"naive_{table}", source.columns, waiting[table])
    return time.perf_counter() - started
