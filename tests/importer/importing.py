"""What the importer's tests do: write small FHIR files, import them, look at what is stored."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid5

import asyncpg

from db.bulk import exact_json
from db.mongo import Mongo
from db.notes_schema import CARE_PLANS, CLINICAL_NOTES, GOALS
from db.settings import Settings
from workers.fhir.report import Report
from workers.import_fhir import import_paths

Json = dict[str, Any]
COLLECTIONS = {collection.name: collection for collection in (CLINICAL_NOTES, CARE_PLANS, GOALS)}
SPACE = UUID("a5b6f7c8-0000-4000-8000-000000000000")

TABLES = """
SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname
"""

KEPT = ("sensitive_code",)
"""Tables that migrations fill."""


def uid(name: str) -> str:
    """A UUID for a name, the same every time."""
    return str(uuid5(SPACE, name))


def ref(name: str, resource_type: str | None = None) -> Json:
    """Reference: urn:uuid, or relative where a type is given."""
    return {"reference": f"{resource_type}/{uid(name)}" if resource_type else f"urn:uuid:{uid(name)}"}


def coded(code: str, system: str = "http://loinc.org", display: str | None = None) -> Json:
    """CodeableConcept of one coding."""
    return {"coding": [{"system": system, "code": code, "display": display or code}]}


def patient(called: str = "ann", /, **elements: Any) -> Json:
    """A Patient with a name."""
    basic: Json = {"name": [{"use": "official", "family": "Dorn", "given": [called]}], "birthDate": "1960-02-29"}
    return {"resourceType": "Patient", "id": uid(called), **basic, **elements}


def organization(name: str = "north", /, **elements: Any) -> Json:
    """An Organization."""
    return {"resourceType": "Organization", "id": uid(name), "name": f"{name.title()} Hospital", **elements}


def encounter(name: str = "visit", /, of: str = "ann", at: str = "north", **elements: Any) -> Json:
    """A finished ambulatory Encounter."""
    return {
        "resourceType": "Encounter",
        "id": uid(name),
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": ref(of),
        "period": {"start": "2020-03-01T09:00:00-05:00", "end": "2020-03-01T09:30:00-05:00"},
        "serviceProvider": ref(at),
        **elements,
    }


def observation(name: str, category: str | None = "laboratory", /, **elements: Any) -> Json:
    """A final Observation of one quantity, unless other elements are given."""
    basic: Json = {"code": coded("2345-7"), "effectiveDateTime": "2020-03-01T09:10:00-05:00", "status": "final"}
    if category:
        basic["category"] = [coded(category, "http://terminology.hl7.org/CodeSystem/observation-category")]
    return {"resourceType": "Observation", "id": uid(name), "subject": ref("ann"), **basic, **elements}


def encoded(text: str) -> Json:
    """Attachment of a plain text."""
    return {"contentType": "text/plain; charset=utf-8", "data": base64.b64encode(text.encode()).decode()}


def document(name: str, text: str, /, **elements: Any) -> Json:
    """A current DocumentReference of the visit."""
    return {
        "resourceType": "DocumentReference",
        "id": uid(name),
        "status": "current",
        "subject": ref("ann"),
        "date": "2020-03-01T10:00:00-05:00",
        "content": [{"attachment": encoded(text)}],
        "context": {"encounter": [ref("visit")]},
        **elements,
    }


def bundle(*resources: Json, kind: str = "transaction") -> Json:
    """Bundle of resources; a collection has no requests."""
    entries: list[Json] = []
    for resource in resources:
        entry: Json = {"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource}
        if kind != "collection":
            entry["request"] = {"method": "POST", "url": resource["resourceType"]}
        entries.append(entry)
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def chart(*resources: Json, kind: str = "transaction") -> Json:
    """Bundle of one patient with a visit at one hospital, and more resources."""
    return bundle(patient(), organization(), encounter(), *resources, kind=kind)


class Importing:
    """Stores of an importer's test."""

    def __init__(self, configured: Settings, folder: Path) -> None:
        self.configured = configured
        self.folder = folder
        self.mongo = Mongo("notes", configured.notes_url, 30)

    async def empty(self) -> None:
        """Removes every row and document."""
        for database in ("clinical", "imaging", "vitals"):
            connection = await self._connect(database)
            names = [row[0] for row in await connection.fetch(TABLES, database)]
            await connection.execute("SET session_replication_role = replica")  # triggers keep audited rows
            tables = [f"{database}.{name}" for name in names if name not in KEPT]
            # Nothing is cut off beneath what refers to it.
            tables += ["vault.surrogate", "vault.member"] if database == "clinical" else []
            await connection.execute(f"TRUNCATE {', '.join(tables)}")
            await connection.close()
        await self.mongo.ensure()
        for collection in COLLECTIONS.values():
            found = await self.mongo.worker_find(collection, {})
            await self.mongo.worker_delete(collection, [document["_id"] for document in found])

    async def close(self) -> None:
        """Drops the connection to the notes store."""
        await self.mongo.close()

    def write(self, name: str, *contents: Json) -> Path:
        """A file in the test's folder: NDJSON of all contents, or a bundle; gzipped where the name says so."""
        raw = b"\n".join(exact_json(content) for content in contents)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return path

    async def run(self, *paths: Path, facility: str | None = None) -> Report:
        """Imports."""
        return await import_paths(self.configured, list(paths), facility, lambda line: None)

    async def load(self, content: Json, name: str = "bundle.json") -> Report:
        """Writes one bundle and imports it."""
        return await self.run(self.write(name, content))

    async def rows(self, sql: LiteralString, *args: object, database: str = "clinical") -> list[Json]:
        """Rows of a statement, as the database's owner."""
        connection = await self._connect(database)
        try:
            return [dict(row) for row in await connection.fetch(sql, *args)]
        finally:
            await connection.close()

    async def notes(self, collection: str = "clinical_notes") -> list[Json]:
        """Documents of a collection, by time."""
        found = await self.mongo.worker_find(COLLECTIONS[collection], {})
        return sorted(found, key=lambda document: (document["sort_time"], document["_id"]))

    async def fingerprint(self) -> dict[str, str]:
        """Hash of the contents of every table and collection, whatever the order of rows."""
        found: dict[str, str] = {}
        for database in ("clinical", "imaging", "vitals"):
            connection = await self._connect(database)
            for (name,) in await connection.fetch(TABLES, database):
                rows = f"SELECT to_jsonb(r) - 'version' FROM {database}.{name} AS r"  # how often a row was written
                sql = f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM ({rows}) AS t (t)"
                row = await connection.fetchrow(sql)
                found[f"{database}.{name}"] = row[0] if row else ""
            await connection.close()
        for name in COLLECTIONS:
            texts = sorted(repr(document) for document in await self.notes(name))
            found[name] = hashlib.sha256("|".join(texts).encode()).hexdigest()
        return found

    async def counts(self) -> Counter[str]:
        """Number of stored resources of each FHIR type."""
        found: Counter[str] = Counter()
        for resource_type, (database, sql) in COUNTS.items():
            connection = await self._connect(database)
            found[resource_type] = (await connection.fetch(sql))[0][0]
            await connection.close()
        for resource_type, collection in DOCUMENTS.items():
            found[resource_type] = len(await self.notes(collection))
        found["Observation"] += found.pop("vital signs")
        return +found

    async def _connect(self, database: str) -> asyncpg.Connection:
        return await asyncpg.connect(getattr(self.configured, f"{database}_url"))


