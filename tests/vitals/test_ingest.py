"""`python -m workers ingest`: each reading once, whatever comes twice, late, broken, or to a worker that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.migrate import migrate
from db.settings import load
from loaders.vital_sign import VitalBucket
from resolvers import vital_sign
from tests.vitals.conftest import Vitals
from tests.vitals.readings import HEART_RATE, as_login
from workers.embedded.child import ROOT
from workers.embedded.stores import Stores as Embedded
from workers.ingest import LINE_BYTES, Ingest, ingesting
from workers.rollup import rollup

START = datetime(2026, 3, 4, 12, tzinfo=UTC)
LIMIT_S = 60
MADE = """
WITH made AS (INSERT INTO clinical.facility (id, code, name) VALUES ($1, $2, 'Ward') RETURNING id),
people AS (INSERT INTO clinical.patient (id) SELECT unnest($3::uuid[]) RETURNING id)
INSERT INTO clinical.registration (facility_id, patient_id, mrn)
SELECT made.id, people.id, 'M-' || people.id FROM made, people"""
STORED = """
SELECT v.device_id, block * 65536 + ('x' || right(id::text, 4))::bit(16)::int, patient_id, value::text, sort_time
FROM vitals.vital_sign AS v
JOIN vitals.device_sequence AS known
    ON (known.facility_id, known.device_id, left(series::text, 32)) = (v.facility_id, v.device_id, left(id::text, 32))
WHERE v.facility_id = $1 AND ($2::text IS NULL OR v.device_id = $2)
ORDER BY 1, 2"""
EVENTS = "SELECT patient_id, row_keys, since, until FROM feed.event WHERE facility_id = $1 ORDER BY seq"
KEYS = "SELECT id || '/' || position FROM vitals.vital_sign WHERE facility_id = $1"


@dataclass(frozen=True, slots=True)
class Ward:
    """A facility of a test's own, two patients registered there, and the vitals store in one flavour."""

    vitals: Vitals
    facility: UUID
    code: str
    patients: Sequence[UUID]

    def line(self, number: int, device: str = "monitor", **more: Any) -> dict[str, Any]:
        """A heart rate, a second later for each sequence."""
        given = {
            "facility": self.code,
            "device": device,
            "sequence": number,
            "patient": str(self.patients[0]),
            "code": HEART_RATE,
            "value": 60 + number % 40,
            "unit": "beats/minute",
            "ucum": "/min",
            "time": (START + timedelta(seconds=number)).isoformat(),
        }
        return {name: value for name, value in {**given, **more}.items() if value is not None}

    async def stored(self, device: str | None = None) -> Sequence[tuple[Any, ...]]:
        """Device, sequence, patient, value and time of what is recorded."""
        return await self.fetch(STORED, self.facility, device)

    async def fetch(self, sql: str, *args: object) -> Sequence[tuple[Any, ...]]:
        """Rows as the administrator has them."""
        return [tuple(row) for row in await as_login(self.vitals.settings.vitals_url, sql, lambda pid: "SELECT", *args)]


@pytest.fixture(scope="module")
async def clinical(embedded: Embedded) -> str:
    """URL of the clinical database, migrated."""
    configured = load(embedded.env)
    await migrate("clinical", configured.clinical_url, configured.secret)
    return configured.clinical_url


@pytest.fixture
async def ward(vitals: Vitals, clinical: str) -> Ward:
    """A ward that no other test uses."""
    facility, patients = uuid4(), [uuid4(), uuid4()]
    code = f"W-{facility.hex[:8].upper()}"
    connection = await asyncpg.connect(clinical)
    await connection.execute(MADE, facility, code, patients)
    await connection.close()
    return Ward(vitals, facility, code, patients)


def environ(vitals: Vitals) -> Mapping[str, str]:
    """Variables of a worker over this flavour."""
    configured = vitals.settings
    return {
        **os.environ,
        "CAREGRAPH_DATA": str(configured.data),
        "CAREGRAPH_SECRET": configured.secret.decode(),
        "CAREGRAPH_CLINICAL_URL": configured.clinical_url,
        "CAREGRAPH_IMAGING_URL": configured.imaging_url,
        "CAREGRAPH_VITALS_URL": configured.vitals_url,
        "CAREGRAPH_NOTES_URL": configured.notes_url,
        "CAREGRAPH_ARCHIVE_URL": configured.archive_url,
        "CAREGRAPH_WAREHOUSE_URL": configured.warehouse_url,
    }


