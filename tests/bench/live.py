"""`python -m tests.bench.live [--subscribers N] [--rate N] [--seconds S]`: from write to socket.

One process of the API serves N WebSockets, each of a caller of its own who follows one patient's chart. Rows are then
written at a steady rate, each in a transaction of its own, to patients chosen at random. Printed is the time from
before the write to the message on the socket, read anew with the caller's rights and audited, and what it took of CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import jwt

from db.errors import AppError
from db.settings import Settings, load
from db.stores import Stores
from graph.auth import DEMO_ALGORITHM, _demo_key, issue  # pyright: ignore[reportPrivateUsage] - many subjects
from graph.websocket import PROTOCOL
from tests.bench.engines.servers import cpu_ms
from tests.bench.memory import resident_mb
from tests.people import DIABETES, People
from workers.embedded.child import Child
from workers.embedded.directory import python_program
from workers.embedded.stores import stores
from workers.migrate import migrate_all

FACILITY = "INSERT INTO clinical.facility (id, code, name) VALUES ($1, 'LIVE', 'Live Hospital')"
WRITE = "UPDATE clinical.condition SET note = $3 WHERE facility_id = $1 AND patient_id = $2 AND code = $4"
SUBSCRIPTION = """subscription ($patient: ID!) {
    chartChanged(patient: $patient) { cursor resources { __typename id ... on Condition { clinicalStatus } } } }"""
WARM_UP = 100
"""Events before those that count."""
OPEN_AT_ONCE = 20
SETTLE_S = 5.0


@dataclass
class Times:
    """When rows of patients were written, and how long their messages took."""

    written: dict[UUID, float] = field(default_factory=dict[UUID, float])
    lasted: list[float] = field(default_factory=list[float])
    messages: int = 0

    def told(self, patient: UUID) -> None:
        """Notes a message; one may tell of several commits, the first of which counts."""
        self.messages += 1
        at = self.written.pop(patient, None)
        if at is not None:
            self.lasted.append(time.perf_counter() - at)


def token_of(settings: Settings, facility_id: UUID, number: int) -> str:
    """A token of a physician of the demo, of a subject of its own."""
    key = _demo_key(settings)
    claims = jwt.decode(issue(settings, "physician", facility_id, uuid4()), key, [DEMO_ALGORITHM], audience="caregraph")
    return jwt.encode({**claims, "sub": f"subscriber-{number}"}, key, DEMO_ALGORITHM)


async def subscribe(
    http: aiohttp.ClientSession, url: str, token: str, patient: UUID, times: Times
) -> asyncio.Task[None]:
    """A socket that follows a chart; what takes its messages."""
    opened = await http.ws_connect(url, protocols=[PROTOCOL], compress=0)
    await opened.send_json({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}})
    await opened.receive()
    payload = {"query": SUBSCRIPTION, "variables": {"patient": f"Patient/{patient}"}}
    await opened.send_json({"type": "subscribe", "id": "1", "payload": payload})

    async def take() -> None:
        async for message in opened:
            received = json.loads(message.data)
            if received["type"] != "next":
                raise AppError(f"A subscription ended: {received['payload'][0]['extensions']['code']}.")
            times.told(patient)

    return asyncio.create_task(take())


async def write(
    database: Stores, facility_id: UUID, patients: Sequence[UUID], count: int, rate: float, times: Times
) -> None:
    """Writes at a steady rate, whether or not what was written before has been told."""
    chosen, began = random.Random(5), time.perf_counter()
    under_way: set[asyncio.Task[None]] = set()

    async def one() -> None:
        patient = chosen.choice(patients)
        # Before the write: a message may be here before the commit's answer is. So the write's own time is in it.
        times.written.setdefault(patient, time.perf_counter())
        await database.clinical.worker_fetch(WRITE, facility_id, patient, uuid4().hex, DIABETES)

    for number in range(count):
        await asyncio.sleep(max(0, began + number / rate - time.perf_counter()))
        task = asyncio.create_task(one())
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    if under_way:
        await asyncio.wait(under_way)


async def run(settings: Settings, environ: Mapping[str, str], data: Path, asked: argparse.Namespace) -> None:
    """Prints the table. Raises AppError where a subscription ends."""
    await migrate_all(settings)
    async with AsyncExitStack() as stack:
        database = Stores(settings)
        stack.push_async_callback(database.close)
        facility_id, people = uuid4(), People(database)
        await database.clinical.worker_fetch(FACILITY, facility_id)
        patients = [await people.patient(facility_id) for _ in range(asked.subscribers)]
        port = free_port()
        variables = {**environ, "CAREGRAPH_PORT": str(port), "CAREGRAPH_DEMO": "1", "CAREGRAPH_DATA": str(data)}
        server = Child(python_program("graph.server", **variables), data / "api.pid", data / "api.log")
        stack.callback(server.stop)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        await alive(http, port)
        times, url, taking = Times(), f"http://127.0.0.1:{port}/graphql", list[asyncio.Task[None]]()
        for first in range(0, len(patients), OPEN_AT_ONCE):
            part = list(enumerate(patients))[first : first + OPEN_AT_ONCE]
            tokens = [token_of(settings, facility_id, number) for number, _ in part]
            opening = (subscribe(http, url, t, p, times) for t, (_, p) in zip(tokens, part, strict=True))
            taking += await asyncio.gather(*opening)
        await asyncio.sleep(SETTLE_S)
        await write(database, facility_id, patients, WARM_UP, asked.rate, times)
        await asyncio.sleep(SETTLE_S)
        times.lasted.clear()
        times.messages, used, began = 0, cpu_ms([server.process.pid]), time.perf_counter()
        await write(database, facility_id, patients, round(asked.rate * asked.seconds), asked.rate, times)
        lasted = time.perf_counter() - began
        await asyncio.sleep(SETTLE_S)
        cpu = cpu_ms([server.process.pid]) - used
        for task in taking:
            if task.done():
                task.result()
            task.cancel()
        _print(asked, times, cpu, lasted, resident_mb(server.process.pid))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def alive(http: aiohttp.ClientSession, port: int) -> None:
    """Returns when the API of a port answers. Raises AppError where it does not in half a minute."""
    for _ in range(300):
        try:
            async with http.get(f"http://127.0.0.1:{port}/healthz"):
                return
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)
    raise AppError("The API did not start.")


def _print(asked: argparse.Namespace, times: Times, cpu: float, lasted: float, rss: float) -> None:
    ordered = sorted(times.lasted)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 for part in (0.5, 0.99))
    events = round(asked.rate * asked.seconds)
    print(
        "| subscribers | events a second | messages | untold | p50 ms | p99 ms | max ms | CPU ms a message | RSS MB |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {asked.subscribers:,} | {events / lasted:.0f} | {times.messages:,} | {len(times.written)} | {p50:.0f} "
        f"| {p99:.0f} | {ordered[-1] * 1000:.0f} | {cpu / max(1, times.messages):.1f} | {rss:.0f} |"
    )


def main() -> int:
    """Entry point; the status is 1 where a subscription ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.live", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="caregraph-") as folder, stores(Path(folder) / "data", {}) as started:
            environ = {**started.env, "CAREGRAPH_REQUESTS_PER_MINUTE": "1000000"}
            settings = load(
                {**os.environ, **environ, "CAREGRAPH_DATA": str(started.directory.path), "CAREGRAPH_DEMO": "1"}
            )
            asyncio.run(run(settings, environ, started.directory.path, asked))
    except AppError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
