"""A hospital of a layer's test: patients with one fact in every store, and who of them a caller sees in each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from db.caller import Caller, PurposeOfUse
from db.notes_schema import CLINICAL_NOTES
from db.policy import ROLES
from db.settings import Settings
from db.stores import FacilityName, Stores
from loaders.reader import Reader
from tests.asking import Graph
from tests.notes.documents import note
from tests.people import DIABETES, People

STORES = ("clinical", "imaging", "vitals", "notes")

FACILITY = "INSERT INTO clinical.facility (id, code, name) VALUES ($1, $2, 'Layers Hospital')"
DEPARTMENT = "INSERT INTO clinical.department (id, facility_id, name) VALUES ($1, $2, 'Ward')"
PROVIDER = """
WITH made AS (INSERT INTO clinical.provider (id, family) VALUES ($2, 'Layer') RETURNING id)
INSERT INTO clinical.provider_role (facility_id, provider_id) SELECT $1, id FROM made"""
STUDY = """
INSERT INTO imaging.imaging_study (id, facility_id, patient_id, status, started, modality, sort_time)
VALUES ($1, $2, $3, 'available', '2020-01-01', ARRAY['CT'], '2020-01-01T00:00:00Z')"""
READING = """
INSERT INTO vitals.vital_sign
    (id, position, facility_id, patient_id, status, code_system, code, value, value_unit, effective, sort_time)
VALUES ($1, 0, $2, $3, 'final', 'http://loinc.org', '8867-4', 70, '/min', '2020-01-01', '2020-01-01T00:00:00Z')"""
PATIENT = "INSERT INTO clinical.patient (id, birth_date) VALUES ($1, '1970-01-01')"
REGISTRATION = "INSERT INTO clinical.registration (facility_id, patient_id, mrn) VALUES ($1, $2, $3)"
CONSENT = """
INSERT INTO clinical.consent (id, facility_id, patient_id, status, provision, sort_time)
VALUES ($1, $2, $3, $4, $5, now())"""

CONDITIONS_SEEN = "/* conditions_seen */ SELECT patient_id, id FROM condition"
STUDIES_SEEN = "/* studies_seen */ SELECT patient_id, id FROM imaging_study"
READINGS_SEEN = "/* readings_seen */ SELECT patient_id, id FROM vital_sign"


@dataclass(frozen=True, slots=True)
class Hospital:
    """A facility of its own in the stores that all tests share."""

    settings: Settings
    stores: Stores
    id: UUID = field(default_factory=uuid4)

    async def department(self) -> UUID:
        """A new department."""
        key = uuid4()
        await self.write(DEPARTMENT, key, self.id)
        return key

    async def provider(self) -> UUID:
        """A new provider who acts here."""
        key = uuid4()
        await self.write(PROVIDER, self.id, key)
        return key

    async def patient(self, department: UUID | None = None, provider: UUID | None = None) -> UUID:
        """A new patient with diabetes, a study, a reading and a note; in hospital where a department or provider is."""
        key = uuid4()
        await self.write(PATIENT, key)
        await self.write(REGISTRATION, self.id, key, f"L-{key.hex[:12]}")
        people = People(self.stores)
        await people.condition(self.id, key, DIABETES)
        await self.stores.imaging.worker_fetch(STUDY, uuid4(), self.id, key)
        await self.stores.vitals.worker_fetch(READING, uuid4(), self.id, key)
        await self.stores.notes.worker_upsert(CLINICAL_NOTES, [note(self.id, key)])
        if department or provider:
            await people.stay(self.id, key, department, provider)
        return key

    async def consent(self, patient: UUID, status: str = "active", **provision: Any) -> UUID:
        """A consent with this FHIR provision."""
        key = uuid4()
        await self.write(CONSENT, key, self.id, patient, status, provision)
        return key

    async def write(self, sql: Any, *values: object) -> Sequence[Any]:
        """Runs a statement in the clinical database as the workers do."""
        return await self.stores.clinical.worker_fetch(sql, *values)

    def caller(self, role: str, purpose: PurposeOfUse = PurposeOfUse.TREAT, **bound: Any) -> Caller:
        """A caller of a role here; `bound` is to a department, as a provider, to one patient."""
        return Caller(f"layers-{role}", ROLES[role], self.id, purpose, **bound)

    async def seen(self, caller: Caller, store: str) -> list[UUID]:
        """Patients of whom the caller sees facts in a store, once for each fact, in order."""
        async with self.reading(caller) as reader:
            if store == "notes":
                found = await reader.notes.find("notes_seen", CLINICAL_NOTES, {})
                return sorted(UUID(document["metadata"]["patient_id"]) for document in found)
            if store == "imaging":
                rows = await reader.imaging.fetch(STUDIES_SEEN)
            elif store == "vitals":
                rows = await reader.vitals.fetch(READINGS_SEEN)
            else:
                rows = await reader.clinical.fetch(CONDITIONS_SEEN)
            return sorted(row["patient_id"] for row in rows)

    @asynccontextmanager
    async def reading(self, caller: Caller) -> AsyncGenerator[Reader]:
        """The stores as the caller sees them."""
        reader = Reader(self.stores, caller)
        try:
            yield reader
        finally:
            await reader.close()

    def graph(self) -> Graph:
        """The graph over the stores."""
        return Graph(self.settings, self.stores, [FacilityName(self.id, self.code, "Layers Hospital")])

    @property
    def code(self) -> str:
        """Short code of the facility."""
        return f"LAYERS-{self.id.hex[:8].upper()}"

    async def open(self) -> None:
        """Writes the facility itself."""
        await self.write(FACILITY, self.id, self.code)
