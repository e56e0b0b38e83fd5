"""Plans of the loaders' statements over large tables: by facility and key, in index order, the context verified once.

The planner is told that every table is large (`reltuples` in a transaction that is rolled back), because over the rows
of a test it would rightly read whole tables.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

import asyncpg
import orjson
import pytest

from db.caller import Patients, Profile
from db.postgres import Postgres, statement_name
from loaders.clinical_note import SCRUB_SEEDS_OF_PATIENTS
from loaders.explain_access import EXPLAINED_FOR
from loaders.page import FIRST_TIME, LAST_ID, LAST_TIME
from loaders.patient import PATIENTS_BY_SEARCH
from loaders.reader import OPEN_PROJECTS
from loaders.research_project import HOLDINGS, REIDENTIFIED, RESEARCH_PROJECTS
from loaders.vital_sign import TRENDS
from tests.asking import Graph
from tests.composing import QUESTIONS, composed
from tests.ids import ids_of
from tests.rules.test_sql import STATEMENTS, sql_of

Mode: TypeAlias = Literal["custom", "generic"]
"""A plan for the values of one execution, or the one for any values that a prepared statement keeps."""

UNPLANNED = {
    PATIENTS_BY_SEARCH: "planned below",
    EXPLAINED_FOR: "privacy officers' alone; its body is EXPLAINED's",
    SCRUB_SEEDS_OF_PATIENTS: "for profiles that get scrubbed notes",
    HOLDINGS: "privacy officers' alone, of one patient",
    REIDENTIFIED: "privacy officers' alone, of a page of requests",
    RESEARCH_PROJECTS.sql: "projects are few: it looks at all of them",
    OPEN_PROJECTS: "likewise",
}
"""Statements whose plans are not looked at here, and why."""
PLANNED = [
    *((database, sql) for database, sql in ((owner, sql_of(one)) for owner, one in STATEMENTS) if sql not in UNPLANNED),
    *(("vitals", sql) for sql in TRENDS.values()),
]
PARENTS = {
    "departments": "Department",
    "encounters": "Encounter",
    "facilities": "Facility",
    "providers": "Provider",
    "reports": "DiagnosticReport",
    "requests": "MedicationRequest",
    "series": "ImagingSeries",
    "studies": "ImagingStudy",
    "teams": "CareTeam",
    "wholes": "Encounter",
}
"""Type of the ids that a statement takes, by the last such word of its name; others get patients."""
WHOLE_FACILITY = {
    "departments_of_facilities": "all departments of a facility are what is asked for",
    "inpatients_of_facilities": "a partial index that holds the present inpatients only",
}
"""Statements that may read all that an index has of a facility, and why."""

FACILITY = re.compile(
    r"\bfacility_id = (\(+InitPlan \d+\)\.col1|\$\d+|parents\.id|\w+\.facility_id|'[0-9a-f-]{36}'::uuid)"
)
KEYED = re.compile(
    r"\b(id|\w+_id|code|mrn|name) = |\bpatient_id < |ROW\(sort_time, id\) < "
    r"|\bword (=|>=?|%>) |\bword, 3\)+ = |\blower\(mrn\) ~>=~ |birth_date\)::text, 7\)+ = "
)
"""What bounds a read beside the facility: a key, a place in index order, or what a search looks for."""
OF_PARENT = re.compile(r"\b(id|\w+_id|code) = ")
"""What bounds a read of somebody's rows, or of a catalogue: a place in the order of a facility's rows does not."""
ONE_ROW = "policy_proof"
"""A table that is read whole, once for each statement."""
OF_ALL = {
    *("copy", "lab_test", "medication", "name_word", "patient", "patient_identifier", "patient_name", "provider"),
    *("research_charge", "research_dataset", "research_extraction", "research_facility", "research_member"),
    *("research_project", "research_reidentification"),
}
"""Tables without a facility: catalogues, people, who are seen through what has one, and projects, which ask several."""
BY_ITSELF = re.compile(r"(?<!_)\bid = ")
"""A row by its primary key, which no facility can narrow."""
CALL = re.compile(r"access\.(context|facility_id)\(|current_setting\(")

TOLD_LARGE = """
UPDATE pg_class SET reltuples = 1000000, relpages = 1
WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('clinical', 'imaging', 'vitals')"""
ASKED, ONE = ("text[]", ["smith", "anna"]), ("text", "smith")
PLACE, LAST, NOBODY, ROWS = ("uuid", UUID(int=1)), ("uuid", LAST_ID), ("uuid[]", [UUID(int=2)]), ("int", 21)
BOUNDS = {"below": LAST, "reached": NOBODY, "denied": NOBODY, "rows_max": ROWS}
SEARCHED: Mapping[str, tuple[Mapping[str, tuple[str, object]], set[str]]] = {
    "named": ({"place": PLACE, "asked": ONE, **BOUNDS}, {"patient_word_pkey"}),
    "begun": (
        {"place": PLACE, "asked": ONE, **BOUNDS},
        {"patient_word_pkey", "patient_word_start", "name_word_pkey"},
    ),
    "rarest": ({"place": PLACE, "asked": ASKED}, {"patient_word_pkey"}),
    "begun_all": ({"place": PLACE, "asked": ASKED, "rarest": ONE}, {"patient_word_pkey"}),
    "numbered": ({"place": PLACE, "number": ("text", "ab-12")}, {"registration_by_mrn"}),
    "alike": ({"asked": ASKED}, {"name_word_trigram", "name_word_pkey"}),
    "resembled": (
        {"place": PLACE, "words": ASKED, "scores": ("int[]", [6000, 5000])},
        {"patient_word_pkey"},
    ),
    "resembled_all": (
        {"place": PLACE, "asked": ASKED, "rarest": ONE},
        {"patient_word_pkey", "name_word_trigram"},
    ),
    "born": (
        {"place": PLACE, "asked": ASKED, "number": ("text", None), "birth": ("text", "1980-01-01")},
        {"registration_pkey"},
    ),
}
"""Functions that a search is made of: their parameters, and indexes that they must use."""


async def parameters(graph: Graph, connection: asyncpg.Connection, sql: str) -> Sequence[object]:
    """What a chart's request would send: by type, times by their place."""
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
        "timestamptz": lambda: next(times),
        "interval": lambda: timedelta(minutes=5),
        "text": lambda: "words",
        "bool": lambda: True,
    }
    prepared = await connection.prepare(sql)
    values = [by_type[parameter.name]() for parameter in prepared.get_parameters()]
    if statement_name(sql) == "patients_of_facility":
        values[0] = graph.facilities[0].id
    return values


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A plan's node and all below it."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def index_conditions(scan: Mapping[str, Any]) -> str:
    """Index conditions of a node that reads a table; those of a bitmap stand in the nodes below it."""
    below = [child for child in scan.get("Plans", ()) if child["Node Type"].startswith("Bitmap")]
    return " ".join([scan.get("Index Cond", ""), *(index_conditions(child) for child in below)]).strip()


