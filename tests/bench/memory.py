"""`python -m tests.bench.memory URL PID [--requests N] [--persona P] [--facility CODE]`: memory of a server process.

Asks one process of the API (of a demo) for charts over 16 connections and prints its resident memory after 1,000,
10,000 and 100,000 requests, with the CPU that they took: it is to stay under 250 MB, and flat.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from pathlib import Path
from typing import Any

import aiohttp

CONNECTIONS = 16
STEPS = (0, 100, 1_000, 10_000, 20_000, 50_000, 100_000)
FIND = "{ imagingStudies(first: 1) { nodes { patient { id } } } }"
CHART = """query Chart($patient: ID!) { patient(id: $patient) {
  id mrn name { use family given } birthDate gender identifier { kind value }
  encounters(first: 3) { nodes { class status type { text } periodStart periodEnd provider { name } } }
  conditions(first: 5, status: ["active"]) { nodes { code { text coding { system code } } onsetDateTime } }
  allergyIntolerances(first: 5) { nodes { code { text } criticality noKnownAllergy } }
  medicationRequests(first: 5, status: ["active"]) { nodes { medication { code { text } } authoredOn } }
  latestLabResults { test { code { coding { code display } } } valueQuantity { value unit } effectiveDateTime } } }"""


def resident_mb(pid: int) -> float:
    """Resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used (proc(5), stat fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def run(url: str, pid: int, requests: int, persona: str, facility: str | None) -> None:
    """Asks, and prints a line at each step."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as http:
        async with http.get(f"{url}/demo/personas") as answer:
            code = facility or (await answer.json())["facilities"][0]["code"]
        async with http.post(f"{url}/demo/token", json={"persona": persona, "facility": code}) as answer:
            headers = {"Authorization": f"Bearer {(await answer.json())['token']}"}

        async def ask(query: str, **variables: Any) -> Any:
            body = {"query": query, "variables": variables}
            async with http.post(f"{url}/graphql", json=body, headers=headers) as answer:
                text = await answer.read()
                assert answer.status == 200, text
                return await answer.json()

        found = await ask(FIND)
        patient = found["data"]["imagingStudies"]["nodes"][0]["patient"]["id"]
        done, began, used = 0, time.monotonic(), cpu_s(pid)
        print(f"{'requests':>9} {'RSS MB':>8} {'CPU ms/request':>15} {'requests/s':>11}")
        for step in (*(step for step in STEPS if step < requests), requests):
            share, rest = divmod(step - done, CONNECTIONS)

            async def asking(count: int) -> None:
                for _ in range(count):
                    await ask(CHART, patient=patient)

            await asyncio.gather(*(asking(share + (number < rest)) for number in range(CONNECTIONS)))
            lasted, cpu, asked = time.monotonic() - began, cpu_s(pid) - used, max(1, step - done)
            print(f"{step:>9} {resident_mb(pid):>8.1f} {cpu / asked * 1000:>15.2f} {asked / lasted:>11.0f}", flush=True)
            done, began, used = step, time.monotonic(), cpu_s(pid)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory")
    parser.add_argument("url", help="such as http://127.0.0.1:8000; CAREGRAPH_REQUESTS_PER_MINUTE raised")
    parser.add_argument("pid", type=int, help="of the one process that serves it (CAREGRAPH_PROCESSES=1)")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--persona", default="physician")
    parser.add_argument("--facility")
    asked = parser.parse_args()
    asyncio.run(run(asked.url, asked.pid, asked.requests, asked.persona, asked.facility))


if __name__ == "__main__":
    main()
