"""What tests of writes share."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from tests.asking import Graph
from tests.people import FIRST_BYTES, People
from tests.writes.noting import Ward


@pytest_asyncio.fixture
async def ward(graph: Graph) -> Ward:
    """A patient of the first facility whom no other test knows."""
    return Ward(graph, await People(graph.stores).patient(graph.facilities[0].id))


@pytest_asyncio.fixture
async def patient(graph: Graph) -> str:
    """Global id of a new patient of the first facility."""
    return f"Patient/{await People(graph.stores).patient(graph.facilities[0].id)}"


@pytest.fixture(autouse=True)
def registered_behind_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patients whom tests register come behind those of the demo network by id, as those of tests/people.py do."""
    monkeypatch.setattr("loaders.writes.patient.uuid4", lambda: UUID(f"{FIRST_BYTES}{uuid4().hex[8:]}"))
