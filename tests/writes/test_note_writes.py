"""Notes are drafted, signed, amended and retracted; who may, which version, once for a key, recorded and fed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

import loaders.writes.clinical_note
from db.caller import Profile
from db.context import role_password
from db.errors import Forbidden
from db.mongo import Mongo
from db.notes_schema import CLINICAL_NOTES
from db.policy import ROLES
from db.postgres import login_url
from db.transaction import Transaction
from tests.asking import Graph
from tests.layers.hospital import PROVIDER
from tests.people import People
from tests.writes.noting import PSYCHIATRY, Ward, section
from workers.sweep_notes import announce_unannounced

RECORDED = """
SELECT actor, login, operation, before ->> 'doc_status', after ->> 'doc_status', after ->> 'operation',
    (before || after)::text AS all_of_it
FROM audit.change WHERE table_name = 'clinical_note' AND row_key = $1 ORDER BY occurred_at"""
FED = """
SELECT facility_id::text, patient_id::text, operation, department_ids FROM feed.event
WHERE table_name = 'clinical_note' AND row_keys = ARRAY[$1] ORDER BY seq"""


async def rows(graph: Graph, sql: str, *args: object) -> list[tuple[Any, ...]]:
    """Rows that no login of ours may read."""
    connection = await asyncpg.connect(graph.settings.clinical_url)
    try:
        return [tuple(row) for row in await connection.fetch(sql, *args)]
    finally:
        await connection.close()


async def test_a_note_goes_from_draft_to_final_to_amended_to_retracted(ward: Ward) -> None:
    draft = await ward.draft("Stable.", "Discharge home.")
    assert (draft["version"], draft["status"], draft["docStatus"], draft["signatureValid"]) == (
        1,
        "current",
        "preliminary",
        None,
    )
    assert draft["text"] == "# Assessment\n\nStable.\n\n# Assessment\n\nDischarge home."
    assert (draft["title"], draft["patient"]) == ("Progress note", {"id": f"Patient/{ward.patient_id}"})
    changed = await ward.write("update", id=draft["id"], version=1, sections=[section("Febrile.", None)])
    assert (changed["version"], changed["text"], changed["history"]) == (2, "Febrile.", [])
    signed = await ward.write("sign", id=draft["id"], version=2)
    assert (signed["version"], signed["docStatus"], signed["signatureValid"]) == (3, "final", True)
    cosigned = await ward.write("cosign", ward.caller("bo"), id=draft["id"], version=3)
    assert [(one["type"], one["version"], one["valid"]) for one in cosigned["signatures"]] == [
        ("author", 2, True),
        ("cosigner", 2, True),
    ]
    amended = await ward.write("amend", id=draft["id"], version=4, reason="forgotten", text="Penicillin allergy.")
    assert (amended["docStatus"], amended["text"]) == ("amended", "Febrile.\n\n# Addendum\n\nPenicillin allergy.")
    assert [(one["reason"], one["text"]) for one in amended["amendments"]] == [("forgotten", "Penicillin allergy.")]
    assert [(one["version"], one["text"]) for one in amended["history"]] == [(2, "Febrile.")]
    retracted = await ward.write("retract", id=draft["id"], version=5, reason="other patient")
    assert (retracted["status"], retracted["docStatus"]) == ("entered-in-error", "entered-in-error")
    assert (retracted["text"], retracted["signatureValid"]) == (amended["text"], True)


async def test_a_provider_is_named_as_author_and_signer(ward: Ward) -> None:
    provider = uuid4()
    await ward.graph.stores.clinical.worker_fetch(PROVIDER, ward.graph.facilities[0].id, provider)
    ward.author = replace(ward.author, provider_id=provider)
    person = {"providerId": f"Provider/{provider}", "display": "Layer"}
    note = await ward.signed()
    assert note["author"] == [person]
    assert note["signatures"][0].items() >= person.items()


async def test_what_each_write_asks_the_stores(ward: Ward) -> None:
    drafted = await ward.ask("draft", **ward.new())
    of_all = {("clinical", "claim_idempotency_key"), ("clinical", "who_writes_note"), ("clinical", "keep_outcome")}
    of_all |= {("clinical", "tell_of_note"), ("notes", "settle_note")}
    reads = {"clinical_note_by_id", "clinical_note_histories", "clinical_note_signatures", "patients_of_caller"}
    reads |= {"patient_by_id"}
    written = {one for one in drafted.statements if one[1] not in reads}
    assert written == of_all | {("clinical", "where_note_is_drafted"), ("notes", "add_note")}
    id = drafted.data["draftNote"]["note"]["id"]
    signed = await ward.ask("sign", id=id, version=1)
    assert {one for one in signed.statements if one[1] not in reads} == of_all | {
        ("notes", "note_for_update"),
        ("notes", "revise_note"),
    }
    assert set(signed.statements.values()) == {1}


async def test_only_its_author_changes_or_signs_a_draft(ward: Ward) -> None:
    draft, other = await ward.draft(), ward.caller("bo")
    assert (await ward.read(draft["id"], other))["docStatus"] == "preliminary"
    at = {"id": draft["id"], "version": 1}
    for verb, more in (
        ("update", {"sections": [section("Mine.")]}),
        ("sign", {}),
        ("retract", {"reason": "not mine"}),
    ):
        assert (await ward.refused(verb, other, **at, **more))["code"] == "NOT_ALLOWED_NOW"
    assert await ward.read(draft["id"]) == draft


async def test_what_is_not_allowed_in_a_status(ward: Ward) -> None:
    draft = await ward.draft()
    at: dict[str, Any] = {"id": draft["id"]}
    change: dict[str, Any] = {"sections": [section("Other.")]}
    for verb, more in (("cosign", {}), ("amend", {"reason": "why not", **change})):
        refusal = await ward.refused(verb, ward.caller("bo"), **at, version=1, **more)
        assert refusal["code"] == "NOT_ALLOWED_NOW"
    await ward.write("sign", **at, version=1)
    for verb, more in (("update", change), ("sign", {}), ("cosign", {})):  # who signed does not cosign
        assert (await ward.refused(verb, **at, version=2, **more))["code"] == "NOT_ALLOWED_NOW"
    for verb, more in (("amend", change), ("retract", {})):
        stranger = await ward.refused(verb, ward.caller("cy"), **at, version=2, reason="no signer", **more)
        assert stranger["code"] == "NOT_ALLOWED_NOW"
    await ward.write("retract", **at, version=2, reason="other patient")
    for verb, more in (("amend", {"reason": "late", **change}), ("retract", {"reason": "again"}), ("cosign", {})):
        caller = ward.caller("bo") if verb == "cosign" else None
        assert (await ward.refused(verb, caller, **at, version=3, **more))["code"] == "NOT_ALLOWED_NOW"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"sections": []}, ["sections"]),
        ({"sections": [{"text": " "}]}, ["sections", "0", "text"]),
        ({"sections": [{"text": "x" * 20_000}] * 3}, ["sections"]),
        ({"sections": [{"title": "two\nlines", "text": "x"}]}, ["sections", "0", "title"]),
        ({"type": {"text": "a note"}}, ["type"]),
        ({"type": {"system": "http://snomed.info/sct", "code": "1"}}, ["type"]),
        ({"security": ["SECRET"]}, ["security"]),
        ({"patientId": "Encounter/1"}, ["patientId"]),
    ],
)
async def test_input_that_is_no_note(ward: Ward, given: dict[str, Any], field: list[str]) -> None:
    refusal = await ward.refused("draft", **{**ward.new(), **given})
    assert (refusal["code"], refusal["field"]) == ("INVALID", field)


async def test_an_amendment_needs_something(ward: Ward) -> None:
    note = await ward.signed()
    refusal = await ward.refused("amend", id=note["id"], version=2, reason="nothing")
    assert (refusal["code"], refusal["field"]) == ("INVALID", ["text"])


async def test_a_key_gets_one_answer_and_one_change(ward: Ward) -> None:
    key = str(uuid4())
    first, again = [await ward.write("draft", idempotencyKey=key, **ward.new()) for _ in range(2)]
    assert first == again
    other = await ward.refused("draft", idempotencyKey=key, **ward.new("Other."))
    assert other["code"] == "IDEMPOTENCY_CONFLICT"
    of_another = await ward.write("draft", ward.caller("bo"), idempotencyKey=key, **ward.new())
    assert of_another["id"] != first["id"]
    at: dict[str, Any] = {"idempotencyKey": str(uuid4()), "id": first["id"], "version": 1}
    answers = await asyncio.gather(*(ward.write("sign", **at) for _ in range(5)))
    assert [len(one["signatures"]) for one in answers] == [1] * 5


async def test_a_stale_version_is_told_the_current_one(ward: Ward) -> None:
    draft = await ward.draft()
    await ward.write("update", id=draft["id"], version=1, sections=[section("Second.")])
    refusal = await ward.refused("update", id=draft["id"], version=1, sections=[section("Lost?")])
    assert (refusal["code"], refusal["field"], refusal["version"]) == ("CONFLICT", ["version"], 2)
    assert (await ward.read(draft["id"]))["sections"][0]["text"] == "Second."


async def test_of_twenty_editors_at_once_no_text_is_lost(ward: Ward) -> None:
    draft = await ward.draft("Begun.")

    async def add(text: str) -> int:
        for attempt in range(1, 100):
            note = await ward.read(draft["id"])
            kept = [section(one["text"]) for one in note["sections"]]
            sections = [*kept, section(text)]
            answer = await ward.ask("update", id=draft["id"], version=note["version"], sections=sections)
            errors = answer.data["updateNote"]["userErrors"]
            if not errors:
                return attempt
            assert errors[0]["code"] == "CONFLICT"
        raise AssertionError(text)

    texts = [f"Editor {place}." for place in range(20)]
    attempts = await asyncio.gather(*map(add, texts))
    assert max(attempts) > 1
    note = await ward.read(draft["id"])
    assert sorted(one["text"] for one in note["sections"]) == sorted(["Begun.", *texts])
    assert note["version"] == 21
    assert [one["version"] for one in (await ward.stored(draft["id"]))["versions"]] == list(range(1, 22))


async def test_the_search_finds_what_is_written_at_once(ward: Ward) -> None:
    word = f"zebrafish{ward.patient_id.hex}"
    query = "query ($text: String!) { clinicalNotes(text: $text) { nodes { id } } }"

    async def found(text: str) -> list[str]:
        answer = await ward.graph.ask_as(ward.author, query, text=text)
        return [one["id"] for one in answer.data["clinicalNotes"]["nodes"]]

    note = await ward.draft(f"Saw a {word}.")
    assert await found(word) == [note["id"]]
    await ward.write("update", id=note["id"], version=1, sections=[section(f"Saw another{word}.")])
    assert (await found(word), await found(f"another{word}")) == ([], [note["id"]])


async def test_who_may_not_write_notes_is_refused_before_anything_is_asked(ward: Ward) -> None:
    for profile in (Profile.CDS, Profile.ANALYST, Profile.BILLING, Profile.REGISTRAR, Profile.PATIENT):
        answer = await ward.ask("draft", ward.caller("no", profile=profile), **ward.new())
        assert answer.codes == [Forbidden().code]
        assert not answer.statements


async def test_another_facilitys_patient_encounter_and_note_do_not_exist(ward: Ward) -> None:
    note, there = await ward.signed(), ward.caller("bo", facility=1)
    foreign = await ward.refused("draft", there, **ward.new())
    assert foreign == await ward.refused("draft", there, **ward.new(patientId=f"Patient/{uuid4()}"))
    assert (foreign["code"], foreign["field"]) == ("NOT_FOUND", ["patientId"])
    for verb, more in (("cosign", {}), ("retract", {"reason": "not ours"})):
        refusal = await ward.refused(verb, there, id=note["id"], version=2, **more)
        assert refusal == await ward.refused(verb, there, id=f"ClinicalNote/{uuid4()}", version=2, **more)
        assert refusal["code"] == "NOT_FOUND"
    people = People(ward.graph.stores)
    other = await people.patient(ward.graph.facilities[0].id)
    stay = await people.stay(ward.graph.facilities[0].id, other)
    refusal = await ward.refused("draft", **ward.new(encounterId=f"Encounter/{stay}"))
    assert (refusal["code"], refusal["field"]) == ("NOT_FOUND", ["encounterId"])


async def test_a_chart_that_is_closed_is_not_written_to(ward: Ward) -> None:
    note, far = await ward.signed(), replace(ward.caller("far"), role=ROLES["consultant"])  # treats nobody
    people, here = People(ward.graph.stores), ward.graph.facilities[0].id

    async def refusals(caller: Any) -> list[str]:
        drafted = await ward.refused("draft", caller, **ward.new())
        signed = await ward.refused("cosign", caller, id=note["id"], version=2)
        return [drafted["code"], signed["code"]]

    assert await refusals(far) == ["NOT_FOUND"] * 2
    await people.consent(here, ward.patient_id, type="deny")
    assert await refusals(ward.caller("bo")) == ["NOT_FOUND"] * 2


async def test_labels_are_those_of_type_encounter_and_author(ward: Ward) -> None:
    people, here = People(ward.graph.stores), ward.graph.facilities[0].id
    plain = await ward.draft()
    assert (await ward.stored(plain["id"]))["security"] == []
    psychiatry = await ward.draft(type=PSYCHIATRY, security=["SDV"])
    assert (await ward.stored(psychiatry["id"]))["security"] == ["PSY", "SDV"]
    stay = await people.stay(here, ward.patient_id)
    await ward.graph.stores.clinical.worker_fetch(
        "UPDATE clinical.encounter SET security = ARRAY['HIV'] WHERE id = $1", stay
    )
    during = await ward.draft(encounterId=f"Encounter/{stay}")
    assert (await ward.stored(during["id"]))["security"] == ["HIV"]
    nurse = ward.caller("nell", profile=Profile.NURSE)
    assert await ward.read(psychiatry["id"], nurse) is None
    at = {"id": psychiatry["id"], "version": 1, "reason": "not seen"}
    assert (await ward.refused("retract", nurse, **at))["code"] == "NOT_FOUND"
    refusal = await ward.refused("draft", **ward.new(security=["PSYTHPN"]))
    assert (refusal["code"], refusal["field"]) == ("INVALID", ["security"])


async def test_a_note_of_another_system_is_not_changed_here(ward: Ward) -> None:
    note = await ward.signed()
    await ward.tamper(note["id"], drafted_by=None)  # as the importer writes it
    refusal = await ward.refused("retract", id=note["id"], version=2, reason="foreign")
    assert refusal["code"] == "NOT_ALLOWED_NOW"


async def test_every_write_is_recorded_without_its_text_and_fed(ward: Ward) -> None:
    people, here = People(ward.graph.stores), ward.graph.facilities[0].id
    department = (await rows(ward.graph, "SELECT id FROM clinical.department WHERE facility_id = $1", here))[0][0]
    stay = await people.stay(here, ward.patient_id, department)
    draft = await ward.draft("Zebedee.", encounterId=f"Encounter/{stay}")
    await ward.write("sign", id=draft["id"], version=1)
    key = draft["id"].removeprefix("ClinicalNote/")
    recorded = await rows(ward.graph, RECORDED, key)
    me = (ward.author.subject, "caregraph_clinician")
    assert [one[:6] for one in recorded] == [
        (*me, "INSERT", None, "preliminary", "draftNote"),
        (*me, "UPDATE", "preliminary", "final", "signNote"),
    ]
    assert not any("Zebedee" in str(one[6]) for one in recorded)
    at = (str(here), str(ward.patient_id))
    assert await rows(ward.graph, FED, key) == [(*at, "INSERT", [department]), (*at, "UPDATE", [department])]
    stored = await ward.stored(draft["id"])
    assert (stored["announced"], stored.get("unannounced")) == (2, None)


class Crash(BaseException):
    """The process dies."""


@pytest.mark.parametrize("where", ["before it tells", "before it commits", "before it settles"])
async def test_what_a_process_that_dies_left_untold_is_told_once(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    draft, key = await ward.draft(), str(uuid4())
    id = draft["id"].removeprefix("ClinicalNote/")
    fetch, update = Transaction.fetch, Mongo.update
    last = {"before it tells": "tell_of_note", "before it commits": "keep_outcome"}.get(where, "-")

    async def dying(self: Transaction, sql: Any, *args: object) -> Any:
        if last in sql:
            raise Crash
        return await fetch(self, sql, *args)

    async def settling(self: Mongo, collection: Any, wanted: Any, change: Any) -> Any:
        if last == "-" and "announced" in change["$set"]:
            raise Crash
        return await update(self, collection, wanted, change)

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "fetch", dying)
        patched.setattr(Mongo, "update", settling)
        with pytest.raises(Crash):
            await ward.write("sign", idempotencyKey=key, id=draft["id"], version=1)
    assert (await ward.stored(draft["id"]))["announced"] == 1
    assert len(await rows(ward.graph, RECORDED, id)) == (2 if last == "-" else 1)
    stores = ward.graph.stores
    await announce_unannounced(stores.clinical, stores.notes, timedelta(hours=1))  # its writer may be at it still
    assert (await ward.stored(draft["id"]))["announced"] == 1
    assert await announce_unannounced(stores.clinical, stores.notes, timedelta(0)) >= 1
    assert (await ward.stored(draft["id"]))["announced"] == 2
    again = await ward.write("sign", idempotencyKey=key, id=draft["id"], version=1)
    assert (again["version"], len(again["signatures"])) == (2, 1)
    recorded = await rows(ward.graph, RECORDED, id)
    assert [one[2] for one in recorded] == ["INSERT", "UPDATE"]
    assert recorded[1][0] == ward.author.subject
    assert [one[2] for one in await rows(ward.graph, FED, id)] == ["INSERT", "UPDATE"]


async def test_a_draft_whose_process_died_keeps_its_key(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch, key = Transaction.fetch, str(uuid4())

    async def dying(self: Transaction, sql: Any, *args: object) -> Any:
        if "tell_of_note" in sql:
            raise Crash
        return await fetch(self, sql, *args)

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "fetch", dying)
        with pytest.raises(Crash):
            await ward.write("draft", idempotencyKey=key, **ward.new("Once."))
    other = await ward.refused("draft", idempotencyKey=key, **ward.new("Other."))
    assert (other["code"], other["field"]) == ("IDEMPOTENCY_CONFLICT", ["idempotencyKey"])
    found = {"metadata.patient_id": str(ward.patient_id)}
    [stored] = await ward.graph.stores.notes.worker_find(CLINICAL_NOTES, found)
    assert stored["sections"][0]["text"] == "Once."


async def test_a_history_has_an_end(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = await ward.draft()
    monkeypatch.setattr(loaders.writes.clinical_note, "HISTORY_BYTES_MAX", 2_500)
    await ward.write("update", id=draft["id"], version=1, sections=[section("Short.")])
    refusal = await ward.refused("update", id=draft["id"], version=2, sections=[section("One too many.")])
    assert refusal["code"] == "NOT_ALLOWED_NOW"
    assert (await ward.write("sign", id=draft["id"], version=2))["docStatus"] == "final"


@pytest.mark.parametrize(
    "function", ["access.note_written($1, $1, '{}', '[]')", "feed.note_written($1, $1, $1, '{}', '[]')"]
)
async def test_who_has_a_password_alone_tells_of_no_note(ward: Ward, function: str) -> None:
    settings, role = ward.graph.settings, "caregraph_clinician"
    connection = await asyncpg.connect(login_url(settings.clinical_url, role, role_password(settings.secret, role)))
    try:
        for writer in (role, f"{role}_writer"):
            await connection.execute(f"SET ROLE {writer}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT {function}", ward.patient_id)
    finally:
        await connection.close()
