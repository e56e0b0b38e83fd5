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
    facets_of_searches,
    notes_by_text,
    notes_of_encounters,
    notes_of_patients,
    scrubbed_texts,
)
from loaders.search_terms import parse
from resolvers import arguments
from resolvers.arguments import codes
from resolvers.connection import Slice, one_of, relation, scope, time_page, time_slice
from resolvers.context import BatchResolver, Context

NOTE_STATUS = one_of("current", "superseded", "entered-in-error", "unknown")
FIELD = "Query.clinicalNotes"

of_patients = relation("Patient.clinicalNotes", notes_of_patients, status=NOTE_STATUS, type=codes)
of_encounters = relation("Encounter.clinicalNotes", notes_of_encounters, status=NOTE_STATUS, type=codes)


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
