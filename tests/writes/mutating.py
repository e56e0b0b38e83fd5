"""Sending mutations with a key of their own, and what they came to; staff and departments of a test's own."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from db.caller import Caller, Profile
from tests.asking import Answer, Graph

DEPARTMENT = "INSERT INTO clinical.department (id, facility_id, name, physical_type) VALUES ($1, $2, $3, 'wa')"
PROVIDER = """
WITH made AS (INSERT INTO clinical.provider (id, family) VALUES ($2, $3) RETURNING id)
INSERT INTO clinical.provider_role (facility_id, provider_id) SELECT $1, id FROM made"""


async def send(
    graph: Graph, name: str, selection: str, who: Profile | Caller = Profile.CLINICIAN, /, **input: Any
) -> Answer:
    """The answer of a mutation; without a key of the test's it gets a new one."""
    type_name = f"{name[0].upper()}{name[1:]}Input"
    text = f"""mutation ($input: {type_name}!) {{
        {name}(input: $input) {{ {selection} userErrors {{ code field message version }} }} }}"""
    caller = graph.caller(who) if isinstance(who, Profile) else who
    return await graph.ask_as(caller, text, input={"idempotencyKey": str(uuid4()), **input})


def written(answer: Answer) -> Any:
    """The object of the one mutation, which was made."""
    assert not answer.errors
    [payload] = answer.data.values()
    assert payload["userErrors"] == []
    [made] = [value for name, value in payload.items() if name != "userErrors"]
    return made


def refusal(answer: Answer) -> dict[str, Any]:
    """The one user error of the one mutation, which was not made."""
    assert not answer.errors
    [payload] = answer.data.values()
    [made] = [value for name, value in payload.items() if name != "userErrors"]
    assert made is None
    [error] = payload["userErrors"]
    return error


def asked(answer: Answer) -> dict[str, int]:
    """Statements that the clinical database was sent, by name; it was asked alone."""
    assert {store for store, _ in answer.statements} <= {"clinical"}
    return {name: times for (_, name), times in answer.statements.items()}


async def department(graph: Graph, name: str = "Ward of tests", facility: int = 0) -> str:
    """Global id of a new ward."""
    key = uuid4()
    await graph.stores.clinical.worker_fetch(DEPARTMENT, key, graph.facilities[facility].id, name)
    return f"Department/{key}"


async def provider(graph: Graph, facility: int = 0) -> str:
    """Global id of a new provider, whose calendar is empty."""
    key = uuid4()
    await graph.stores.clinical.worker_fetch(PROVIDER, graph.facilities[facility].id, key, f"Provider{key.hex}")
    return f"Provider/{key}"
