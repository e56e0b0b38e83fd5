"""Percentiles of the API's answers at 16 connections, beside a quarter of what the platform promises in the field."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg

from tests.bench.scale.sample import LARGEST
from tests.bench.scale.searches import COMMON, PEOPLE, percentile, slipped
from tests.bench.scale.serving import Kept, api

CONNECTIONS = 16
SECONDS = 15
WARM_S = 20
"""Long enough for everybody who is asked about to have been asked about once: servers have run for days."""
KEEP_ALIVE_S = 3
"""Shorter than the server keeps a connection, so that none is used just as it is closed."""
CALLERS = 4
"""Facilities whose physicians ask: the largest ones."""
SHARE = 0.25
"""Of the promised milliseconds."""

LARGER = (
    "SELECT facility_id FROM clinical.registration GROUP BY facility_id ORDER BY count(*) DESC, facility_id LIMIT $1"
)
ENCOUNTERS = """SELECT id, patient_id FROM clinical.encounter
WHERE facility_id = $1 AND patient_id NOT IN (SELECT patient_id FROM clinical.consent_rule WHERE type = 'deny')
ORDER BY hashtext(id::text), id LIMIT 400"""
NOTED = """SELECT DISTINCT patient_id FROM clinical.encounter
WHERE facility_id = $1 AND end_time IS NULL
    AND patient_id NOT IN (SELECT patient_id FROM clinical.consent_rule WHERE type = 'deny')
ORDER BY 1 LIMIT 400"""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked, and what the platform promises for it, in milliseconds."""

    promised: int
    query: str


GOALS: Mapping[str, Goal] = {
    "search": Goal(
        180,
        """query ($text: String!) { patients(search: $text, first: 20) { edges { score node {
            id mrn name { family given } birthDate gender } } } }""",
    ),
    "encounter": Goal(
        420,
        """query ($encounter: ID!) { encounter(id: $encounter) { id status periodStart periodEnd
            patient { id mrn name { family given } } provider { name } department { name }
            conditions(first: 20) { nodes { code { text coding { code } } clinicalStatus } }
            procedures(first: 20) { nodes { code { text coding { code } } status } }
            labResults(first: 50) { nodes { valueQuantity { value unit } effectiveDateTime } } } }""",
    ),
    "labs": Goal(
        380,
        """query ($patient: ID!) { patient(id: $patient) { labResults(first: 100) { nodes { id status effectiveDateTime
            test { code { coding { code display } } } valueQuantity { value unit } interpretation { coding { code } } }
            pageInfo { hasNextPage endCursor } } } }""",
    ),
    "medication list": Goal(
        250,
        """query ($patient: ID!) { patient(id: $patient) { medicationRequests(first: 50,
            status: ["active"]) { nodes { id
            status authoredOn medication { code { coding { code display } } } provider { name } } } } }""",
    ),
    "notes": Goal(
        650,
        """query ($noted: ID!) { patient(id: $noted) { clinicalNotes(first: 20) { nodes { id title date text } } } }""",
    ),
    "vitals trend": Goal(
        520,
        """query ($noted: ID!) { patient(id: $noted) { vitalTrend(code: ["8867-4", "59408-5"],
            from: "2026-10-25T00:00:00Z", to: "2026-11-01T08:00:00Z") { code unit bucketSeconds
            points { start min max avg count } } } }""",
    ),
    "study search": Goal(
        850,
        """{ imagingStudies(first: 50, modality: ["CT", "MR"], from: "2026-01-01") { nodes { id started modality
            description patient { id name { family given } } series(first: 5) { id modality } } } }""",
    ),
    "dashboard": Goal(
        200,
        """{ facility { name departments(physicalType: ["wa"]) { name inpatients(first: 20) { nodes { periodStart
            provider { name } patient { mrn name { family given } birthDate
            latestLabResults(code: ["30000-0", "30001-1", "30002-2"]) { valueQuantity { value unit } } } } } } } }""",
    ),
}


