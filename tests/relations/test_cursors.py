"""Cursors: any changed byte is refused, and pages neither lose nor repeat an entry, whatever is written in between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from db.errors import InvalidCursor
from resolvers.connection import Scope
from tests.asking import Graph

POSITIONS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40), min_size=1, max_size=3
)
SCOPES = st.builds(
    Scope, key=st.binary(min_size=32, max_size=32), field=st.just("Patient.labResults"), facility_id=st.uuids()
)
ALPHABET = st.characters(min_codepoint=33, max_codepoint=126)

PAGE = """
query ($id: ID!, $first: Int!, $after: String) {
  patient(id: $id) {
    conditions(first: $first, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } }
  }
}
"""
BUSIEST = """/* busiest_patient */
SELECT patient_id FROM clinical.condition WHERE facility_id = $1
GROUP BY patient_id ORDER BY count(*) DESC, patient_id LIMIT 1"""
RECORD = """/* record_condition */
INSERT INTO clinical.condition (id, facility_id, patient_id, code_text, sort_time) VALUES ($1, $2, $3, 'test', $4)
RETURNING id"""
REMOVE = "/* remove_conditions */ DELETE FROM clinical.condition WHERE id = ANY($1::uuid[]) RETURNING id"


@given(SCOPES, POSITIONS)
def test_a_cursor_gives_its_position_back(scope: Scope, position: list[str]) -> None:
    assert scope.verify(scope.sign(*position), len(position)) == position


@given(SCOPES, POSITIONS, st.data())
def test_any_changed_character_is_refused(scope: Scope, position: list[str], data: st.DataObject) -> None:
    cursor = scope.sign(*position)
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(ALPHABET.filter(lambda character: character != cursor[place]))
    for changed in (cursor[:place] + other + cursor[place + 1 :], cursor[:place] + cursor[place + 1 :], cursor + other):
        with pytest.raises(InvalidCursor):
            scope.verify(changed, len(position))


@given(SCOPES, POSITIONS, st.uuids(), st.binary(min_size=32, max_size=32))
def test_a_cursor_of_elsewhere_is_refused(scope: Scope, position: list[str], other: UUID, key: bytes) -> None:
    cursor = scope.sign(*position)
    others = (
        Scope(scope.key, scope.field, other),
        Scope(scope.key, "Patient.conditions", scope.facility_id),
        Scope(key, scope.field, scope.facility_id),
    )
    for elsewhere in others:
        if elsewhere != scope:
            with pytest.raises(InvalidCursor):
                elsewhere.verify(cursor, len(position))


@given(SCOPES, st.text(max_size=60))
def test_nonsense_is_refused(scope: Scope, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        scope.verify(cursor, 2)


@pytest_asyncio.fixture(scope="session")
async def patient_id(graph: Graph) -> UUID:
    """The patient of the first facility who has the most conditions."""
    [row] = await graph.stores.clinical.worker_fetch(BUSIEST, graph.facilities[0].id)
    return row[0]


async def page(graph: Graph, patient_id: UUID, first: int, after: str | None = None) -> tuple[list[str], str | None]:
    """Ids of a page, and the cursor of the next one if there is one."""
    answer = await graph.ask(PAGE, id=f"Patient/{patient_id}", first=first, after=after)
    assert answer.errors == []
    shown: dict[str, Any] = answer.data["patient"]["conditions"]
    info = shown["pageInfo"]
    return [node["id"] for node in shown["nodes"]], info["endCursor"] if info["hasNextPage"] else None


async def pages(graph: Graph, patient_id: UUID, first: int, after: str | None = None) -> list[str]:
    """Ids of all pages from a cursor on."""
    shown, cursor = await page(graph, patient_id, first, after)
    while cursor is not None:
        more, cursor = await page(graph, patient_id, first, cursor)
        assert more, "a page that was announced is not empty"
        shown += more
    return shown


async def test_pages_of_every_size_are_the_whole_list(graph: Graph, patient_id: UUID) -> None:
    whole = await pages(graph, patient_id, 100)
    assert len(whole) >= 4
    assert len(set(whole)) == len(whole)
    for size in range(1, len(whole) + 2):
        assert await pages(graph, patient_id, size) == whole, size


async def insert(graph: Graph, patient_id: UUID, times: Sequence[datetime]) -> list[UUID]:
    """Conditions of these times, written as the worker does; their ids."""
    facility_id = graph.facilities[0].id
    written = [
        await graph.stores.clinical.worker_fetch(RECORD, uuid4(), facility_id, patient_id, time) for time in times
    ]
    return [rows[0][0] for rows in written]


async def test_what_is_written_meanwhile_moves_no_page(graph: Graph, patient_id: UUID) -> None:
    """Newer rows come before the cursor, so the pages behind it stay as they were; equal times are told apart by id."""
    whole = await pages(graph, patient_id, 100)
    first, cursor = await page(graph, patient_id, 2)
    assert cursor is not None
    tie = datetime(2039, 1, 1, tzinfo=UTC)
    written = await insert(graph, patient_id, [tie, tie, tie])
    try:
        assert first + await pages(graph, patient_id, 2, cursor) == whole
        added = [f"Condition/{one}" for one in sorted(written, reverse=True)]
        assert await pages(graph, patient_id, 2) == [*added, *whole]
    finally:
        removed = await graph.stores.clinical.worker_fetch(REMOVE, written)
    assert len(removed) == len(written)
    assert await pages(graph, patient_id, 2) == whole