def encoded(*lines: Mapping[str, Any] | bytes) -> bytes:
    """Lines as they are sent."""
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines)


async def taken(ingest: Ingest, *lines: Mapping[str, Any] | bytes) -> list[dict[str, Any]]:
    """The acknowledgements of one stream of lines."""
    stream, acknowledged = asyncio.StreamReader(), list[dict[str, Any]]()
    stream.feed_data(encoded(*lines))
    stream.feed_eof()

    async def answer(line: bytes) -> None:
        acknowledged.append(json.loads(line))

    await ingest.take(stream.read, answer)
    return acknowledged


async def piped(vitals: Vitals, *lines: Mapping[str, Any] | bytes) -> tuple[list[dict[str, Any]], str]:
    """The acknowledgements of a worker that gets lines on stdin, and what it says of them in the end.

    In this process with TimescaleDB: sessions of several processes can't be told apart by the build of the tests.
    """
    if vitals.flavour != "plain":
        async with ingesting(vitals.settings) as ingest:
            return await taken(ingest, *lines), ingest.summary
    command = (sys.executable, "-m", "workers", "ingest")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environ(vitals), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(LIMIT_S):
        out, said = await process.communicate(encoded(*lines))
    assert process.returncode == 0, said.decode()
    return [json.loads(line) for line in out.splitlines()], said.decode()


def total(acknowledged: Sequence[Mapping[str, Any]], name: str) -> int:
    """Sum over the acknowledgements."""
    return sum(one[name] for one in acknowledged)


@asynccontextmanager
async def listening(vitals: Vitals) -> AsyncGenerator[tuple[Process, int]]:
    """A worker on a free port."""
    command = (sys.executable, "-m", "workers", "ingest", "--listen", "127.0.0.1:0")
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environ(vitals), stderr=PIPE)
    try:
        assert process.stderr
        async with asyncio.timeout(LIMIT_S):
            ready = await process.stderr.readline()
        yield process, int(ready.rpartition(b":")[2])
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


