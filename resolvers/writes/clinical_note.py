"""Mutations of clinical notes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from db.errors import StoreError
from db.notes_schema import CLINICAL_NOTES
from db.policy import LABELS
from loaders.write import Written
from loaders.writes.clinical_note import (
    NewNote,
    NoteWrite,
    amend_note,
    cosign_note,
    draft_note,
    retract_note,
    sign_note,
    update_note,
)
from resolvers.context import Context
from resolvers.write import Given, Input, Prepared, claim, write

LOINC = "http://loinc.org"
SECTIONS_MAX = 50
"""Sections of one note."""
NOTE_MAX = 50_000
"""Characters of the texts of one note together: as many as are scrubbed, see db/scrub."""
SECTION_MAX = 20_000
"""Characters of one text, as many as a request's variables may have (graph/limits.py)."""
TITLE_MAX = 200
"""Characters of a title."""
REASON_MIN, REASON_MAX = 3, 500
"""Characters of why a note is amended or retracted."""

_Change = Callable[[NoteWrite], Awaitable[UUID]]


async def draft(context: Context, input: Input) -> Written:
    """Drafts a note; the caller is its author."""

    def prepare(given: Given) -> _Change:
        type = given.needed_concept("type")
        if type.system != LOINC:
            raise given.invalid("type", "needs a code of LOINC")
        new = NewNote(
            patient_id=given.needed_id("patient_id", "Patient"),
            encounter_id=given.id("encounter_id", "Encounter"),
            type=type.fhir(),
            title=_line(given, "title") or type.text or type.display or "Note",
            sections=_sections(given),
            security=_labels(given),
        )
        return lambda asked: draft_note(asked, new)

    return await _write(context, "draftNote", input, prepare)


async def update(context: Context, input: Input) -> Written:
    """Changes a draft."""

    def prepare(given: Given) -> _Change:
        id, sections = given.needed_id("id", "ClinicalNote"), _sections(given)
        return lambda asked: update_note(asked, id, given.version, sections)

    return await _write(context, "updateNote", input, prepare)


async def sign(context: Context, input: Input) -> Written:
    """Signs a draft."""
    return await _of_version(context, "signNote", input, sign_note)


async def cosign(context: Context, input: Input) -> Written:
    """Signs what somebody else has signed."""
    return await _of_version(context, "cosignNote", input, cosign_note)


async def amend(context: Context, input: Input) -> Written:
    """Changes a signed note, or adds to it."""

    def prepare(given: Given) -> _Change:
        id, reason = given.needed_id("id", "ClinicalNote"), given.needed_text("reason", REASON_MAX, REASON_MIN)
        sections = _sections(given) if given.get("sections") is not None else None
        text = given.text("text", SECTION_MAX)
        if sections is None and text is None:
            raise given.invalid("text", "or sections must be given")
        return lambda asked: amend_note(asked, id, given.version, reason, sections, text)

    return await _write(context, "amendNote", input, prepare)


async def retract(context: Context, input: Input) -> Written:
    """Says that a note was entered in error."""

    def prepare(given: Given) -> _Change:
        id, reason = given.needed_id("id", "ClinicalNote"), given.needed_text("reason", REASON_MAX, REASON_MIN)
        return lambda asked: retract_note(asked, id, given.version, reason)

    return await _write(context, "retractNote", input, prepare)


async def _of_version(
    context: Context, operation: str, input: Input, change: Callable[[NoteWrite, UUID, int], Awaitable[UUID]]
) -> Written:
    def prepare(given: Given) -> _Change:
        id = given.needed_id("id", "ClinicalNote")
        return lambda asked: change(asked, id, given.version)

    return await _write(context, operation, input, prepare)


async def _write(context: Context, operation: str, input: Input, prepare: Callable[[Given], _Change]) -> Written:
    notes = context.reader.note_writing()

    def prepared(given: Given) -> Prepared:
        change, asked = prepare(given), claim(context, operation, input)
        return lambda transaction: change(NoteWrite(transaction, notes, asked))

    written = await write(context, operation, input, [CLINICAL_NOTES.name], prepared)
    with suppress(StoreError):  # the note is written and told of; the sweeper finds it and says so
        await notes.settle()
    return written


def _sections(given: Given) -> Sequence[dict[str, Any]]:
    parts = given.parts("sections", SECTIONS_MAX)
    if not parts:
        raise given.invalid("sections", "must have an entry")
    sections: list[dict[str, Any]] = []
    for part in parts:
        code = part.concept("code")
        text = part.needed_text("text", SECTION_MAX)
        sections.append({"title": _line(part, "title"), "code": code and code.fhir(), "text": text})
    if sum(len(one["text"]) for one in sections) > NOTE_MAX:
        raise given.invalid("sections", f"must have {NOTE_MAX} characters at most")
    return sections


def _line(given: Given, name: str) -> str | None:
    text = given.text(name, TITLE_MAX)
    if text is not None and len(text.splitlines()) > 1:
        raise given.invalid(name, "must be one line")
    return text


def _labels(given: Given) -> Sequence[str]:
    labels = given.get("security") or ()
    if not LABELS.keys() >= set(labels):
        raise given.invalid("security", f"must be among {', '.join(sorted(LABELS))}")
    return labels
