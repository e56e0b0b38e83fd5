"""Nothing leaves that is not recorded: what makes an event, whom it names, and what it must not hold."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen
from uuid import UUID, uuid4

import asyncpg
import pytest

from db.audit import AuditLog
from db.audit_chain import verify
from db.caller import Profile
from db.errors import AuditUnavailable, Forbidden, Unauthenticated
from db.seen import Seen
from db.settings import Settings
from graph.execution import Engine
from graph.plan import plan
from graph.request import RequestInfo, Transport
from graph.schema import schema
from graph.trail import Trail
from loaders.reader import Reader
from resolvers.context import Context
from tests.asking import CURSOR_KEY, Graph
from tests.callers import caller_of
from tests.ids import ids_of
from tests.people import People
from tests.served import Api
from workers.token import token

CHART = """
query Q($id: ID!) {
  patient(id: $id) {
    birthDate mrn name { family given } address { line }
    conditions(first: 3) { nodes { code { text } } }
    clinicalNotes(first: 2) { nodes { text } }
    vitalSigns(first: 2) { nodes { valueQuantity { value } } }
  }
}"""
OF_REQUEST = "SELECT * FROM audit.event WHERE request_id = $1 ORDER BY seq"


@pytest.fixture
def audited(graph: Graph, log: AuditLog) -> Graph:
    """The graph, recorded."""
    return Graph(graph.settings, graph.stores, graph.facilities, log)


@asynccontextmanager
async def owner(network: Settings) -> AsyncGenerator[asyncpg.Connection]:
    """A superuser's connection to the network's clinical database."""
    connection = await asyncpg.connect(network.clinical_url)
    try:
        yield connection
    finally:
        await connection.close()


async def newest(network: Settings, count: int = 1) -> list[Any]:
    """The last events, oldest first."""
    async with owner(network) as connection:
        rows = await connection.fetch("SELECT * FROM audit.event ORDER BY seq DESC LIMIT $1", count)
    return list(reversed(rows))


async def of_request(network: Settings, request_id: str) -> list[Any]:
    """Events of one request."""
    async with owner(network) as connection:
        return list(await connection.fetch(OF_REQUEST, request_id))


def leaves(value: Any) -> Iterator[str]:
    """Texts of an answer."""
    if isinstance(value, dict):
        for one in value.values():  # pyright: ignore[reportUnknownVariableType] - JSON
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:  # pyright: ignore[reportUnknownVariableType] - JSON
            yield from leaves(one)
    elif value is not None:
        yield str(value)


async def test_an_answer_is_recorded_with_its_patient_and_kinds_and_no_value(audited: Graph, network: Settings) -> None:
    [patient] = await ids_of(audited, "Patient", limit=1)
    answer = await audited.ask(CHART, id=patient)
    assert answer.data["patient"]["mrn"]
    [event] = await newest(network)
    assert [event["kind"], event["result"], event["subject"]] == ["QUERY", "OK", "test-clinician"]
    assert [event["role"], event["purpose"], event["facility_id"]] == ["physician", "TREAT", audited.facilities[0].id]
    assert event["patients"] == [UUID(patient.partition("/")[2])]
    assert {"NAME", "DATE", "MEDICAL_RECORD_NUMBER", "CLINICAL", "FREE_TEXT"} <= set(event["shown"])
    assert len(event["document"]) == 64
    text = str(dict(event))
    values = [value for value in leaves(answer.data) if len(value) > 3]
    assert len(values) > 5
    assert [value for value in values if value in text] == []


async def test_masked_kinds_are_told_apart_from_shown_ones(audited: Graph, network: Settings) -> None:
    [patient] = await ids_of(audited, "Patient", limit=1)
    await audited.ask(CHART, Profile.CDS, id=patient)
    [event] = await newest(network)
    assert {"CLINICAL", "DATE"} <= set(event["shown"])
    assert {"NAME", "MEDICAL_RECORD_NUMBER", "FREE_TEXT"} <= set(event["masked"])


NODES = ["ImagingInstance", "ImagingSeries", "Condition", "ClinicalNote", "VitalSign", "Encounter", "LabResult"]


@pytest.mark.parametrize("kind", NODES)
async def test_a_record_of_any_store_names_its_patient(audited: Graph, network: Settings, kind: str) -> None:
    found = await ids_of(audited, kind, limit=1)
    if not found:
        pytest.skip(f"the network has no {kind}")
    answer = await audited.ask("query ($id: ID!) { node(id: $id) { id } }", id=found[0])
    assert answer.data["node"] == {"id": found[0]}
    [event] = await newest(network)
    assert len(event["patients"]) == 1


async def test_an_answer_about_nobody_is_recorded_too(audited: Graph, network: Settings) -> None:
    await audited.ask("{ me { role } }", Profile.REGISTRAR)
    [event] = await newest(network)
    assert [event["role"], event["patients"], event["result"]] == ["registrar", [], "OK"]


async def test_an_error_is_the_result(audited: Graph, network: Settings) -> None:
    await audited.ask('{ patient(id: "Patient/nobody") { id } }')
    [event] = await newest(network)
    assert [event["kind"], event["result"]] == ["QUERY", "INVALID_ID"]
    await audited.ask("query ($id: ID!) { patient(id: $id) { id } }")
    [event] = await newest(network)
    assert [event["kind"], event["result"], event["shown"]] == ["REFUSAL", "BAD_USER_INPUT", []]


async def test_without_the_audit_no_data_leaves(graph: Graph) -> None:
    nowhere = AuditLog("postgresql://nobody@127.0.0.1:1/none", b"x" * 32, 2)
    unrecorded = Graph(graph.settings, graph.stores, graph.facilities, nowhere)
    with pytest.raises(AuditUnavailable) as raised:
        await unrecorded.ask("{ patients(first: 1) { nodes { name { family } } } }")
    assert raised.value.code == "AUDIT_UNAVAILABLE"
    await nowhere.close()


async def test_breaking_the_glass_is_an_event_and_what_it_showed_names_the_grant(
    audited: Graph, network: Settings
) -> None:
    patient = await People(audited.stores).patient(audited.facilities[0].id)
    break_glass = """mutation ($id: ID!) {
      breakGlass(patient: $id, reason: "unconscious, allergies unknown", minutes: 30) { id } }"""
    done = await audited.ask(break_glass, id=f"Patient/{patient}")
    assert done.errors == []
    await audited.ask("query ($id: ID!) { patient(id: $id) { id } }", id=f"Patient/{patient}")
    broken, seen = await newest(network, 2)
    assert [broken["kind"], broken["patients"], seen["kind"]] == ["BREAK_GLASS", [patient], "QUERY"]
    async with owner(network) as connection:
        grant = await connection.fetchval("SELECT id FROM clinical.break_glass_grant WHERE patient_id = $1", patient)
        recorded = await connection.fetchval(
            "SELECT actor FROM audit.change WHERE table_name = 'break_glass_grant' AND row_key = $1", str(grant)
        )
    assert seen["grants"] == [grant]
    assert recorded == "test-clinician"
    assert "unconscious" not in str(dict(broken)) + str(dict(seen))


async def test_refusals_and_failed_logins_are_recorded(log: AuditLog, network: Settings) -> None:
    trail = Trail(log, schema._schema)  # pyright: ignore[reportPrivateUsage] - as graph.app
    request = RequestInfo(uuid4().hex, Transport.HTTP, "127.0.0.1", "curl of Smith")
    caller = caller_of(Profile.NURSE, UUID(int=5), "n")
    await trail.refused(None, Unauthenticated().code, "EXPIRED", request)
    await trail.refused(caller, Forbidden().code, None, request)
    await trail.refused(caller, AuditUnavailable().code, None, request)
    rows = await of_request(network, request.request_id)
    assert [(row["kind"], row["result"]) for row in rows] == [("LOGIN_FAILED", "EXPIRED"), ("REFUSAL", "FORBIDDEN")]
    assert [row["subject"] for row in rows] == [None, "n"]
    assert {len(row["user_agent"]) for row in rows} == {64}


async def test_records_of_another_facility_and_urls_have_events_of_their_own(
    graph: Graph, log: AuditLog, network: Settings
) -> None:
    here, away = (facility.id for facility in graph.facilities[:2])
    caller = caller_of(Profile.CLINICIAN, here, f"traveller-{uuid4()}")
    seen, patients = Seen(), [uuid4(), uuid4(), uuid4()]
    seen.add(here, patients[:1])
    seen.add(away, patients[1:2])
    seen.presigned = 2
    core = schema._schema  # pyright: ignore[reportPrivateUsage] - as graph.app
    trail = Trail(log, core)
    operation = Engine(core, plan, nullcontext).prepare("{ me { role } }", None)
    assert not isinstance(operation, list)
    context = Context(Reader(graph.stores, caller), CURSOR_KEY)
    context.reader.seen = seen
    request = RequestInfo("r", Transport.HTTP)
    await trail.witness(operation, caller, context, {"data": {}}, request, True)
    seen.add(here, patients)
    await trail.witness(operation, caller, context, {"hasNext": True}, request, False)
    await trail.witness(operation, caller, context, {"hasNext": False}, request, False)
    async with owner(network) as connection:
        rows = await connection.fetch("SELECT * FROM audit.event WHERE subject = $1 ORDER BY seq", caller.subject)
    assert [(row["kind"], row["facility_id"], row["home_facility_id"]) for row in rows] == [
        ("QUERY", here, None),
        ("EXCHANGE", away, here),
        ("PRESIGN", here, None),
        ("QUERY", here, None),
    ]
    assert [sorted(row["patients"]) for row in rows] == [
        patients[:1],
        patients[1:2],
        patients[:1],
        sorted(patients[1:]),
    ]
    assert len({row["id"] for row in rows}) == 4


def test_the_server_records_what_it_answers_and_refuses(api: Api, network: Settings) -> None:
    asked = Request(f"{api.url}/graphql", b'{"query": "{ me { role } }"}', {"Content-Type": "application/json"})
    with pytest.raises(HTTPError) as refused:
        urlopen(asked)
    refused.value.close()
    assert refused.value.code == 401
    [event] = asyncio.run(of_request(network, refused.value.headers["X-Request-Id"]))
    assert [event["kind"], event["result"], str(event["client_ip"])] == ["LOGIN_FAILED", "NO_TOKEN", "127.0.0.1"]


AWAITED = """
SELECT EXISTS (SELECT FROM pg_stat_activity
    WHERE usename = 'caregraph_audit' AND datname = current_database() AND wait_event_type = 'Lock')"""


async def test_no_byte_leaves_before_its_event_is_committed(api: Api, network: Settings) -> None:
    """The writer waits for the head of the chain, which somebody else holds; meanwhile nothing of the answer comes."""
    bearer, body = await token(network, "physician", None), b'{"query": "{ me { role } }"}'
    head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nContent-Length: {len(body)}\r\n"
    port = urlsplit(api.url).port
    assert port
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        async with owner(network) as connection:
            async with connection.transaction():
                await connection.execute("SELECT FROM audit.chain_head FOR UPDATE")
                client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
                for _ in range(1_000):
                    if await connection.fetchval(AWAITED):
                        break
                    await asyncio.sleep(0.01)
                else:
                    raise AssertionError("nobody writes an event")
                assert select.select([client], [], [], 0.3)[0] == []
        assert b'{"data":{"me":{"role":"physician"}}}' in await asyncio.to_thread(_answer, client)


def _answer(client: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"}"):
        received += client.recv(65_536)
    return received


async def test_writes_to_imaging_and_vitals_are_recorded(network: Settings) -> None:
    recorded: dict[str, Any] = {}
    for database, table in (("imaging", "imaging_study"), ("vitals", "vital_sign")):
        connection = await asyncpg.connect(getattr(network, f"{database}_url"))
        there = await connection.fetchval(f"SELECT count(*) FROM {database}.{table}")
        counted = await connection.fetchrow(
            "SELECT sum(row_count) AS rows, count(after) AS kept FROM audit.change "
            "WHERE table_name = $1 AND operation = 'INSERT'",
            table,
        )
        recorded[table] = counted
        assert there
        assert counted["rows"] >= there
        await connection.close()
    assert recorded["imaging_study"]["kept"] > 0
    assert recorded["vital_sign"]["kept"] == 0  # counts alone, by facility


async def test_the_chain_of_all_this_is_whole(audited: Graph, network: Settings) -> None:
    await audited.ask("{ me { role } }")
    assert (await verify(network.clinical_url, network.secret)).broken is None
