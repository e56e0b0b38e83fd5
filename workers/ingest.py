"""`python -m workers ingest [--listen 127.0.0.1:PORT]`: records readings of devices, from stdin or gateways' sockets.

NDJSON; a line is {"facility": code or id, "device": "…", "sequence": 17, "patient": id or "mrn": "…", "code": LOINC,
"value": 61.5, "unit": "…", "ucum": "…", "panel": LOINC, "time": "2026-03-04T12:00:00.250Z"}. unit, ucum and panel may
be left out; a value may be a string, whose digits are kept. Each part of a stream is acknowledged, in order:
{"line": lines of this stream that are settled, "recorded": 64, "duplicates": 0, "sequence": highest of the part,
"rejected": [[line, code]]}. What is settled is durable; a gateway sends again what is not, and each reading is recorded
once. While the store is behind or down no more is read. No line is ever quoted.

A socket asks for no password: it is bound to the loopback address, for a gateway or a TLS proxy of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

import orjson

from db import settings
from db.errors import ConstraintViolated, SettingsError, StoreError
from db.postgres import Postgres
from loaders.writes.vital_sign import FUTURE_MAX, Reading, Recorded, record
from workers.reading_line import Registrations, Rejection, parsed, reading

HOST = "127.0.0.1"
LANES = 2
"""Batches that are recorded at once; the streams of devices are shared out among them."""
BATCH, BATCH_S = 2000, 0.05
"""Readings of a batch, and seconds for which it waits for more of them."""
PART_BYTES, LINE_BYTES = 65_536, 4_096
"""Bytes that are read of a stream at once, and that a line may have."""
PARTS_MAX = 32
"""Parts that wait for one lane: what of the streams is in memory."""
STREAMS_MAX = 256
"""Sockets at once."""
STORE_TIMEOUT_S, RETRY_S = 60.0, 1.0
"""Seconds that a batch may take, and between attempts where the store is down."""

Read: TypeAlias = Callable[[int], Awaitable[bytes]]
"""Reads up to so many bytes of a stream; none at its end."""
Answer: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Sends an acknowledgement."""


@dataclass(slots=True)
class Part:
    """Lines of a stream that were read at once: their readings, and what has become of them."""

    line: int
    """Number of the last line, counted from 1."""
    readings: list[Reading]
    lines: list[int]
    """Number of each reading's line."""
    rejected: list[tuple[int, Rejection]]
    duplicates: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    def acknowledgement(self) -> bytes:
        """Line for the gateway."""
        refused = {line for line, _ in self.rejected}
        taken = [one.sequence or 0 for one, line in zip(self.readings, self.lines, strict=True) if line not in refused]
        content = {
            "line": self.line,
            "recorded": len(taken) - self.duplicates,
            "duplicates": self.duplicates,
            "sequence": max(taken, default=None),
            "rejected": [(line, why.value) for line, why in sorted(self.rejected, key=lambda one: one[0])],
        }
        return orjson.dumps(content) + b"\n"


