"""The demo's personas at running stores: each gets a token at each facility; who stands for somebody sees patients."""

from __future__ import annotations

import pytest

from db.caller import Caller
from graph.auth import PERSONAS, Authenticator, Persona
from graph.demo import token_of
from tests.asking import Graph

ME = "{ me { subject role profile purposeOfUse reach labels facility { code } } }"
CHARTS = "{ patients(first: 100) { nodes { id encounters(first: 1) { nodes { id } } } } }"


async def caller_of(graph: Graph, persona: str, facility: int = 0) -> Caller:
    """The caller of a persona's token at a facility."""
    token = await token_of(graph.settings, graph.stores, persona, graph.facilities[facility])
    return await Authenticator(graph.settings).caller({"authorization": f"Bearer {token}"})


@pytest.mark.parametrize("persona", PERSONAS.values(), ids=PERSONAS.keys())
async def test_every_persona_at_every_facility(graph: Graph, persona: Persona) -> None:
    for place, facility in enumerate(graph.facilities):
        caller = await caller_of(graph, persona.name, place)
        answer = await graph.ask_as(caller, ME)
        assert answer.data["me"] == {
            "subject": f"demo-{persona.name}",
            "role": persona.role.name,
            "profile": persona.role.profile.value,
            "purposeOfUse": persona.purpose.value,
            "reach": persona.role.reach.value,
            "labels": sorted(persona.role.labels),
            "facility": {"code": facility.code},
        }


@pytest.mark.parametrize("persona", ["consultant", "psychotherapist", "ward_nurse", "patient"])
async def test_who_stands_for_somebody_sees_a_chart(graph: Graph, persona: str) -> None:
    answer = await graph.ask_as(await caller_of(graph, persona), CHARTS)
    seen = [patient for patient in answer.data["patients"]["nodes"] if (patient["encounters"] or {}).get("nodes")]
    assert seen
    if persona == "patient":
        assert len(answer.data["patients"]["nodes"]) == 1
