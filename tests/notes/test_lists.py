"""Notes, plans, goals and summaries of patients: one statement for all parents, and pages that make up the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.caller import Profile
from db.errors import InvalidArgument, InvalidCursor
from db.mongo import Mongo
from db.notes_schema import CARE_PLANS, CLINICAL_NOTES, GOALS, PATIENT_SUMMARIES
from loaders.care_plan import care_plan_by_id
from loaders.clinical_note import note_by_id, notes_of_patients
from loaders.page import TimePage
from loaders.reader import Reader
from resolvers import care_plan, clinical_note, patient_summary
from resolvers.context import Context
from tests.notes import documents
from tests.notes.conftest import ReaderOf
from tests.notes.documents import JUNE

KEY = b"k" * 32


@dataclass(frozen=True, slots=True)
class Parent:
    """A patient or an encounter, as a resolver gets it."""

    id: UUID


def context(reader: Reader) -> Context:
    """Context of one request."""
    return Context(reader, KEY)


async def page_of(reader: Reader, parent: Parent, **arguments: Any) -> Any:
    """Slice of a patient's notes."""
    [found] = await clinical_note.of_patients(context(reader), [parent], **({"first": 20, "after": None} | arguments))
    return found


RESOLVERS = {
    "clinical_notes_of_patients": clinical_note.of_patients,
    "clinical_notes_of_encounters": clinical_note.of_encounters,
    "care_plans_of_patients": care_plan.of_patients,
    "goals_of_patients": care_plan.patient_goals,
}


@pytest.mark.parametrize("parents", [1, 25])
async def test_all_parents_take_one_statement(notes: Mongo, reader: ReaderOf, facility_id: UUID, parents: int) -> None:
    patients = [Parent(uuid4()) for _ in range(parents)]
    ours = [one.id for one in patients for _ in range(4)]
    times = [JUNE + timedelta(days=number) for number in range(len(ours))]
    both = list(zip(ours, times, strict=True))
    await notes.worker_upsert(
        CLINICAL_NOTES, [documents.note(facility_id, key, time=time, encounter_id=key) for key, time in both]
    )
    goals = [documents.goal(facility_id, key, time=time) for key, time in both]
    await notes.worker_upsert(GOALS, goals)
    plans = [
        documents.care_plan(facility_id, key, time=time, goal_ids=[one["_id"]])
        for (key, time), one in zip(both, goals, strict=True)
    ]
    await notes.worker_upsert(CARE_PLANS, plans)
    await notes.worker_upsert(PATIENT_SUMMARIES, [documents.summary(facility_id, one.id) for one in patients])
    for name, resolver in RESOLVERS.items():
        one = reader()
        found: Sequence[Any] = await resolver(context(one), patients, first=3, after=None)
        assert dict(one.statements) == {("notes", name): 1}
        for number, page in enumerate(found):
            mine = times[number * 4 : number * 4 + 4]
            assert [row.sort_time for row in page.rows] == mine[:0:-1]
            assert page.has_next
    one = reader()
    summaries = await patient_summary.of_patients(context(one), patients)
    assert [row and row.patient_id for row in summaries] == [parent.id for parent in patients]
    assert dict(one.statements) == {
        ("notes", "as_of_patient_summaries"): 1,
        ("notes", "patient_summary_of_patients"): 1,
    }
    one = reader()
    rows = await one.load_many(care_plan_by_id, [UUID(plan["_id"]) for plan in plans])
    listed = await care_plan.goals_of_plans(context(one), rows)
    assert [[str(row.id) for row in goals] for goals in listed] == [plan["goal_ids"] for plan in plans]
    assert dict(one.statements) == {("notes", "care_plan_by_id"): 1, ("notes", "goal_by_id"): 1}


async def test_a_note_is_served_as_it_was_written(notes: Mongo, reader: ReaderOf, facility_id: UUID) -> None:
    document = documents.note(facility_id, uuid4(), encounter_id=uuid4())
    await notes.worker_upsert(CLINICAL_NOTES, [document])
    key = UUID(document["_id"])
    [row] = await reader().load_many(note_by_id, [key])
    assert row is not None
    assert (str(row.patient_id), str(row.encounter_id)) == (
        document["metadata"]["patient_id"],
        document["metadata"]["encounter_id"],
    )
    same = ("status", "doc_status", "type", "category", "date", "title", "sections", "text", "amendments", "relates_to")
    assert {name: getattr(row, name) for name in same} == {name: document[name] for name in same}
    assert [(str(one.provider_id), one.display) for one in row.author] == [tuple(document["author"][0].values())]
    [signature] = row.signatures
    assert (signature.display, signature.time, signature.type) == ("Dr. Bo Lind", "2020-06-16", "authenticator")
    for other in (reader(facility=uuid4()), reader(Profile.REGISTRAR)):
        [seen] = await other.load_many(note_by_id, [key])
        assert seen is None or (seen.text, seen.sections, seen.amendments, seen.title) == (None, None, None, None)


