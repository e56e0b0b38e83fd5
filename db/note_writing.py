"""One caller's writes to clinical notes: one document, one atomic operation, inside the caller's facility.

MongoDB has no policies and no triggers: what a writer may do is decided in PostgreSQL, in the transaction around it
(loaders/writes/clinical_note.py), and what can be done to a note at all, here. Every write adds to `versions` who made
it, when, and what it brought. What was signed stays: `versions`, `signatures` and `amendments` only grow, and other
sections than the signed ones come with an amendment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from db.caller import Caller
from db.errors import Forbidden
from db.mongo import Mongo, Record
from db.notes_schema import CLINICAL_NOTES
from db.policy import may_write
from db.visible import Document

NOTE_IDS = UUID("5d0b8a4e-6f0f-4d0e-9a53-1f2b5c7d9e11")
"""Namespace of ids of notes."""
WRITTEN_HERE: Document = {"drafted_by": {"$type": "string"}}
"""Condition of notes that were drafted here; the importer's are changed where they come from."""
UNSIGNED: Document = {"signatures": {"$size": 0}}
"""Condition of notes that nobody has signed."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a note says: its sections, and the text and search terms made of them."""

    sections: list[Document]
    text: str
    search_terms: list[str]


@dataclass(frozen=True, slots=True)
class Revision:
    """The next version of a note: its entry in `versions`, and what it changes."""

    entry: Document
    content: Content | None = None
    signature: Document | None = None
    amendment: Document | None = None


class NoteWriting:
    """Writes of one caller. Raises Forbidden for one whose profile may not write notes."""

    def __init__(self, mongo: Mongo, caller: Caller, record: Record) -> None:
        if not may_write(caller, CLINICAL_NOTES.name):
            raise Forbidden
        self._mongo = mongo
        self._facility_id = str(caller.facility_id)
        self._here = {"metadata.facility_id": self._facility_id}
        self._record = record
        self._told: Document | None = None

    def new_id(self, subject: str, key: str) -> UUID:
        """Id of the note that somebody drafts under a client's key: the same whenever that is tried."""
        return uuid5(NOTE_IDS, f"{self._facility_id}\n{subject}\n{key}")

    async def find(self, id: UUID) -> Document | None:
        """A note of the facility as it is stored; unmasked, it must not leave as it is. Raises StoreError."""
        self._record(self._mongo.name, "note_for_update")
        pipeline = [{"$match": {"_id": str(id), **self._here}}]
        found = await self._mongo.aggregate(CLINICAL_NOTES, pipeline)
        return found[0] if found else None

    async def add(self, note: Document) -> Document:
        """A new note; or, where one of this _id is there already, that one. Raises StoreError."""
        self._record(self._mongo.name, "add_note")
        metadata = {**note["metadata"], "facility_id": self._facility_id}
        more = {"metadata": metadata, "announced": 0, "unannounced": datetime.now(UTC)}
        return await self._mongo.add(CLINICAL_NOTES, note | more)

    async def revise(self, note: Document, revision: Revision) -> Document | None:
        """A note of the facility in its next version; None where it is in another version than this one by now.

        Raises StoreError.
        """
        self._record(self._mongo.name, "revise_note")
        entry, content = revision.entry, revision.content
        wanted = {"_id": note["_id"], **self._here, **WRITTEN_HERE, "version": note["version"]}
        if content is not None and (revision.amendment is None or revision.signature is None):
            wanted |= UNSIGNED
        put: Document = {key: entry[key] for key in ("version", "status", "doc_status")}
        put["unannounced"] = datetime.now(UTC)
        if content is not None:
            put |= {"sections": content.sections, "text": content.text, "search_terms": content.search_terms}
        more = {"versions": entry, "signatures": revision.signature, "amendments": revision.amendment}
        push = {path: one for path, one in more.items() if one is not None}
        return await self._mongo.update(CLINICAL_NOTES, wanted, {"$set": put, "$push": push})

    def told(self, note: Document) -> None:
        """Notes that the clinical database is told of this version, in a transaction that is still open."""
        self._told = note

    async def settle(self) -> None:
        """Says in the note that it was told; after the transaction. Raises StoreError."""
        if self._told is not None:
            self._record(self._mongo.name, "settle_note")
            await settle(self._mongo, self._told)


async def settle(mongo: Mongo, note: Document) -> None:
    """Says in a note that the clinical database was told of this version; of a later one its own writer says it."""
    here = {"metadata.facility_id": note["metadata"]["facility_id"]}
    wanted = {"_id": note["_id"], **here, "version": note["version"]}
    change = {"$set": {"announced": note["version"]}, "$unset": {"unannounced": ""}}
    await mongo.update(CLINICAL_NOTES, wanted, change)


def untold(note: Document) -> Sequence[dict[str, Any]]:
    """Writes to a note of which the clinical database was not told: actor, before and after, without any text."""
    names = ("version", "operation", "status", "doc_status", "digest")
    shown = [{name: one[name] for name in names} for one in note["versions"]]
    told = zip(note["versions"], [None, *shown], shown, strict=False)
    return [
        {"version": one["version"], "actor": one["subject"], "before": before, "after": after}
        for one, before, after in told
        if one["version"] > note["announced"]
    ]
