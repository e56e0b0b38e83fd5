"""Clinical notes: drafted, signed, amended, retracted (FHIR R4 DocumentReference.docStatus).

A note is one document and each write one atomic operation on it, which leaves the client's key in the note: after a
failure anywhere the same write finds what it did. The PostgreSQL transaction around it decides who may, and is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from db.mongo import Document
from db.note_signature import digest, text_of
from db.note_writing import Content, NoteWriting, Revision, untold
from db.transaction import Transaction
from loaders.labels import labels_of
from loaders.search_terms import terms
from loaders.write import Claim, Code, Refusal, another_input, check_version, conflict, not_found

HISTORY_BYTES_MAX = 8_000_000
"""Bytes of all texts that a note had; with all else a document stays under the 16 MB of BSON."""
ENTRY_BYTES = 1_000
"""Bytes of an entry of the history beside its text, at most."""
ADDENDUM = "Addendum"
"""Title of a section that an amendment adds."""

WHERE_NOTE_IS_DRAFTED = """/* where_note_is_drafted */
SELECT access.chart_is_open($1::uuid) AS open,
    $2::uuid IS NULL OR EXISTS (SELECT FROM encounter WHERE id = $2::uuid AND patient_id = $1::uuid) AS met,
    labels_of(NULL, NULL, $3::jsonb) AS own,
    (SELECT label FROM encounter WHERE id = $2::uuid) AS encountered"""

WHO_WRITES_NOTE = """/* who_writes_note */
SELECT access.row_is_open($1::uuid, $2::text[]) AS open, c.subject, p.id AS provider_id,
    coalesce(nullif(concat_ws(' ', nullif(array_to_string(p.prefix || p.given, ' '), ''), p.family), ''), c.subject)
        AS display
FROM access.context() AS c
LEFT JOIN provider AS p ON p.id = c.provider_id"""

TELL_OF_NOTE = """/* tell_of_note */
SELECT access.note_written($1::uuid, $2::uuid,
    ARRAY(SELECT department_id FROM encounter WHERE id = $3::uuid AND department_id IS NOT NULL), $4::jsonb)"""


@dataclass(frozen=True, slots=True)
class NoteWrite:
    """One write to a note: the transaction around it, the store, the client's key."""

    transaction: Transaction
    notes: NoteWriting
    claim: Claim


@dataclass(frozen=True, slots=True)
class NewNote:
    """What a note is drafted with; `security` are labels that its author gives it."""

    patient_id: UUID
    encounter_id: UUID | None
    type: Document
    title: str
    sections: Sequence[Document]
    security: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Writer:
    """Who writes, by the verified context, and now."""

    subject: str
    person: Document
    time: str

    def signs(self, note: Document, version: int, sections: Sequence[Document], role: str) -> Document:
        """This person's signature, in a role, under one version of a note."""
        signature = {**self.person, "time": self.time, "type": role}
        return {**signature, "version": version, "digest": digest(note, version, sections, signature)}


_Rule = Callable[[Document, _Writer], Revision]
"""From a note as it is, and who writes, to its next version; raises Refusal where that may not be."""


async def draft_note(write: NoteWrite, new: NewNote) -> UUID:
    """Drafts a note and gives its id. Raises Refusal."""
    concepts, patient_id, encounter_id = new.type["coding"], new.patient_id, new.encounter_id
    [where] = await write.transaction.fetch(WHERE_NOTE_IS_DRAFTED, patient_id, encounter_id, concepts)
    if not where["open"]:
        raise not_found("patientId")
    if not where["met"]:
        raise not_found("encounterId")
    security = labels_of(new.security, where["own"], None, where["encountered"])
    writer = await _writer(write, patient_id, security)
    if writer is None:
        raise Refusal(Code.INVALID, "security", "The author may not see all labels that this note would have.")
    now = datetime.fromisoformat(writer.time)
    content = content_of(new.sections)
    id = write.notes.new_id(writer.subject, write.claim.key)
    note: Document = {
        "_id": str(id),
        "metadata": {"patient_id": str(patient_id), "encounter_id": encounter_id and str(encounter_id)},
        "security": security,
        "status": "current",
        "doc_status": "preliminary",
        "type": new.type,
        "category": [],
        "date": writer.time,
        "sort_time": now,
        "title": new.title,
        "author": [writer.person],
        "sections": content.sections,
        "text": content.text,
        "search_terms": content.search_terms,
        "signatures": [],
        "amendments": [],
        "relates_to": [],
        "drafted_by": writer.subject,
        "version": 1,
    }
    note["versions"] = [_entry(write, writer, note, "preliminary", brought=content.sections)]
    kept = await write.notes.add(note)
    if kept["versions"][0]["input"] != write.claim.input.hex():
        raise another_input()
    await _tell(write, kept)
    return id