@asynccontextmanager
async def connected(
    port: int, *lines: Mapping[str, Any]
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A socket to a worker over which lines have been sent, and what sends more."""
    stream, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(encoded(*lines))
    try:
        yield stream, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def acknowledgements(stream: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Acknowledgements until the socket ends, however it does."""
    try:
        while line := await asyncio.wait_for(stream.readline(), LIMIT_S):
            yield json.loads(line)
    except ConnectionError:
        return


async def test_lines_of_stdin_are_recorded_and_acknowledged(ward: Ward) -> None:
    named = ward.line(3, patient=None, mrn=f"M-{ward.patients[1]}", facility=str(ward.facility), value="98.60")
    acknowledged, said = await piped(
        ward.vitals, ward.line(1), ward.line(2, patient=f"Patient/{ward.patients[0]}"), named
    )
    assert (acknowledged[-1]["line"], acknowledged[-1]["sequence"], total(acknowledged, "recorded")) == (3, 3, 3)
    one, other = ward.patients
    assert [row[1:4] for row in await ward.stored()] == [(1, one, "61"), (2, one, "62"), (3, other, "98.60")]
    assert "recorded 3" in said


async def test_what_comes_again_is_a_duplicate_and_what_differs_a_conflict(ward: Ward) -> None:
    await piped(ward.vitals, *(ward.line(n) for n in range(4)))
    later = (START + timedelta(hours=1)).isoformat()
    again = [
        ward.line(0),
        ward.line(1, value=99),
        ward.line(2, time=later),
        ward.line(4),
        ward.line(4),
        ward.line(4, value=1),
    ]
    acknowledged, _ = await piped(ward.vitals, *again)
    assert (total(acknowledged, "recorded"), total(acknowledged, "duplicates")) == (1, 2)
    assert acknowledged[-1]["rejected"] == [[2, "CONFLICT"], [3, "CONFLICT"], [6, "CONFLICT"]]
    assert [row[3] for row in await ward.stored()] == ["60", "61", "62", "63", "64"]


async def test_what_is_not_a_reading_costs_itself_only_and_is_never_quoted(ward: Ward) -> None:
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    wrong: Sequence[tuple[Mapping[str, Any] | bytes, str]] = (
        (b"{Patient Secret", "MALFORMED"),
        (b"[1]", "MALFORMED"),
        (ward.line(1, patient=None), "MALFORMED"),
        (ward.line(1, mrn="Secret"), "MALFORMED"),
        (ward.line(1, facility=["Secret"]), "MALFORMED"),
        (ward.line(1, note="Secret" * LINE_BYTES), "TOO_LONG"),
        (ward.line(1, facility="Secret"), "UNKNOWN_FACILITY"),
        (ward.line(1, patient=str(uuid4())), "UNKNOWN_PATIENT"),
        (ward.line(1, patient="Secret"), "UNKNOWN_PATIENT"),
        (ward.line(1, device=""), "INVALID_DEVICE"),
        (ward.line(1, device="Sec\x00ret"), "INVALID_DEVICE"),
        (ward.line(1, sequence="Secret"), "INVALID_SEQUENCE"),
        (ward.line(1, sequence=True), "INVALID_SEQUENCE"),
        (ward.line(1, sequence=2**62), "INVALID_SEQUENCE"),
        (ward.line(1, code="Secret"), "INVALID_CODE"),
        (ward.line(1, panel="Secret"), "INVALID_CODE"),
        (ward.line(1, value="Secret"), "INVALID_VALUE"),
        (ward.line(1, value=[1]), "INVALID_VALUE"),
        (ward.line(1, unit="Secret" * 50), "INVALID_UNIT"),
        (ward.line(1, time="Secret"), "INVALID_TIME"),
        (ward.line(1, time="2026-02-31T12:00:00Z"), "INVALID_TIME"),
        (ward.line(1, time="2026-03-04T12:00:00"), "INVALID_TIME"),
        (ward.line(1, time=future), "INVALID_TIME"),
    )
    acknowledged, said = await piped(ward.vitals, *(line for line, _ in wrong), ward.line(7))
    rejected = [entry for one in acknowledged for entry in one["rejected"]]
    assert rejected == [[number, code] for number, (_, code) in enumerate(wrong, 1)]
    assert [row[1] for row in await ward.stored()] == [7]
    assert "Secret" not in said + json.dumps(acknowledged)
    assert "MALFORMED 5" in said


async def test_what_the_store_refuses_costs_itself_only(ward: Ward) -> None:
    if ward.vitals.flavour != "plain":
        pytest.skip("a hypertable's chunks do not take this constraint while others write")
    await ward.fetch(
        f"ALTER TABLE vitals.vital_sign ADD CONSTRAINT poison CHECK (facility_id <> '{ward.facility}' OR value <> 66)"
    )
    try:
        acknowledged, said = await piped(ward.vitals, *(ward.line(n) for n in range(10)))
    finally:
        await ward.fetch("ALTER TABLE vitals.vital_sign DROP CONSTRAINT poison")
    assert [entry for one in acknowledged for entry in one["rejected"]] == [[7, "REFUSED"]]
    assert [row[1] for row in await ward.stored()] == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert "poison" not in said


async def test_each_statement_tells_the_feed_once_of_each_patient(ward: Ward) -> None:
    one, other = ward.patients
    few = [ward.line(n, "a") for n in range(5)]
    await piped(ward.vitals, *few, *(ward.line(n, "b", patient=str(other)) for n in range(150)))
    await piped(ward.vitals, *few)
    events = {who: (set(keys), since, until) for who, keys, since, until in await ward.fetch(EVENTS, ward.facility)}
    assert len(await ward.fetch(EVENTS, ward.facility)) == len(events) == 2
    of_one = {key for (key,) in await ward.fetch(f"{KEYS} AND patient_id = $2", ward.facility, one)}
    assert events[one] == (of_one, START, START + timedelta(seconds=4))
    assert events[other] == (set(), START, START + timedelta(seconds=149))


async def test_late_readings_reach_their_rollups(ward: Ward) -> None:
    await piped(ward.vitals, *(ward.line(n) for n in (10, 20)))
    await rollup(ward.vitals.settings)
    await piped(ward.vitals, ward.line(3, value=10), ward.line(4, value=99, time="2020-01-01T00:00:00Z"))
    await rollup(ward.vitals.settings)
    async with ward.vitals.request(ward.facility) as context:
        [[trend]] = await vital_sign.trend(
            context, [SimpleNamespace(id=ward.patients[0])], code=[HEART_RATE], start="2020", bucket=VitalBucket.DAILY
        )
    assert [(point.min, point.max, point.count) for point in trend.points] == [(99, 99, 1), (10, 80, 3)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sent=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30)), min_size=1, max_size=80), cut=st.integers(1, 20)
)
async def test_any_order_and_repetition_gives_the_same_rows(ward: Ward, sent: list[tuple[str, int]], cut: int) -> None:
    """Of several streams at once; a device's sequences around the end of a block are among them."""
    run = uuid4().hex
    lines = [ward.line(65_520 + n, f"{device}-{run}") for device, n in sent]
    async with ingesting(ward.vitals.settings) as ingest:
        streams = (taken(ingest, *lines[at : at + cut]) for at in range(0, len(lines), cut))
        recorded = [total(one, "recorded") for one in await asyncio.gather(*streams)]
    expected = sorted({(f"{device}-{run}", 65_520 + n) for device, n in sent})
    assert sum(recorded) == len(expected)
    rows = [row for device in "ab" for row in await ward.stored(f"{device}-{run}")]
    assert [row[:2] for row in rows] == expected
    assert all(row[4] == START + timedelta(seconds=row[1]) for row in rows)


