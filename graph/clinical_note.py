"""Clinical notes, and the search over them."""

from __future__ import annotations

from typing import Any

import strawberry

import resolvers.clinical_note
import resolvers.provider
from db.policy import Phi
from graph.connection import Edge, PageInfo
from graph.datatype import CodeableConcept, FhirDateTime
from graph.fact import ClinicalFact
from graph.field import PAGE, PERIOD, REQUIRED, STATUS, arg, field
from graph.node import node_id, served_from
from graph.provider import Provider
from loaders.clinical_note import ClinicalNoteRow
from loaders.element import GlobalId

TYPE = arg("type", list[str] | None, "Codes (LOINC) of note types of which one must match", phi=Phi.CLINICAL)
NOTES = (*PAGE, *PERIOD, STATUS, TYPE)
"""Arguments of a list of notes."""
SEARCH = (
    arg(
        "text",
        str,
        'Words and "phrases" that must all stand in the note; words match by stem',
        phi=Phi.FREE_TEXT,
        default=REQUIRED,
    ),
    TYPE,
    *PAGE,
    *PERIOD,
)
"""Arguments of the search over notes."""


@strawberry.type(description="Somebody who wrote a note")
class NoteAuthor:
    """Served from AuthorRow."""

    provider_id: strawberry.ID | None = field(
        "Global id of the author, where a provider of the facility",
        phi=None,
        value=GlobalId("Provider", "provider_id"),
    )
    provider: Provider | None = field(
        "Author, where a provider of the facility", phi=None, batch=resolvers.provider.of_facts
    )
    display: str | None = field("Name of the author as in the note's source", phi=None)


@strawberry.type(description="A signature under a note")
class NoteSignature:
    """Served from SignatureRow."""

    provider_id: strawberry.ID | None = field(
        "Global id of the signer, where a provider of the facility",
        phi=None,
        value=GlobalId("Provider", "provider_id"),
    )
    provider: Provider | None = field(
        "Signer, where a provider of the facility", phi=None, batch=resolvers.provider.of_facts
    )
    display: str | None = field("Name of the signer as in the note's source", phi=None)
    time: FhirDateTime | None = field("Time of the signature", phi=Phi.DATE)
    type: str | None = field("Role of the signer: author, authenticator, cosigner, …", phi=None)
    version: int | None = field("Version of the note that was signed; null of another system", phi=None)
    digest: str | None = field(
        "SHA-256 of what was signed, in its canonical form (docs/notes-signature.md)", phi=Phi.FREE_TEXT
    )
    valid: bool | None = field(
        "Whether what was signed is as it was then; null of another system",
        phi=None,
        batch=resolvers.clinical_note.signatures_valid,
    )


@strawberry.type(description="A part of a note under its own heading")
class NoteSection:
    """Served from the dicts of `sections`."""

    title: str | None = field(
        "Heading of the section; null for what precedes the first one", phi=Phi.FREE_TEXT, scrubs=True
    )
    code: CodeableConcept | None = field("Kind of the section", phi=Phi.FREE_TEXT)
    text: str | None = field("Text of the section", phi=Phi.FREE_TEXT, scrubs=True)


@strawberry.type(description="A change to a note after it was signed")
class NoteAmendment:
    """Served from the dicts of `amendments`."""

    time: FhirDateTime | None = field("Time of the amendment", phi=Phi.DATE)
    author: str | None = field("Name of who amended the note", phi=Phi.FREE_TEXT)
    reason: str | None = field("Reason of the amendment", phi=Phi.FREE_TEXT, scrubs=True)
    text: str | None = field("Text that was added", phi=Phi.FREE_TEXT, scrubs=True)


@strawberry.type(description="A version of a note that was signed, and that an amendment took the place of")
class NoteVersion:
    """Served from the dicts of `versions`."""

    version: int = field("Number of the version, which its signatures name", phi=None)
    time: FhirDateTime | None = field("When it was written", phi=Phi.DATE)
    author: str | None = field("Name of who wrote it", phi=Phi.FREE_TEXT, value=lambda one: one["display"])
    sections: list[NoteSection] | None = field("Text of the version by its headings", phi=Phi.FREE_TEXT)
    text: str | None = field("Whole text of the version", phi=Phi.FREE_TEXT)


