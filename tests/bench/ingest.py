"""`python -m tests.bench.ingest`: readings that `python -m workers ingest` records in a second, beside bare inserts.

Monitors of 1,000 patients behind 8 gateways, all on this machine: first at a steady rate, then as fast as the worker
takes them. In the same run the same readings go into a table without indexes, triggers and policies, by unnest in
batches and by COPY, on one connection. Prints Markdown; asserts only that what was acknowledged is there once.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import psutil

from db.migrate import migrate
from db.settings import Settings, load
from loaders.writes.vital_sign import GIVEN
from workers.embedded.child import ROOT
from workers.embedded.stores import stores

PATIENTS, GATEWAYS, FACILITY = 1000, 8, "BENCH"
CODES = (("8867-4", "/min"), ("9279-1", "/min"), ("59408-5", "%"), ("8480-6", "mm[Hg]"), ("8462-4", "mm[Hg]"))
"""What each monitor tells at one moment: heart and breathing rate, oxygen saturation, blood pressures."""
BEHIND_MAX = 20_000
"""Lines that a gateway has not had acknowledged before it waits."""
BARE_BATCH = 2000

MADE = """
WITH made AS (
    INSERT INTO clinical.facility (id, code, name) VALUES ($1, $2, 'Bench') RETURNING id
), people AS (
    INSERT INTO clinical.patient (id) SELECT unnest($3::uuid[]) RETURNING id
)
INSERT INTO clinical.registration (facility_id, patient_id, mrn)
SELECT made.id, people.id, people.id::text FROM made, people"""
BARE_TABLE = "CREATE TABLE public.bare AS SELECT * FROM vitals.vital_sign WITH NO DATA"
BARE = f"""
INSERT INTO public.bare (id, position, facility_id, patient_id, encounter_id, device_id, status, code, panel_code,
    value, value_unit, value_code, effective, sort_time)
SELECT gen_random_uuid(), 0, facility_id, patient_id, encounter_id, device_id, status, code, panel_code,
    value, value_unit, value_code, effective, sort_time
FROM {GIVEN}"""
COUNTED = "SELECT count(*), count(DISTINCT (device_id, id)) FROM vitals.vital_sign"


@dataclass(slots=True)
class Gateway:
    """The monitors of some patients on one socket, and what of their readings is acknowledged."""

    patients: Sequence[UUID]
    sent: int = 0
    settled: int = 0
    seconds: list[float] = field(default_factory=list[float])
    """From the sending of a moment's lines to their acknowledgement."""
    _sent_at: deque[tuple[int, float]] = field(default_factory=deque[tuple[int, float]])
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, port: int, rate: float, until: float) -> None:
        """Sends moments at a rate of readings in a second, or without pause for 0, and waits for the last one's end."""
        stream, writer = await asyncio.open_connection("127.0.0.1", port)
        acknowledged = asyncio.create_task(self._acknowledged(stream))
        started, first = time.perf_counter(), self.sent
        for lines in self._moments():
            if time.perf_counter() >= until:
                break
            writer.write(lines)
            self.sent += len(CODES) * len(self.patients)
            self._sent_at.append((self.sent - first, time.perf_counter()))
            await writer.drain()
            if rate:
                await asyncio.sleep(max(0.0, started + (self.sent - first) / rate - time.perf_counter()))
            while self.sent - self.settled > BEHIND_MAX:
                self._room.clear()
                await self._room.wait()
        writer.write_eof()
        await acknowledged
        writer.close()

    async def _acknowledged(self, stream: asyncio.StreamReader) -> None:
        before = self.settled
        while line := await stream.readline():
            said = orjson.loads(line)
            assert said["duplicates"] == 0, said
            assert not said["rejected"], said["rejected"][:3]
            self.settled = before + said["line"]
            while self._sent_at and self._sent_at[0][0] <= said["line"]:
                self.seconds.append(time.perf_counter() - self._sent_at.popleft()[1])
            self._room.set()

    def _moments(self) -> Iterator[bytes]:
        device = uuid4().hex[:8]
        for moment in itertools.count():
            at = datetime.now(UTC).isoformat()
            yield b"".join(
                b'{"facility":"%b","device":"%b-%b","sequence":%d,"patient":"%b","code":"%b","value":%d.5,"ucum":"%b","time":"%b"}\n'
                % (
                    FACILITY.encode(), device.encode(), who[-12:], moment * len(CODES) + place, who, code.encode(),
                    60 + moment % 40, unit.encode(), at.encode(),
                )
                for who in (str(patient).encode() for patient in self.patients)
                for place, (code, unit) in enumerate(CODES)
            )  # fmt: skip


