"""To who is bound to a department, patients of other departments are like ones who never were: found by a walk.

Which patients a department reaches is tested in tests/layers; here, that no way into the graph goes past it.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from db.caller import Caller, PurposeOfUse
from db.policy import ROLES
from tests.asking import Graph
from tests.layers.hospital import DEPARTMENT
from tests.people import People
from tests.schema_walk import GRAPH, NODES, Place, fields_of, is_relation, relations
from tests.tenancy.asks import Ask, asks, lists, of_node
from tests.tenancy.tenants import THERE, Tenants, bytes_of, never

OF_PATIENTS = (
    {"Patient"}
    | {
        name
        for name in NODES
        if any(p.name == "patient" and is_relation(p.field) for p in fields_of(GRAPH.type_map[name]))
    }
    | {"ImagingSeries", "ImagingInstance"}
)
"""Types of which each row is a patient's."""
WORDS = {"mrn", "family", "word"}
OF_ALL = sorted(NODES - OF_PATIENTS)
ASKS = [ask for ask in asks() if ask.kind in OF_PATIENTS | WORDS]
BELOW = [place for place in relations() if place.owner in OF_ALL]


@pytest_asyncio.fixture(scope="module")
async def nurse(pair: Tenants) -> Caller:
    """A nurse of a new department of facility A, in which one patient stays."""
    graph, department = pair.graph, uuid4()
    facility = graph.facilities[THERE].id
    await graph.stores.clinical.worker_fetch(DEPARTMENT, department, facility)
    patient = await People(graph.stores).patient(facility)
    await People(graph.stores).stay(facility, patient, department)
    caller = Caller("nurse", ROLES["ward_nurse"], facility, PurposeOfUse.TREAT, department_id=department)
    assert await _seen(graph, caller, patient)
    return caller


async def _seen(graph: Graph, caller: Caller, patient: UUID) -> bool:
    query = "query($id: ID!) { patient(id: $id) { mrn conditions { nodes { id } } } }"
    answer = await graph.ask_as(caller, query, id=f"Patient/{patient}")
    return bool(answer.data["patient"] and answer.data["patient"]["conditions"]["nodes"])


def outside(pair: Tenants) -> set[str]:
    """Ids of rows of patients whom the nurse does not reach: those whom facility A had before."""
    kinds = OF_PATIENTS - {"VitalSign"}
    return {one.partition("/")[2] for kind in kinds for one in pair.theirs[kind]} | {pair.scenes[THERE].family}


@pytest.mark.parametrize("ask", ASKS, ids=str)
async def test_patients_of_other_departments_are_like_none(pair: Tenants, nurse: Caller, ask: Ask) -> None:
    there = await pair.ask(ask, nurse, THERE, await pair.value(ask.kind, THERE))
    unknown = await pair.ask(ask, nurse, THERE, never(ask.kind))
    assert bytes_of(there) == bytes_of(unknown)
    assert there.statements == unknown.statements


@pytest.mark.parametrize("place", BELOW, ids=str)
async def test_relations_of_what_all_see_lead_to_no_such_patient(pair: Tenants, nurse: Caller, place: Place) -> None:
    hidden, asked = outside(pair), 0
    for parent in [pair.scenes[THERE].value(place.owner) or pair.theirs[place.owner][0], *pair.theirs[place.owner][:3]]:
        answer = await pair.graph.ask_as(nurse, of_node(place), id=parent)
        text = bytes_of(answer).decode()
        assert [mark for mark in hidden if mark in text] == []
        asked += answer.errors == []
    assert asked


@pytest.mark.parametrize("root", lists(), ids=str)
async def test_lists_hold_no_such_patient(pair: Tenants, nurse: Caller, root: Place) -> None:
    more = {"first": 100} if "first" in root.arguments else {}
    text = bytes_of(await pair.listed(root, nurse, **more)).decode()
    assert [mark for mark in outside(pair) if mark in text] == []


async def test_the_same_nurse_without_the_bound_sees_them(pair: Tenants, nurse: Caller) -> None:
    """Shows that it is the department that closes them."""
    free = replace(nurse, role=ROLES["nurse"], department_id=None)
    assert await _seen(pair.graph, free, pair.scenes[THERE].patient)
    assert not await _seen(pair.graph, nurse, pair.scenes[THERE].patient)


def test_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\ndepartments: {len(ASKS)} asks, {len(BELOW)} relations, {len(OF_PATIENTS)} types of patients' rows")
    assert len(ASKS) >= 25
    assert len(BELOW) >= 10
    assert len(OF_PATIENTS) >= 20
