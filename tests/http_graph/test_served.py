"""The real application over HTTP: tokens, a chart, refusals, parts, exact decimals, and a log without PHI."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from graph.auth import PERSONAS
from graph.graphiql import CONTENT_SECURITY_POLICY
from tests.asking import Graph
from tests.served import Api

CHART = """
query Chart($id: ID!) {
  patient(id: $id) {
    id mrn birthDate name { family given text } address { line city postalCode } telecom { value }
    identifier { value }
    conditions { nodes { code { text } onsetDateTime } }
    vitalSigns { nodes { id valueQuantity { value unit } } }
    clinicalNotes(first: 3) { nodes { title text } }
  }
}
"""
DEFER = """
query Parts($id: ID!) {
  patient(id: $id) { mrn ... @defer(label: "notes") { clinicalNotes(first: 1) { nodes { title } } } }
}
"""
RECORD = """/* record_decimals */
INSERT INTO clinical.lab_result (id, facility_id, patient_id, lab_test_id, status, value_number, sort_time)
SELECT gen_random_uuid(), facility_id, patient_id, lab_test_id, 'final', digits, '2039-01-01Z'
FROM unnest($2::numeric[]) AS given (digits)
CROSS JOIN LATERAL (SELECT * FROM clinical.lab_result WHERE facility_id = $1 ORDER BY patient_id, id LIMIT 1) AS known
RETURNING id, patient_id"""
REMOVE = "/* remove_decimals */ DELETE FROM clinical.lab_result WHERE id = ANY($1::uuid[]) RETURNING id"
LABS = "query ($id: ID!) { patient(id: $id) { labResults(first: 5) { nodes { valueQuantity { value } } } } }"


class Client:
    """Requests to the running API as one persona."""

    def __init__(self, api: Api, http: aiohttp.ClientSession, token: str) -> None:
        self._api = api
        self._http = http
        self._token = token

    async def ask(
        self, query: str, variables: Mapping[str, Any] | None = None, **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of a POST to /graphql."""
        sent = {"Authorization": f"Bearer {self._token}", **headers}
        body = {"query": query, "variables": dict(variables or {})}
        async with self._http.post(f"{self._api.url}/graphql", json=body, headers=sent) as response:
            return response.status, response.headers, await response.read()


@pytest_asyncio.fixture(scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client of its own, as any other service would be."""
    async with aiohttp.ClientSession() as session:
        yield session


async def token(api: Api, http: aiohttp.ClientSession, persona: object, facility: object) -> tuple[int, Any]:
    """Status and body of the demo's token endpoint."""
    async with http.post(f"{api.url}/demo/token", json={"persona": persona, "facility": facility}) as response:
        return response.status, await response.json()


@pytest_asyncio.fixture(scope="session")
async def physician(api: Api, http: aiohttp.ClientSession, graph: Graph) -> Client:
    """A physician of the first facility."""
    _, body = await token(api, http, "physician", graph.facilities[0].code)
    return Client(api, http, body["token"])


@pytest_asyncio.fixture(scope="session")
async def patient_ids(graph: Graph) -> list[str]:
    """The patients of the first facility with the most conditions: not those whom tests register."""
    rows = await graph.stores.clinical.worker_fetch(
        "SELECT patient_id FROM clinical.condition WHERE facility_id = $1 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 8",
        graph.facilities[0].id,
    )
    return [f"Patient/{row[0]}" for row in rows]


async def test_personas_and_tokens(api: Api, http: aiohttp.ClientSession, graph: Graph) -> None:
    async with http.get(f"{api.url}/demo/personas") as response:
        known = await response.json()
    assert {persona["name"] for persona in known["personas"]} == set(PERSONAS)
    assert {facility["code"] for facility in known["facilities"]} >= {one.code for one in graph.facilities}
    for persona in PERSONAS:
        for facility in known["facilities"]:
            status, body = await token(api, http, persona, facility["code"])
            assert status == 200
            me = await Client(api, http, body["token"]).ask("{ me { profile facility { code } } }")
            assert json.loads(me[2])["data"]["me"]["facility"]["code"] == facility["code"]


@pytest.mark.parametrize(
    ("persona", "facility", "argument"),
    [
        ("nobody", None, "persona"),
        (None, None, "persona"),
        ("physician", "NOWHERE", "facility"),
        ("nurse", 1, "facility"),
    ],
)
async def test_tokens_that_are_not_given(
    api: Api, http: aiohttp.ClientSession, graph: Graph, persona: object, facility: object, argument: str
) -> None:
    status, body = await token(api, http, persona, facility or graph.facilities[0].code)
    assert status == 400
    assert body["errors"][0]["extensions"] == {"code": "INVALID_ARGUMENT", "argument": argument}


async def test_a_chart(physician: Client, graph: Graph, patient_ids: list[str]) -> None:
    for patient_id in patient_ids:
        status, headers, body = await physician.ask(
            CHART, {"id": patient_id}, accept="application/graphql-response+json"
        )
        assert status == 200
        assert headers["Content-Type"] == "application/graphql-response+json; charset=utf-8"
        assert headers["Cache-Control"] == "no-store"
        in_process = await graph.ask(CHART, id=patient_id)
        assert json.loads(body)["data"]["patient"]["name"] == in_process.data["patient"]["name"]
        assert json.loads(body)["data"]["patient"]["mrn"]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer x.y.z", "Basic dXNlcjpwYXNz", "Bearer null", "{token}", "Bearer {token}x"],
)
async def test_without_a_good_token(
    api: Api, http: aiohttp.ClientSession, physician: Client, patient_ids: list[str], authorization: str
) -> None:
    good: str = physician._token  # pyright: ignore[reportPrivateUsage] - to spoil it
    sent = {"Authorization": authorization.format(token=good), "Accept": "application/json"}
    body = {"query": CHART, "variables": {"id": patient_ids[0]}}
    async with http.post(f"{api.url}/graphql", json=body, headers=sent) as response:
        answer = await response.json()
        bad = authorization.removeprefix("Bearer ") not in ("", authorization)
        challenge = 'Bearer error="invalid_token"' if bad else "Bearer"
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, challenge)
    assert answer == {
        "errors": [{"message": "A valid bearer token is required.", "extensions": {"code": "UNAUTHENTICATED"}}]
    }


