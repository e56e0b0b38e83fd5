"""`python -m tests.bench.memory [--requests N] [--data DIR]`: memory of a process of the API under a long load.

Stores, data and server are those of tests.bench.engines. One process is asked a mix of its questions over 16
connections; printed is its resident memory on the way, with the CPU that the requests took: it is to stay under 250 MB,
and flat.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import aiohttp

from db.errors import AppError
from tests.bench.engines.__main__ import MANY, Bench, prepared
from tests.bench.engines.questions import Question
from tests.bench.engines.servers import cpu_ms
from workers.embedded.stores import stores

STEPS = (0, 0.1, 0.25, 0.5, 0.75, 1)
"""Parts of the load after which a line is printed."""
MIX = {"chart": 6, "trend": 6, "search": 3, "ward": 2, "five": 2, "table": 1}
"""How often each question is asked: as docs/scale.md has it of a clinician."""


def resident_mb(pid: int) -> float:
    """Resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def bodies(questions: Mapping[str, Question]) -> Iterator[bytes]:
    """Requests without end, the same ones in every run."""
    pages = {name: questions[name].bodies(fixed=False) for name in MIX}
    chosen = random.Random(4)
    while True:
        [name] = chosen.choices(list(MIX), list(MIX.values()))
        yield chosen.choice(pages[name])


async def run(bench: Bench, requests: int) -> None:
    """Asks, and prints a line at each step. Raises AppError for an answer that failed."""
    [running] = bench.running
    waiting = bodies(bench.questions["caregraph"])
    headers = {"Authorization": bench.authorization, "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=MANY)
    async with aiohttp.ClientSession(connector=connector, headers=headers, auto_decompress=False) as http:

        async def asking(count: int) -> None:
            for _ in range(count):
                async with http.post(running.url, data=next(waiting)) as answer:
                    if (await answer.read(), answer.status)[1] != 200:
                        raise AppError(f"An answer had the status {answer.status}.")

        done, began, used = 0, time.monotonic(), cpu_ms([running.pid])
        print("| requests | RSS MB | CPU ms a request | requests a second |\n|---:|---:|---:|---:|", flush=True)
        for step in (round(requests * part) for part in STEPS):
            share, rest = divmod(step - done, MANY)
            await asyncio.gather(*(asking(share + (number < rest)) for number in range(MANY)))
            lasted, cpu, asked = time.monotonic() - began, cpu_ms([running.pid]) - used, max(1, step - done)
            rate = (step - done) / lasted
            print(f"| {step:,} | {resident_mb(running.pid):.1f} | {cpu / asked:.2f} | {rate:.0f} |", flush=True)
            done, began, used = step, time.monotonic(), cpu_ms([running.pid])


def main() -> int:
    """Entry point; the status is 1 where an answer failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--data", type=Path, help="stores of an earlier run of this or tests.bench.engines")
    asked = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="caregraph-")))
            started = stack.enter_context(stores(asked.data or folder / "data", {}))
            bench = asyncio.run(prepared(started, ["caregraph"], cores, stack, folder))
            asyncio.run(run(bench, asked.requests))
    except AppError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