@contextmanager
def worker(environ: dict[str, str]) -> Generator[tuple[int, psutil.Process]]:
    """The worker on a free port."""
    command = [sys.executable, "-m", "workers", "ingest", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        port = int(process.stderr.readline().rpartition(":")[2])
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        print(process.communicate()[1], file=sys.stderr)


def _cpu(of: Sequence[psutil.Process]) -> float:
    """Seconds of CPU that the processes took so far; those of ended ones are lost."""
    return sum(sum(one.cpu_times()[:2]) for one in of if one.is_running())


async def stage(name: str, gateways: Sequence[Gateway], port: int, rate: float, seconds: float, of: Any) -> float:
    """One line of the table; readings in a second."""
    before, done = [_cpu(one()) for one in of], sum(gateway.settled for gateway in gateways)
    for gateway in gateways:
        gateway.seconds.clear()
    started = time.perf_counter()
    await asyncio.gather(*(one.run(port, rate / len(gateways), started + seconds) for one in gateways))
    took = time.perf_counter() - started
    came = sum(gateway.settled for gateway in gateways) - done
    cores = " | ".join(f"{(_cpu(one()) - was) / took:.2f}" for one, was in zip(of, before, strict=True))
    waits = sorted(itertools.chain.from_iterable(gateway.seconds for gateway in gateways))
    p50, p99 = statistics.median(waits), waits[int(len(waits) * 0.99)]
    print(f"| {name} | {came / took:,.0f} | {p50 * 1e3:,.0f} | {p99 * 1e3:,.0f} | {cores} |", flush=True)
    return came / took


async def bare(settings: Settings, facility: UUID, patients: Sequence[UUID], seconds: float) -> tuple[float, float]:
    """Readings in a second that go into a table without anything: by unnest, by COPY."""
    connection = await asyncpg.connect(settings.vitals_url)
    await connection.execute(BARE_TABLE)
    names = [
        row[0]
        for row in await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'public.bare'::regclass AND attnum > 0"
        )
    ]
    now = datetime.now(UTC)
    given = [
        (
            facility,
            f"bare-{n % PATIENTS}",
            n,
            patients[n % PATIENTS],
            None,
            "final",
            CODES[0][0],
            None,
            "61.5",
            None,
            "/min",
            now.isoformat(),
            now,
        )
        for n in range(BARE_BATCH)
    ]
    columns = list(zip(*given, strict=True))
    whole = dict.fromkeys(names)
    records = [
        tuple((whole | {
            "id": uuid4(), "position": 0, "facility_id": one[0], "patient_id": one[3], "device_id": one[1],
            "status": one[5], "code": one[6], "value": 61.5, "value_code": one[10], "effective": one[11],
            "sort_time": now,
        }).values())
        for one in given
    ]  # fmt: skip
    rates: list[float] = []
    for copied in (False, True):
        started, batches = time.perf_counter(), 0
        while time.perf_counter() < started + seconds:
            if copied:
                await connection.copy_records_to_table("bare", records=records, schema_name="public")
            else:
                await connection.execute(BARE, *columns)
            batches += 1
        rates.append(batches * BARE_BATCH / (time.perf_counter() - started))
        await connection.execute("TRUNCATE public.bare")
    await connection.close()
    return rates[0], rates[1]


async def main(rate: float, seconds: float) -> None:
    """Prints the section."""
    with (
        tempfile.TemporaryDirectory(prefix="caregraph-") as data,
        stores(Path(data), {}, separate=("vitals",)) as running,
    ):
        environ = {**os.environ, **running.env, "CAREGRAPH_DATA": data}
        settings = load(environ)
        await migrate("clinical", settings.clinical_url, settings.secret)
        await migrate("vitals", settings.vitals_url, settings.secret)
        facility, patients = uuid4(), [uuid4() for _ in range(PATIENTS)]
        connection = await asyncpg.connect(settings.clinical_url)
        await connection.execute(MADE, facility, FACILITY, patients)
        await connection.close()
        with worker(environ) as (port, process):
            postmaster, self = psutil.Process(running.pid("vitals")), psutil.Process()
            of = (lambda: [process], lambda: [postmaster, *postmaster.children()], lambda: [self])
            gateways = [Gateway(patients[n::GATEWAYS]) for n in range(GATEWAYS)]
            print(f"{os.cpu_count()} cores. Cores busy with the worker, with PostgreSQL, with the gateways.\n")
            print("| | readings/s | p50 ms | p99 ms | worker | PostgreSQL | gateways |\n|---|---|---|---|---|---|---|")
            await stage("warm-up", gateways, port, rate, seconds / 10, of)
            await stage(f"{rate:,.0f}/s for {seconds:.0f} s", gateways, port, rate, seconds, of)
            most = await stage("as fast as taken", gateways, port, 0, seconds / 2, of)
            connection = await asyncpg.connect(settings.vitals_url)
            stored, different = await connection.fetchrow(COUNTED)
            await connection.close()
            assert stored == different == sum(gateway.settled for gateway in gateways)
        inserted, copied = await bare(settings, facility, patients, seconds / 6)
        print(f"\nBare: {inserted:,.0f}/s by unnest, {copied:,.0f}/s by COPY; the worker at its fastest takes")
        print(f"{most / inserted:.2f} and {most / copied:.2f} of that. {stored:,} readings, each once.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Readings of devices, recorded by the ingest worker")
    parser.add_argument("--rate", type=float, default=20_000)
    parser.add_argument("--seconds", type=float, default=60)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.rate, chosen.seconds))
