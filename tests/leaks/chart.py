"""A patient each of whose protected columns and paths holds a canary, found by walking what the stores declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from db.notes_schema import COLLECTIONS, DIGEST, Collection
from db.policy import Phi
from db.settings import Settings
from db.stores import Stores
from db.views import IDENTIFIER_KINDS
from loaders.search_terms import terms
from tests.ids import COLLECTIONS as DOCUMENTS
from tests.ids import IMAGING_VIEWS, VIEWS
from tests.layers.hospital import DEPARTMENT, FACILITY, PROVIDER
from tests.leaks.canaries import (
    DAY,
    INSTANT,
    NOTE_TEXT,
    NUMBER,
    TEXT,
    address,
    clinical_id,
    concept,
    contact,
    details,
    fragment,
    telecom,
)
from tests.people import People

DATABASES = ("clinical", "imaging", "vitals")
COLUMNS = """
SELECT k.table_name, k.column_name, k.kind, format_type(a.atttypid, a.atttypmod) AS type,
    EXISTS (SELECT FROM pg_constraint AS c WHERE c.conrelid = a.attrelid AND c.contype = 'c'
        AND pg_get_constraintdef(c.oid) LIKE '%is_objects(' || k.column_name || ')%') AS is_list
FROM access.column_kind AS k
JOIN pg_attribute AS a ON a.attrelid = format('%I.%I', $1::text, k.table_name)::regclass AND a.attname = k.column_name
ORDER BY k.table_name, k.position"""
FIRST = (
    "patient",
    "registration",
    "encounter",
    "condition",
    "diagnostic_report",
    "medication_request",
    "care_team",
    "imaging_study",
    "imaging_series",
)
"""Tables that others refer to."""
CATALOGUE = """
WITH medication AS (INSERT INTO clinical.medication (id, code_system, code) VALUES ($1, 'http://example.org', $3))
INSERT INTO clinical.lab_test (id, code_system, code) VALUES ($2, 'http://example.org', $3)"""
COUNTED = ("encounters", "conditions", "procedures", "medication_requests")
"""What a patient summary counts."""
NOT_TEXTUAL = {"allergy_intolerance.no_known_allergy", "imaging_upload.sha256"}
"""Columns that can hold no canary: true or false, a digest."""
WHERE_PATIENT = {"patient": "id", "imaging_series": "facility_id", "imaging_instance": "facility_id"}
"""Column that finds a table's rows of the chart, where it is not the patient's id."""


@dataclass(slots=True)
class Chart:
    """A patient of a facility of their own, alone there."""

    settings: Settings
    stores: Stores
    facility: UUID = field(default_factory=uuid4)
    patient: UUID = field(default_factory=uuid4)
    department: UUID = field(default_factory=uuid4)
    provider: UUID = field(default_factory=uuid4)
    ids: dict[str, UUID] = field(default_factory=dict[str, UUID])
    """Id of the row of each table, and of the document of each collection."""

    @property
    def nodes(self) -> Mapping[str, str]:
        """Global ids by type."""
        tables = VIEWS | IMAGING_VIEWS | {name: one.name for name, one in DOCUMENTS.items()}
        found = {name: f"{name}/{self.ids[table]}" for name, table in tables.items() if table in self.ids}
        own = {"Department": self.department, "Facility": self.facility, "Provider": self.provider}
        vital_sign = {"VitalSign": f"VitalSign/{self.ids['vital_sign']}.0"}
        return found | {name: f"{name}/{key}" for name, key in own.items()} | vital_sign

    async def write(self) -> None:
        """Writes everything, as the workers write."""
        clinical, people = self.stores.clinical, People(self.stores)
        await clinical.worker_fetch(FACILITY, self.facility, f"LEAKS-{self.facility.hex[:8].upper()}")
        await clinical.worker_fetch(DEPARTMENT, self.department, self.facility)
        await clinical.worker_fetch(PROVIDER, self.facility, self.provider)
        self.ids |= {"medication": clinical_id(), "lab_test": clinical_id(), "patient": self.patient}
        code = self.facility.hex
        await clinical.worker_fetch(CATALOGUE, self.ids["medication"], self.ids["lab_test"], code)
        for database in DATABASES:
            tables = await declared(self.settings, database)
            for table in sorted(tables, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST)):
                await self._row(database, table, tables[table])
        # Not of the catalogue: whoever may see a fact is shown what it is a fact of, and anybody the catalogue.
        del self.ids["medication"], self.ids["lab_test"]
        await people.stay(self.facility, self.patient, self.department, self.provider)
        for collection in COLLECTIONS:
            await self.stores.notes.worker_upsert(collection, [self._document(collection)])

    async def _row(self, database: str, table: str, columns: Sequence[asyncpg.Record]) -> None:
        """One row of a table, or one of each kind of identifier."""
        clinical_row = "CLINICAL" in (_kind_of(columns, "id"), _kind_of(columns, "result_id"))
        self.ids.setdefault(table, clinical_id() if clinical_row else uuid4())
        for position, kind in enumerate(IDENTIFIER_KINDS if table == "patient_identifier" else [None]):
            given = self._given(table) | {"position": position} | ({"kind": kind.value} if kind else {})
            row = {one["column_name"]: _value(self, one, kind) for one in columns if one["kind"] != "NONE"}
            row |= {one["column_name"]: given[one["column_name"]] for one in columns if _is_given(one, given)}
            names, places = ", ".join(f'"{name}"' for name in row), ", ".join(f"${n + 1}" for n in range(len(row)))
            sql: Any = f'INSERT INTO {database}."{table}" ({names}) VALUES ({places})'
            await getattr(self.stores, database).worker_fetch(sql, *row.values())

    def _given(self, table: str) -> dict[str, Any]:
        """Values of columns that hold no protected value, or must refer to another row."""
        referred = {f"{name}_id": self.ids.get(name) for name in (*FIRST, "lab_test", "medication") if name != table}
        return referred | {
            "id": self.ids[table],
            "facility_id": self.facility,
            "patient_id": self.patient,
            "provider_id": self.provider,
            "department_id": self.department,
            "status": "cancelled" if table == "appointment" else "final",
            "class_code": "AMB",
            "version": 1,
            "subject": "leaks",
            "expires_at": INSTANT,
            "as_of": INSTANT,
            "state": "completed",
            "sha256": None,
            "security": [],
            "storage_class": "STANDARD",
            "size_bytes": 1,
            "count": 1,
            "s3_key": f"imaging/{self.facility}/{TEXT[Phi.URL]}.dcm",
            "end_time": INSTANT + timedelta(hours=1),
            "reason_condition_id": [self.ids.get("condition")],
        }

    def _document(self, collection: Collection) -> dict[str, Any]:
        """A document with something at every path."""
        built: dict[str, Any] = _built(collection, collection.schema, "", None)
        metadata = {"facility_id": str(self.facility), "patient_id": str(self.patient)}
        if "encounter_id" in collection.schema["properties"]["metadata"]["properties"]:
            metadata["encounter_id"] = str(self.ids["encounter"])
        own = f"{self.facility}/{self.patient}" if collection.name == "patient_summaries" else str(uuid4())
        built |= {"_id": own, "metadata": metadata}
        if "search_terms" in built:
            built["search_terms"] = terms(NOTE_TEXT)
        if collection.name != "patient_summaries":
            self.ids[collection.name] = UUID(own)
        return built


async def declared(settings: Settings, database: str) -> dict[str, list[asyncpg.Record]]:
    """Declared columns of each table of a database that holds something protected."""
    connection = await asyncpg.connect(getattr(settings, f"{database}_url"))
    try:
        tables: dict[str, list[asyncpg.Record]] = {}
        for column in await connection.fetch(COLUMNS, database):
            tables.setdefault(column["table_name"], []).append(column)
    finally:
        await connection.close()
    links = {"care_team_participant"}
    return {
        table: columns
        for table, columns in tables.items()
        if table in links or any(column["kind"] != "NONE" for column in columns)
    }


def _kind_of(columns: Sequence[asyncpg.Record], name: str) -> str | None:
    return next((column["kind"] for column in columns if column["column_name"] == name), None)


def _is_given(column: asyncpg.Record, given: Mapping[str, Any]) -> bool:
    """Whether a value is given for a column; a protected status is a canary like other facts."""
    name = column["column_name"]
    return name in given and (column["kind"] == "NONE" or name != "status")


def _value(chart: Chart, column: asyncpg.Record, identifier: Phi | None) -> Any:
    """A canary of a column's kind that its type takes. Raises KeyError for a kind that is not known here."""
    made = {
        "FRAGMENT": fragment,
        "DETAILS": details,
        "BY_SYSTEM": lambda: [*telecom()],
        "CONTACT": contact,
        "BY_KIND": lambda: TEXT[identifier or Phi.OTHER_IDENTIFIER],
    }.get(column["kind"])
    kind = None if made else Phi(column["kind"])
    if kind is Phi.GEOGRAPHY and column["type"] == "jsonb":
        made = address
    elif column["type"] == "jsonb" and not made:
        made = concept
    if made:
        value: Any = made()
        return [value] if column["is_list"] and not isinstance(value, list) else value
    text = TEXT[kind or Phi.CLINICAL]
    return {
        "text[]": [text],
        "uuid": chart.ids[column["table_name"]],
        "uuid[]": [clinical_id()],
        "numeric": NUMBER,
        "boolean": False,
        "timestamp with time zone": INSTANT,
    }.get(column["type"], text)