async def update_note(write: NoteWrite, id: UUID, version: int, sections: Sequence[Document]) -> UUID:
    """Gives a draft other sections; its author alone may. Raises Refusal."""

    def rule(note: Document, writer: _Writer) -> Revision:
        _check_draft(note, writer)
        content = _grown(note, sections)
        return Revision(_entry(write, writer, note, "preliminary", brought=content.sections), content)

    return await _revise(write, id, version, rule)


async def sign_note(write: NoteWrite, id: UUID, version: int) -> UUID:
    """Signs a draft, which is final then; its author alone may. Raises Refusal."""

    def rule(note: Document, writer: _Writer) -> Revision:
        _check_draft(note, writer)
        signature = writer.signs(note, _signed_version(note), note["sections"], "author")
        return Revision(_entry(write, writer, note, "final", signature=signature), signature=signature)

    return await _revise(write, id, version, rule)


async def cosign_note(write: NoteWrite, id: UUID, version: int) -> UUID:
    """Adds the signature of somebody else under what its author has signed. Raises Refusal."""

    def rule(note: Document, writer: _Writer) -> Revision:
        _check_signed(note)
        newest = _signed_version(note)
        if writer.subject in _signers(note, newest):
            raise Refusal(Code.NOT_ALLOWED_NOW, "id", "You have signed this version of the note already.")
        signature = writer.signs(note, newest, note["sections"], "cosigner")
        return Revision(_entry(write, writer, note, note["doc_status"], signature=signature), signature=signature)

    return await _revise(write, id, version, rule)


async def amend_note(
    write: NoteWrite, id: UUID, version: int, reason: str, sections: Sequence[Document] | None, text: str | None
) -> UUID:
    """Gives a signed note other sections, an addendum, or both, signed by who amends it: somebody who signed it.

    What was signed before stays, under its signatures. Raises Refusal.
    """

    def rule(note: Document, writer: _Writer) -> Revision:
        _check_signed(note)
        _check_signer(note, writer)
        added = [{"title": ADDENDUM, "code": None, "text": text}] if text else []
        content = _grown(note, [*(note["sections"] if sections is None else sections), *added])
        role = "author" if writer.subject == note["drafted_by"] else "cosigner"
        signature = writer.signs(note, note["version"] + 1, content.sections, role)
        display = writer.person["display"]
        amendment = {"time": writer.time, "author": display, "reason": reason, "text": text}
        entry = _entry(write, writer, note, "amended", brought=content.sections, signature=signature, reason=reason)
        return Revision(entry, content, signature, amendment)

    return await _revise(write, id, version, rule)


async def retract_note(write: NoteWrite, id: UUID, version: int, reason: str) -> UUID:
    """Says that a note was entered in error; it stays in the record. Its author may, or a signer. Raises Refusal."""

    def rule(note: Document, writer: _Writer) -> Revision:
        if note["status"] == "entered-in-error":
            raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The note was retracted already.")
        _check_signer(note, writer)
        return Revision(_entry(write, writer, note, "entered-in-error", reason=reason))

    return await _revise(write, id, version, rule)


def content_of(sections: Sequence[Document]) -> Content:
    """Sections with the text and the search terms that go with them."""
    text = text_of(sections)
    return Content(list(sections), text, terms(text))


