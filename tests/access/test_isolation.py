"""Who may not read a value may not search by it. What is another facility's is in tests/tenancy."""

from __future__ import annotations

import pytest

from db.caller import Profile
from db.errors import PhiFilterForbidden
from tests.asking import Graph


@pytest.mark.parametrize("profile", [Profile.CDS, Profile.ANALYST])
async def test_who_may_not_read_may_not_search(graph: Graph, profile: Profile) -> None:
    for query in (
        '{ patients(search: "smith") { nodes { id } } }',
        '{ patient(mrn: "1") { id } }',
    ):
        with pytest.raises(PhiFilterForbidden):
            await graph.ask(query, profile)
