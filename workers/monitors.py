"""`python -m workers monitors [--every SECONDS]`: bedside monitors of the demo, whose readings arrive as they are made.

Each inpatient of the demo's wards has a simulated monitor (workers/network/monitors.py has the signals). Its readings
take the way of a gateway's: lines of `python -m workers ingest`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import orjson

from db import settings
from db.errors import StoreError
from db.postgres import Postgres
from workers.ingest import ingesting
from workers.network.monitors import PULL, SIGNALS
from workers.signals import until_signal

MONITORS_MAX = 200
"""Patients with a monitor, those who were admitted last."""
LOOK_S = 30.0
"""Seconds after which it is looked anew who is there."""
SEQUENCES = 1000
"""Sequences of a second: more than a monitor has signals."""

INPATIENTS = """/* inpatients_with_monitors */
SELECT e.id, e.facility_id, e.patient_id
FROM clinical.encounter AS e
WHERE e.status = 'in-progress' AND e.end_time IS NULL AND e.class_code IN ('IMP', 'ACUTE', 'NONAC', 'SS', 'OBSENC')
ORDER BY e.sort_time DESC, e.id
LIMIT $1::int"""


@dataclass(slots=True)
class Monitor:
    """One simulated monitor: where its patient is, and what each signal shows now."""

    encounter_id: UUID
    facility_id: UUID
    patient_id: UUID
    chances: random.Random
    values: list[float] = field(default_factory=list[float])

    def lines(self, at: datetime) -> Sequence[bytes]:
        """The next reading of each signal, each a step of a walk around where a patient recovers to."""
        if not self.values:
            self.values = [target for *_, target, _ in SIGNALS]
        lines: list[bytes] = []
        for place, (code, _, unit, target, step) in enumerate(SIGNALS):
            self.values[place] += (target - self.values[place]) * PULL + self.chances.gauss(0, step)
            shown = min(self.values[place], 100) if unit == "%" else self.values[place]
            reading = {
                "facility": str(self.facility_id),
                "device": f"monitor-{self.encounter_id}",
                "sequence": int(at.timestamp()) * SEQUENCES + place,
                "patient": str(self.patient_id),
                "code": code,
                "value": round(shown, 1),
                "unit": unit,
                "ucum": unit,
                "time": at.isoformat(timespec="milliseconds"),
            }
            lines.append(orjson.dumps(reading) + b"\n")
        return lines


async def readings(clinical: Postgres, every_s: float) -> AsyncGenerator[bytes, None]:
    """Lines of all monitors, once in so many seconds, without end; of who has left no more."""
    monitors: Mapping[UUID, Monitor] = {}
    looked = -LOOK_S
    while True:
        began = time.monotonic()
        if began - looked >= LOOK_S:
            monitors, looked = await _present(clinical, monitors), began
        at = datetime.now(UTC)
        lines = b"".join(line for monitor in monitors.values() for line in monitor.lines(at))
        if lines:
            yield lines
        await asyncio.sleep(max(0, began + every_s - time.monotonic()))


async def _present(clinical: Postgres, known: Mapping[UUID, Monitor]) -> Mapping[UUID, Monitor]:
    """The monitors of who is there now; those that are known go on, also while the store is down."""
    try:
        rows = await clinical.worker_fetch(INPATIENTS, MONITORS_MAX)
    except StoreError:
        return known
    return {
        encounter: known.get(encounter) or Monitor(encounter, facility, patient, random.Random(encounter.int))  # noqa: S311 - a simulation
        for encounter, facility, patient in rows
    }


async def run(configured: settings.Settings, every_s: float) -> None:
    """Feeds the ingest until it is cancelled."""
    clinical = Postgres("clinical", configured.clinical_url, configured.secret, configured.store_timeout_s)
    lines = readings(clinical, every_s)

    async def read(_most: int) -> bytes:
        return await anext(lines)

    async def answer(_line: bytes) -> None:
        return

    try:
        async with ingesting(configured) as ingest:
            await ingest.take(read, answer)
    finally:
        await lines.aclose()
        await clinical.close()


def main(argv: list[str]) -> int:
    """Entry point: until a signal."""
    parser = argparse.ArgumentParser(prog="python -m workers monitors", description="Bedside monitors of the demo.")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="time between readings (1)")
    asyncio.run(until_signal(run(settings.load(), parser.parse_args(argv).every)))
    return 0
