"""`python -m tests.bench.engines`: Caregraph beside other GraphQL servers and beside what no server can pass.

One run: the embedded stores, the demo network and 200 more inpatients; every server a process of its own on one core,
PostgreSQL, the other stores and the load on the others. First all answers are compared, page by page: no difference is
let through. Then rounds, in each of which every server is asked every question, at 16 connections and at one.
docs/benchmarks.md says what each server does and has this program's tables.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from db.caller import Caller
from db.context import derive, role_password
from db.errors import AppError
from db.postgres import login_url
from db.settings import Settings, load
from graph.auth import Authenticator
from resolvers.connection import Scope
from tests.bench.engines import data, report
from tests.bench.engines.load import Measured, ask, measure
from tests.bench.engines.questions import (
    NAMES,
    Canonical,
    Question,
    entities,
    for_caregraph,
    for_postgraphile,
    for_rivals,
    leaves,
)
from tests.bench.engines.servers import SERVERS, Running, install, on_cores, pin, rivals_environ, serving, tree
from workers.demo import load as load_demo
from workers.embedded.stores import Stores, stores
from workers.migrate import migrate_all
from workers.token import token

POPULATION, MINUTES = 20, 30
"""Of the demo network: people in the catchment of each hospital, and how long its monitors have run."""
MANY = 16
"""Connections of the load that rates are told of; times are told of one connection too."""
MONITORED = """
SELECT DISTINCT patient_id::text FROM imaging.imaging_study WHERE facility_id = $1 ORDER BY 1"""
VITALS = "SELECT DISTINCT patient_id::text FROM vitals.vital_sign WHERE facility_id = $1"
Questions = Mapping[str, Mapping[str, Question]]
"""By dialect and name."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a row of the tables is about: a server, and whether it is asked for one page over and over."""

    name: str
    label: str
    running: Running
    fixed: bool = False