class Ingest:
    """Recording of readings from any number of streams, over all facilities, as the worker role."""

    def __init__(self, clinical: Postgres, vitals: Postgres) -> None:
        self._registrations = Registrations(clinical)
        self._vitals = vitals
        self._lanes: list[asyncio.Queue[Part]] = [asyncio.Queue(PARTS_MAX) for _ in range(LANES)]
        self._streams = 0
        self.counts: Counter[str] = Counter()
        """Readings and rejections so far, by what became of them."""

    async def run(self) -> None:
        """Records what the streams bring, until it is cancelled."""
        async with asyncio.TaskGroup() as lanes:
            for lane in self._lanes:
                lanes.create_task(self._record(lane))

    @property
    def summary(self) -> str:
        """What came so far, by what became of it."""
        return ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items())) or "nothing came"

    async def take(self, read: Read, answer: Answer) -> None:
        """Takes a stream to its end. Raises OSError, in a group, where it breaks off."""
        lane = self._lanes[self._streams % LANES]
        self._streams += 1
        waiting: asyncio.Queue[Part | None] = asyncio.Queue(PARTS_MAX)
        async with asyncio.TaskGroup() as both:
            both.create_task(_acknowledge(waiting, answer))
            line, rest = 0, b""
            while chunk := await read(PART_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > LINE_BYTES:  # its end need not be kept: it is too long already
                    rest = rest[: LINE_BYTES + 1]
                if lines:
                    line = await self._put(lane, waiting, lines, line)
            if rest:
                await self._put(lane, waiting, [rest], line)
            await waiting.put(None)

    async def _put(
        self, lane: asyncio.Queue[Part], waiting: asyncio.Queue[Part | None], lines: Sequence[bytes], before: int
    ) -> int:
        """Hands lines to a lane, when that has room; number of the last one."""
        part = await self._part(lines, before)
        await lane.put(part)
        await waiting.put(part)
        return part.line

    async def _part(self, lines: Sequence[bytes], before: int) -> Part:
        """Checked lines; `before` have come before them. Waits while the clinical store is down."""
        part = Part(before + len(lines), [], [], [])
        found = [
            (n, parsed(line) if len(line) <= LINE_BYTES else Rejection.TOO_LONG)
            for n, line in enumerate(lines, before + 1)
        ]
        asked = {one[0] for _, one in found if not isinstance(one, Rejection)}
        while True:
            try:
                known = await self._registrations.of(asked)
                break
            except StoreError as error:
                await _pause(error)
        latest = datetime.now(UTC) + FUTURE_MAX
        for number, one in found:
            given = one if isinstance(one, Rejection) else reading(one[1], *known[one[0]], latest)
            if isinstance(given, Rejection):
                part.rejected.append((number, given))
            else:
                part.readings.append(given)
                part.lines.append(number)
        return part

    async def _record(self, lane: asyncio.Queue[Part]) -> None:
        while True:
            parts = await _joined(lane)
            places = [(part, place) for part in parts for place in range(len(part.readings))]
            await self._settle([part.readings[place] for part, place in places], places)
            for part in parts:
                self.counts.update(why.value for _, why in part.rejected)
                part.settled.set()

    async def _settle(self, readings: Sequence[Reading], places: Sequence[tuple[Part, int]]) -> None:
        """Records readings; where the store refuses one of them, halves them until that is alone."""
        if not readings:
            return
        try:
            came = await self._recorded(readings)
        except ConstraintViolated:
            if len(readings) == 1:
                _reject(*places[0], Rejection.REFUSED)
                return
            middle = len(readings) // 2
            await self._settle(readings[:middle], places[:middle])
            await self._settle(readings[middle:], places[middle:])
            return
        self.counts["recorded"] += len(came.ids)
        self.counts["duplicates"] += len(came.duplicates)
        for place in came.duplicates:
            places[place][0].duplicates += 1
        for place in came.conflicts:
            _reject(*places[place], Rejection.CONFLICT)

    async def _recorded(self, readings: Sequence[Reading]) -> Recorded:
        """What became of the readings, however long the store is down. Raises ConstraintViolated."""
        while True:
            try:
                return await record(self._vitals.worker_fetch, readings)
            except ConstraintViolated:
                raise
            except StoreError as error:
                await _pause(error)


def _reject(part: Part, place: int, why: Rejection) -> None:
    part.rejected.append((part.lines[place], why))


async def _joined(lane: asyncio.Queue[Part]) -> Sequence[Part]:
    """Parts that wait, up to a batch; where there is less, those that come within BATCH_S."""
    parts = [await lane.get()]
    size = len(parts[0].readings)
    try:
        async with asyncio.timeout(BATCH_S):
            while size < BATCH:
                parts.append(await lane.get())
                size += len(parts[-1].readings)
    except TimeoutError:
        pass
    return parts


async def _acknowledge(waiting: asyncio.Queue[Part | None], answer: Answer) -> None:
    """Says of each part, in order, when it is settled."""
    while part := await waiting.get():
        await part.settled.wait()
        await answer(part.acknowledgement())


async def _pause(error: StoreError) -> None:
    print(f"caregraph ingest: {error.message} Trying again.", file=sys.stderr, flush=True)
    await asyncio.sleep(RETRY_S)


async def _listen(ingest: Ingest, port: int) -> None:
    """Serves sockets until SIGTERM or SIGINT; what is not acknowledged then, gateways send again."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    open_ = asyncio.Semaphore(STREAMS_MAX)

    async def serve(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def answer(line: bytes) -> None:
            writer.write(line)
            await writer.drain()

        try:
            async with open_:
                await ingest.take(stream.read, answer)
        except* OSError:
            pass  # the gateway comes again
        finally:
            writer.close()

    server = await asyncio.start_server(serve, HOST, port)
    print(f"caregraph ingest: listening on {HOST}:{server.sockets[0].getsockname()[1]}", file=sys.stderr, flush=True)
    await stop.wait()
    server.close()


async def _stdin(ingest: Ingest) -> None:
    async def read(most: int) -> bytes:
        return await asyncio.to_thread(os.read, sys.stdin.fileno(), most)

    async def answer(line: bytes) -> None:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    await ingest.take(read, answer)


@asynccontextmanager
async def ingesting(configured: settings.Settings) -> AsyncGenerator[Ingest]:
    """What records streams for the length of a block."""
    clinical, vitals = (
        Postgres(name, url, configured.secret, STORE_TIMEOUT_S, LANES, configured.pooler)
        for name, url in (("clinical", configured.clinical_url), ("vitals", configured.vitals_url))
    )
    ingest = Ingest(clinical, vitals)
    try:
        async with asyncio.TaskGroup() as both:
            lanes = both.create_task(ingest.run())
            yield ingest
            lanes.cancel()
    finally:
        await asyncio.gather(clinical.close(), vitals.close())


async def run(configured: settings.Settings, port: int | None) -> None:
    """Takes stdin to its end, or sockets until a signal."""
    async with ingesting(configured) as ingest:
        await (_stdin(ingest) if port is None else _listen(ingest, port))
    print(f"caregraph ingest: {ingest.summary}", file=sys.stderr, flush=True)


def _port(listen: str) -> int:
    host, _, port = listen.rpartition(":")
    if host != HOST or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"--listen must be {HOST}:PORT; 0 takes a free port.")
    return int(port)


def main(argv: list[str]) -> int:
    """Entry point. Raises SettingsError for another address than the loopback's."""
    parser = argparse.ArgumentParser(prog="python -m workers ingest", description="Records readings of devices.")
    parser.add_argument("--listen", metavar=f"{HOST}:PORT", help="take sockets there instead of stdin")
    listen: str | None = parser.parse_args(argv).listen
    asyncio.run(run(settings.load(), None if listen is None else _port(listen)))
    return 0
