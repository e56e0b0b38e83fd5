"""A cursor of another facility is refused like one that was never made, by every connection that the schema has."""

from __future__ import annotations

import pytest

from db.caller import Profile
from tests.asking import Answer
from tests.schema_walk import GRAPH, NODES, Place, fields_of, relations
from tests.tenancy.asks import NAMES, of_node
from tests.tenancy.tenants import ASKERS, HERE, THERE, Tenants

PAGE = "{ pageInfo { endCursor } }"
RANDOM = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo"
"""Base64 of what no facility signed."""
PARENTS = 40
"""Parents among which one with an entry is looked for."""
OF_PROJECTS = {"ResearchTable.rows", "ResearchTable.files"}
"""Below what members of a project see, at its own facility alone: tests/research/test_research_rows.py."""
PAGED = [p for p in (*fields_of(GRAPH.query_type), *relations()) if "after" in p.arguments]
CONNECTIONS = [p for p in PAGED if str(p) not in OF_PROJECTS]


async def page(pair: Tenants, place: Place, at: int, profile: Profile, parent: str | None, after: str | None) -> Answer:
    """A page of one entry, below a parent or of a root."""
    caller = pair.graph.caller(profile, at)
    if parent:
        cursor = f'first: 1, after: "{after}"' if after else "first: 1"
        return await pair.graph.ask_as(caller, of_node(place, cursor, PAGE), id=parent)
    named = {name: await pair.value(NAMES[name], at) for name in place.required if name in ("patient", "release")}
    return await pair.listed(place, caller, first=1, after=after, **named)


def end_of(place: Place, answer: Answer) -> str | None:
    """Cursor of the entry of a page; None of an empty or refused one."""
    owner = answer.data and (answer.data["node"] if place.owner in NODES else answer.data)
    connection = owner and owner[place.name]
    return connection["pageInfo"]["endCursor"] if connection else None


@pytest.mark.parametrize("place", CONNECTIONS, ids=str)
async def test_a_cursor_is_good_at_its_own_facility_only(pair: Tenants, place: Place) -> None:
    parents = pair.theirs[place.owner][:PARENTS] if place.owner in NODES else [None]
    here = pair.parents[place.owner][0] if place.owner in NODES else None
    for profile in ASKERS:
        for parent in parents:
            cursor = end_of(place, await page(pair, place, THERE, profile, parent, None))
            if cursor:
                assert (await page(pair, place, THERE, profile, parent, cursor)).errors == []
                foreign = await page(pair, place, HERE, profile, here, cursor)
                unknown = await page(pair, place, HERE, profile, here, RANDOM)
                assert foreign.codes == unknown.codes == ["INVALID_CURSOR"]
                assert foreign.errors == unknown.errors
                assert foreign.statements == unknown.statements
                return
    raise AssertionError(f"the network has no {place} at its first facility")


def test_every_connection_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    """A connection that is neither a root nor below a type with an id would have no parent here."""
    assert [str(p) for p in CONNECTIONS if p.owner not in NODES and p.owner != "Query"] == []
    with capsys.disabled():
        print(f"\ncursors: {len(CONNECTIONS)} connections")
    assert len(CONNECTIONS) >= 45
