"""Search over notes: words by stem, phrases as written, facets by type; the same on every server."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.caller import Profile
from db.errors import InvalidArgument, PhiFilterForbidden
from db.mongo import Mongo
from db.notes_schema import CLINICAL_NOTES
from loaders.search_terms import STOP_WORDS, WORD, parse, terms
from resolvers import clinical_note
from tests.notes.conftest import ReaderOf
from tests.notes.documents import DISCHARGE, JUNE, note
from tests.notes.test_lists import context

TEXTS = [
    "Patient reports chest pains since Monday; no fever.",
    "Pain in the chest wall after a fall. Chest X-ray: clear.",
    "CHEST\n  PAIN, radiating to the left arm.",
    "Sore throat. Fièvre depuis hier (39.2 °C).",
    "Chest clear. No pain-killers needed.",
    "Follow-up of diabetes: metformin continued.",
]

QUERIES = {
    "chest": {0, 1, 2, 4},
    "Chest PAIN": {0, 1, 2, 4},
    "pains in the chest": {0, 1, 2, 4},
    '"chest pain"': {2},
    '"chest pains"': {0},
    '"pain in the chest"': {1},
    '"chest pain" arm': {2},
    '"chest" "clear"': {1, 4},
    'chest "pain': {0, 1, 2, 4},
    "fièvre": {3},
    '"FIÈVRE depuis"': {3},
    "x-ray": {1},
    '"x ray"': {1},
    '"est pain"': set[int](),
    "39.2": {3},
    "diabetic metformin": {5},
    "chest diabetes": set[int](),
    "continue metformin": {5},
    "chest.*": {0, 1, 2, 4},
    '"chest.*"': {0, 1, 2, 4},
    "$regex": set[int](),
    "zebra": set[int](),
}


async def search(reader: Any, text: str, **arguments: Any) -> Any:
    """A search as the root resolves it."""
    given: dict[str, Any] = {"type": None, "first": 20, "after": None, "start": None, "end": None} | arguments
    return await clinical_note.search(context(reader), text=text, **given)


async def stored(notes: Mongo, facility_id: UUID) -> list[str]:
    """Ids of the texts, newest first in the order of TEXTS, one of them of another type."""
    told = [
        note(facility_id, uuid4(), text, JUNE.replace(year=2020 - number), type=DISCHARGE if number == 1 else None)
        if number in (1, 4)
        else note(facility_id, uuid4(), text, JUNE.replace(year=2020 - number))
        for number, text in enumerate(TEXTS)
    ]
    await notes.worker_upsert(CLINICAL_NOTES, [*told, note(uuid4(), uuid4(), " ".join(TEXTS))])
    return [one["_id"] for one in told]


async def test_words_match_by_stem_and_phrases_as_written(notes: Mongo, reader: ReaderOf, facility_id: UUID) -> None:
    ids = await stored(notes, facility_id)
    for query, expected in QUERIES.items():
        found = await search(reader(), query)
        assert [ids.index(str(row.id)) for row in found.page.rows] == sorted(expected), query


async def test_pages_range_and_types(notes: Mongo, reader: ReaderOf, facility_id: UUID) -> None:
    ids = await stored(notes, facility_id)
    seen: list[str] = []
    after = None
    while True:
        found = await search(reader(), "chest", first=1, after=after)
        seen += [str(row.id) for row in found.page.rows]
        if not found.page.has_next:
            break
        after = found.page.cursor(found.page.rows[-1])
    assert seen == [ids[number] for number in (0, 1, 2, 4)]
    assert [str(row.id) for row in (await search(reader(), "chest", end="2019")).page.rows] == seen[1:]
    assert [str(row.id) for row in (await search(reader(), "chest", start="2019")).page.rows] == seen[:2]
    assert [str(row.id) for row in (await search(reader(), "chest", type=["18842-5"])).page.rows] == [ids[1]]


async def test_facets_count_all_types_in_one_statement(notes: Mongo, reader: ReaderOf, facility_id: UUID) -> None:
    await stored(notes, facility_id)
    one = reader()
    found = await search(one, "chest", first=1, type=["18842-5"])
    assert dict(one.statements) == {("notes", "clinical_notes_by_text"): 1}
    [facets] = await clinical_note.facets(context(one), [found])
    assert facets is not None
    assert [(facet.code, facet.display, facet.count) for facet in facets] == [
        ("11506-3", "Progress note", 2),
        (None, None, 1),
        ("18842-5", "Discharge summary", 1),
    ]
    assert one.statements["notes", "clinical_note_facets"] == 1
    [narrow] = await clinical_note.facets(context(one), [await search(one, '"chest pains"')])
    assert [facet.count for facet in narrow or ()] == [1]


@pytest.mark.parametrize(
    ("argument", "text", "arguments"),
    [
        ("text", "", {}),
        ("text", "x" * 201, {}),
        ("text", "the of and", {}),
        ("text", '"?!"', {}),
        ("text", "a\0b", {}),
        ("first", "chest", {"first": -1}),
        ("type", "chest", {"type": []}),
        ("from", "chest", {"start": "2020-13"}),
    ],
)
async def test_a_bad_argument_is_named(reader: ReaderOf, argument: str, text: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await search(reader(), text, **arguments)
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    "profile", [Profile.REGISTRAR, Profile.BILLING, Profile.CDS, Profile.ANALYST, Profile.PRIVACY_OFFICER]
)
async def test_who_may_not_read_notes_may_not_search_them(
    notes: Mongo, reader: ReaderOf, facility_id: UUID, profile: Profile
) -> None:
    await stored(notes, facility_id)
    one = reader(profile)
    with pytest.raises(PhiFilterForbidden) as caught:
        await search(one, "chest")
    assert caught.value.argument == "text"
    assert not one.statements
    assert await one.notes.find("contract", CLINICAL_NOTES, {"search_terms": "chest"}) == []


LETTERS = "abcxyzABCéßñµ'-.,_\"\n 059"


@given(text=st.text(alphabet=LETTERS, max_size=60), data=st.data())
def test_a_text_is_found_by_its_own_words_and_phrases(text: str, data: st.DataObject) -> None:
    words = re.findall(f"[{WORD}]+", text)
    start = data.draw(st.integers(0, len(words)))
    some = words[start : start + data.draw(st.integers(0, 4))]
    query = parse(" ".join(some) + ' "' + " ".join(some) + '"')
    assert set(query.stems) <= set(terms(text))
    assert all(re.search(phrase, text, re.IGNORECASE) for phrase in query.phrases)


@given(st.text(max_size=80))
def test_terms_are_distinct_sorted_and_without_stop_words(text: str) -> None:
    found = terms(text)
    assert found == sorted(set(found))
    assert terms(" ".join([text, text.upper()])) == terms(" ".join([text.upper(), text]))
    assert not {word for word in STOP_WORDS if terms(word)}


@pytest.mark.parametrize(
    ("word", "same"),
    [("pains", "pain"), ("fractures", "fractured"), ("Breathing", "breathes"), ("allergies", "allergy")],
)
def test_forms_of_a_word_have_one_term(word: str, same: str) -> None:
    assert terms(word) == terms(same)