def complaints(plan: Mapping[str, Any], *, whole_facility: bool = False, key: re.Pattern[str] = KEYED) -> list[str]:
    """What is wrong with a plan whose reads must be bounded by a key."""
    found: list[str] = []
    for node in nodes(plan):
        for name, text in node.items():
            is_condition = name.endswith(("Cond", "Filter")) and name != "One-Time Filter" and isinstance(text, str)
            if is_condition and CALL.search(text):
                found.append(f"{name} verifies the context for each row: {text}")
        table = node.get("Relation Name")
        if table is None or table == ONE_ROW:
            continue
        conditions = index_conditions(node)
        beside_facility = FACILITY.sub("", conditions)
        if "Seq Scan" in node["Node Type"]:
            found.append(f"{table} is read whole: {node.get('Filter', 'no filter')}")
        elif not key.search(beside_facility) and not (whole_facility and FACILITY.search(conditions)):
            found.append(f"{table} is not read by key: {conditions or 'no condition'}")
        elif table not in OF_ALL and not FACILITY.search(conditions) and not BY_ITSELF.search(conditions):
            found.append(f"{table} is not read by facility: {conditions}")
    return found


@asynccontextmanager
async def large_tables(graph: Graph, database: str) -> AsyncGenerator[asyncpg.Connection]:
    """The administrator's transaction in which every table seems large; it is rolled back."""
    settings = graph.settings
    url = {"clinical": settings.clinical_url, "imaging": settings.imaging_url, "vitals": settings.vitals_url}[database]
    connection = await asyncpg.connect(url)
    try:
        # Empty partitions can't be told to be large. Off, a sequential scan stands only where no index could.
        await connection.execute(f"BEGIN; {TOLD_LARGE}; SET LOCAL enable_seqscan = off")
        yield connection
    finally:
        await connection.close()


def literal(value: Any) -> str:
    """An argument as a literal of unknown type, which EXECUTE gives its parameter's type."""
    if value is None:
        return "NULL"
    text = "{" + ",".join(map(str, value)) + "}" if isinstance(value, list) else str(value)
    return "'" + text.replace("'", "''") + "'"


