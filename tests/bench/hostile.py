"""`python -m tests.bench.hostile`: CPU time of refusing each hostile document, slowest last; target: 50 ms."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time

from tests.hostile.document_cases import BOUNDS, HIDDEN, PARSED, VALIDATED, VARIABLES
from tests.hostile.test_hostile_documents import Asker

ROUNDS = 5
TARGET_MS = 50


async def main() -> None:
    """Prints a line for each case: its median of several rounds."""
    asker = Asker()
    await asker.answers()
    gc.collect()
    medians: dict[str, float] = {}
    for name, case in (BOUNDS | PARSED | VALIDATED | HIDDEN | VARIABLES).items():
        rounds: list[float] = []
        for _ in range(ROUNDS):
            started = time.process_time()
            await asker.ask(case)
            rounds.append((time.process_time() - started) * 1e3)
        medians[name] = statistics.median(rounds)
    for name, milliseconds in sorted(medians.items(), key=lambda entry: entry[1]):
        print(f"{milliseconds:7.1f} ms CPU  {name}")
    slow = sum(milliseconds > TARGET_MS for milliseconds in medians.values())
    print(f"{len(medians)} documents refused, {slow} of them in more than {TARGET_MS} ms")


if __name__ == "__main__":
    asyncio.run(main())