def _built(collection: Collection, schema: Mapping[str, Any], path: str, inherited: Phi | None) -> Any:
    """What a validator takes at a path, with a canary of the path's kind."""
    kind = collection.kinds.get(path, inherited)
    type_ = schema["bsonType"]
    name = type_ if isinstance(type_, str) else type_[0]
    if name == "array":
        inside = f"{path}[]"
        if "items" not in schema:
            return [concept()]
        if schema["items"]["bsonType"] == "string" and path.endswith("security"):
            return []
        return [_built(collection, schema["items"], inside, kind)]
    if name == "object" and "properties" in schema:
        dot = f"{path}." if path else ""
        return {key: _built(collection, one, f"{dot}{key}", kind) for key, one in schema["properties"].items()}
    if name == "object":
        if "additionalProperties" in schema:
            return dict.fromkeys(COUNTED, int(NUMBER))
        days = {inner.rpartition(".")[2]: DAY for inner in collection.kinds if inner.startswith(f"{path}.")}
        return concept() | {"measure": concept(), "detailString": TEXT[Phi.CLINICAL]} | days
    if name == "date":
        return INSTANT if kind else datetime(2020, 1, 1, tzinfo=UTC)
    if name == "int":
        return 1
    if schema is DIGEST:
        return "0" * 64
    if "pattern" in schema:
        return str(clinical_id() if kind is Phi.CLINICAL else uuid4())
    if kind is Phi.FREE_TEXT and collection.name == "clinical_notes":
        return NOTE_TEXT
    return TEXT[kind] if kind else "final"
