"""Who may ask who saw what, and what they are told: inside their facility, by one indexed statement."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from db.audit import AuditLog, Event, EventKind
from db.caller import Caller, Profile, PurposeOfUse
from db.context import sign
from db.errors import PhiFilterForbidden
from db.policy import Phi
from tests.access.test_explain import index_conditions, nodes
from tests.asking import Answer, Graph
from tests.audit.conftest import SECRET, Ledger
from tests.callers import caller_of
from tests.people import People

LOG = """query($id: ID!, $first: Int! = 20, $after: String) {
  patient(id: $id) { accessLog(first: $first, after: $after) {
  nodes { type subject role purposeOfUse shown masked outcome patientIds homeFacilityId breakGlassGrantIds recorded }
  pageInfo { hasNextPage endCursor } } } }"""
REPORT = """query($id: ID!, $from: String) { accessReport(patient: $id, from: $from) {
  nodes { date recipient recipientFacilityId description purpose accountable } } }"""
BY = """query($who: String!, $from: String!, $to: String!) { accessesBy(subject: $who, from: $from, to: $to) {
  nodes { subject patientIds shown type } } }"""


SIX_YEARS: dict[str, Any] = {"from": None}
PAST: dict[str, Any] = {"from": "2020", "to": "2021"}


class Accessed:
    """Two facilities, a patient of both, and one audit log."""

    def __init__(self, graph: Graph, patient: UUID) -> None:
        self.graph = graph
        self.patient = patient
        self.here, self.away = graph.facilities[0].id, graph.facilities[1].id

    async def ask(self, profile: Profile, query: str, at: int = 0, **variables: Any) -> Answer:
        """An answer to a caller of a profile; a patient asks about oneself."""
        caller = self.graph.caller(profile, at)
        if profile is Profile.PATIENT:
            caller = replace(caller, patient_id=variables.pop("oneself", self.patient))
        return await self.graph.ask_as(caller, query, **({"id": f"Patient/{self.patient}"} | variables))

    async def seen_by(self, subject: str, at: int = 0, **changed: Any) -> None:
        """Lets a clinician look at the patient."""
        caller = replace(self.graph.caller(Profile.CLINICIAN, at), subject=subject, **changed)
        answer = await self.graph.ask_as(
            caller, "query($id: ID!) { patient(id: $id) { mrn } }", id=f"Patient/{self.patient}"
        )
        assert answer.data["patient"]["mrn"]


@pytest_asyncio.fixture
async def accessed(graph: Graph, log: AuditLog) -> Accessed:
    """A new patient of two facilities, and the graph recorded."""
    patient = await People(graph.stores).patient(graph.facilities[0].id, graph.facilities[1].id)
    return Accessed(Graph(graph.settings, graph.stores, graph.facilities, log), patient)


def entries(answer: Answer) -> list[Mapping[str, Any]]:
    """Entries of a patient's access log."""
    assert answer.errors == []
    return answer.data["patient"]["accessLog"]["nodes"]


async def test_a_privacy_officer_sees_who_saw_the_patient_and_is_seen(accessed: Accessed) -> None:
    await accessed.seen_by("alice")
    await accessed.seen_by("bob")
    answer = await accessed.ask(Profile.PRIVACY_OFFICER, LOG)
    assert [one["subject"] for one in entries(answer)] == ["bob", "alice"]
    [_, first] = entries(answer)
    assert [first["type"], first["role"], first["purposeOfUse"], first["outcome"]] == [
        "QUERY",
        "physician",
        "TREAT",
        "OK",
    ]
    assert [first["shown"], first["patientIds"]] == [["MEDICAL_RECORD_NUMBER"], [f"Patient/{accessed.patient}"]]
    assert answer.statements["clinical", "accesses_of_patients"] == 1
    again = await accessed.ask(Profile.PRIVACY_OFFICER, LOG)
    assert [one["subject"] for one in entries(again)] == ["test-privacy_officer", "bob", "alice"]


async def test_pages_go_back_in_time_without_a_gap(accessed: Accessed) -> None:
    for number in range(5):
        await accessed.seen_by(f"reader-{number}")
    found: list[str] = []
    after: str | None = None
    for _ in range(3):
        answer = await accessed.ask(Profile.PATIENT, LOG, first=2, after=after)
        found += [one["subject"] for one in entries(answer) if one["subject"] != "test-patient"]
        after = answer.data["patient"]["accessLog"]["pageInfo"]["endCursor"]
    assert found == [f"reader-{number}" for number in (4, 3, 2, 1, 0)]


