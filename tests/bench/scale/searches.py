"""Percentiles of the patient search on kept data, by what a user types, at the network's largest facility."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import asyncpg

from db.caller import Caller
from db.settings import Settings
from db.stores import Stores
from loaders.page import LAST_ID
from loaders.patient import PATIENTS_BY_SEARCH
from loaders.reader import Reader
from tests.bench.scale.sample import Sample, sample

SEARCHES = 100
"""Of each kind."""
ROWS = 21
BEFORE = 2
"""A score above every score: where the first page starts."""

# People of the facility, drawn by a hash so that they are the same in every run; n is how common their surname is.
PEOPLE = """
SELECT n.family, n.given[1] AS given, r.mrn, p.birth_date
FROM (SELECT * FROM clinical.registration WHERE facility_id = $1 ORDER BY hashtext(mrn), mrn LIMIT $2) AS r
JOIN clinical.patient AS p ON p.id = r.patient_id
JOIN clinical.patient_name AS n ON n.patient_id = r.patient_id AND n.position = 0
ORDER BY hashtext(mrn), mrn"""
COMMON = """
SELECT n.family FROM clinical.patient_name AS n TABLESAMPLE SYSTEM (1) REPEATABLE (1)
GROUP BY n.family ORDER BY count(*) DESC, n.family LIMIT 20"""

Search: TypeAlias = tuple[list[str], str | None]
"""Terms and a birth date."""


def slipped(name: str) -> str:
    """A name with two letters in each other's place, or with one too many where it is short."""
    return name[:2] + name[3] + name[2] + name[4:] if len(name) > 4 else name + name[-1]


def kinds(common: Sequence[str], people: Sequence[Any]) -> dict[str, list[Search]]:
    """What is typed, by kind; names with spaces are typed in words."""
    typed: dict[str, Callable[[int, Any], Search]] = {
        "one of the 20 most common surnames": lambda n, _: ([common[n % len(common)]], None),
        "a surname": lambda _, one: ([one["family"]], None),
        "a given name": lambda _, one: ([one["given"]], None),
        "given name and surname": lambda _, one: ([one["given"], one["family"]], None),
        "common surname and a given name": lambda n, one: ([common[n % len(common)], one["given"]], None),
        "a misspelt surname": lambda _, one: ([slipped(one["family"])], None),
        "a given name and a misspelt surname": lambda _, one: ([one["given"], slipped(one["family"])], None),
        "two letters": lambda _, one: ([one["family"][:2]], None),
        "three letters": lambda _, one: ([one["family"][:3]], None),
        "three letters each of both names": lambda _, one: ([one["given"][:3], one["family"][:3]], None),
        "medical record number": lambda _, one: ([one["mrn"]], None),
        "three digits of it": lambda _, one: ([one["mrn"][:3]], None),
        "birth date": lambda _, one: ([], one["birth_date"]),
        "surname and birth date": lambda _, one: ([one["family"]], one["birth_date"]),
        "misspelt surname and birth date": lambda _, one: ([slipped(one["family"])], one["birth_date"]),
    }
    return {kind: [make(n, one) for n, one in enumerate(people)] for kind, make in typed.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below this share of them (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


async def timed(stores: Stores, caller: Caller, search: Search) -> tuple[float, int]:
    """Milliseconds of one search as a request sends it, with its transaction, and how many it found."""
    terms, birth = search
    reader = Reader(stores, caller)
    started = time.perf_counter()
    rows = await reader.clinical.fetch(PATIENTS_BY_SEARCH, terms, birth, BEFORE, LAST_ID, ROWS)
    spent = (time.perf_counter() - started) * 1000
    await reader.close()
    return spent, len(rows)


async def measure_search(settings: Settings) -> str:
    """Markdown: percentiles of each kind, for a physician of the largest facility."""
    known: Sample = await sample(settings)
    admin = await asyncpg.connect(settings.clinical_url)
    common = [row[0] for row in await admin.fetch(COMMON)]
    people = await admin.fetch(PEOPLE, known.facility_id, SEARCHES)
    counted = "SELECT count(*), count(*) FILTER (WHERE facility_id = $1) FROM clinical.registration"
    network, facility = await admin.fetchrow(counted, known.facility_id) or (0, 0)
    await admin.close()
    lines = [
        f"{network:,} registrations, {facility:,} of them at the facility that asks; {SEARCHES} searches of each kind, "
        "one after the other, over TCP with their transaction.",
        "",
        "| what is typed | found, mean | p50 ms | p99 ms | max ms |",
        "|---|---|---|---|---|",
    ]
    stores = Stores(settings)
    try:
        every: list[float] = []
        for kind, searches in kinds(common, people).items():
            for search in searches[:10]:
                await timed(stores, known.callers["physician"], search)
            found = [await timed(stores, known.callers["physician"], search) for search in searches]
            spent = [one[0] for one in found]
            every += spent
            lines.append(row(kind, sum(one[1] for one in found) / len(found), spent))
        lines.append(row("all of these", None, every))
    finally:
        await stores.close()
    return "\n".join(lines)


def row(kind: str, found: float | None, spent: Sequence[float]) -> str:
    """One line of the table."""
    mean = "" if found is None else f"{found:.1f}"
    return f"| {kind} | {mean} | {percentile(spent, 0.5):.1f} | {percentile(spent, 0.99):.1f} | {max(spent):.1f} |"