def only_plain(ward: Ward) -> None:
    """Skips with TimescaleDB."""
    if ward.vitals.flavour != "plain":
        pytest.skip("the TimescaleDB of the tests keeps nothing, and serves one process")


async def test_a_killed_worker_loses_nothing_that_it_acknowledged(ward: Ward) -> None:
    """The gateway sends again what was not acknowledged: in the end each reading is there once."""
    only_plain(ward)
    lines = [ward.line(n, f"monitor-{n % 7}") for n in range(12_000)]
    settled, kills = 0, 2
    while settled < len(lines):
        async with (
            listening(ward.vitals) as (process, port),
            connected(port, *lines[settled:]) as (stream, writer),
        ):
            writer.write_eof()
            before = settled
            async for one in acknowledgements(stream):
                settled = before + one["line"]
                if kills:
                    kills -= 1
                    process.send_signal(signal.SIGKILL)
                    break
        assert len(await ward.stored()) >= settled
    assert kills == 0
    assert [(row[0], row[1]) for row in await ward.stored()] == sorted(
        (one["device"], one["sequence"]) for one in lines
    )


async def test_while_the_store_is_down_a_stream_waits(ward: Ward) -> None:
    only_plain(ward)
    async with listening(ward.vitals) as (_, port), connected(port, ward.line(1)) as (stream, writer):
        assert json.loads(await stream.readline())["line"] == 1
        await ward.vitals.stop()
        try:
            writer.write(encoded(ward.line(2)))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stream.readline(), 2)
        finally:
            await ward.vitals.start()
        assert json.loads(await asyncio.wait_for(stream.readline(), LIMIT_S))["recorded"] == 1
    assert [row[1] for row in await ward.stored()] == [1, 2]


@pytest.mark.parametrize("listen", ["0.0.0.0:7000", "7000", "127.0.0.1:x"])
async def test_no_other_address_is_listened_on(vitals: Vitals, listen: str) -> None:
    command = (sys.executable, "-m", "workers", "ingest", "--listen", listen)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environ(vitals), stderr=PIPE)
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"--listen must be 127.0.0.1:PORT" in said