async def test_a_patient_sees_the_accesses_to_oneself_alone(accessed: Accessed) -> None:
    await accessed.seen_by("alice")
    assert [one["subject"] for one in entries(await accessed.ask(Profile.PATIENT, LOG))] == ["alice"]
    other = await accessed.ask(Profile.PATIENT, LOG, oneself=uuid4())
    assert other.data["patient"] is None


@pytest.mark.parametrize("profile", set(Profile) - {Profile.PRIVACY_OFFICER, Profile.PATIENT}, ids=lambda p: p.value)
@pytest.mark.parametrize("query", [LOG, REPORT, BY], ids=["log", "report", "by"])
async def test_nobody_else_is_told(accessed: Accessed, profile: Profile, query: str) -> None:
    more: dict[str, Any] = {"who": "alice", "from": "2020", "to": "2100"} if query is BY else {}
    if query is REPORT:
        more = SIX_YEARS
    try:
        answer = await accessed.ask(profile, query, 0, **more)
    except PhiFilterForbidden:
        return  # before any store is asked: the arguments are PHI
    assert "FORBIDDEN" in answer.codes
    assert "alice" not in json.dumps(answer.data)


async def test_another_facility_has_a_log_of_its_own(accessed: Accessed) -> None:
    await accessed.seen_by("alice")
    await accessed.seen_by("zoe", at=1)
    assert [one["subject"] for one in entries(await accessed.ask(Profile.PRIVACY_OFFICER, LOG, at=1))] == ["zoe"]
    period: dict[str, Any] = {"from": "2020", "to": "2100"}
    alice = await accessed.ask(Profile.PRIVACY_OFFICER, BY, at=1, who="alice", **period)
    assert alice.data["accessesBy"]["nodes"] == []


async def test_an_exchange_is_in_the_log_of_the_facility_whose_records_were_read(
    accessed: Accessed, log: AuditLog
) -> None:
    visitor = replace(caller_of(Profile.CLINICIAN, accessed.away, "visitor"), home_facility_id=accessed.here)
    kinds = frozenset({Phi.CLINICAL})
    await log.append(
        Event(EventKind.EXCHANGE, "OK", "r", visitor, "0" * 64, kinds, patients=frozenset({accessed.patient}))
    )
    [one] = entries(await accessed.ask(Profile.PRIVACY_OFFICER, LOG, at=1))
    assert [one["type"], one["homeFacilityId"]] == ["EXCHANGE", f"Facility/{accessed.here}"]
    assert entries(await accessed.ask(Profile.PRIVACY_OFFICER, LOG)) == []


async def test_all_that_an_actor_saw(accessed: Accessed) -> None:
    who = f"actor-{uuid4()}"
    await accessed.seen_by(who)
    period: dict[str, Any] = {"from": "2020", "to": "2100"}
    answer = await accessed.ask(Profile.PRIVACY_OFFICER, BY, who=who, **period)
    [one] = answer.data["accessesBy"]["nodes"]
    assert [one["patientIds"], one["shown"]] == [[f"Patient/{accessed.patient}"], ["MEDICAL_RECORD_NUMBER"]]
    assert answer.statements["clinical", "accesses_of_subject"] == 1
    # That the officer learned of this patient is in the patient's log.
    assert entries(await accessed.ask(Profile.PRIVACY_OFFICER, LOG))[0]["subject"] == "test-privacy_officer"
    none = await accessed.ask(Profile.PRIVACY_OFFICER, BY, who=who, **PAST)
    assert none.data["accessesBy"]["nodes"] == []


async def test_the_accounting_tells_what_the_law_asks_for(accessed: Accessed, log: AuditLog) -> None:
    await accessed.seen_by("alice")
    caller: Caller = accessed.graph.caller(Profile.ANALYST)
    research = replace(caller, subject="scholar", purpose=PurposeOfUse.HRESCH)
    await log.append(
        Event(
            EventKind.QUERY,
            "OK",
            "r",
            research,
            "0" * 64,
            frozenset({Phi.CLINICAL}),
            patients=frozenset({accessed.patient}),
        )
    )
    answer = await accessed.ask(Profile.PATIENT, REPORT, **SIX_YEARS)
    scholar, alice = answer.data["accessReport"]["nodes"]
    assert [scholar["recipient"], scholar["purpose"], scholar["accountable"]] == ["scholar", "HRESCH", True]
    assert [alice["recipient"], alice["accountable"]] == ["alice", False]
    assert scholar["description"] == "CLINICAL"
    assert scholar["recipientFacilityId"] == f"Facility/{accessed.here}"
    assert scholar["date"][:2] == "20"
    missing = await accessed.graph.ask(REPORT, Profile.PRIVACY_OFFICER, id=f"Patient/{uuid4()}", **SIX_YEARS)
    assert missing.data["accessReport"] is None


