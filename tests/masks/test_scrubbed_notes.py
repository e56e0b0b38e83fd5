"""Clinical decision support reads notes scrubbed: labelled, without the patient's identifiers, in few statements."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
import pytest

from db.caller import Profile
from db.errors import Forbidden, PhiFilterForbidden
from db.notes_schema import CLINICAL_NOTES
from db.scrub.seeds import Seeds, seeded
from db.scrub.text import clean, folded
from loaders.clinical_note import SCRUB_SEEDS_OF_PATIENTS
from loaders.reader import Reader
from tests.asking import Graph

NOTE = """... on ClinicalNote {
    id scrubbed text sections { title text code { text } } amendments { time author reason text } }"""
KNOWN = """/* known */
SELECT p.id, array_agg(DISTINCT n.family) || array_agg(DISTINCT n.given[1]),
       array_agg(DISTINCT r.mrn) || array_agg(DISTINCT i.value), p.birth_date
FROM clinical.registration AS r
JOIN clinical.patient AS p ON p.id = r.patient_id
JOIN clinical.patient_name AS n ON n.patient_id = p.id
LEFT JOIN clinical.patient_identifier AS i ON i.patient_id = p.id
WHERE r.facility_id = $1
GROUP BY p.id"""
REGISTERED = """/* registered */
SELECT count(*) FROM clinical.registration WHERE facility_id = $1 AND patient_id = ANY($2::uuid[])"""
PAGE = 25


def nodes(ids: Sequence[str], selection: str = NOTE) -> str:
    """Query of several nodes at once."""
    return "{" + " ".join(f'n{place}: node(id: "{id}") {{ {selection} }}' for place, id in enumerate(ids)) + "}"


async def documents(graph: Graph, most: int = 400) -> list[dict[str, Any]]:
    """Notes of the first facility as they are stored, amended ones first."""
    found = await graph.stores.notes.worker_find(CLINICAL_NOTES, {"metadata.facility_id": str(graph.facilities[0].id)})
    return sorted(found, key=lambda one: not one["amendments"])[:most]


async def test_no_identifier_of_a_patient_is_in_a_scrubbed_note(graph: Graph) -> None:
    known = {row[0]: row for row in await graph.stores.clinical.worker_fetch(KNOWN, graph.facilities[0].id)}
    stored = {f"ClinicalNote/{one['_id']}": one for one in await documents(graph)}
    named = 0
    for start in range(0, len(stored), PAGE):
        ids = list(stored)[start : start + PAGE]
        answer = await graph.ask(nodes(ids), Profile.CDS)
        assert answer.errors == []
        for note in filter(None, answer.data.values()):
            document = stored[note["id"]]
            patient_id = UUID(document["metadata"]["patient_id"])
            _, names, identifiers, born = known[patient_id]
            seeds = Seeds(patient_id, [n for n in names if n], [i for i in identifiers if i], [], [], born)
            assert note["scrubbed"] is True
            assert note["text"], "a scrubbed text is not an empty one"
            shown = json.dumps([note["text"], note["sections"], note["amendments"]], ensure_ascii=False)
            assert seeded(seeds, folded(shown)) == [], note["id"]
            named += bool(seeded(seeds, folded(clean(str(document["text"])))))
    assert named > 10, "the generated notes name their patients"


async def test_other_profiles_get_the_whole_text_or_none(graph: Graph) -> None:
    [document, *_] = await documents(graph, 1)
    ids = [f"ClinicalNote/{document['_id']}"]
    for profile, text in ((Profile.CLINICIAN, document["text"]), (Profile.ANALYST, None)):
        note = (await graph.ask(nodes(ids), profile)).data["n0"]
        assert note is None or (note["text"], note["scrubbed"]) == (text, False)


async def test_scrubbed_texts_take_one_statement_of_each_store(graph: Graph) -> None:
    ids = [f"ClinicalNote/{one['_id']}" for one in await documents(graph, 30)]
    answer = await graph.ask(nodes(ids), Profile.CDS)
    counts = {name: count for (_, name), count in answer.statements.items()}
    assert counts["clinical_note_texts"] == counts["scrub_seeds_of_patients"] == 1
    without = await graph.ask(nodes(ids, "id"), Profile.CDS)
    assert "clinical_note_texts" not in {name for _, name in without.statements}


async def test_the_answer_says_what_is_scrubbed_and_what_is_hidden(graph: Graph) -> None:
    [document, *_] = await documents(graph, 1)
    query = """query ($id: ID!, $patient: ID!) {
        node(id: $id) { ... on ClinicalNote { text sections { text code { text } } } }
        patient(id: $patient) { imagingStudies { nodes { description } } } }"""
    patient = f"Patient/{document['metadata']['patient_id']}"
    answer = await graph.ask(query, Profile.CDS, id=f"ClinicalNote/{document['_id']}", patient=patient)
    forms = {entry["coordinate"]: entry["masks"][0]["form"] for entry in answer.extensions["phi"]}
    assert forms["ClinicalNote.text"] == forms["NoteSection.text"] == "SCRUB"
    assert forms["NoteSection.code"] == forms["ImagingStudy.description"] == "HIDE"


async def test_a_search_in_what_is_scrubbed_is_refused(graph: Graph) -> None:
    with pytest.raises(PhiFilterForbidden):
        await graph.ask('{ clinicalNotes(text: "pain") { nodes { id } } }', Profile.CDS)


async def test_unscrubbed_texts_do_not_leave_the_store(graph: Graph) -> None:
    [document, *_] = await documents(graph, 1)
    ids = [UUID(str(document["_id"]))]
    reader = Reader(graph.stores, graph.caller(Profile.CDS))
    try:
        [found] = await reader.notes.aggregate("probe", CLINICAL_NOTES, {"_id": str(ids[0])})
        assert not found.keys() & {"text", "sections", "amendments", "search_terms"}
        [held] = await reader.notes.unscrubbed("probe", CLINICAL_NOTES, ids)
        for encode in (orjson.dumps, json.dumps, pickle.dumps):
            with pytest.raises(TypeError):
                encode(held)
        assert str(document["text"])[:20] not in f"{held}{held!r}{dir(held)}"
        with pytest.raises(ValueError, match="another patient"):
            held.scrubbed(Seeds(UUID(int=1), [], [], [], [], None))
    finally:
        await reader.close()
    for profile in (Profile.CLINICIAN, Profile.ANALYST):
        other = Reader(graph.stores, graph.caller(profile))
        with pytest.raises(Forbidden):
            await other.notes.unscrubbed("probe", CLINICAL_NOTES, ids)


async def test_seeds_are_given_to_the_application_alone(graph: Graph) -> None:
    """Whoever has the password of the cds role, and even a signed context, reads no name."""
    caller = graph.caller(Profile.CDS)
    clinical = graph.stores.clinical
    patients = [UUID(one["metadata"]["patient_id"]) for one in await documents(graph, 5)]
    reader = Reader(graph.stores, caller)
    assert len(await reader.clinical.fetch(SCRUB_SEEDS_OF_PATIENTS, patients)) == len(set(patients))
    await reader.close()
    elsewhere = Reader(graph.stores, graph.caller(Profile.CDS, 1))
    [[both]] = await clinical.worker_fetch(REGISTERED, graph.facilities[1].id, patients)
    assert len(await elsewhere.clinical.fetch(SCRUB_SEEDS_OF_PATIENTS, patients)) == both < len(set(patients))
    await elsewhere.close()
    async with clinical.connections.lent("caregraph_cds") as connection, connection.transaction():
        await connection.execute(clinical.context(caller, connection.get_server_pid()))
        await connection.execute("SET LOCAL app.proof = ''")
        assert await connection.fetch(SCRUB_SEEDS_OF_PATIENTS, patients) == []