async def variables(url: str, facility_id: UUID) -> Iterator[dict[str, Any]]:
    """Endless variables of requests at a facility: one person, visit and name after another."""
    connection = await asyncpg.connect(url)
    try:
        visits = await connection.fetch(ENCOUNTERS, facility_id)
        noted = await connection.fetch(NOTED, facility_id)
        people = await connection.fetch(PEOPLE, facility_id, 400)
        common = [row[0] for row in await connection.fetch(COMMON)]
    finally:
        await connection.close()
    texts = [
        (one["family"], f"{one['given']} {one['family']}", slipped(one["family"]), common[n % 20], one["mrn"])[n % 5]
        for n, one in enumerate(people)
    ]
    made = [
        {
            "text": texts[n % len(texts)],
            "encounter": f"Encounter/{visit['id']}",
            "patient": f"Patient/{visit['patient_id']}",
            "noted": f"Patient/{noted[n % len(noted)][0]}",
        }
        for n, visit in enumerate(visits)
    ]
    return itertools.cycle(made)


@asynccontextmanager
async def clients(
    url: str, store: Kept
) -> AsyncGenerator[list[tuple[aiohttp.ClientSession, Iterator[dict[str, Any]]]]]:
    """One session of each facility's physician, and what each asks about."""
    connection = await asyncpg.connect(store.settings.clinical_url)
    facilities = [row[0] for row in await connection.fetch(LARGER, CALLERS)]
    codes = dict(await connection.fetch("SELECT id, code FROM clinical.facility"))
    await connection.close()
    assert facilities[0] == (await _largest(store))
    opened: list[tuple[aiohttp.ClientSession, Iterator[dict[str, Any]]]] = []
    try:
        for facility_id in facilities:
            async with (
                aiohttp.ClientSession() as asking,
                asking.post(
                    f"{url}/demo/token", json={"persona": "physician", "facility": codes[facility_id]}
                ) as answer,
            ):
                token = (await answer.json())["token"]
            session = aiohttp.ClientSession(
                headers={"authorization": f"Bearer {token}"},
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S),
            )
            opened.append((session, await variables(store.settings.clinical_url, facility_id)))
        yield opened
    finally:
        for session, _ in opened:
            await session.close()


async def _largest(store: Kept) -> UUID:
    connection = await asyncpg.connect(store.settings.clinical_url)
    try:
        return await connection.fetchval(LARGEST)
    finally:
        await connection.close()


async def ask(url: str, query: str, session: aiohttp.ClientSession, values: Mapping[str, Any]) -> tuple[float, str]:
    """Milliseconds of one request, and the code of its first error, empty where it has none."""
    named = {name: value for name, value in values.items() if f"${name}" in query}
    started = time.perf_counter()
    async with session.post(f"{url}/graphql", json={"query": query, "variables": named}) as response:
        answer = await response.json(content_type=None)
    spent = (time.perf_counter() - started) * 1000
    errors = answer.get("errors") or [{"extensions": {"code": ""}}]
    return spent, errors[0]["extensions"]["code"]


async def measured(
    url: str, query: str, opened: Sequence[tuple[Any, Iterator[dict[str, Any]]]], seconds: float
) -> list[tuple[float, str]]:
    """What every request brought that CONNECTIONS clients made in a while, each after the other's answer."""
    until = time.monotonic() + seconds
    answers: list[tuple[float, str]] = []

    async def client(number: int) -> None:
        session, values = opened[number % len(opened)]
        while time.monotonic() < until:
            answers.append(await ask(url, query, session, next(values)))

    await asyncio.gather(*(client(number) for number in range(CONNECTIONS)))
    return answers


def row(name: str, goal: Goal, answers: Sequence[tuple[float, str]]) -> str:
    """One line of the table; a query with errors keeps nothing."""
    spent = [milliseconds for milliseconds, _ in answers]
    failed = Counter(code for _, code in answers if code)
    p50, p99, bound = percentile(spent, 0.5), percentile(spent, 0.99), goal.promised * SHARE
    kept = ", ".join(f"{count} {code}" for code, count in failed.items()) or ("yes" if p99 < bound else "no")
    return f"| {name} | {len(spent) / SECONDS:.0f} | {p50:.1f} | {p99:.1f} | {bound:.1f} | {kept} |"


async def _measure(url: str, store: Kept) -> str:
    lines = ["| query | requests/s | p50 ms | p99 ms | a quarter of the promise, ms | kept |", "|---" * 6 + "|"]
    async with clients(url, store) as opened:
        for name, goal in GOALS.items():
            await measured(url, goal.query, opened, WARM_S)
            lines.append(row(name, goal, await measured(url, goal.query, opened, SECONDS)))
    return "\n".join(lines)


def measure_goals(store: Kept) -> str:
    """Markdown: every goal's query, one after the other, at CONNECTIONS connections."""
    with api(store) as url:
        return asyncio.run(_measure(url, store))
