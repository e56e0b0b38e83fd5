"""Mutations of clinical notes."""

from __future__ import annotations

import strawberry

import resolvers.clinical_note
import resolvers.writes.clinical_note
from db.policy import Phi
from graph.clinical_note import ClinicalNote
from graph.field import field
from graph.write import Payload, UpdateInput, WriteInput, given, mutation, write_input
from graph.writes.datatype import CodeableConceptInput

UNSET = strawberry.UNSET


@write_input("A part of a note under its own heading")
class NoteSectionInput:
    """FHIR Composition.section."""

    title: str | None = given("Heading of the section, one line", phi=Phi.FREE_TEXT, default=UNSET)
    code: CodeableConceptInput | None = given("Kind of the section", phi=Phi.FREE_TEXT, default=UNSET)
    text: str = given("Text of the section", phi=Phi.FREE_TEXT)


@write_input("What a note is drafted with")
class DraftNoteInput(WriteInput):
    """FHIR DocumentReference whose text is preliminary."""

    patient_id: strawberry.ID = given("Global id of the patient", phi=None)
    encounter_id: strawberry.ID | None = given("Global id of the encounter", phi=None, default=UNSET)
    type: CodeableConceptInput = given("Type of the note, a code of LOINC", phi=Phi.CLINICAL)
    title: str | None = given("Title, one line; that of the type by default", phi=Phi.CLINICAL, default=UNSET)
    sections: list[NoteSectionInput] = given("Text of the note by its headings", phi=Phi.FREE_TEXT)
    security: list[str] | None = given(
        "Sensitivity labels (HL7 v3-ActCode: ETH, PSYTHPN, …) beside those that the type and the encounter imply",
        phi=None,
        default=UNSET,
    )


@write_input("What a draft is changed to")
class UpdateNoteInput(UpdateInput):
    """Another text of a draft."""

    sections: list[NoteSectionInput] = given("Whole text of the note by its headings", phi=Phi.FREE_TEXT)


@write_input("Which version of a note is signed")
class SignNoteInput(UpdateInput):
    """A signature of the caller."""


@write_input("What a signed note is amended with: other sections, an addendum, or both")
class AmendNoteInput(UpdateInput):
    """A change after the signature, signed by the caller."""

    reason: str = given("Why the note is amended", phi=Phi.FREE_TEXT)
    sections: list[NoteSectionInput] | None = given(
        "Whole text of the note by its headings, in place of the present one", phi=Phi.FREE_TEXT, default=UNSET
    )
    text: str | None = given("Text that is added as a section of its own", phi=Phi.FREE_TEXT, default=UNSET)


@write_input("Which note is retracted, and why")
class RetractNoteInput(UpdateInput):
    """A note that was entered in error."""

    reason: str = given("Why the note is retracted", phi=Phi.FREE_TEXT)


@strawberry.type(description="What a write of a note came to")
class NotePayload(Payload):
    """Served from Written."""

    note: ClinicalNote | None = field("Note as it is now", phi=None, batch=resolvers.clinical_note.written)


@strawberry.type
class NoteMutations:
    """Roots of mutations of clinical notes."""

    draft_note: NotePayload | None = mutation(
        "Drafts a note, of which the caller is the author", DraftNoteInput, resolvers.writes.clinical_note.draft
    )
    update_note: NotePayload | None = mutation(
        "Changes the text of the caller's own draft", UpdateNoteInput, resolvers.writes.clinical_note.update
    )
    sign_note: NotePayload | None = mutation(
        "Signs the caller's own draft: the note is final", SignNoteInput, resolvers.writes.clinical_note.sign
    )
    cosign_note: NotePayload | None = mutation(
        "Signs a note that somebody else has signed", SignNoteInput, resolvers.writes.clinical_note.cosign
    )
    amend_note: NotePayload | None = mutation(
        "Changes a signed note; what was signed stays in its history",
        AmendNoteInput,
        resolvers.writes.clinical_note.amend,
    )
    retract_note: NotePayload | None = mutation(
        "Says that a note was entered in error; it stays in the record",
        RetractNoteInput,
        resolvers.writes.clinical_note.retract,
    )
