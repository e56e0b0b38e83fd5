"""Plans of every PostgreSQL statement of the loaders on kept data, as the login roles run them."""

from __future__ import annotations

import statistics
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from db.caller import Caller, Patients
from db.postgres import Postgres, login_of, statement_name
from db.settings import Settings
from db.stores import Stores
from loaders.page import FIRST_TIME, LAST_ID, LAST_TIME
from loaders.reader import Reader
from tests.access.test_explain import ONE_ROW, PARENTS, PLANNED, complaints, literal, nodes
from tests.asking import Graph
from tests.bench.scale.sample import Sample, ids_of, sample
from tests.composing import QUESTIONS, composed

ROUNDS = 5
LARGE = 10_000
"""Rows from which a table must not be read whole."""
TABLES = {
    "Department": "clinical.department",
    "DiagnosticReport": "clinical.diagnostic_report",
    "Encounter": "clinical.encounter",
    "Facility": "clinical.facility",
    "ImagingSeries": "imaging.imaging_series",
    "ImagingStudy": "imaging.imaging_study",
    "CareTeam": "clinical.care_team",
    "MedicationRequest": "clinical.medication_request",
    "Provider": "clinical.provider",
}
FILTERS = ["8867-4", "30003-3", "20447-9", "active", "final"]
"""Codes and states, some rare: what a filter keeps of a list is not what comes first in it."""
SMALL = f"""SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples < {LARGE}
    AND relnamespace::regnamespace::text IN ('clinical', 'imaging', 'vitals')"""
PARENT_INDEX = "SELECT inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits"
SIZES = """SELECT c.oid::regclass::text, sum(greatest(p.reltuples, 0))::bigint,
    pg_size_pretty(sum(pg_total_relation_size(p.oid)))
FROM pg_class AS c
JOIN pg_class AS p ON p.oid IN (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf)
WHERE c.relnamespace::regnamespace::text IN ('clinical', 'imaging', 'vitals') AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition
GROUP BY c.oid HAVING sum(p.reltuples) >= 10000 ORDER BY 2 DESC"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One statement: how its tables are read, and milliseconds by variant, medians of ROUNDS."""

    database: str
    name: str
    path: str
    rows: int
    buffers: int
    faults: Sequence[str]
    milliseconds: Mapping[str, float]


@asynccontextmanager
async def asking(store: Postgres, caller: Caller, patients: Patients | None) -> AsyncGenerator[Any]:
    """A transaction as the API opens it: the profile's login, one snapshot, the signed context."""
    async with store.connections.lent(login_of(caller)) as connection:
        await store.begin(connection, caller, patients)
        yield connection
        await connection.execute("ROLLBACK")


async def arguments(
    connection: asyncpg.Connection, sql: str, database: str, known: Sample, filters: Sequence[str] | None
) -> list[Any]:
    """What a page of 20 parents would send: real ids, by the statement's name; the first page of each, or filtered."""
    words = statement_name(sql).split("_")
    kind = PARENTS.get(words[words.index("of") + 1 :][-1 if "care" in words else 0]) if "of" in words else None
    if words[-2:] == ["by", "id"]:
        ids = await ids_of(connection, f"{database}.{'_'.join(words[:-2])}", known)
    elif words == ["vital", "sign", "by", "key"]:
        ids = await ids_of(connection, "vitals.vital_sign", known)
    elif kind in TABLES and (TABLES[kind].startswith(f"{database}.") or kind == "Facility"):
        ids = [known.facility_id] if kind == "Facility" else await ids_of(connection, TABLES[kind], known)
    elif kind == "Encounter":
        ids = await _encounters(connection, database, known)
    else:
        ids = list(known.patients)
    end = datetime(2026, 11, 1, tzinfo=UTC)
    trend = words[:2] == ["vital", "trend"]
    times = iter(
        (end - timedelta(days=1), end, end - timedelta(hours=2)) if trend else (LAST_TIME, FIRST_TIME, LAST_TIME)
    )
    needed = known.mrns if "mrn" in words else ["8867-4"] if trend or words[-1] == "code" else filters
    values = {
        "uuid[]": lambda: ids,
        "uuid": lambda: known.facility_id if words == ["patients", "of", "facility"] else LAST_ID,
        "int2[]": lambda: [0] * len(ids),
        "int2": lambda: 32767,
        "int4": lambda: 21,
        "text[]": lambda: needed,
        "timestamptz": lambda: next(times),
        "interval": lambda: timedelta(minutes=5),
        "text": lambda: "scale",
        "bool": lambda: True,
    }
    prepared = await connection.prepare(sql)
    given = [values[parameter.name]() for parameter in prepared.get_parameters()]
    if words == ["patients", "of", "facility"]:
        given[1] = LAST_ID
    return given


