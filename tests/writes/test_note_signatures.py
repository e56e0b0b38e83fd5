"""What is signed stays: anyone can verify it, tampering shows, and no path of ours changes it."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.bulk import Bulk
from db.caller import Profile
from db.errors import Forbidden
from db.note_signature import digest
from db.note_writing import Content, NoteWriting, Revision
from db.notes_schema import CLINICAL_NOTES
from tests.notes.documents import note as document_of
from tests.writes.noting import Ward, section
from workers.fhir.notes import Notes

DOC = Path(__file__).parents[2] / "docs" / "notes-signature.md"


def documented(language: str) -> str:
    """The example of a language in the document."""
    [found] = re.findall(rf"```{language}\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    return found


async def verified(ward: Ward, id: str) -> list[bool]:
    """Verdicts of the documented program over the answer to the documented query."""
    answer = await ward.graph.ask_as(ward.author, documented("graphql"), id=id)
    assert not answer.errors
    names: dict[str, Any] = {}
    exec(documented("python"), names)
    return list(names["verify"](answer.data["node"]))


async def test_anyone_verifies_a_note_with_what_is_documented(ward: Ward) -> None:
    code = {"system": "http://loinc.org", "code": "51848-0", "display": "Assessment"}
    sections = [section('37,4 °C – “stable”\u2028\U0001f600\t"quoted"'), {"text": "x", "code": code}]
    stay = await ward.stay()
    note = await ward.write("draft", **ward.new(sections=sections, encounterId=f"Encounter/{stay}"))
    signed = await ward.write("sign", id=note["id"], version=1)
    await ward.write("cosign", ward.caller("bo"), id=note["id"], version=2)
    assert await verified(ward, note["id"]) == [True, True]
    await ward.amended({**signed, "version": 3}, "No more fever.")
    assert await verified(ward, note["id"]) == [True, True, True]
    await ward.tamper(note["id"], **{"versions.0.sections.0.text": "Worse."})
    assert await verified(ward, note["id"]) == [False, False, True]


async def test_an_amended_note_keeps_what_was_signed(ward: Ward) -> None:
    signed = await ward.signed("Left knee.")
    before = (await ward.stored(signed["id"]))["versions"]
    amended = await ward.amended(signed, "Right knee.")
    assert [(one["version"], one["text"]) for one in amended["history"]] == [(1, "# Assessment\n\nLeft knee.")]
    assert [(one["version"], one["valid"]) for one in amended["signatures"]] == [(1, True), (3, True)]
    assert amended["signatures"][0] == signed["signatures"][0]
    assert amended["signatureValid"] is True
    assert (await ward.stored(signed["id"]))["versions"][:2] == before


@pytest.mark.parametrize(
    "change",
    [
        {"sections.0.text": "Right."},
        {"text": "Right."},
        {"title": "Other note"},
        {"date": "2020-01-01"},
        {"type": {"coding": [], "text": "Other"}},
        {"metadata.patient_id": None},
        {"author.0.display": "Somebody"},
        {"signatures.0.display": "Somebody"},
        {"signatures.0.time": "2020-01-01"},
        {"signatures.0.type": "cosigner"},
        {"signatures.0.version": 2},
        {"versions.0.sections.0.text": "Right."},
        {"sections.0.text": "Right.", "versions.0.sections.0.text": "Right.", "text": "# Assessment\n\nRight."},
    ],
    ids=lambda change: "+".join(change),
)
async def test_tampering_shows(ward: Ward, change: dict[str, Any]) -> None:
    note = await ward.signed("Left.")
    other = str(await ward.another_patient())
    await ward.tamper(note["id"], **{path: other if value is None else value for path, value in change.items()})
    found = await ward.read(note["id"])
    assert (found["signatureValid"], [one["valid"] for one in found["signatures"]]) == (False, [False])


async def test_labels_facility_and_status_are_not_signed(ward: Ward) -> None:
    note = await ward.signed()
    await ward.tamper(note["id"], security=["PSY"])
    assert (await ward.read(note["id"]))["signatureValid"] is True


async def test_a_signature_of_another_system_is_not_judged(ward: Ward) -> None:
    other = document_of(ward.graph.facilities[0].id, ward.patient_id)
    await ward.graph.stores.notes.worker_upsert(CLINICAL_NOTES, [other])
    found = await ward.read(f"ClinicalNote/{other['_id']}")
    assert (found["signatureValid"], found["signatures"][0]["valid"]) == (None, None)
    assert found["history"] == []


@pytest.mark.parametrize("profile", [Profile.ANALYST, Profile.CDS])
async def test_who_does_not_read_the_text_is_told_no_digest(ward: Ward, profile: Profile) -> None:
    note = await ward.amended(await ward.signed("Zebedee."), "Zebedee again.")
    masked = await ward.read(note["id"], ward.caller("masked", profile=profile))
    assert (masked["signatureValid"], masked["history"]) == (True, None)
    assert [(one["digest"], one["valid"]) for one in masked["signatures"]] == [(None, True)] * 2
    assert "Zebedee" not in str(masked)
    # Neither in what the store itself sends to such a caller.
    caller = ward.caller("masked", profile=profile)
    reader = ward.reader(caller)
    try:
        [sent] = await reader.notes.find("contract", CLINICAL_NOTES, {"_id": note["id"].removeprefix("ClinicalNote/")})
    finally:
        await reader.close()
    assert "versions" not in sent
    assert [one["digest"] for one in sent["signatures"]] == [None, None]


async def test_the_importer_leaves_what_was_written_here(ward: Ward) -> None:
    notes = ward.graph.stores.notes
    for note in (await ward.draft("Ours."), await ward.signed("Ours.")):
        before = await ward.stored(note["id"])
        imported = document_of(ward.graph.facilities[0].id, ward.patient_id, "Theirs.", _id=before["_id"])
        fresh = document_of(ward.graph.facilities[0].id, ward.patient_id, "Theirs.")
        assert await notes.worker_upsert(CLINICAL_NOTES, [imported, fresh]) == (1, 1)
        assert await notes.worker_delete(CLINICAL_NOTES, [before["_id"]]) == 0
        assert await ward.stored(note["id"]) == before
        assert await notes.worker_count(CLINICAL_NOTES, {"_id": fresh["_id"]}) == 1


async def test_the_importer_moves_and_labels_it_and_no_more(ward: Ward) -> None:
    note = await ward.signed()
    before, elsewhere = await ward.stored(note["id"]), uuid4()
    bulk = Bulk.of(ward.graph.settings)
    try:
        importer = Notes(ward.graph.stores.notes)
        await importer.relabel(bulk, [ward.patient_id])
        await importer.settle_homes({ward.patient_id: elsewhere})
    finally:
        await bulk.close()
    after = await ward.stored(note["id"])
    assert after.pop("metadata") == {**before.pop("metadata"), "facility_id": str(elsewhere)}
    assert after == before
    for path in ("text", "sections", "signatures", "versions.0.sections", "drafted_by", "status"):
        with pytest.raises(ValueError, match="not for workers"):
            await ward.graph.stores.notes.worker_set(CLINICAL_NOTES, {before["_id"]: {path: "x"}})


async def test_a_writer_cannot_change_what_is_signed(ward: Ward) -> None:
    signed = await ward.signed("Left.")
    stored = await ward.stored(signed["id"])
    writing = NoteWriting(ward.graph.stores.notes, ward.author, lambda store, statement: None)
    entry: dict[str, Any] = {**deepcopy(stored["versions"][0]), "version": 3}
    content = Content(entry["sections"], "Right.", ["right"])
    amendment = {"time": entry["time"], "author": None, "reason": "none", "text": None}
    for revision in (Revision(entry, content), Revision(entry, content, amendment=amendment)):
        assert await writing.revise(stored, revision) is None
    there = NoteWriting(ward.graph.stores.notes, ward.caller("ada", 1), lambda store, statement: None)
    assert await there.find(UUID(stored["_id"])) is None
    assert await there.revise(stored, Revision(entry)) is None
    assert (await writing.add({**stored, "text": "Right."}))["text"] == stored["text"]
    assert await ward.stored(signed["id"]) == stored
    with pytest.raises(Forbidden):
        NoteWriting(ward.graph.stores.notes, ward.caller("no", profile=Profile.CDS), lambda store, statement: None)


async def test_a_digest_is_the_same_everywhere() -> None:
    """A vector: what others verify must not change with our code."""
    note = {
        "_id": "00000000-0000-4000-8000-000000000001",
        "metadata": {"patient_id": "00000000-0000-4000-8000-000000000002", "encounter_id": None},
        "type": {"coding": [{"system": "http://loinc.org", "code": "11506-3"}]},
        "title": "Progress note",
        "date": "2026-01-02T03:04:05+00:00",
        "author": [{"provider_id": None, "display": "Ada"}],
    }
    signature = {"provider_id": None, "display": "Ada", "time": "2026-01-02T03:05:00+00:00", "type": "author"}
    sections = [{"title": None, "code": None, "text": "Stable."}]
    assert digest(note, 1, sections, signature) == "005ac0d7a03566bbd72cbebcd65f63880656ae323b4221c7772d46859320202d"
