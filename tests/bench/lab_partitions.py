"""`python -m tests.bench.lab_partitions`: how wide the partitions of lab_result should be.

One facility, 600,000 results of 5,000 patients over 12 years in the order in which they came. Each width in turn gets
the same rows; then, as a clinician through the masked view, the signed context and forced row-level security, the
latest 20 results of each of 100 patients are read, who have 120 each, or 5 (for which no partition may be left out);
then three months of new results are written and the newest partition is vacuumed.
Needs no server: starts an embedded PostgreSQL in a temporary directory. Takes a few minutes.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

from db.caller import Caller, PurposeOfUse
from db.migrate import migrate
from db.policy import ROLES
from db.postgres import Postgres
from db.settings import Settings, load
from loaders.lab import LAB_RESULTS_OF_PATIENTS
from loaders.page import TimePage
from workers.embedded.stores import NAMES, stores

WIDTHS = {"1 month": 1, "1 year": 12, "4 years": 48, "12 years": 144}
"""Months of one partition."""

BASELINE = "12 years"
ROUNDS = 25
CUSTOM_PLANS = 5
"""Executions of a prepared statement that PostgreSQL plans anew; later ones may reuse a generic plan."""
FACILITY = UUID(int=1)
CALLER = Caller("bench", ROLES["physician"], FACILITY, PurposeOfUse.TREAT)

SEED = """
SET search_path = clinical, public;
INSERT INTO facility (id, code, name) VALUES ('00000000-0000-0000-0000-000000000001', 'BENCH', 'Bench');
INSERT INTO patient (id) SELECT md5('p' || i)::uuid FROM generate_series(1, 5100) AS i;
INSERT INTO registration
SELECT '00000000-0000-0000-0000-000000000001', md5('p' || i)::uuid, i::text FROM generate_series(1, 5100) AS i;
INSERT INTO lab_test (id, code_system, code)
SELECT md5('t' || i)::uuid, 'http://loinc.org', i::text FROM generate_series(0, 199) AS i;
CREATE UNLOGGED TABLE public.bench_result AS
SELECT md5('r' || i)::uuid AS id, md5('p' || (1 + abs(hashint4(i)) % 5000))::uuid AS patient_id,
       md5('t' || i % 200)::uuid AS lab_test_id, (i % 900)::numeric / 10 AS value_number,
       timestamptz '2014-01-01Z' + i * (interval '4383 days' / 600000) AS sort_time
FROM generate_series(0, 599999) AS i
UNION ALL
SELECT md5('s' || i)::uuid, md5('p' || (5001 + i % 100))::uuid, md5('t1')::uuid, 1,
       timestamptz '2014-06-01Z' + i * interval '8 days'
FROM generate_series(0, 499) AS i;
"""

PATIENTS = "SELECT md5('p' || i)::uuid FROM generate_series($1::int, $1::int + 99) AS i"

FILL = """INSERT INTO clinical.lab_result (id, facility_id, patient_id, lab_test_id, status, value_number,
    value_unit, value_code, value_system, effective, sort_time)
SELECT id, '00000000-0000-0000-0000-000000000001', patient_id, lab_test_id, 'final', value_number, 'mmol/L', 'mmol/L',
       'http://unitsofmeasure.org', to_char(sort_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), sort_time
FROM public.bench_result ORDER BY sort_time"""

MONTH_OF_RESULTS = """INSERT INTO clinical.lab_result (id, facility_id, patient_id, lab_test_id, status, sort_time)
SELECT gen_random_uuid(), '00000000-0000-0000-0000-000000000001', patient_id, lab_test_id, 'final',
       sort_time + interval '10 seconds'
FROM public.bench_result WHERE sort_time >= '2025-12-01Z' AND sort_time < '2025-12-31Z' ORDER BY sort_time"""

CORRECTED = "UPDATE clinical.lab_result SET status = 'corrected' WHERE sort_time >= '2025-12-01Z'"
PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'clinical.lab_result'::regclass"
NEWEST = "SELECT tableoid::regclass::text FROM clinical.lab_result ORDER BY sort_time DESC LIMIT 1"
EXPLAINED: LiteralString = "/* explained */ EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + LAB_RESULTS_OF_PATIENTS.sql


@dataclass(frozen=True, slots=True)
class Measured:
    """One width: the server's milliseconds, the best of many rounds, and the newest partition's MB."""

    partitions: float
    execution: float
    rare: float
    planning: float
    insert: float
    vacuum: float
    newest_mb: float


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds of a call."""
    started = time.perf_counter()
    await call()
    return (time.perf_counter() - started) * 1000