def main() -> int:
    """Entry point; the status is 1 where servers differ or fail."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.engines", description=__doc__)
    known = [server.name for server in SERVERS]
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6, help="of each server, question and round at 16 connections")
    parser.add_argument("--queries", default=",".join(NAMES), help="some of them, separated by commas")
    parser.add_argument("--servers", default=",".join(known), help="some of them, separated by commas")
    parser.add_argument("--data", type=Path, help="keeps the stores here for another run")
    asked = parser.parse_args()
    queries, servers = asked.queries.split(","), asked.servers.split(",")
    if unknown := (set(queries) - set(NAMES)) | (set(servers) - set(known)):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join((*NAMES, *known))}")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        parser.error("two cores are needed: one for the server, one for PostgreSQL and the load")
    try:
        with ExitStack() as stack:
            if any(server.module.endswith(".mjs") for server in SERVERS if server.name in servers):
                install()
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="caregraph-")))
            running = stack.enter_context(stores(asked.data or folder / "data", {}))
            bench = asyncio.run(prepared(running, servers, cores, stack, folder))
            lines = list(bench.run(queries, asked.rounds, asked.seconds))
    except AppError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


async def prepared(
    running: Stores, servers: Sequence[str], cores: Sequence[int], stack: ExitStack, folder: Path
) -> Bench:
    """Loads the data, starts the servers and parts the cores among them."""
    say("Loading the demo network and more patients …")
    environ = running.env | {
        "CAREGRAPH_DATA": str(running.directory.path),
        "CAREGRAPH_REQUESTS_PER_MINUTE": "1000000",  # one caller asks everything
        "CAREGRAPH_STORE_TIMEOUT_S": "60",  # a machine that is slow must not turn the load away
    }
    settings = load(environ)
    await migrate_all(settings)
    await load_demo(settings, population=POPULATION, minutes=MINUTES, progress=lambda line: None)
    bearer = await token(settings, "physician", None)
    authenticator = Authenticator(settings)
    caller = await authenticator.caller({"authorization": f"Bearer {bearer}"})
    await authenticator.close()
    pages = await data.prepare(settings, caller.facility_id)
    key = derive(settings.secret, "cursor")
    questions = {
        "caregraph": for_caregraph(
            pages, await monitored(settings, caller), lambda field: Scope(key, field, caller.facility_id)
        ),
        "rival": for_rivals(pages),
        "postgraphile": for_postgraphile(pages),
    }
    for name in running.names:
        pin(tree(running.pid(name)), cores[1:])
    role = f"caregraph_{caller.profile.value}"
    rivals = rivals_environ(
        login_url(settings.clinical_url, role, role_password(settings.secret, role)),
        data.shared_context(settings, caller, int(time.time())),
    )
    started = stack.enter_context(serving(servers, environ, rivals, cores[0], folder))
    stack.enter_context(on_cores(cores[1:]))
    return Bench(started, questions, f"Bearer {bearer}", running.pid("clinical"), folder)


async def monitored(settings: Settings, caller: Caller) -> list[str]:
    """Patients of the facility who are known to the imaging and the vitals database."""
    found: list[set[str]] = []
    for url, sql in ((settings.imaging_url, MONITORED), (settings.vitals_url, VITALS)):
        connection = await asyncpg.connect(url)
        found.append({row[0] for row in await connection.fetch(sql, caller.facility_id)})
        await connection.close()
    return sorted(found[0] & found[1]) or sorted(found[0])


@dataclass(frozen=True, slots=True)
class Bench:
    """Servers that run, and what they are asked."""

    running: Sequence[Running]
    questions: Questions
    authorization: str
    postgres: int
    folder: Path

    @property
    def subjects(self) -> list[Subject]:
        """Rows of the tables; PostGraphile twice."""
        rows: list[Subject] = []
        for one in self.running:
            if one.server.name == "postgraphile":
                label = f"{one.server.label}, every request the same page"
                rows.append(Subject(report.FIXED, label, one, fixed=True))
            rows.append(Subject(one.server.name, one.server.label, one))
        return rows

    def run(self, queries: Sequence[str], rounds: int, seconds: float) -> Iterator[str]:
        """The lines of the report, after all rounds."""
        sizes = {query: self.compare(query) for query in queries}
        found: defaultdict[tuple[str, str, int], list[Measured]] = defaultdict(list)
        for number in range(rounds + 1):
            for query in queries:
                for subject in self.subjects[:: 1 if number % 2 else -1]:
                    self.round(found, number, subject, query, seconds)
        for query in queries:
            self.compare(query)
        return self.lines(found, sizes, rounds, seconds)

    def round(
        self,
        found: MutableMapping[tuple[str, str, int], list[Measured]],
        number: int,
        subject: Subject,
        query: str,
        seconds: float,
    ) -> None:
        """One subject and question, at both numbers of connections. Round 0 warms up: every connection of every pool
        has then run every statement more often than PostgreSQL makes a new plan for it.
        """
        for connections, share in ((MANY, 1.0),) if number == 0 else ((MANY, 1.0), (1, 0.5)):
            one = self.measure(subject, query, connections, max(1, seconds * share))
            if one is None:
                continue
            say(f"round {number}  {query:14} {subject.name:20} {connections:2} {one}")
            if number:
                found[subject.name, query, connections].append(one)

    def measure(self, subject: Subject, query: str, connections: int, seconds: float) -> Measured | None:
        """One subject and question; None where it does not take that question."""
        question = self.questions[subject.running.server.dialect].get(query)
        if question is None:
            return None
        bodies = question.bodies(fixed=subject.fixed)
        return measure(subject.running, bodies, connections, seconds, self.authorization, self.postgres, self.folder)

    def compare(self, query: str) -> tuple[int, float]:
        """Pages of a question and the leaves of one, the same from every server. Raises AppError where they differ."""
        expected: list[list[Canonical]] = []
        size, teller = 0, ""
        for one in self.running:
            question = self.questions[one.server.dialect].get(query)
            if question is None:
                continue
            answers = [ask(one.url, body, self.authorization) for body in question.bodies(fixed=False)]
            seen = [entities(answer) for answer in answers]
            if not expected:
                expected, size, teller = seen, sum(map(leaves, answers)), one.server.label
            for page, (ours, theirs) in enumerate(zip(expected, seen, strict=True)):
                if ours != theirs:
                    raise AppError(
                        f"{query}, page {page}: {one.server.label} differs from {teller}: {first(ours, theirs)}"
                    )
        return len(expected), size / max(1, len(expected))

    def lines(
        self, found: report.Found, sizes: Mapping[str, tuple[int, float]], rounds: int, seconds: float
    ) -> Iterator[str]:
        """The report."""
        labels = {subject.name: subject.label for subject in self.subjects}
        queries = list(sizes)
        yield from report.environment()
        each = f"{seconds:.0f} s at {MANY} connections and {seconds / 2:.0f} s at one"
        yield f"- {rounds} interleaved rounds of {each}; medians of the rounds"
        yield from (
            "",
            "Equal answers of all servers, before and after the rounds:",
            "",
            "| question | pages | leaves |",
        )
        yield "|---|---:|---:|"
        yield from (f"| {query} | {pages} | {size:,.0f} |" for query, (pages, size) in sizes.items())
        for title, table in (
            (f"Requests a second, {MANY} connections", report.rates(found, labels, queries, MANY)),
            ("Ratios", report.ratios(found, labels, queries, MANY)),
            (f"Milliseconds at {MANY} connections, p50 / p99", report.times(found, labels, queries, MANY)),
            ("Milliseconds at one connection, p50 / p99", report.times(found, labels, queries, 1)),
            ("p99 / p50 at one connection", report.spreads(found, labels, queries)),
            ("The five-store chart and its parts at one connection, p50 in ms", report.five(found, labels, 1)),
            (f"The same at {MANY} connections", report.five(found, labels, MANY)),
            ("CPU-milliseconds of one request, server + PostgreSQL", report.cpu(found, labels, queries, MANY)),
        ):
            yield from ("", f"### {title}", "", *table)


def first(ours: Sequence[Canonical], theirs: Sequence[Canonical]) -> str:
    """Where two answers part. The data is made up: values may be shown."""
    if len(ours) != len(theirs):
        return f"{len(ours)} and {len(theirs)} objects"
    [(one, other), *_] = [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
    missing, added = set(one[0]) - set(other[0]), set(other[0]) - set(one[0])
    lengths = [[*map(len, found[1])] for found in (one, other)]
    return f"leaves {sorted(missing)[:5]} and {sorted(added)[:5]}; lists of {lengths[0]} and {lengths[1]}"


def say(line: str) -> None:
    """Tells how far it is."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
