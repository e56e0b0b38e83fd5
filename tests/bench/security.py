"""`python -m tests.bench.security`: what the guards cost, as a ratio of throughputs measured in one run.

The small demo network is asked for a chart and for wards by a physician, over the same embedded servers and from the
same process, in rounds by turns:

- on: token verified, quota, place, bounds, cost, access plan, masked views under row-level security with the signed
  context, reach, labels and consents, and the event of the audit durable before the answer counts;
- off: copies of the databases whose views show every column and choose rows by a plain `facility_id = …`, no context,
  no plan, no bounds, graphql-core alone; and the event of the audit all the same.

What is built into the fields (a relation that is hidden is not resolved) and the deadlines of stores are in both. Both
give data of the same shape, which is checked. Needs no server; takes a few minutes.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from inspect import isawaitable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import orjson
from graphql import parse
from graphql.execution.incremental import IncrementalExecutor

from db.audit import AuditLog, Event, EventKind
from db.caller import Caller, Patients, Profile, PurposeOfUse
from db.migrate import DECLARED_COLUMNS
from db.policy import Form, Phi, View
from db.postgres import Postgres
from db.settings import Settings, load
from db.stores import Stores
from db.views import Column, masked
from graph.admission import Quota
from graph.auth import Authenticator
from graph.encoding import encoded
from graph.execution import Engine
from graph.plan import plan
from graph.request import RequestInfo, Transport
from graph.schema import schema
from graph.trail import Trail
from loaders.reader import Reader
from resolvers.context import Context
from tests.callers import OpenReader
from tests.conftest import MINUTES, POPULATION
from workers.demo import load as load_demo
from workers.embedded.stores import stores
from workers.migrate import migrate_all
from workers.token import token

EXAMPLES = Path(__file__).parents[2] / "graph" / "graphiql" / "examples"
NOT_ASKED = re.compile(r"^ *cohort .*\n", re.MULTILINE)
"""The embedded warehouse takes so long that it would hide what the guards cost."""
QUERIES = {name: NOT_ASKED.sub("", (EXAMPLES / f"{name}.graphql").read_text("utf-8")) for name in ("chart", "ward")}
DATABASES = ("clinical", "imaging", "vitals")
ROUNDS = 40
REQUESTS = 8
"""Requests of one query in one round of one side."""
AT_ONCE = 4
TARGET = 0.85
SCHEMA: Any = schema._schema  # pyright: ignore[reportPrivateUsage] - as graph.app
EXECUTOR: Any = IncrementalExecutor

OPEN = View("unguarded", Profile.CLINICIAN, (PurposeOfUse.TREAT,), dict.fromkeys(Phi, Form.SHOW))
"""A policy that shows everything."""
STANDINGS = """
CREATE OR REPLACE FUNCTION access.standings(patients uuid[]) RETURNS TABLE (patient_id uuid, standing text)
LANGUAGE sql STABLE AS $$ SELECT p, 'OPEN' FROM unnest(patients) AS p $$"""

Ask = Callable[[str], Awaitable[bytes]]
"""From a query to the bytes of its answer."""


class Unguarded(Postgres):
    """A database whose sessions say nothing of who asks."""

    def context(self, caller: Caller, pid: int, patients: Patients | None = None) -> str:
        """The schema of the open views, and nothing else."""
        return f"SET LOCAL search_path = {OPEN.name}, public"


async def unguard(url: str, database: str, facility_id: UUID) -> str:
    """URL of a copy of a database with open views: owned by the superuser, whom row-level security does not bind."""
    connection = await asyncpg.connect(urlunsplit(urlsplit(url)._replace(path="/postgres")))
    await connection.execute(f"CREATE DATABASE unguarded_{database} TEMPLATE {database}")
    await connection.close()
    copy = urlunsplit(urlsplit(url)._replace(path=f"/unguarded_{database}"))
    connection = await asyncpg.connect(copy)
    tables: defaultdict[str, list[Column]] = defaultdict(list)
    for row in await connection.fetch(DECLARED_COLUMNS, database):
        tables[row[0]].append(Column(*row))
    await connection.execute(f"CREATE SCHEMA {OPEN.name}")
    for table, columns in tables.items():
        names = {column.name for column in columns}
        listed = ", ".join(f'{masked(OPEN, column)} AS "{column.name}"' for column in columns)
        key = "facility_id" if "facility_id" in names else "id" if table == "facility" else None
        where = f" WHERE {key} = '{facility_id}'" if key else ""
        await connection.execute(
            f'CREATE VIEW {OPEN.name}."{table}" AS SELECT {listed} FROM {database}."{table}"{where}'
        )
    await connection.execute(f"GRANT USAGE ON SCHEMA {OPEN.name} TO PUBLIC")
    await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {OPEN.name} TO PUBLIC")
    if database == "clinical":
        await connection.execute(STANDINGS)
    await connection.execute("ANALYZE")
    await connection.close()
    return copy


def guarded(settings: Settings, opened: Stores, audit: AuditLog, bearer: str) -> Ask:
    """Asks as the API does, without HTTP."""
    authenticator, quota = Authenticator(settings), Quota(1_000_000)

    @asynccontextmanager
    async def session(caller: Caller) -> AsyncGenerator[Context]:
        async with opened.place(caller):
            reader = Reader(opened, caller)
            try:
                yield Context(reader, b"cursors" * 5)
            finally:
                await reader.close()

    engine = Engine(SCHEMA, plan, session, Trail(audit, SCHEMA).witness)

    async def ask(query: str) -> bytes:
        caller = await authenticator.caller({"authorization": f"Bearer {bearer}"})
        quota.take(caller)
        operation = engine.prepare(query, None)
        assert not isinstance(operation, list)
        run = engine.run(operation, {}, caller, RequestInfo("bench", Transport.HTTP), incremental=False)
        [answer] = [encoded(payload) async for payload in run]
        return answer

    return ask


def unguarded(opened: Stores, audit: AuditLog, caller: Caller) -> Ask:
    """Asks graphql-core, and records an event of the audit."""
    documents = {query: parse(query) for query in QUERIES.values()}

    async def ask(query: str) -> bytes:
        reader = OpenReader(opened, caller)
        try:
            executor = EXECUTOR.build(SCHEMA, documents[query], context_value=Context(reader, b"cursors" * 5))
            executing = executor.execute_operation()
            result = await executing if isawaitable(executing) else executing
            assert not result.errors, result.errors
            patients = dict(reader.seen.news()).get(caller.facility_id, frozenset())
            await audit.append(Event(EventKind.QUERY, "OK", "bench", caller, patients=patients))
            return encoded({"data": result.data})
        finally:
            await reader.close()

    return ask


async def throughput(ask: Ask, query: str) -> float:
    """Answers per second, so many asked at once."""
    left = iter(range(REQUESTS))

    async def client() -> None:
        for _ in left:
            await ask(query)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return REQUESTS / (time.perf_counter() - started)


async def measure(settings: Settings) -> dict[str, list[float]]:
    """Ratio of each round, on by off, by query."""
    bearer = await token(settings, "physician", None)
    authenticator = Authenticator(settings)
    caller = await authenticator.caller({"authorization": f"Bearer {bearer}"})
    urls = {
        f"{name}_url": await unguard(getattr(settings, f"{name}_url"), name, caller.facility_id) for name in DATABASES
    }
    opened, free = Stores(settings), Stores(settings)
    for name, url in urls.items():
        database = name.removesuffix("_url")
        setattr(free, database, Unguarded(database, url, settings.secret, settings.store_timeout_s))
    audit = AuditLog(settings.clinical_url, settings.secret, settings.store_timeout_s)
    sides = {"on": guarded(settings, opened, audit, bearer), "off": unguarded(free, audit, caller)}
    ratios: defaultdict[str, list[float]] = defaultdict(list)
    try:
        for name, query in QUERIES.items():
            on, off = [orjson.loads(await ask(query))["data"] for ask in sides.values()]
            assert shape(on) == shape(off), "both sides read the same rows"
            for number in range(ROUNDS + 1):
                order = list(sides) if number % 2 else list(sides)[::-1]
                rates = {side: await throughput(sides[side], query) for side in order}
                if number:  # the first round warms up
                    ratios[name].append(rates["on"] / rates["off"])
                    print(
                        f"{name:6} on {rates['on']:7.1f}/s   off {rates['off']:7.1f}/s   {ratios[name][-1]:.2f}",
                        flush=True,
                    )
    finally:
        await asyncio.gather(opened.close(), free.close(), audit.close(), authenticator.close())
    return ratios


def shape(value: Any) -> Any:
    """Keys and lengths of an answer, without its values: masks change these."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else None


async def main() -> None:
    """Prints the ratios: the middle of the rounds, and their quartiles."""
    with tempfile.TemporaryDirectory(prefix="caregraph-") as data, stores(Path(data), {}) as running:
        settings = replace(load({**running.env, "CAREGRAPH_DATA": data}), in_flight_max=1000, store_timeout_s=60)
        await migrate_all(settings)
        await load_demo(settings, population=POPULATION, minutes=MINUTES, progress=lambda line: None)
        for name, ratios in (await measure(settings)).items():
            low, middle, high = statistics.quantiles(ratios, n=4)
            verdict = "as wanted" if middle >= TARGET else f"less than {TARGET}"
            print(f"{name}: {middle:.2f} of the throughput without guards ({low:.2f} to {high:.2f}), {verdict}")


if __name__ == "__main__":
    asyncio.run(main())
