"""Exchange: who treats a patient here sees the records of there, if the patient said so, marked with their source."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.caller import Caller, PurposeOfUse
from db.policy import ROLES
from tests.asking import Graph
from tests.people import DIABETES, People

EXCHANGED = """query($id: ID!) { patient(id: $id) { conditions { nodes { id } } exchangedRecords { sourceCode patient {
    mrn conditions(first: 1) { nodes { id code { coding { code } } } pageInfo { endCursor } }
    encounters { nodes { id } } vitalSigns { nodes { id } } clinicalNotes { nodes { id } }
    imagingStudies { nodes { id } } exchangedRecords { sourceCode } } } } }"""


async def provider_of(graph: Graph, facility: int) -> UUID:
    """A provider of a facility."""
    at = graph.facilities[facility].id
    [(key,)] = await graph.stores.clinical.worker_fetch(
        "SELECT provider_id FROM clinical.provider_role WHERE facility_id = $1 LIMIT 1", at
    )
    return key


async def scene(graph: Graph, **provision: object) -> tuple[Caller, UUID]:
    """A patient of facilities 0 and 1 with this provision at 0, and the caller who treats the patient at 1."""
    people, (there, here) = People(graph.stores), [facility.id for facility in graph.facilities[:2]]
    patient, provider = await people.patient(there, here), await provider_of(graph, 1)
    await people.stay(here, patient, provider=provider)
    if provision:
        await people.consent(there, patient, **provision)
    return Caller(f"dr-{uuid4().hex}", ROLES["consultant"], here, PurposeOfUse.TREAT, provider_id=provider), patient


def to(graph: Graph, facility: int = 1, **more: object) -> dict[str, object]:
    """A provision that permits the disclosure to a facility."""
    return {
        "type": "permit",
        "actor": [{"reference": {"reference": f"Organization/{graph.facilities[facility].id}"}}],
    } | more


async def records(graph: Graph, caller: Caller, patient: UUID) -> list[Any]:
    """What a caller gets of elsewhere."""
    answer = await graph.ask_as(caller, EXCHANGED, id=f"Patient/{patient}")
    assert answer.errors == []
    return answer.data["patient"]["exchangedRecords"]


async def test_consented_records_are_shown_with_their_source(graph: Graph) -> None:
    caller, patient = await scene(graph, **to(graph))
    answer = await graph.ask_as(caller, EXCHANGED, id=f"Patient/{patient}")
    assert answer.errors == []
    [there] = answer.data["patient"]["exchangedRecords"]
    assert there["sourceCode"] == graph.facilities[0].code
    assert there["patient"]["exchangedRecords"] == []
    # Of two conditions one has a label that the role may not see; those of here and there are different rows.
    [shown] = there["patient"]["conditions"]["nodes"]
    assert shown["code"]["coding"][0]["code"] == DIABETES
    assert shown["id"] not in [node["id"] for node in answer.data["patient"]["conditions"]["nodes"]]
    assert there["patient"]["encounters"] == {"nodes": []}


async def test_without_what_it_needs_there_is_none(graph: Graph) -> None:
    now = datetime.now(UTC)
    for name, provision in {
        "no consent": {},
        "a denial": to(graph) | {"type": "deny"},
        "another facility": to(graph, 2),
        "nobody named": {"type": "permit"},
        "another purpose": to(graph, purpose=[{"code": "HRESCH"}]),
        "only labels": to(graph, securityLabel=[{"code": "HIV"}]),
        "over": to(graph, period={"end": (now - timedelta(days=2)).isoformat()[:10]}),
        "not yet": to(graph, period={"start": (now + timedelta(days=2)).isoformat()[:10]}),
    }.items():
        caller, patient = await scene(graph, **provision)
        assert await records(graph, caller, patient) == [], name


@pytest.mark.parametrize("change", ["purpose", "provider", "withdrawn", "denied too"])
async def test_what_ends_it(graph: Graph, change: str) -> None:
    caller, patient = await scene(graph, **to(graph))
    assert len(await records(graph, caller, patient)) == 1
    if change == "purpose":
        caller = replace(caller, role=ROLES["biller"], purpose=PurposeOfUse.HPAYMT)
    elif change == "provider":
        caller = replace(caller, role=ROLES["physician"], provider_id=uuid4())
    elif change == "withdrawn":
        await graph.stores.clinical.worker_fetch(
            "UPDATE clinical.consent SET status = 'inactive' WHERE patient_id = $1", patient
        )
    else:
        await People(graph.stores).consent(graph.facilities[0].id, patient, type="deny")
    expected = [] if change != "denied too" else [None]
    assert [there["patient"] for there in await records(graph, caller, patient)] == expected


async def test_the_other_facility_stays_closed_otherwise(graph: Graph) -> None:
    """Ids from elsewhere are no ids here, and other patients of there do not exist."""
    caller, patient = await scene(graph, **to(graph))
    other = await People(graph.stores).patient(graph.facilities[0].id)
    [there] = await records(graph, caller, patient)
    [condition] = there["patient"]["conditions"]["nodes"]
    for id in (condition["id"], f"Patient/{other}"):
        answer = await graph.ask_as(caller, "query($id: ID!) { node(id: $id) { id } }", id=id)
        assert answer.data == {"node": None}


async def test_glass_is_broken_at_home_only(graph: Graph) -> None:
    """A grant of here opens no label of there."""
    caller, patient = await scene(graph, **to(graph))
    made = await graph.ask_as(
        caller,
        'mutation($p: ID!) { breakGlass(patient: $p, reason: "Unconscious in the emergency room") { id } }',
        p=f"Patient/{patient}",
    )
    assert made.errors == []
    [there] = await records(graph, caller, patient)
    assert there["patient"]["conditions"]["pageInfo"]["endCursor"]
    assert len(there["patient"]["conditions"]["nodes"]) == 1


async def test_one_snapshot_and_connection_serve_both(graph: Graph) -> None:
    """A request holds one connection of each database, however many facilities it reads."""
    caller, patient = await scene(graph, **to(graph))
    connections = graph.stores.clinical.connections
    before = connections.count
    await records(graph, caller, patient)
    assert connections.count <= max(before, 1)
