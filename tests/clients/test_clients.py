"""Clients that applications use, each with a query, a mutation and a subscription, against a server process."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.websockets import WebsocketsTransport

from graph.auth import issue
from tests.asking import Graph
from tests.node import installed_node
from tests.people import People
from tests.served import Api

FOLDER = Path(__file__).parent
CLIENTS = ("apollo", "urql", "graphql-ws", "graphql-sse")
TOLD_S = 60

QUERY = "query Chart($id: ID!) { patient(id: $id) { id name { family } } }"
MUTATION = """
mutation Open($input: OpenEncounterInput!) {
  openEncounter(input: $input) { encounter { id status version } userErrors { code } }
}"""
SUBSCRIPTION = """
subscription Changes($patient: ID!) {
  chartChanged(patient: $patient) { cursor resources { __typename id } }
}"""


@pytest.fixture(scope="module")
async def patient(graph: Graph) -> str:
    """Global id of a patient of the first facility."""
    return f"Patient/{await People(graph.stores).patient(graph.facilities[0].id)}"


@pytest.fixture(scope="module")
async def token(graph: Graph) -> str:
    """Token of a physician of the first facility."""
    facility = graph.facilities[0].id
    return issue(graph.settings, "physician", facility, await graph.stores.stand_in("provider", facility))


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_of_javascript(api: Api, patient: str, token: str, client: str) -> None:
    node = installed_node(FOLDER)
    asked = json.dumps({"url": f"{api.url}/graphql", "token": token, "patient": patient})
    done = await asyncio.to_thread(
        subprocess.run,
        [node, "ask.mjs", client],
        cwd=FOLDER,
        input=asked,
        capture_output=True,
        text=True,
        timeout=TOLD_S,
    )
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout), patient)


async def test_a_client_of_python(api: Api, patient: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    over_http = AIOHTTPTransport(f"{api.url}/graphql", headers=headers)
    over_socket = WebsocketsTransport(f"{api.url.replace('http', 'ws')}/graphql", init_payload=headers)
    async with Client(transport=over_http) as asking, Client(transport=over_socket) as listening:
        query = await asking.execute(GraphQLRequest(QUERY, variable_values={"id": patient}))
        messages = listening.subscribe(GraphQLRequest(SUBSCRIPTION, variable_values={"patient": patient}))
        telling = asyncio.ensure_future(anext(messages))
        mutation: dict[str, Any] = {}
        while not (await asyncio.wait([telling], timeout=0.5))[0]:
            mutation = await asking.execute(GraphQLRequest(MUTATION, variable_values={"input": visit(patient)}))
        message = await telling
        await messages.aclose()
    results = {"query": query, "mutation": mutation, "message": message}
    check({name: {"data": data, "errors": None} for name, data in results.items()}, patient)


def visit(patient: str) -> dict[str, Any]:
    """Input of an encounter."""
    type = {"system": "http://snomed.info/sct", "code": "185349003", "display": "Encounter for check up"}
    return {"idempotencyKey": str(uuid4()), "patientId": patient, "class": "AMB", "type": type}


def check(results: dict[str, Any], patient: str) -> None:
    """What every client must have got."""
    assert [name for name, result in results.items() if result["errors"]] == []
    assert results["query"]["data"]["patient"]["id"] == patient
    assert results["query"]["data"]["patient"]["name"]
    opened = results["mutation"]["data"]["openEncounter"]
    assert (opened["userErrors"], opened["encounter"]["status"], opened["encounter"]["version"]) == (
        [],
        "in-progress",
        1,
    )
    change = results["message"]["data"]["chartChanged"]
    assert change["cursor"]
    assert {one["__typename"] for one in change["resources"]} == {"Encounter"}