async def repartition(connection: Any, months: int) -> int:
    """Empties lab_result and gives it partitions of this width over the 12 years; how many there are."""
    for row in await connection.fetch(PARTITIONS):
        await connection.execute(f"DROP TABLE {row[0]}")
    bounds = [f"'{2014 + month // 12}-{month % 12 + 1:02}-01Z'" for month in range(0, 145, months)]
    ranges = [("MINVALUE", bounds[0]), *pairwise(bounds)]
    for number, (start, end) in enumerate(ranges):
        await connection.execute(
            f"CREATE TABLE clinical.bench_{number} PARTITION OF clinical.lab_result "
            f"FOR VALUES FROM ({start}) TO ({end})"
        )
    await connection.execute("CREATE TABLE clinical.bench_default PARTITION OF clinical.lab_result DEFAULT")
    return len(ranges) + 1


async def read(clinical: Postgres, sql: LiteralString, patients: Sequence[UUID]) -> Sequence[Any]:
    """One request's read, in a session of its own as in the API."""
    page = TimePage(20)
    session = clinical.session(CALLER, lambda store, statement: None)
    try:
        bounds = (page.before_time, page.before_id, page.start, page.end)
        return await session.fetch(sql, patients, page.first, *bounds, None, None)
    finally:
        await session.close()


async def measure(connection: Any, settings: Settings, months: int) -> Measured:
    """All figures of one width."""
    partitions = await repartition(connection, months)
    await connection.execute(FILL)
    await connection.execute("VACUUM ANALYZE clinical.lab_result")
    patients = [row[0] for row in await connection.fetch(PATIENTS, 1)]
    rare = [row[0] for row in await connection.fetch(PATIENTS, 5001)]
    clinical = Postgres("clinical", settings.clinical_url, settings.secret, 60)
    try:
        rows = await read(clinical, LAB_RESULTS_OF_PATIENTS.sql, patients)
        assert len(rows) == 2000, "the context, the view or the policy shows something else"
        plans = [decoded(await read(clinical, EXPLAINED, patients)) for _ in range(ROUNDS)]
        rare_plans = [decoded(await read(clinical, EXPLAINED, rare)) for _ in range(ROUNDS)]
    finally:
        await clinical.close()
    newest = await connection.fetchval(NEWEST)
    insert = min([await timed(lambda: connection.execute(MONTH_OF_RESULTS)) for _ in range(3)])
    await connection.execute(CORRECTED)
    vacuum = await timed(lambda: connection.execute(f"VACUUM {newest}"))
    size = await connection.fetchval("SELECT pg_total_relation_size($1::text::regclass)", newest)
    return Measured(
        partitions=partitions,
        execution=min(plan["Execution Time"] for plan in plans),
        rare=min(plan["Execution Time"] for plan in rare_plans),
        planning=min(plan["Planning Time"] for plan in plans[:CUSTOM_PLANS]),
        insert=insert,
        vacuum=vacuum,
        newest_mb=size / 2**20,
    )


def decoded(answer: Sequence[Any]) -> dict[str, Any]:
    """The plan that EXPLAIN gives as one text."""
    return json.loads(answer[0][0])[0]


async def run(settings: Settings) -> dict[str, Measured]:
    """Every width on one server, one after the other."""
    await migrate("clinical", settings.clinical_url, settings.secret)
    asyncpg: Any = importlib.import_module("asyncpg")
    connection = await asyncpg.connect(settings.clinical_url)
    try:
        await connection.execute(SEED)
        await connection.execute("SET session_replication_role = replica")  # the rows' foreign keys are known to hold
        found: dict[str, Measured] = {}
        for width, months in WIDTHS.items():
            print(f"{width} …", file=sys.stderr, flush=True)
            found[width] = await measure(connection, settings, months)
        return found
    finally:
        await connection.close()


def table(found: dict[str, Measured]) -> str:
    """Markdown: milliseconds, and in brackets the ratio to the baseline of the same run."""
    names = {
        "execution": "latest 20 of 100",
        "rare": "5 of 100",
        "planning": "planning",
        "insert": "a month inserted",
        "vacuum": "newest vacuumed",
        "newest_mb": "newest, MB",
    }
    lines = ["| width | partitions | " + " | ".join(names.values()) + " |", "|---" * (len(names) + 2) + "|"]
    for width, figures in found.items():
        cells = [
            f"{getattr(figures, name):.1f} ({getattr(figures, name) / getattr(found[BASELINE], name):.2f}×)"
            for name in names
        ]
        lines.append(f"| {width} | {figures.partitions:.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    absent = {f"CAREGRAPH_{name.upper()}_URL": "x" for name in NAMES if name != "clinical"}
    urls = {name: f"postgresql://127.0.0.1:1/{name}" for name in absent}
    urls |= {"CAREGRAPH_NOTES_URL": "mongodb://127.0.0.1:1/x", "CAREGRAPH_ARCHIVE_URL": "http://127.0.0.1:1/x"}
    urls |= {"CAREGRAPH_WAREHOUSE_URL": "snowflake://127.0.0.1:1/x/x?account=x"}
    with tempfile.TemporaryDirectory() as folder, stores(Path(folder), absent) as running:
        settings = load({**urls, **running.env, "CAREGRAPH_DATA": folder})
        print(table(asyncio.run(run(settings))))


if __name__ == "__main__":
    main()
