"""The audit log: durable, grouped, neither lost nor doubled, append-only, without a value of a patient."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from db.audit import CROWD, QUEUE_MAX, AuditLog, Event, EventKind, ensure_months
from db.audit_chain import verify
from db.caller import Profile
from db.context import role_password, sign
from db.errors import AuditUnavailable
from db.policy import Phi
from db.postgres import login_url
from db.roles import AUDIT, WORKER
from graph.execution import TURNS
from tests.audit.conftest import FACILITY, SECRET, Ledger, event
from tests.callers import caller_of

TABLES = ("event", "event_patient", "checkpoint", "detached", "change")
PARTITIONED = ("event", "event_patient", "change")


async def ids(ledger: Ledger) -> Sequence[UUID]:
    """Ids of the events, in their order."""
    owner = await ledger.owner()
    found = [row["id"] for row in await owner.fetch("SELECT id FROM audit.event ORDER BY seq")]
    await owner.close()
    return found


async def test_concurrent_events_share_statements_and_keep_the_chain(ledger: Ledger) -> None:
    first, second = ledger.log(), ledger.log()
    events = [event(number) for number in range(200)]
    await asyncio.gather(*((first if n % 2 else second).append(one) for n, one in enumerate(events)))
    assert first.statements + second.statements < 20
    assert sorted(await ids(ledger)) == sorted(one.id for one in events)
    verdict = await verify(ledger.url, SECRET)
    assert (verdict.events, verdict.broken) == (200, None)
    await first.close()
    await second.close()


@pytest.mark.parametrize(("under_way", "flushes"), [(CROWD, 1), (CROWD - 1, 2)])
async def test_a_flush_waits_for_a_crowd(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, under_way: int, flushes: int
) -> None:
    monkeypatch.setattr("db.audit.GATHER_S", 1)
    log = AuditLog(ledger.url, SECRET, 10, lambda: under_way)
    await log.checkpoint()
    before, first = log.statements, log.append(event())
    for _ in range(3):
        await asyncio.sleep(0)
    await asyncio.gather(first, log.append(event(1)))
    assert log.statements - before == flushes
    await log.close()


async def test_an_event_is_on_its_way_before_the_answer_is_written(ledger: Ledger) -> None:
    log = ledger.log()
    await log.append(event())
    before, durable = log.statements, log.append(event(1))
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert log.statements == before + 1
    await durable
    await log.close()


async def test_an_event_that_comes_twice_is_there_once(ledger: Ledger) -> None:
    log = ledger.log()
    one = event()
    await log.append(one)
    await asyncio.gather(log.append(one), log.append(event(1)))
    assert len(await ids(ledger)) == 2
    await log.close()


async def test_an_answer_that_got_lost_is_asked_for_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ledger.log()
    await log.append(event())
    send = log._send  # pyright: ignore[reportPrivateUsage] - what a broken connection breaks
    sent: list[str] = []

    async def lost(events: str) -> None:
        await send(events)
        sent.append(events)
        if len(sent) == 1:
            raise ConnectionResetError

    monkeypatch.setattr(log, "_send", lost)
    await log.append(event(1))
    assert len(sent) == 2
    assert len(await ids(ledger)) == 2
    await log.close()


async def test_acknowledged_events_outlive_a_crash(ledger: Ledger) -> None:
    log = ledger.log()
    events = [event(number) for number in range(5)]
    for one in events:
        await log.append(one)
    ledger.server.kill("clinical")
    ledger.server.start("clinical")
    assert await ids(ledger) == [one.id for one in events]
    await log.append(event(9))
    assert (await verify(ledger.url, SECRET)).broken is None
    await log.close()


async def test_without_the_store_nothing_is_confirmed(ledger: Ledger) -> None:
    log = ledger.log(timeout_s=2)
    await log.append(event())
    ledger.server.stop("clinical")
    try:
        with pytest.raises(AuditUnavailable):
            await log.append(event(1))
    finally:
        ledger.server.start("clinical")
    await log.append(event(2))
    await log.close()


async def test_a_store_that_hangs_is_not_waited_for(ledger: Ledger) -> None:
    log = ledger.log(timeout_s=0.5)
    owner = await ledger.owner()
    transaction = owner.transaction()
    await transaction.start()
    await owner.execute("SELECT FROM audit.chain_head FOR UPDATE")
    waiting = [log.append(event(number)) for number in range(3)]
    assert {type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)} == {AuditUnavailable}
    await transaction.rollback()
    await owner.close()
    await log.append(event(5))
    await log.close()


async def test_more_events_than_may_wait_are_turned_away(ledger: Ledger) -> None:
    log = ledger.log()
    waiting = [log.append(event(number % 50)) for number in range(QUEUE_MAX + 5)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(one, AuditUnavailable) for one in results) == 5
    await log.close()


@pytest.mark.parametrize("role", ["caregraph_owner", "caregraph"])
async def test_records_stay_for_the_owner_and_the_administrator(ledger: Ledger, role: str) -> None:
    log = ledger.log()
    await log.append(event())
    owner = await ledger.owner()
    await owner.execute(f"SET ROLE {role}")
    for table, values in FILLED.items():
        await owner.execute(f"INSERT INTO audit.{table} {values}")
    for table in TABLES:
        partitions = [row["name"] for row in await owner.fetch(PARTITIONS, f"audit.{table}")]
        column = await owner.fetchval(FIRST_COLUMN, f"audit.{table}")
        for name in (f"audit.{table}", *partitions):
            changes = [f"TRUNCATE {name}"]
            if await owner.fetchval(f"SELECT EXISTS (SELECT FROM {name})"):
                changes += [f"DELETE FROM {name}", f"UPDATE {name} SET {column} = {column}"]
            for change in changes:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await owner.execute(change)
    await owner.close()
    await log.close()


FIRST_COLUMN = "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum = 1"
PARTITIONS = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::text::regclass"
FILLED = {
    "change": "(occurred_at, transaction_id, actor, login, table_name, operation) "
    "SELECT now(), pg_current_xact_id(), 'a', 'b', 'c', 'INSERT'",
    "detached": "(month, table_name) VALUES (now(), 'event')",
}


async def test_the_writer_may_append_and_nothing_else(ledger: Ledger) -> None:
    connection = await asyncpg.connect(login_url(ledger.url, AUDIT, role_password(SECRET, AUDIT)))
    for statement in (
        *(f"SELECT FROM audit.{table}" for table in (*TABLES, "chain_head")),
        "INSERT INTO audit.event_patient VALUES (gen_random_uuid(), gen_random_uuid(), now(), 1)",
        "UPDATE audit.chain_head SET seq = 0",
        "SELECT audit.ensure_months(1)",
        "SELECT audit.detach_month(now())",
        "SELECT FROM clinical.patient",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


@pytest.mark.parametrize("login", [WORKER, "caregraph_clinician", "caregraph_privacy_officer"])
async def test_other_logins_do_not_reach_the_tables(ledger: Ledger, login: str) -> None:
    connection = await asyncpg.connect(login_url(ledger.url, login, role_password(SECRET, login)))
    for table in (*TABLES, "chain_head"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"SELECT FROM audit.{table}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("SELECT audit.append('[]')")
    for reading in ("accesses_of_patients('{}'", "accesses_of_subject('subject-0'"):
        found = await connection.fetch(f"SELECT FROM access.{reading}, 9, 'infinity', '-infinity', 'infinity')")
        assert found == []  # no signed context, no row
    await connection.close()


READERS = {
    "privacy officer": (caller_of(Profile.PRIVACY_OFFICER, FACILITY), 1, 1),
    "of another facility": (caller_of(Profile.PRIVACY_OFFICER, UUID(int=2)), 0, 0),
    "clinician": (caller_of(Profile.CLINICIAN, FACILITY), 0, 0),
    "the patient": (replace(caller_of(Profile.PATIENT, FACILITY), patient_id=UUID(int=1000)), 1, 0),
    "another patient": (replace(caller_of(Profile.PATIENT, FACILITY), patient_id=UUID(int=1001)), 0, 0),
}
"""Callers, and how many accesses to the patient and by the subject the database tells them."""


@pytest.mark.parametrize("reader", READERS)
async def test_the_database_itself_tells_only_whom_it_concerns(ledger: Ledger, reader: str) -> None:
    log = ledger.log()
    await log.append(event())
    await log.close()
    caller, of_patient, of_subject = READERS[reader]
    login = f"caregraph_{caller.profile.value}"
    connection = await asyncpg.connect(login_url(ledger.url, login, role_password(SECRET, login)))
    await connection.execute(f"SET app.context = '{sign(SECRET, caller, connection.get_server_pid())}'")
    bounds = "9, 'infinity', '-infinity', 'infinity')"
    patient = await connection.fetch(
        f"SELECT FROM access.accesses_of_patients(ARRAY[$1::uuid], {bounds}", UUID(int=1000)
    )
    subject = await connection.fetch(f"SELECT FROM access.accesses_of_subject('subject-0', {bounds}")
    await connection.close()
    assert (len(patient), len(subject)) == (of_patient, of_subject)


async def test_a_month_without_a_partition_gets_one(ledger: Ledger) -> None:
    owner = await ledger.owner()
    await ensure_months(ledger.url, 14)
    counts = {table: len(await owner.fetch(PARTITIONS, f"audit.{table}")) for table in PARTITIONED}
    assert counts == dict.fromkeys(PARTITIONED, 15)
    # The clock of the chain stands in a month that nobody prepared.
    await owner.execute("UPDATE audit.chain_head SET occurred_at = now() + interval '3 years'")
    log = ledger.log()
    await log.append(event())
    assert {table: len(await owner.fetch(PARTITIONS, f"audit.{table}")) for table in PARTITIONED} == {
        "event": 16,
        "event_patient": 16,
        "change": 15,
    }
    assert (await verify(ledger.url, SECRET)).broken is None
    await owner.close()
    await log.close()


async def test_a_month_is_taken_out_after_six_years_and_the_chain_goes_on(ledger: Ledger) -> None:
    owner = await ledger.owner()
    await owner.execute("SET ROLE caregraph_owner")
    with pytest.raises(asyncpg.RaiseError, match="six years"):
        await owner.execute("SELECT audit.detach_month(now() - interval '6 years')")
    await owner.execute("UPDATE audit.chain_head SET occurred_at = now() - interval '7 years'")
    for table in PARTITIONED[:2]:
        await owner.execute(f"SELECT audit.ensure_month('audit.{table}', now() - interval '7 years')")
    await owner.execute("RESET ROLE")
    # An event of seven years ago, written as the function writes it.
    await owner.execute(OLD_EVENT, event(1).id, FACILITY)
    assert (await verify(ledger.url, SECRET)).events == 1
    log = ledger.log()
    await log.append(event(2))
    assert (await verify(ledger.url, SECRET)).events == 2
    await owner.execute("SET ROLE caregraph_owner")
    await owner.execute("SELECT audit.detach_month(now() - interval '7 years')")
    verdict = await verify(ledger.url, SECRET)
    assert (verdict.events, verdict.broken) == (1, None)
    assert await owner.fetchval("SELECT count(*) FROM audit.detached") == 2
    await owner.close()
    await log.close()


OLD_EVENT = """
WITH old AS (
    SELECT (jsonb_populate_record(NULL::audit.event, jsonb_build_object(
        'seq', 1, 'occurred_at', now() - interval '7 years', 'id', $1::uuid, 'kind', 'QUERY',
        'facility_id', $2::uuid, 'shown', '{}'::text[], 'masked', '{}'::text[],
        'patients', '{}'::uuid[], 'result', 'OK', 'grants', '{}'::uuid[], 'request_id', 'old'))).*
), hashed AS (
    SELECT sha256(decode(repeat('00', 32), 'hex') || audit.canonical(e)) AS hash
    FROM (SELECT (o.*)::audit.event AS e FROM old AS o) AS one
), kept AS (
    INSERT INTO audit.event SELECT (jsonb_populate_record(o.*::audit.event, jsonb_build_object('hash', h.hash))).*
    FROM old AS o, hashed AS h
)
UPDATE audit.chain_head SET seq = 1, hash = hashed.hash FROM hashed"""


async def test_events_hold_no_value_and_texts_of_clients_are_bounded(ledger: Ledger) -> None:
    log = ledger.log()
    one = event()
    assert one.caller
    caller = replace(one.caller, subject="x" * 500 + "\0")
    odd = replace(one, caller=caller, user_agent="Firefox of Smith\0", client_ip="testclient", request_id="a\0b\ud800")
    failed = Event(EventKind.LOGIN_FAILED, "EXPIRED", "r", shown=frozenset({Phi.NAME}), patients=frozenset({uuid4()}))
    await asyncio.gather(log.append(odd), log.append(replace(failed, id=uuid4())))
    owner = await ledger.owner()
    rows: list[Any] = await owner.fetch("SELECT * FROM audit.event ORDER BY seq")
    assert [len(rows[0]["subject"]), rows[0]["client_ip"], rows[1]["patients"]] == [200, None, []]
    assert "Smith" not in str(rows[0])
    assert (await verify(ledger.url, SECRET)).broken is None
    await owner.close()
    await log.close()


async def test_nothing_connects_before_the_first_event() -> None:
    log = AuditLog("postgresql://nobody@127.0.0.1:1/none", SECRET, 1)
    await log.close()
    assert log.statements == 0
