"""Clinical notes of patients and encounters, and the search over the notes of the facility."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from db.errors import InvalidArgument, PhiFilterForbidden
from db.policy import Form, Phi, form, shows
from loaders.clinical_note import (
    ClinicalNoteRow,
    NoteFacet,
    NoteSearch,
    SignatureRow,
    facets_of_searches,
    histories_of_notes,
    note_by_id,
    notes_by_text,
    notes_of_encounters,
    notes_of_patients,
    scrubbed_texts,
    signatures_verified,
)
from loaders.search_terms import parse
from resolvers import arguments
from resolvers.arguments import codes
from resolvers.connection import Slice, link, one_of, relation, scope, time_page, time_slice
from resolvers.context import BatchResolver, Context

NOTE_STATUS = one_of("current", "superseded", "entered-in-error", "unknown")
FIELD = "Query.clinicalNotes"

of_patients = relation("Patient.clinicalNotes", notes_of_patients, status=NOTE_STATUS, type=codes)
of_encounters = relation("Encounter.clinicalNotes", notes_of_encounters, status=NOTE_STATUS, type=codes)
written = link(note_by_id, "id")


def _scrubs(context: Context) -> bool:
    return form(context.caller.profile, context.caller.purpose, Phi.FREE_TEXT) is Form.SCRUB


def _worded(name: str) -> BatchResolver:
    """Batch resolver of a note's free text: as it is stored, or scrubbed where the policy says so."""

    async def resolve(context: Context, parents: Sequence[ClinicalNoteRow]) -> Sequence[Any]:
        if not _scrubs(context):
            return [getattr(note, name) for note in parents]
        found = await context.reader.load_many(scrubbed_texts, [note.id for note in parents])
        return [None if texts is None else texts[name] for texts in found]

    return resolve


text_of_notes, sections_of_notes, amendments_of_notes = map(_worded, ("text", "sections", "amendments"))


async def scrubbed(context: Context, parents: Sequence[ClinicalNoteRow]) -> Sequence[bool]:
    """Whether the caller gets the texts of notes scrubbed."""
    return [_scrubs(context)] * len(parents)


async def histories(context: Context, parents: Sequence[ClinicalNoteRow]) -> Sequence[Any]:
    """Superseded versions of each note; None for who reads no text, or only scrubbed: nothing scrubs these."""
    if not shows(context.caller, Phi.FREE_TEXT):
        return [None] * len(parents)
    return await context.reader.load_many(histories_of_notes, [note.id for note in parents])


async def signatures_valid(context: Context, parents: Sequence[SignatureRow]) -> Sequence[bool | None]:
    """Whether each signature holds; None for one of another system, which cannot be verified here."""
    found = await context.reader.load_many(signatures_verified, [one.note_id for one in parents])
    return [None if held is None else held[one.position] for one, held in zip(parents, found, strict=True)]


async def signature_valid(context: Context, parents: Sequence[ClinicalNoteRow]) -> Sequence[bool | None]:
    """Whether all signatures of each note hold that can be verified; None where there are none."""
    found = await context.reader.load_many(signatures_verified, [note.id for note in parents])
    verified = [[one for one in held or () if one is not None] for held in found]
    return [all(held) if held else None for held in verified]


@dataclass(frozen=True, slots=True)
class FoundNotes:
    """A page of the notes that a search found, and the search itself, from which facets are counted when asked for."""

    search: NoteSearch
    page: Slice[ClinicalNoteRow]


async def search(
    context: Context,
    *,
    text: str,
    type: Sequence[str] | None,
    first: int,
    after: str | None,
    start: str | None,
    end: str | None,
) -> FoundNotes:
    """Notes of the facility with all words and "phrases" of a text, newest first.

    Raises PhiFilterForbidden for a caller who may not read free text: what can be searched can be guessed.
    """
    query = parse(arguments.text("text", text, minimum=2))
    if not query.stems:
        raise InvalidArgument("text", "must have a word that is worth searching for")
    page = time_page(context, FIELD, first, after, start, end)
    types = codes("type", type)
    if not shows(context.caller, Phi.FREE_TEXT):
        raise PhiFilterForbidden("text", "searches in what the caller may not read")
    wanted = NoteSearch(query, page.start, page.end, None if types is None else tuple(types))
    rows = await notes_by_text(context.reader, wanted, page)
    return FoundNotes(wanted, time_slice(scope(context, FIELD), page, rows))


async def facets(context: Context, parents: Sequence[Any]) -> Sequence[Sequence[NoteFacet] | None]:
    """Facets of each FoundNotes."""
    return await context.reader.load_many(facets_of_searches, [parent.search for parent in parents])
