"""The notes store as a caller and as a worker meet it: tenant, policy, validators, deadline."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.caller import Profile
from db.errors import StoreError, StoreUnavailable
from db.mongo import Mongo
from db.notes_schema import CARE_PLANS, CLINICAL_NOTES, COLLECTIONS, GOALS, PATIENT_SUMMARIES, Collection
from db.policy import Form, Phi, form
from tests.callers import PURPOSES
from tests.notes.conftest import ReaderOf
from tests.notes.documents import care_plan, concept, goal, note, summary
from workers.embedded.stores import Stores as Embedded

MAKERS = {CLINICAL_NOTES.name: note, CARE_PLANS.name: care_plan, GOALS.name: goal, PATIENT_SUMMARIES.name: summary}
ALL = pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda collection: collection.name)


@ALL
async def test_no_document_of_another_facility(
    notes: Mongo, reader: ReaderOf, facility_id: UUID, collection: Collection
) -> None:
    patient_id, elsewhere = uuid4(), uuid4()
    ours, theirs = (MAKERS[collection.name](facility, patient_id) for facility in (facility_id, elsewhere))
    await notes.worker_upsert(collection, [ours, theirs])
    for keys in ({"metadata.patient_id": str(patient_id)}, {"_id": {"$in": [ours["_id"], theirs["_id"]]}}, {}):
        found = await reader().notes.find("contract", collection, keys)
        assert [document["_id"] for document in found] == [ours["_id"]]
    [there] = await reader(facility=elsewhere).notes.find("contract", collection, {})
    assert there["_id"] == theirs["_id"]


@pytest.mark.parametrize(
    "stage",
    [
        {"$lookup": {"from": "clinical_notes", "pipeline": [], "as": "all"}},
        {"$unionWith": "clinical_notes"},
        {"$graphLookup": {}},
        {"$facet": {}},
        {"$out": "copy"},
        {"$merge": "copy"},
    ],
    ids=lambda stage: next(iter(stage)),
)
async def test_a_stage_that_reads_or_writes_elsewhere_is_refused(reader: ReaderOf, stage: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not for callers"):
        await reader().notes.aggregate("contract", CLINICAL_NOTES, {}, [stage])


@pytest.mark.parametrize("path", ["metadata.facility_id", "$or", "$where"])
async def test_keys_cannot_widen_the_facility(reader: ReaderOf, path: str) -> None:
    with pytest.raises(ValueError, match="other than the facility"):
        await reader().notes.find("contract", CLINICAL_NOTES, {path: "x"})


@ALL
def test_every_stored_field_has_a_kind(collection: Collection) -> None:
    assert {path for path in collection.kinds if "." not in path} == set(collection.schema["properties"])
    assert collection.schema["additionalProperties"] is False


@ALL
@pytest.mark.parametrize("profile", Profile)
async def test_a_profile_gets_what_the_policy_gives(
    notes: Mongo, reader: ReaderOf, facility_id: UUID, collection: Collection, profile: Profile
) -> None:
    stored = MAKERS[collection.name](facility_id, uuid4())
    await notes.worker_upsert(collection, [stored])
    [found] = await reader(profile).notes.find("contract", collection, {"_id": stored["_id"]})
    for path, kind in collection.kinds.items():
        wanted = Form.SHOW if kind is None else form(profile, PURPOSES[profile], kind)
        parent = collection.kinds[path.partition(".")[0].removesuffix("[]")]
        whole = parent is None or form(profile, PURPOSES[profile], parent) is Form.SHOW
        hidden_part = whole and "." in path
        wanted = wanted if whole or parent is kind else Form.HIDE
        before, after = values(stored, path), values(found, path)
        assert before
        if wanted in (Form.HIDE, Form.SCRUB):  # what is shown scrubbed leaves the store by another way
            assert after == ([None] * len(before) if hidden_part else [])
        elif wanted is Form.YEAR:
            assert [str(value) for value in after] == [year(value) for value in before]
        elif not any(other.startswith((f"{path}.", f"{path}[]")) for other in collection.kinds):
            assert after == before


def values(document: dict[str, Any], path: str) -> list[Any]:
    """Values at a path; [] where there is no such element."""
    name, _, rest = path.partition(".")
    value = document.get(name.removesuffix("[]"), [])
    entries: list[Any] = value if name.endswith("[]") else [value]
    if not rest:
        return [] if name not in document else entries
    return [entry[rest] for entry in entries if rest in entry]


def year(value: object) -> str:
    """A year as the mask writes it: of an instant its first moment, of a text four digits, of nothing nothing."""
    text = str(value)
    return f"{text[:4]}-01-01 00:00:00+00:00" if hasattr(value, "tzinfo") else text[:4]


async def test_a_masked_path_is_filtered_and_ordered_as_the_caller_sees_it(
    notes: Mongo, reader: ReaderOf, facility_id: UUID
) -> None:
    document = note(facility_id, uuid4())
    await notes.worker_upsert(CLINICAL_NOTES, [document])
    by_type = {"type.coding.code": "11506-3"}
    by_month = [{"$match": {"sort_time": {"$gte": document["sort_time"].replace(month=3)}}}]
    for profile, counts in {Profile.CLINICIAN: (1, 1), Profile.REGISTRAR: (0, 1), Profile.ANALYST: (1, 0)}.items():
        session = reader(profile).notes
        found = await session.find("contract", CLINICAL_NOTES, by_type)
        assert (len(found), len(await session.aggregate("contract", CLINICAL_NOTES, {}, by_month))) == counts


async def test_nothing_stays_nothing_under_a_mask(notes: Mongo, reader: ReaderOf, facility_id: UUID) -> None:
    document = summary(facility_id, uuid4())
    document["last_encounters"][0]["start"] = None
    await notes.worker_upsert(PATIENT_SUMMARIES, [document])
    [found] = await reader(Profile.ANALYST).notes.find("contract", PATIENT_SUMMARIES, {})
    assert (found["last_encounters"][0]["start"], found["last_encounters"][0]["end"]) == (None, "2020")
    assert form(Profile.ANALYST, PURPOSES[Profile.ANALYST], Phi.DATE) is Form.YEAR


@pytest.mark.parametrize(
    ("collection", "change"),
    [
        (CLINICAL_NOTES, {"patient_name": "Zebedee"}),
        (CLINICAL_NOTES, {"sort_time": "Zebedee"}),
        (CLINICAL_NOTES, {"metadata": {"patient_id": str(uuid4())}}),
        (CLINICAL_NOTES, {"metadata": {"facility_id": "Zebedee", "patient_id": str(uuid4()), "encounter_id": None}}),
        (CLINICAL_NOTES, {"text": None}),
        (CLINICAL_NOTES, {"sections": [{"title": "Zebedee"}]}),
        (CARE_PLANS, {"goal_ids": ["Zebedee"]}),
        (CARE_PLANS, {"period": {"start": 2020, "end": None}}),
        (GOALS, {"target": "Zebedee"}),
        (PATIENT_SUMMARIES, {"counts": {"encounters": "Zebedee"}}),
    ],
)
async def test_a_document_of_another_shape_is_refused_without_its_values(
    notes: Mongo, facility_id: UUID, collection: Collection, change: dict[str, Any]
) -> None:
    document = MAKERS[collection.name](facility_id, uuid4()) | change
    with pytest.raises(StoreError, match="refused") as caught:
        await notes.worker_upsert(collection, [document])
    assert "Zebedee" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert await notes.worker_count(collection, {"_id": document["_id"]}) == 0


async def test_writing_the_same_again_writes_nothing(notes: Mongo, facility_id: UUID) -> None:
    documents = [note(facility_id, uuid4()) for _ in range(120)]
    assert await notes.worker_upsert(CLINICAL_NOTES, documents) == (120, 0)
    assert await notes.worker_upsert(CLINICAL_NOTES, documents) == (0, 120)
    documents[7]["status"] = "current"
    assert await notes.worker_upsert(CLINICAL_NOTES, documents) == (1, 119)
    assert await notes.worker_count(CLINICAL_NOTES, {"metadata.facility_id": str(facility_id)}) == 120


async def test_deleting_says_how_many_there_were(notes: Mongo, facility_id: UUID) -> None:
    document = note(facility_id, uuid4())
    await notes.worker_upsert(CLINICAL_NOTES, [document])
    assert await notes.worker_delete(CLINICAL_NOTES, [document["_id"], str(uuid4())]) == 1
    assert await notes.worker_find(CLINICAL_NOTES, {"_id": document["_id"]}) == []


async def test_decimals_keep_their_digits(notes: Mongo, reader: ReaderOf, facility_id: UUID) -> None:
    target = {"measure": concept("4548-4", "HbA1c"), "detailQuantity": {"value": Decimal("7.00"), "unit": "%"}}
    await notes.worker_upsert(GOALS, [goal(facility_id, uuid4(), target=[target])])
    [found] = await reader().notes.find("contract", GOALS, {})
    assert str(found["target"][0]["detailQuantity"]["value"]) == "7.00"


async def test_ensure_may_run_again(notes: Mongo, facility_id: UUID) -> None:
    document = note(facility_id, uuid4())
    await notes.worker_upsert(CLINICAL_NOTES, [document])
    await notes.ensure()
    assert await notes.worker_count(CLINICAL_NOTES, {"_id": document["_id"]}) == 1
    indexes = await notes.open(CLINICAL_NOTES).index_information()
    assert set(CLINICAL_NOTES.indexes) <= set(indexes)


async def test_two_may_ensure_at_once(embedded: Embedded) -> None:
    url = embedded.env["CAREGRAPH_NOTES_URL"].replace("/caregraph?", "/fresh_notes?")
    both = [Mongo("notes", url, 10) for _ in range(2)]
    await asyncio.gather(*(one.ensure() for one in both))
    assert set(await both[0].open(CLINICAL_NOTES).index_information()) >= {"_id_", *CLINICAL_NOTES.indexes}
    for one in both:
        await one.close()


async def test_a_read_is_recorded_by_name(reader: ReaderOf) -> None:
    one = reader()
    await one.notes.find("notes_of_nobody", CLINICAL_NOTES, {"_id": str(uuid4())})
    assert dict(one.statements) == {("notes", "notes_of_nobody"): 1}


async def test_a_stopped_server_is_a_store_error_and_comes_back(embedded: Embedded) -> None:
    store = Mongo("notes", embedded.env["CAREGRAPH_NOTES_URL"], 3)
    await store.ready()
    embedded.stop("notes")
    try:
        with pytest.raises(StoreUnavailable) as caught:
            await store.ready()
        assert caught.value.code == "STORE_UNAVAILABLE"
    finally:
        embedded.start("notes")
    await store.ready()
    await store.close()


async def test_a_server_that_never_answers_is_given_up() -> None:
    async def hold(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stream.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = Mongo("notes", f"mongodb://127.0.0.1:{port}/none?directConnection=true", 0.5)
    with pytest.raises(StoreError) as caught:
        await store.ready()
    assert caught.value.code == "STORE_UNAVAILABLE"
    await store.close()
    server.close()
    await server.wait_closed()


async def test_a_wrong_password_is_a_store_error(embedded: Embedded) -> None:
    url = embedded.env["CAREGRAPH_NOTES_URL"]
    password = url.split("@")[0].rpartition(":")[2]
    store = Mongo("notes", url.replace(password, "wrong"), 3)
    with pytest.raises(StoreUnavailable):
        await store.ready()
    await store.close()