def _target(relation: dict[str, Any]) -> str | None:
    return f"ClinicalNote/{relation['target']}" if relation["target"] else None


@strawberry.type(description="How a note relates to another one")
class NoteRelation:
    """Served from the dicts of `relates_to`."""

    code: str | None = field("Kind of the relation: replaces, transforms, signs or appends", phi=None)
    target_id: strawberry.ID | None = field("Global id of the other note", phi=None, value=_target)


@strawberry.type(description="A clinical note (FHIR R4 DocumentReference with its text)")
@served_from(ClinicalNoteRow)
class ClinicalNote(ClinicalFact):
    """Served from ClinicalNoteRow."""

    id: strawberry.ID = node_id("ClinicalNote")
    status: str | None = field("Status: current, superseded or entered-in-error", phi=None)
    doc_status: str | None = field("Status of the text: preliminary, final, amended, …", phi=None)
    type: CodeableConcept | None = field("Type of the note", phi=Phi.CLINICAL)
    category: list[CodeableConcept] | None = field("Categories of the note", phi=Phi.CLINICAL)
    date: FhirDateTime | None = field("When the note was written", phi=Phi.DATE)
    title: str | None = field("Title of the note", phi=Phi.CLINICAL)
    author: list[NoteAuthor] | None = field("Authors of the note", phi=None)
    scrubbed: bool = field(
        "Whether text, sections and amendments are given without the identifiers that a scrubber found in them. "
        "Not Safe Harbor by itself (45 CFR 164.514): what is left may still identify the patient",
        phi=None,
        batch=resolvers.clinical_note.scrubbed,
    )
    sections: list[NoteSection] | None = field(
        "Text of the note by its headings",
        phi=Phi.FREE_TEXT,
        batch=resolvers.clinical_note.sections_of_notes,
        scrubs=True,
    )
    text: str | None = field(
        "Whole text of the note", phi=Phi.FREE_TEXT, batch=resolvers.clinical_note.text_of_notes, scrubs=True
    )
    signatures: list[NoteSignature] | None = field("Signatures under the note", phi=None)
    amendments: list[NoteAmendment] | None = field(
        "Amendments of the note, oldest first",
        phi=Phi.FREE_TEXT,
        batch=resolvers.clinical_note.amendments_of_notes,
        scrubs=True,
    )
    relates_to: list[NoteRelation] | None = field("Other notes that this one replaces or appends to", phi=None)
    version: int | None = field(
        "Version that an update names; null for a note of another system, which is not changed here", phi=None
    )
    signature_valid: bool | None = field(
        "Whether all that was signed here is as it was then; null where nothing was",
        phi=None,
        batch=resolvers.clinical_note.signature_valid,
    )
    history: list[NoteVersion] | None = field(
        "Signed versions that amendments took the place of, oldest first",
        phi=Phi.FREE_TEXT,
        batch=resolvers.clinical_note.histories,
    )


@strawberry.type(description="How many notes that a search found have one type")
class ClinicalNoteFacet:
    """Served from NoteFacet."""

    code: str | None = field("Code of the type; null for notes without one", phi=Phi.CLINICAL)
    display: str | None = field("Text of the type", phi=Phi.CLINICAL)
    count: int = field("Number of notes of the type", phi=None)


@strawberry.type(description="A page of the notes that a search found, newest first, with counts by type")
class ClinicalNoteSearch:
    """Served from FoundNotes."""

    edges: list[Edge[ClinicalNote]] = field(
        "Notes with their cursors",
        phi=None,
        value=lambda found: found.page.edges(),
    )
    nodes: list[ClinicalNote] = field("Notes alone", phi=None, value=lambda found: found.page.rows)
    page_info: PageInfo = field("Where the page lies in its list", phi=None, value=lambda found: found.page)
    facets: list[ClinicalNoteFacet] | None = field(
        "Number of matching notes by type, most frequent first; all types count, whichever were asked for",
        phi=None,
        batch=resolvers.clinical_note.facets,
    )
