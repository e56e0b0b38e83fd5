"""Writes of the importer to the notes store: whole documents by _id, each text once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from db.bulk import Bulk
from db.mongo import Mongo
from db.notes_schema import CARE_PLANS, CLINICAL_NOTES, GOALS
from workers.fhir.elements import Json
from workers.fhir.labels import label
from workers.fhir.memory import CLAIM, CLAIMS
from workers.fhir.note import text_hash

COLLECTIONS = {collection.name: collection for collection in (CLINICAL_NOTES, CARE_PLANS, GOALS)}


class Notes:
    """Collections that the importer fills."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def upsert(self, collection: str, documents: Sequence[Json]) -> tuple[int, int]:
        """Writes documents: how many changed, how many were there just so. Raises StoreError."""
        unique = {document["_id"]: document for document in documents}
        return await self._mongo.worker_upsert(COLLECTIONS[collection], list(unique.values()))

    async def claim(self, bulk: Bulk, resource_type: str, notes: Sequence[Json]) -> list[Json]:
        """Those of these notes that bring their text; a document's text takes the place of the same text of a report.

        Reports whose text is not theirs, or no longer, lose their note.
        """
        hashes = {note["_id"]: text_hash(note["text"]) for note in notes if note["text"]}
        told = [note for note in notes if note["text"]]
        patients = [UUID(note["metadata"]["patient_id"]) for note in told]
        texts, ids = [hashes[note["_id"]] for note in told], [UUID(note["_id"]) for note in told]
        before = await bulk.fetch("clinical", CLAIMS, patients, texts)
        await bulk.fetch("clinical", CLAIM, patients, texts, resource_type, ids)
        if resource_type == "DocumentReference":
            await self._delete([row["resource_id"] for row in before if row["resource_type"] == "DiagnosticReport"])
            return list(notes)
        after = await bulk.fetch("clinical", CLAIMS, patients, texts)
        owners = {str(row["resource_id"]) for row in after if row["resource_type"] == "DiagnosticReport"}
        await self._delete([key for key in ids if str(key) not in owners])
        return [note for note in told if note["_id"] in owners]

    async def settle_homes(self, homes: Mapping[UUID, UUID]) -> None:
        """Moves documents without an encounter to the facility where their patient is at home now."""
        await self._move("patient_id", homes, {"metadata.encounter_id": None})

    async def follow_encounters(self, facilities: Mapping[UUID, UUID]) -> None:
        """Moves documents of encounters to the facility where the encounter is now."""
        await self._move("encounter_id", facilities, {})

    async def relabel(self, bulk: Bulk, patients: Sequence[UUID]) -> None:
        """Adds to the documents of patients the labels that their facts imply now; for facts that came later."""
        keys = [str(key) for key in patients]
        for collection in COLLECTIONS.values() if keys else ():
            found = await self._mongo.worker_find(collection, {"metadata.patient_id": {"$in": keys}})
            await label(bulk, found)
            await self._mongo.worker_set(collection, {one["_id"]: {"security": one["security"]} for one in found})

    async def _move(self, name: str, facilities: Mapping[UUID, UUID], only: Json) -> None:
        keys = [str(key) for key in facilities]
        for collection in COLLECTIONS.values() if keys else ():
            found = await self._mongo.worker_find(collection, {f"metadata.{name}": {"$in": keys}, **only})
            homes = {one["_id"]: facilities[UUID(one["metadata"][name])] for one in found}
            moved = {key: {"metadata.facility_id": str(home)} for key, home in homes.items()}
            await self._mongo.worker_set(collection, moved)

    async def _delete(self, ids: Sequence[UUID]) -> None:
        if ids:
            await self._mongo.worker_delete(CLINICAL_NOTES, [str(key) for key in ids])