async def _revise(write: NoteWrite, id: UUID, version: int, rule: _Rule) -> UUID:
    """Makes the next version of a note, or finds that this write made it before. Raises Refusal."""
    note = await write.notes.find(id)
    if note is None:
        raise not_found("id")
    writer = await _writer(write, UUID(note["metadata"]["patient_id"]), note["security"])
    if writer is None:
        raise not_found("id")
    if note.get("drafted_by") is None:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The note was written in another system, and is changed there.")
    made = [one for one in note["versions"] if (one["subject"], one["key"]) == (writer.subject, write.claim.key)]
    if made and made[0]["input"] != write.claim.input.hex():
        raise another_input()
    if not made:
        check_version(version, note["version"])
        revised = await write.notes.revise(note, rule(note, writer))
        if revised is None:
            now = await write.notes.find(id)
            raise not_found("id") if now is None else conflict(now["version"])
        note = revised
    await _tell(write, note)
    return id


async def _writer(write: NoteWrite, patient_id: UUID, security: Sequence[str] | None) -> _Writer | None:
    """Who writes; None for somebody to whom a note of this patient with these labels is not open."""
    [row] = await write.transaction.fetch(WHO_WRITES_NOTE, patient_id, security)
    if not row["open"]:
        return None
    provider_id = row["provider_id"] and str(row["provider_id"])
    time = datetime.now(UTC).replace(microsecond=0).isoformat()
    return _Writer(row["subject"], {"provider_id": provider_id, "display": row["display"]}, time)


async def _tell(write: NoteWrite, note: Document) -> None:
    """Tells the clinical database what it has not been told of this note, in this transaction."""
    whose = note["metadata"]
    encounter_id = whose["encounter_id"] and UUID(whose["encounter_id"])
    told = (UUID(whose["patient_id"]), UUID(note["_id"]), encounter_id, untold(note))
    await write.transaction.fetch(TELL_OF_NOTE, *told)
    write.notes.told(note)


def _entry(
    write: NoteWrite,
    writer: _Writer,
    note: Document,
    doc_status: str,
    *,
    brought: Sequence[Document] | None = None,
    signature: Document | None = None,
    reason: str | None = None,
) -> Document:
    """What a write leaves in the note's history; `brought` are its sections, where it brought some."""
    version = note["version"] + 1 if "versions" in note else 1
    sections = note["sections"] if brought is None else brought
    return {
        "version": version,
        "operation": write.claim.operation,
        "subject": writer.subject,
        **writer.person,
        "time": writer.time,
        "key": write.claim.key,
        "input": write.claim.input.hex(),
        "status": "entered-in-error" if doc_status == "entered-in-error" else "current",
        "doc_status": doc_status,
        "reason": reason,
        "sections": None if brought is None else list(brought),
        "digest": signature["digest"] if signature else digest(note, version, sections, None),
    }


def _grown(note: Document, sections: Sequence[Document]) -> Content:
    """New content of a note. Raises Refusal where the note's history has no room for it."""
    content = content_of(sections)
    kept = [text_of(one["sections"] or ()) for one in note["versions"]]
    if sum(ENTRY_BYTES + len(text.encode()) for text in (*kept, content.text)) > HISTORY_BYTES_MAX:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The note was changed too often: its history has no room.")
    return content


def _signed_version(note: Document) -> int:
    """Version that brought the sections that the note has now."""
    return max(one["version"] for one in note["versions"] if one["sections"] is not None)


def _signers(note: Document, version: int | None = None) -> set[str]:
    """Subjects who signed this version of a note, or any."""
    signing = ("signNote", "cosignNote", "amendNote")
    since = version or 0
    return {one["subject"] for one in note["versions"] if one["operation"] in signing and one["version"] >= since}


def _check_draft(note: Document, writer: _Writer) -> None:
    if note["doc_status"] != "preliminary":
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The note is no draft; amend it.")
    if note["drafted_by"] != writer.subject:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "Only its author may change or sign a draft.")


def _check_signed(note: Document) -> None:
    if note["doc_status"] not in ("final", "amended"):
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The note is not signed, or was retracted.")


def _check_signer(note: Document, writer: _Writer) -> None:
    if writer.subject not in {note["drafted_by"], *_signers(note)}:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "Only its author and who signed it may do this.")
