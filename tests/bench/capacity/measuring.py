"""`measure`: starts stores and the API, asks every kind of request one at a time, and reads what the processes used.

CPU is what the kernel counts of each process (/proc/PID/task/*/schedstat, nanoseconds on a core). A request is over
when its answer is there and the processes have come to rest, so that their counters stand still.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import orjson

from db.audit import APPEND, AuditLog, Event, EventKind
from db.caller import Caller, Profile
from db.context import role_password
from db.policy import Phi
from db.postgres import login_url
from db.roles import AUDIT
from db.settings import Settings, load
from db.stores import Stores
from graph.server import OPTIONS
from tests.asking import Graph
from tests.bench.capacity.documents import DOCUMENTS, ROOT, Document, chosen
from tests.bench.capacity.measured import STORES, Audit, Cost, Measured, distribution
from workers.demo import load as load_demo
from workers.embedded.stores import Stores as Embedded
from workers.embedded.stores import stores
from workers.migrate import migrate_all
from workers.token import token

PROFILES = {"physician": Profile.CLINICIAN, "cds": Profile.CDS}
"""Profiles of the personas."""
POPULATION = 60
MINUTES = 120
FULL_CHARTS = """
{ patients(first: 100) { nodes { id name { family } labResults(first: 50) { nodes { id } } } } }"""
PATIENTS = 20
"""Patients who are asked for by turns: those with most laboratory results."""
WARM_UP = 20
REST_S = 0.004
"""How long counters must stand still until a request counts as over."""
FLUSHES = 60
AUDIT_TABLES = """
SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'audit' AND c.relkind = 'r'"""
WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"


SEQ = "SELECT seq FROM audit.chain_head"
WRITTEN = """
SELECT count(*)::int AS events, coalesce(sum(cardinality(patients)), 0)::int AS patients
FROM audit.event WHERE seq > $1"""


@dataclass(frozen=True, slots=True)
class FlushShape:
    """Events of one flush, and patients of each event."""

    events: int
    patients: int


@dataclass(frozen=True, slots=True)
class Flushed:
    """What one flush took, on average."""

    cpu_ms: float
    wall_ms: float
    bytes: float
    wal_bytes: float


ONE, FULL, CROWDED = FlushShape(1, 0), FlushShape(100, 0), FlushShape(100, 20)


def cpu_ms(pids: Iterable[int]) -> float:
    """Milliseconds on a core of these processes since each started; one that has ended counts nothing."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except (OSError, IndexError):
                continue
    return total / 1e6