async def explained(
    connection: asyncpg.Connection, sql: str, arguments: Sequence[object], mode: Mode
) -> Mapping[str, Any]:
    """Plan of a statement."""
    if mode == "custom":
        [row] = await connection.fetch(f"EXPLAIN (FORMAT JSON) {sql}", *arguments)
    else:
        # Of these values, not NULL: partitions are pruned when a generic plan starts, and NULL prunes them all.
        given = f"({', '.join(map(literal, arguments))})" if arguments else ""
        await connection.execute(f"SET LOCAL plan_cache_mode = force_generic_plan; PREPARE kept AS {sql}")
        [row] = await connection.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE kept{given}")
        await connection.execute("DEALLOCATE kept")
    return orjson.loads(row[0])[0]["Plan"]


@pytest.mark.parametrize("database", ["clinical", "imaging", "vitals"])
async def test_every_read_stays_on_an_index(graph: Graph, database: str) -> None:
    """In the plan that connections keep, see db.postgres.PLANNING."""
    store: Postgres = getattr(graph.stores, database)
    found: dict[str, list[str]] = {}
    async with large_tables(graph, database) as connection:
        context = store.context(graph.caller(), connection.get_server_pid(), Patients())
        await connection.execute(f"SET LOCAL SESSION AUTHORIZATION caregraph_{Profile.CLINICIAN.value}; {context}")
        for sql in (sql for owner, sql in PLANNED if owner == database):
            name = statement_name(sql)
            plan = await explained(connection, sql, await parameters(graph, connection, sql), "generic")
            found[name] = complaints(plan, whole_facility=name in WHOLE_FACILITY)
    assert found
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_composed_statements_stay_on_indexes(graph: Graph, question: str) -> None:
    """What the graph sends for the benchmark's questions: every fact of a patient, every partition, by key."""
    [patient] = await ids_of(graph, "Patient", limit=1)
    variables: dict[str, Any] = {"patient": patient} if question == "chart" else {}
    with composed() as sent:
        answer = await graph.ask(QUESTIONS[question].read_text(), **variables)
    assert answer.errors == []
    assert sent
    found: dict[str, list[str]] = {}
    read: set[str] = set()
    async with large_tables(graph, "clinical") as connection:
        context = graph.stores.clinical.context(graph.caller(), connection.get_server_pid(), Patients())
        await connection.execute(f"SET LOCAL SESSION AUTHORIZATION caregraph_{Profile.CLINICIAN.value}; {context}")
        for one in sent:
            plan = await explained(connection, one.sql, one.arguments, "generic")
            found[one.name] = complaints(plan, key=OF_PARENT)
            read |= {node["Relation Name"] for node in nodes(plan) if "Relation Name" in node}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    # As long as the graph reads results in this way: what is not in a plan nobody has looked at.
    assert any(table.startswith("lab_result_2") for table in read)


@pytest.mark.parametrize("mode", ["custom", "generic"])
@pytest.mark.parametrize("function", SEARCHED)
async def test_search_stays_on_its_indexes(graph: Graph, function: str, mode: Mode) -> None:
    """The bodies of the functions that search, which run past row-level security: no plan of a call shows them."""
    given, expected = SEARCHED[function]
    async with large_tables(graph, "clinical") as connection:
        body = str(await connection.fetchval(f"SELECT prosrc FROM pg_proc WHERE oid = 'access.{function}'::regproc"))
        for place, (name, (kind, _)) in enumerate(given.items(), start=1):
            body = re.sub(rf"(?<![.\w]){name}\b", f"(${place}::{kind})", body)
        await connection.execute("SET LOCAL ROLE caregraph_search")
        plan = await explained(connection, body, [value for _, value in given.values()], mode)
    # A birth date alone reads the facility's registrations or the month's births, whichever are fewer.
    assert complaints(plan, whole_facility=function == "born") == []
    used = {node["Index Name"] for node in nodes(plan) if "Index Cond" in node}
    assert expected <= used


@pytest.mark.parametrize("function", ["treated", "denied_to", "excepted_for", "glass_broken", "exchanged_to"])
async def test_what_layers_ask_stays_on_indexes(graph: Graph, function: str) -> None:
    """Bodies of the functions that find a caller's patients, which run past row-level security, once a statement."""
    async with large_tables(graph, "clinical") as connection:
        body = str(await connection.fetchval(f"SELECT prosrc FROM pg_proc WHERE oid = 'access.{function}'::regproc"))
        for name in ("at_facility", "of_provider", "of_department"):
            body = re.sub(rf"\b{name}\b", f"'{UUID(int=1)}'::uuid", body)
        body = re.sub(r"\bcaller\.(\w+)", r"((SELECT access.context()).\1)", body)
        body = re.sub(r"\bcaller\b", "(SELECT access.context())", body)
        await connection.execute("SET LOCAL ROLE caregraph_search")
        plan = await explained(connection, body, [], "custom")
    assert complaints(plan, whole_facility=True) == []
    assert any("Index Name" in node for node in nodes(plan))