async def test_filters_and_range(notes: Mongo, reader: ReaderOf, facility_id: UUID) -> None:
    parent = Parent(uuid4())
    told = [
        documents.note(facility_id, parent.id, time=JUNE, status="superseded"),
        documents.note(facility_id, parent.id, time=JUNE + timedelta(days=1), status="current"),
        documents.note(facility_id, parent.id, time=JUNE + timedelta(days=400), type=documents.DISCHARGE),
    ]
    await notes.worker_upsert(CLINICAL_NOTES, told)

    async def found(**arguments: Any) -> set[int]:
        page = await page_of(reader(), parent, **arguments)
        return {[note["_id"] for note in told].index(str(row.id)) for row in page.rows}

    assert await found() == {0, 1, 2}
    assert await found(status=["current"]) == {1}
    assert await found(type=["18842-5"]) == {2}
    assert await found(start="2020", end="2020") == {0, 1}
    assert await found(start="2020-06-16") == {1, 2}
    assert await found(status=["superseded"], type=["11506-3"], end="2020-06") == {0}


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("first", {"first": 0}),
        ("first", {"first": 101}),
        ("status", {"status": ["curent"]}),
        ("status", {"status": []}),
        ("type", {"type": [""]}),
        ("from", {"start": "June"}),
        ("to", {"start": "2022", "end": "2020"}),
    ],
)
async def test_a_bad_argument_is_named(reader: ReaderOf, argument: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await page_of(reader(), Parent(uuid4()), **arguments)
    assert caught.value.argument == argument


async def test_a_cursor_is_good_for_its_list_and_facility(notes: Mongo, reader: ReaderOf, facility_id: UUID) -> None:
    parent = Parent(uuid4())
    await notes.worker_upsert(CLINICAL_NOTES, [documents.note(facility_id, parent.id) for _ in range(2)])
    first = await page_of(reader(), parent, first=1)
    cursor = first.cursor(first.rows[0])
    second = await page_of(reader(), parent, first=1, after=cursor)
    assert (second.has_next, second.has_previous) == (False, True)
    assert {row.id for row in second.rows}.isdisjoint({row.id for row in first.rows})
    forged = ("B" if cursor[0] == "A" else "A") + cursor[1:]
    for one, after in ((reader(), forged), (reader(), "x"), (reader(facility=uuid4()), cursor)):
        with pytest.raises(InvalidCursor):
            await page_of(one, parent, after=after)
    with pytest.raises(InvalidCursor):
        await care_plan.of_patients(context(reader()), [parent], first=1, after=cursor)


async def test_a_page_is_stable_under_inserts(notes: Mongo, reader: ReaderOf, facility_id: UUID) -> None:
    parent = Parent(uuid4())
    old = [documents.note(facility_id, parent.id, time=JUNE + timedelta(days=day)) for day in range(4)]
    await notes.worker_upsert(CLINICAL_NOTES, old)
    first = await page_of(reader(), parent, first=2)
    newer = documents.note(facility_id, parent.id, time=JUNE + timedelta(days=9))
    await notes.worker_upsert(CLINICAL_NOTES, [newer])
    second = await page_of(reader(), parent, first=2, after=first.cursor(first.rows[-1]))
    assert [str(row.id) for row in second.rows] == [old[1]["_id"], old[0]["_id"]]


TIMES = st.integers(min_value=0, max_value=5).map(lambda year: datetime(2015 + year, 1, 1, tzinfo=UTC))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(TIMES, max_size=9), size=st.integers(1, 4), profile=st.sampled_from(["clinician", "analyst"]))
async def test_the_union_of_pages_is_the_whole_list(
    notes: Mongo, reader: ReaderOf, facility_id: UUID, times: list[datetime], size: int, profile: str
) -> None:
    patient_id = uuid4()
    told = [documents.note(facility_id, patient_id, time=time) for time in times]
    await notes.worker_upsert(CLINICAL_NOTES, told)
    one = reader(Profile(profile))
    seen: list[Any] = []
    page = TimePage(size)
    while True:
        rows = (await notes_of_patients(one, [patient_id], page, None, None))[patient_id]
        seen += rows[:size]
        if len(rows) <= size:
            break
        page = TimePage(size, rows[size - 1].sort_time, rows[size - 1].id)
    expected = sorted(((note["sort_time"], note["_id"]) for note in told), reverse=True)
    assert [(row.sort_time, str(row.id)) for row in seen] == expected