async def test_decimals_keep_their_digits(physician: Client, graph: Graph) -> None:
    """In the bytes of the answer as the source wrote them: 4.30 is not 4.3, and no float holds the others."""
    digits = ["4.30", "100.0", "0.1234567890123456789012", "12345678901234567890.5", "-0.50"]
    fetch = graph.stores.clinical.worker_fetch
    written = await fetch(RECORD, graph.facilities[0].id, [Decimal(one) for one in digits])
    try:
        _, _, body = await physician.ask(LABS, {"id": f"Patient/{written[0][1]}"})
    finally:
        assert len(await fetch(REMOVE, [row[0] for row in written])) == len(digits)
    for one in digits:
        assert f'{{"valueQuantity":{{"value":{one}}}}}'.encode() in body
    assert json.loads(body)["data"]["patient"]


async def test_defer_comes_in_parts(physician: Client, patient_ids: list[str]) -> None:
    status, headers, body = await physician.ask(DEFER, {"id": patient_ids[0]}, accept="multipart/mixed")
    assert (status, headers["Content-Type"]) == (200, 'multipart/mixed; boundary="-"; incrementalSpec=v0.2')
    opening, *parts, closing = body.split(b"\r\n---")
    assert opening.startswith(b"---\r\n")
    assert closing == b"--\r\n"
    bodies = [json.loads(part.split(b"\r\n\r\n", 1)[1]) for part in [opening, *parts]]
    assert bodies[0]["data"]["patient"].keys() == {"mrn"}
    assert bodies[0]["pending"][0]["label"] == "notes"
    assert [one["hasNext"] for one in bodies] == [True] * (len(bodies) - 1) + [False]
    [late] = [part for one in bodies[1:] for part in one.get("incremental", ())]
    assert late["data"].keys() == {"clinicalNotes"}
    _, whole, answer = await physician.ask(DEFER, {"id": patient_ids[0]}, accept="application/json")
    assert whole["Content-Type"].startswith("application/json")
    assert json.loads(answer)["data"]["patient"] == bodies[0]["data"]["patient"] | late["data"]


async def test_every_store_is_ready(api: Api, http: aiohttp.ClientSession, graph: Graph) -> None:
    async with http.get(f"{api.url}/readyz") as response:
        assert response.status == 200
        assert (await response.json())["stores"] == dict.fromkeys(await graph.stores.ready(), "READY")


async def test_graphiql_runs_nothing_from_elsewhere(api: Api, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{api.url}/") as response:  # redirects
        page = await response.text()
    assert response.url.path == "/graphiql"
    assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"
    for source in re.findall(r'(?:src|href)="([^"]+)"', page):
        async with http.get(f"{api.url}{source}") as asset:
            assert source.startswith("/graphiql/")
            assert asset.status == 200, source


def texts(value: Any) -> list[str]:
    """Every text of an answer."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    return [value] if isinstance(value, str) else []


async def test_the_log_holds_nothing_of_a_patient(
    api: Api, http: aiohttp.ClientSession, physician: Client, patient_ids: list[str]
) -> None:
    """After good requests and bad ones that carry a patient's values in every place that a client can write to."""
    secret: set[str] = set()
    for patient_id in patient_ids:
        _, _, body = await physician.ask(CHART, {"id": patient_id})
        patient = json.loads(body)["data"]["patient"]
        name = patient["name"][0]["family"]
        secret |= {text for text in texts(patient) if len(text) > 3} | {patient_id.partition("/")[2]}
        for query, variables in (
            ("query ($q: String!) { patients(search: $q, first: 0) { nodes { id } } }", {"q": name}),
            (f'{{ patients(search: "{name}") {{ nodes {{ nothing }} }} }}', {}),
            (f'{{ patients(search: "{name}" {{ }}', {}),
            (f'{{ patient(mrn: {{ value: "{patient["mrn"]}" }}) {{ id }} }}', {}),
            ("query ($id: ID!) { patient(id: $id) { id } }", {"id": [patient["mrn"]]}),
            ("query ($id: ID!) { patient(id: $id) { id } }", {"id": f"Patient/{name}"}),
            (f"query {re.sub(r'[^A-Za-z]', '', name)} {{ nothing }}", {}),
            (
                "query ($c: [String!]) { patients { nodes { conditions(code: $c) { nodes { id } } } } }",
                {"c": [name + "\0"]},
            ),
        ):
            await physician.ask(query, variables)
        async with http.get(f"{api.url}/graphql", params={"query": f'{{ patient(mrn: "{patient["mrn"]}") {{ id }} }}'}):
            pass
        async with http.get(f"{api.url}/{name}/{patient['mrn']}", headers={"X-Request-Id": patient["mrn"]}):
            pass
    log = api.log.read_text(encoding="utf-8")
    assert re.search(r"operation=[0-9a-f]{12} status=200", log)
    assert "Chart" not in log
    assert len(secret) > 100
    # Not inside an id in hex, which may hold the digits of a postal code.
    assert {value for value in secret if re.search(rf"(?<![0-9a-f]){re.escape(value)}(?![0-9a-f])", log)} == set()