COUNTS = {
    "Organization": ("clinical", "SELECT count(*) FROM clinical.facility"),
    "Location": ("clinical", "SELECT count(*) FROM clinical.department"),
    "Practitioner": ("clinical", "SELECT count(*) FROM clinical.provider"),
    "PractitionerRole": ("clinical", "SELECT count(*) FROM clinical.practitioner_role"),
    "Patient": ("clinical", "SELECT count(*) FROM clinical.patient"),
    "Encounter": ("clinical", "SELECT count(*) FROM clinical.encounter"),
    "Condition": ("clinical", "SELECT count(*) FROM clinical.condition"),
    "Procedure": ("clinical", "SELECT count(*) FROM clinical.procedure"),
    "AllergyIntolerance": ("clinical", "SELECT count(*) FROM clinical.allergy_intolerance"),
    "Immunization": ("clinical", "SELECT count(*) FROM clinical.immunization"),
    "MedicationRequest": ("clinical", "SELECT count(*) FROM clinical.medication_request"),
    "MedicationAdministration": ("clinical", "SELECT count(*) FROM clinical.medication_administration"),
    "DiagnosticReport": ("clinical", "SELECT count(*) FROM clinical.diagnostic_report"),
    "CareTeam": ("clinical", "SELECT count(*) FROM clinical.care_team"),
    "Observation": (
        "clinical",
        "SELECT (SELECT count(*) FROM clinical.lab_result) + (SELECT count(*) FROM clinical.observation)",
    ),
    "vital signs": ("vitals", "SELECT count(DISTINCT id) FROM vitals.vital_sign"),
    "ImagingStudy": ("imaging", "SELECT count(*) FROM imaging.imaging_study"),
}
DOCUMENTS = {"DocumentReference": "clinical_notes", "CarePlan": "care_plans", "Goal": "goals"}
