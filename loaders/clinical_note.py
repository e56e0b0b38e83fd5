"""Clinical notes: newest of patients and encounters, by id, by words and phrases (FHIR R4 DocumentReference)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from db.mongo import Document
from db.note_signature import text_of
from db.notes_schema import CLINICAL_NOTES
from db.scrub.scrubber import SeedsExceeded
from db.scrub.seeds import Seeds
from loaders.documents import NEWEST_FIRST, any_of, documents_by_id, key, newest_documents, within
from loaders.page import TimePage
from loaders.reader import Reader
from loaders.search_terms import TextQuery

SCRUB_SEEDS_OF_PATIENTS = """/* scrub_seeds_of_patients */
SELECT patient_id, names, identifiers, contacts, places, birth_date
FROM access.scrub_seeds($1::uuid[])"""

UNREAD = ["search_terms", "versions"]
TYPE = "type.coding.code"


@dataclass(frozen=True, slots=True)
class AuthorRow:
    """Who wrote or signed: a provider of ours, or the name alone."""

    provider_id: UUID | None
    display: str | None


@dataclass(frozen=True, slots=True)
class SignatureRow:
    """Who signed, when (FHIR dateTime) and as what; digest and version only where it was signed here."""

    note_id: UUID
    position: int
    provider_id: UUID | None
    display: str | None
    time: str | None
    type: str | None
    digest: str | None
    version: int | None


@dataclass(frozen=True, slots=True)
class ClinicalNoteRow:
    """One document of clinical_notes."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    status: str
    doc_status: str | None
    type: dict[str, Any] | None
    category: list[dict[str, Any]] | None
    date: str | None
    title: str | None
    author: list[AuthorRow]
    sections: list[dict[str, Any]] | None
    text: str | None
    signatures: list[SignatureRow]
    amendments: list[dict[str, Any]] | None
    relates_to: list[dict[str, Any]]
    sort_time: datetime
    version: int | None


@dataclass(frozen=True, slots=True)
class NoteSearch:
    """A search over the notes of the facility: text, period, and type codes where given."""

    query: TextQuery
    start: datetime
    end: datetime
    types: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class NoteFacet:
    """How many notes that match have one type, by the first code of the type."""

    code: str | None
    display: str | None
    count: int


def note_row(document: Document) -> ClinicalNoteRow:
    """Row of a document; a field that the policy hides is None."""
    id = UUID(document["_id"])
    return ClinicalNoteRow(
        id=id,
        patient_id=UUID(document["metadata"]["patient_id"]),
        encounter_id=key(document["metadata"]["encounter_id"]),
        status=document["status"],
        doc_status=document["doc_status"],
        type=document.get("type"),
        category=document.get("category"),
        date=document.get("date"),
        title=document.get("title"),
        author=[AuthorRow(key(one["provider_id"]), one["display"]) for one in document["author"]],
        sections=document.get("sections"),
        text=document.get("text"),
        signatures=[
            SignatureRow(
                note_id=id,
                position=position,
                provider_id=key(one["provider_id"]),
                display=one["display"],
                time=one.get("time"),
                type=one["type"],
                digest=one.get("digest"),
                version=one.get("version"),
            )
            for position, one in enumerate(document["signatures"])
        ],
        amendments=document.get("amendments"),
        relates_to=document["relates_to"],
        sort_time=document["sort_time"],
        version=document.get("version"),
    )


notes_of_patients = newest_documents(
    "clinical_notes_of_patients", CLINICAL_NOTES, "metadata.patient_id", note_row, ("status", TYPE), UNREAD
)
notes_of_encounters = newest_documents(
    "clinical_notes_of_encounters", CLINICAL_NOTES, "metadata.encounter_id", note_row, ("status", TYPE), UNREAD
)
note_by_id = documents_by_id("clinical_note_by_id", CLINICAL_NOTES, note_row, UNREAD)