async def _encounters(connection: asyncpg.Connection, database: str, known: Sample) -> list[UUID]:
    table = "imaging_study" if database == "imaging" else "vital_sign"
    rows = await connection.fetch(
        f"SELECT DISTINCT encounter_id FROM {database}.{table} "
        "WHERE facility_id = $1 AND patient_id = ANY ($2::uuid[]) LIMIT 20",
        known.facility_id,
        known.patients,
    )
    return [row[0] for row in rows]


async def explained(
    connection: Any, sql: str, given: Sequence[Any], *, generic: bool = False
) -> list[Mapping[str, Any]]:
    """Plans of ROUNDS executions, of these values or, where it is generic, of any."""
    explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"
    if not generic:
        answers = [await connection.fetchval(f"{explain} {sql}", *given) for _ in range(ROUNDS)]
    else:
        values = f"({', '.join(map(literal, given))})" if given else ""
        await connection.execute(f"SET LOCAL plan_cache_mode = force_generic_plan; PREPARE kept AS {sql}")
        answers = [await connection.fetchval(f"{explain} EXECUTE kept{values}") for _ in range(ROUNDS)]
        await connection.execute("DEALLOCATE kept")
    return [orjson.loads(answer)[0] for answer in answers]


def path_of(plan: Mapping[str, Any], parents: Mapping[str, str]) -> str:
    """How the rows were read: index by index, those of partitions as their parent's."""
    found: dict[str, None] = {}
    for node in nodes(plan):
        if node.get("Actual Loops", 0) == 0:
            continue
        if "Index Name" in node:
            name = next((parent for child, parent in parents.items() if child.endswith(f".{node['Index Name']}")), None)
            found[(name or node["Index Name"]).rpartition(".")[2]] = None
        elif node["Node Type"] == "Seq Scan" and node["Actual Rows"] and node["Relation Name"] != ONE_ROW:
            found[f"{node['Relation Name']} whole"] = None
        elif node["Node Type"] == "Function Scan" and node.get("Function Name", "unnest") != "unnest":
            found[f"{node['Function Name']}()"] = None
    return ", ".join(found)


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement, and what is sent with it: for the first page and, where it can be filtered, with filters."""

    database: str
    name: str
    sql: str
    first: Sequence[Any]
    filtered: Sequence[Any] | None


async def listed(admin: asyncpg.Connection, database: str, known: Sample) -> list[Asked]:
    """Every statement of the loaders on one database."""
    found: list[Asked] = []
    for sql in (sql for owner, sql in PLANNED if owner == database):
        first = await arguments(admin, sql, database, known, None)
        filtered = await arguments(admin, sql, database, known, FILTERS)
        found.append(Asked(database, statement_name(sql), sql, first, filtered))
    return found


async def composed_of(settings: Settings, stores: Stores, known: Sample) -> list[Asked]:
    """Statements that the graph composes for the benchmark's questions, asked by the physician.

    Raises RuntimeError where a question is not answered.
    """
    graph = Graph(settings, stores, [])
    found: list[Asked] = []
    for question, path in QUESTIONS.items():
        variables = {"patient": f"Patient/{known.patients[0]}"} if question == "chart" else {}
        with composed() as sent:
            answer = await graph.ask_as(known.callers["physician"], path.read_text(), **variables)
        if answer.errors:
            raise RuntimeError(f"The question {question} was not answered: {answer.codes}")
        found += [Asked("clinical", f"{question}: {one.name}", one.sql, one.arguments, None) for one in sent]
    return found


async def measure(
    stores: Stores, asked: Asked, known: Sample, patients: Mapping[str, Patients], admin: asyncpg.Connection
) -> Measured:
    """One statement in every variant."""
    database, sql, first = asked.database, asked.sql, asked.first
    store: Postgres = getattr(stores, database)
    parents = {row[0]: row[1] for row in await admin.fetch(PARENT_INDEX)}
    small = {row[0] for row in await admin.fetch(SMALL)}
    plans: dict[str, list[Mapping[str, Any]]] = {}
    for role, caller in known.callers.items():
        told = None if database == "clinical" else patients[role]
        async with asking(store, caller, told) as connection:
            plans[role] = await explained(connection, sql, first)
            if role == "physician":
                if asked.filtered is not None:
                    plans["filtered"] = await explained(connection, sql, asked.filtered)
                plans["generic"] = await explained(connection, sql, first, generic=True)
    top = plans["physician"][-1]["Plan"]
    whole = "facilities" in asked.name
    faults = {
        fault
        for variant in plans.values()
        for fault in complaints(variant[-1]["Plan"], whole_facility=whole)
        if fault.split(" ")[0] not in small
    }
    return Measured(
        database,
        asked.name,
        path_of(top, parents),
        top["Actual Rows"],
        top["Shared Hit Blocks"] + top["Shared Read Blocks"],
        sorted(faults),
        {name: statistics.median(plan["Execution Time"] for plan in variant) for name, variant in plans.items()},
    )


async def measure_plans(settings: Settings) -> str:
    """Markdown: the sizes, then every statement."""
    known = await sample(settings)
    stores = Stores(settings)
    patients: dict[str, Patients] = {}
    for role, caller in known.callers.items():
        reader = Reader(stores, caller)
        patients[role] = await reader.patients()
        await reader.close()
    found: list[Measured] = []
    sizes: list[Sequence[Any]] = []
    try:
        for database in ("clinical", "imaging", "vitals"):
            admin = await asyncpg.connect(getattr(settings, f"{database}_url"))
            await admin.execute("SET search_path = clinician, public; SET statement_timeout = '60s'")
            sizes += await admin.fetch(SIZES)
            asked = await listed(admin, database, known)
            if database == "clinical":
                asked += await composed_of(settings, stores, known)
            found += [await measure(stores, one, known, patients, admin) for one in asked]
            await admin.close()
    finally:
        await stores.close()
    return table_of(sizes, found)


def table_of(sizes: Sequence[Sequence[Any]], found: Sequence[Measured]) -> str:
    """Markdown of what was measured."""
    lines = ["| table | rows | with indexes |", "|---|---|---|"]
    lines += [f"| {table} | {rows:,} | {size} |" for table, rows, size in sizes]
    variants = ("physician", "generic", "filtered", "consultant", "ward nurse")
    lines += ["", f"| statement | read by | rows | buffers | {' | '.join(variants)} |", "|---" * 9 + "|"]
    for one in found:
        figures = " | ".join(f"{one.milliseconds[name]:.1f}" if name in one.milliseconds else "" for name in variants)
        lines.append(f"| {one.name} | {one.path} | {one.rows:.0f} | {one.buffers} | {figures} |")
    faults = [f"- {one.name}: {fault}" for one in found for fault in one.faults]
    lines += [
        "",
        "What is not as it should be:" if faults else "Every table of size is read by facility and key.",
        *faults,
    ]
    return "\n".join(lines)
