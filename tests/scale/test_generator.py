"""The generator of large networks, at a small size: what it loads is what the triggers make, and the graph sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from db.caller import Profile
from db.settings import Settings
from db.stores import Stores
from tests.access.test_explain import complaints, nodes
from tests.apart import apart
from tests.asking import Graph
from tests.bench.scale.load import load
from tests.bench.scale.plans import PLANNED, arguments, asking, explained
from tests.bench.scale.sample import sample
from tests.bench.scale.sizes import Sizes

SIZES = Sizes(labs=60_000, encounters=8_000, patients=1_500, people=3_000, readings=3_000, notes=50)
LABELLED = (
    *("encounter", "condition", "procedure", "allergy_intolerance", "immunization", "observation"),
    *("diagnostic_report", "lab_result", "medication_request", "medication_administration"),
)
COUNTS = {"facility": 50, "patient": 3_000, "encounter": 8_000, "lab_result": 60_000, "medication_request": 8_000}
SEARCHED = ("patient_search", "patient_word")
FACTS = {"lab_result", "encounter", "condition", "medication_request", "diagnostic_report", "registration", "patient"}
"""Tables that must not be read whole even at this size."""
INDEXES = """SELECT indexrelid::regclass::text FROM pg_index AS x JOIN pg_class AS c ON c.oid = x.indrelid
WHERE c.relnamespace::regnamespace::text IN ('clinical', 'imaging', 'vitals') AND NOT c.relispartition"""


@pytest_asyncio.fixture(scope="module")
async def scaled(configured: Settings) -> AsyncIterator[Settings]:
    """Settings of stores of their own that hold a small network."""
    own = await apart(configured, "scale")
    await load(own, SIZES, lambda line: None)
    yield own


async def test_sizes_and_indexes_are_what_was_asked(scaled: Settings, configured: Settings) -> None:
    for name in ("clinical", "imaging", "vitals"):
        here = await asyncpg.connect(getattr(scaled, f"{name}_url"))
        there = await asyncpg.connect(getattr(configured, f"{name}_url"))
        assert {row[0] for row in await here.fetch(INDEXES)} == {row[0] for row in await there.fetch(INDEXES)}
        if name == "clinical":
            counted = {table: await here.fetchval(f"SELECT count(*) FROM clinical.{table}") for table in COUNTS}
            assert counted == COUNTS
        await here.close()
        await there.close()


async def test_labels_and_words_are_those_of_the_triggers(scaled: Settings) -> None:
    connection = await asyncpg.connect(scaled.clinical_url)
    try:
        async with connection.transaction():
            for table in LABELLED:
                made = f"SELECT id, label FROM clinical.{table} ORDER BY id"
                before = await connection.fetch(made)
                assert before
                await connection.execute(f"UPDATE clinical.{table} SET security = security")
                assert await connection.fetch(made) == before
            loaded = [await connection.fetch(f"SELECT * FROM clinical.{table} ORDER BY 1, 2, 3") for table in SEARCHED]
            await connection.execute("UPDATE clinical.registration SET mrn = mrn")
            assert loaded == [
                await connection.fetch(f"SELECT * FROM clinical.{table} ORDER BY 1, 2, 3") for table in SEARCHED
            ]
    finally:
        await connection.close()


async def test_facts_are_not_read_whole(scaled: Settings) -> None:
    """Every statement of the clinical database with a plan for any values, in its login, on real numbers of rows."""
    known = await sample(scaled)
    stores = Stores(scaled)
    admin = await asyncpg.connect(scaled.clinical_url)
    await admin.execute("SET search_path = clinician, public")
    found: dict[str, list[str]] = {}
    try:
        for sql in (sql for database, sql in PLANNED if database == "clinical" and "of_patients" in sql.split("\n")[0]):
            given = await arguments(admin, sql, "clinical", known, None)
            async with asking(stores.clinical, known.callers["physician"], None) as connection:
                [plan, *_] = await explained(connection, sql, given, generic=True)
            read = {node.get("Relation Name") for node in nodes(plan["Plan"]) if "Seq Scan" in node["Node Type"]}
            wrong = [one for one in complaints(plan["Plan"]) if one.split(" ")[0] in FACTS and "read whole" not in one]
            found[sql.split("\n")[0]] = [*wrong, *(f"{table} whole" for table in sorted(FACTS & read))]
    finally:
        await admin.close()
        await stores.close()
    assert found
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


async def test_the_graph_sees_it(scaled: Settings) -> None:
    known = await sample(scaled)
    stores = Stores(scaled)
    try:
        facilities = [one for one in await stores.facilities() if one.id == known.facility_id]
        graph = Graph(scaled, stores, facilities)
        query = """query ($id: ID!) { patient(id: $id) { mrn name { family } encounters(first: 2) { nodes { id } }
            labResults(first: 3) { nodes { id test { code { coding { code } } } valueQuantity { value } } } } }"""
        answer = await graph.ask(query, Profile.CLINICIAN, id=f"Patient/{known.patients[0]}")
        assert answer.errors == []
        assert len(answer.data["patient"]["labResults"]["nodes"]) == 3
        family = answer.data["patient"]["name"][0]["family"]
        found = await graph.ask("query ($text: String) { patients(search: $text) { edges { score } } }", text=family)
        assert found.data["patients"]["edges"][0]["score"] == 1
    finally:
        await stores.close()