async def histories_of_notes(reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, Sequence[Mapping[str, Any]]]:
    """Versions of notes that were signed and that a later one took the place of, oldest first, with their text."""
    keys = {"_id": {"$in": [str(key) for key in ids]}}
    kept: list[Document] = [{"$project": {"metadata": 1, "versions": 1, "signatures": 1}}]
    found = await reader.notes.aggregate("clinical_note_histories", CLINICAL_NOTES, keys, kept)
    return {UUID(document["_id"]): _history(document) for document in found}


def _history(document: Document) -> Sequence[Mapping[str, Any]]:
    signed = {one.get("version") for one in document["signatures"]}
    contents = [one for one in document.get("versions", ()) if one["sections"] is not None]
    return [{**one, "text": text_of(one["sections"])} for one in contents[:-1] if one["version"] in signed]


async def signatures_verified(reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, Sequence[bool | None]]:
    """Whether each signature of notes holds, in their order."""
    return await reader.notes.verified("clinical_note_signatures", ids)


async def scrubbed_texts(reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, Mapping[str, Any]]:
    """Scrubbed `text`, `sections` and `amendments` of notes; none where the patient's own identifiers are not known.

    Each note is scrubbed in a thread: others go on, and a request that is cancelled stops before the next note.
    """
    found = await reader.notes.unscrubbed("clinical_note_texts", CLINICAL_NOTES, ids)
    patients = list({note.patient_id for note in found})
    records = await reader.clinical.fetch(SCRUB_SEEDS_OF_PATIENTS, patients) if patients else []
    seeds = {record[0]: Seeds(*record) for record in records}
    texts: dict[UUID, Mapping[str, Any]] = {}
    for note in found:
        if note.patient_id in seeds:
            with suppress(SeedsExceeded):
                texts[note.id] = await asyncio.to_thread(note.scrubbed, seeds[note.patient_id])
    return texts


async def notes_by_text(reader: Reader, search: NoteSearch, page: TimePage) -> Sequence[ClinicalNoteRow]:
    """Up to page.first + 1 notes of the facility with all words and phrases of the search, newest first."""
    newest: list[Document] = [{"$unset": UNREAD}, {"$sort": NEWEST_FIRST}, {"$limit": page.first + 1}]
    stages = [*_matching(search.query), *within(page), *any_of(TYPE, search.types), *newest]
    return [note_row(one) for one in await _search(reader, "clinical_notes_by_text", search.query, stages)]


async def facets_of_searches(
    reader: Reader, searches: Sequence[NoteSearch]
) -> Mapping[NoteSearch, Sequence[NoteFacet]]:
    """Facets of each search, most frequent first; they count all types, whichever were asked for."""
    return {search: await _facets(reader, search) for search in searches}


async def _facets(reader: Reader, search: NoteSearch) -> Sequence[NoteFacet]:
    stages = [
        *_matching(search.query),
        *within(TimePage(1, start=search.start, end=search.end)),
        {"$set": {"main": {"$arrayElemAt": ["$type.coding", 0]}}},
        {"$group": {"_id": "$main.code", "display": {"$max": "$main.display"}, "count": {"$sum": 1}}},
        {"$sort": {"count": -1, "_id": 1}},
    ]
    found = await _search(reader, "clinical_note_facets", search.query, stages)
    return [NoteFacet(one["_id"], one["display"], one["count"]) for one in found]


def _matching(query: TextQuery) -> list[Document]:
    """Stages that keep what has all stems and phrases; the first stem is the key that found it."""
    stages: list[Document] = [{"$match": {"search_terms": {"$all": list(query.stems)}}}]
    return stages + [{"$match": {"text": {"$regex": phrase, "$options": "i"}}} for phrase in query.phrases]


async def _search(reader: Reader, statement: str, query: TextQuery, stages: Sequence[Document]) -> list[Document]:
    keys = {"search_terms": query.stems[0]}
    return await reader.notes.aggregate(statement, CLINICAL_NOTES, keys, stages, words=query.words)