MILLION = """
INSERT INTO audit.event (seq, occurred_at, id, kind, subject, facility_id, shown, masked, patients, result, grants,
    request_id, hash)
SELECT n, now() - n * interval '60 seconds', gen_random_uuid(), 'QUERY', 'subject-' || n % 1000, $1, '{NAME}', '{}',
    '{}', 'OK', '{}', 'r', decode(repeat('ab', 32), 'hex')
FROM generate_series(1, 1000000) AS n"""
PATIENTS = """
INSERT INTO audit.event_patient (facility_id, patient_id, occurred_at, seq)
SELECT facility_id, ('00000000-0000-0000-0000-' || lpad((seq % 2000)::text, 12, '0'))::uuid, occurred_at, seq
FROM audit.event"""
MONTHS = """
SELECT audit.ensure_month(t::regclass, now() - m * interval '25 days')
FROM unnest('{audit.event,audit.event_patient}'::text[]) AS t, generate_series(0, 29) AS m"""
READ_BLOCKS_MAX = 1000
"""Blocks of 8 kB that a page of an access log may touch, over all months; the tables have 40,000."""
FUNCTION = "SELECT prosrc FROM pg_proc WHERE proname = $1"


async def explained(connection: asyncpg.Connection, sql: str) -> str:
    """What EXPLAIN says, as JSON."""
    return str(await connection.fetchval(sql))


async def test_an_access_log_over_a_million_events_is_one_indexed_statement(ledger: Ledger) -> None:
    facility = uuid4()
    owner = await ledger.owner()
    await owner.execute(MONTHS)
    await owner.execute("SET synchronous_commit = off")
    await owner.execute(MILLION, facility, timeout=300)
    await owner.execute(PATIENTS, timeout=300)
    await owner.execute("ANALYZE audit.event; ANALYZE audit.event_patient")
    assert await owner.fetchval("SELECT count(*) FROM audit.event") == 1_000_000
    # Off, a sequential scan stands only where no index could: the months ahead are empty.
    await owner.execute("SET enable_seqscan = off")
    for function, arguments in (
        ("accesses_of_patients", {"of_patients": "ARRAY['00000000-0000-0000-0000-000000000007'::uuid]"}),
        ("accesses_of_subject", {"of_subject": "'subject-7'::text"}),
    ):
        body = str(await owner.fetchval(FUNCTION, function))
        bounds = {"rows_max": "21", "before": "'infinity'::timestamptz", "since": "'-infinity'::timestamptz"}
        for name, value in (arguments | bounds | {"until": "'infinity'::timestamptz"}).items():
            body = body.replace(name, value)
        plan = json.loads(await explained(owner, f"EXPLAIN (FORMAT JSON) {body}"))[0]["Plan"]
        scans = [node for node in nodes(plan) if str(node.get("Relation Name", "")).startswith("event")]
        assert len(scans) > 20  # one for each month
        assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
        assert all("=" in index_conditions(node) for node in scans)
        # As the privacy officer: the function, its context verified.
        officer = caller_of(Profile.PRIVACY_OFFICER, facility)
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute("SET LOCAL SESSION AUTHORIZATION caregraph_privacy_officer")
        await owner.execute(f"SET LOCAL app.context = '{sign(SECRET, officer, owner.get_server_pid())}'")
        whose = next(iter(arguments.values()))
        call = f"SELECT * FROM access.{function}({whose}, 21, 'infinity', '-infinity', 'infinity')"
        assert len(await owner.fetch(call)) == 21
        ran = json.loads(await explained(owner, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {call}"))[0]["Plan"]
        await transaction.rollback()
        assert ran["Shared Hit Blocks"] + ran["Shared Read Blocks"] < READ_BLOCKS_MAX
    await owner.close()