def family(pid: int) -> list[int]:
    """A process and its children: a postmaster with its backends."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(int(child) for child in children)]


class Counters:
    """CPU of the API and of each store; the writer of the audit is told apart by its login."""

    def __init__(self, api: int, embedded: Embedded) -> None:
        self._api = api
        self._stores = {name: embedded.pid(name) for name in STORES}

    def read(self) -> dict[str, float]:
        """Milliseconds so far, by name: `api`, `audit` and the stores, `clinical` without the audit."""
        used = {"api": cpu_ms([self._api])}
        for name, pid in self._stores.items():
            used[name] = cpu_ms(family(pid))
        writers = [pid for pid in family(self._stores["clinical"]) if f" {AUDIT} " in _title(pid)]
        used["audit"] = cpu_ms(writers)
        used["clinical"] -= used["audit"]
        return used

    def at_rest(self) -> dict[str, float]:
        """The same, once it stands still."""
        before = self.read()
        while True:
            time.sleep(REST_S)
            now = self.read()
            if sum(now.values()) - sum(before.values()) < 0.05:
                return now
            before = now


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


class Client:
    """One connection to the API."""

    def __init__(self, port: int, bearers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._bearers = bearers

    def ask(self, document: Document, variables: Mapping[str, Any]) -> bytes:
        """The answer's bytes. Raises AssertionError for one with errors."""
        body = orjson.dumps({"query": document.text, "variables": chosen(document, variables)})
        bearer = self._bearers[document.persona]
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer}"}
        self._connection.request("POST", "/graphql", body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        assert response.status == 200, f"{document.kind}: status {response.status}"
        assert "errors" not in orjson.loads(answer), f"{document.kind}: answered with errors"
        return answer


@contextmanager
def serving(settings: Settings, environ: Mapping[str, str]) -> Generator[tuple[int, int]]:
    """The API in a process of its own: its process id and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "graph.app:create_app", "--host", "127.0.0.1"]
    server = subprocess.Popen(
        [*command, *OPTIONS, "--port", str(port), "--log-level", "warning"],
        cwd=ROOT,
        env={**os.environ, **environ, "CAREGRAPH_DATA": str(settings.data), "CAREGRAPH_REQUESTS_PER_MINUTE": "1000000"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                probe = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
                probe.request("GET", "/healthz")
                probe.getresponse().read()
                break
            except OSError:
                assert server.poll() is None, "the API ended while it started"
                time.sleep(0.2)
        yield server.pid, port
    finally:
        server.terminate()
        server.wait(10)


@dataclass(frozen=True, slots=True)
class Told:
    """Statements of an answer by store, its events, and the patients in these."""

    statements: Mapping[str, int]
    events: int
    patients: int


def costs_of(
    client: Client,
    counters: Counters,
    asked: Sequence[Mapping[str, Any]],
    told: Mapping[str, Told],
    requests: int,
) -> dict[str, Cost]:
    """Costs of every kind, asked by turns so that a noisy minute falls on all of them alike."""
    samples: dict[str, list[dict[str, float]]] = {document.kind: [] for document in DOCUMENTS}
    sizes: dict[str, int] = {}
    for number in range(-WARM_UP, requests):
        for document in DOCUMENTS:
            variables = asked[number % len(asked)]
            before = counters.at_rest()
            started = time.perf_counter()
            answer = client.ask(document, variables)
            latency = (time.perf_counter() - started) * 1000
            after = counters.at_rest()
            if number < 0:
                continue
            used = {name: max(0.0, after[name] - before[name]) for name in after}
            samples[document.kind].append({**used, "latency": latency})
            sizes[document.kind] = max(sizes.get(document.kind, 0), len(answer))
    return {
        kind: Cost(
            distribution([one["api"] for one in taken]),
            # What a store that was not asked does meanwhile is its own business.
            {name: distribution([one[name] * bool(told[kind].statements[name]) for one in taken]) for name in STORES},
            told[kind].statements,
            distribution([one["latency"] for one in taken]),
            sizes[kind],
            told[kind].events,
            told[kind].patients,
        )
        for kind, taken in samples.items()
    }


async def told_of(graph: Graph, url: str, variables: Mapping[str, Any]) -> dict[str, Told]:
    """What each kind asks the stores and tells the audit, by asking it once."""
    told: dict[str, Told] = {}
    owner = await asyncpg.connect(url)
    for document in DOCUMENTS:
        head = await owner.fetchval(SEQ)
        answer = await graph.ask(document.text, PROFILES[document.persona], **chosen(document, variables))
        assert not answer.errors, f"{document.kind}: {answer.codes}"
        statements: dict[str, int] = {name: 0 for name in STORES}
        for (store, _), times in answer.statements.items():
            statements[store] = statements.get(store, 0) + times
        written = await owner.fetchrow(WRITTEN, head)
        assert written is not None
        told[document.kind] = Told(statements, written["events"], written["patients"])
    await owner.close()
    return told


async def variables_of(graph: Graph) -> list[dict[str, Any]]:
    """Variables of a round of requests, of different patients."""
    found = await graph.ask(FULL_CHARTS)
    # Those who are in hospital, as those are whom clinicians ask for: half of the demo's people have an empty chart.
    nodes = sorted(found.data["patients"]["nodes"], key=lambda one: -len(one["labResults"]["nodes"]))[:PATIENTS]
    codes = ["718-7", "2160-0", "2823-3"]
    return [{"patient": one["id"], "search": one["name"][0]["family"], "laboratoryCodes": codes} for one in nodes]


async def audit_of(settings: Settings, caller: Caller) -> Audit:
    """Costs of the audit's statement by the number of its events and of patients in each, as one writer."""
    connection = await asyncpg.connect(login_url(settings.clinical_url, AUDIT, role_password(settings.secret, AUDIT)))
    owner = await asyncpg.connect(settings.clinical_url)
    pid = connection.get_server_pid()
    kinds = frozenset((Phi.NAME, Phi.DATE, Phi.CLINICAL, Phi.MEDICAL_RECORD_NUMBER))

    def events(shape: FlushShape) -> str:
        made = (Event(EventKind.QUERY, "OK", uuid4().hex, caller, "0" * 64, kinds) for _ in range(shape.events))
        whole = [replace(one, patients=frozenset(uuid4() for _ in range(shape.patients))) for one in made]
        return orjson.dumps([one.columns() for one in whole]).decode()

    async def flushed(shape: FlushShape) -> Flushed:
        await connection.fetchrow(APPEND, events(shape))
        texts = [events(shape) for _ in range(FLUSHES)]
        size, wal = await owner.fetchval(AUDIT_TABLES), await owner.fetchval(WAL)
        before, started = cpu_ms([pid]), time.perf_counter()
        for text in texts:
            await connection.fetchrow(APPEND, text)
        wall = (time.perf_counter() - started) * 1000
        await asyncio.sleep(REST_S)
        grown, logged = await owner.fetchval(AUDIT_TABLES) - size, float(await owner.fetchval(WAL) - wal)
        return Flushed(*(one / FLUSHES for one in (cpu_ms([pid]) - before, wall, grown, logged)))

    one, full, crowded = [await flushed(shape) for shape in (ONE, FULL, CROWDED)]
    await connection.close()
    await owner.close()
    events_more, patients_more = FULL.events - ONE.events, CROWDED.events * CROWDED.patients
    event_ms = (full.cpu_ms - one.cpu_ms) / events_more
    return Audit(
        flush_ms=max(0.0, one.cpu_ms - event_ms),
        event_ms=event_ms,
        patient_ms=(crowded.cpu_ms - full.cpu_ms) / patients_more,
        commit_ms=max(0.0, one.wall_ms - one.cpu_ms),
        bytes=full.bytes / FULL.events,
        patient_bytes=(crowded.bytes - full.bytes) / patients_more,
        wal_bytes=full.wal_bytes / FULL.events,
        patient_wal_bytes=(crowded.wal_bytes - full.wal_bytes) / patients_more,
    )


async def measure(data: Path, requests: int) -> Measured:
    """Everything, over stores of its own under `data`; a demo that is there already is not loaded again."""
    with stores(data, {}, separate=("imaging", "vitals")) as running:
        settings = load({**running.env, "CAREGRAPH_DATA": str(data)})
        await migrate_all(settings)
        await load_demo(settings, population=POPULATION, minutes=MINUTES, progress=lambda line: None)
        opened = Stores(settings)
        log = AuditLog(settings.clinical_url, settings.secret, settings.store_timeout_s)
        try:
            known = {facility.code: facility for facility in await opened.facilities()}
            # The facility of a demo token: the first by code.
            graph = Graph(settings, opened, [known[min(known)]], log)
            asked = await variables_of(graph)
            told = await told_of(graph, settings.clinical_url, asked[0])
            audit = await audit_of(settings, graph.caller())
        finally:
            await asyncio.gather(opened.close(), log.close())
        bearers = {persona: await token(settings, persona, None) for persona in ("physician", "cds")}
        with serving(settings, running.env) as (pid, port):
            costs = costs_of(Client(port, bearers), Counters(pid, running), asked, told, requests)
    machine = f"{os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}"
    # Others may have used the machine meanwhile: more than one and a half is not ours.
    machine += f", load average {os.getloadavg()[1]:.1f}"
    return Measured(machine, requests, costs, audit)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
