"""What drivers are sent for a whole chart: hidden columns are not in it, hidden relations are not asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from asyncpg.connection import LoggedQuery
from graphql import GraphQLObjectType, get_named_type, is_required_argument

import db.postgres
from db.mongo import Document
from db.notes_schema import COLLECTIONS, Collection
from db.policy import Form, Phi, View
from db.settings import Settings
from db.stores import Stores
from tests.access.test_masked_answers import PATIENT, selection
from tests.asking import Graph
from tests.callers import ROLE
from tests.ids import ids_of
from tests.pruning.test_statements import exists, named_although_hidden, sources
from tests.rules.test_sql import VIEWS


def charts() -> Iterator[str]:
    """A query for each field of a patient with all below it: together a whole chart, each within the limits."""
    for name, field in PATIENT.fields.items():
        inner = get_named_type(field.type)
        below = selection(inner, ["Patient", inner.name], set()) if isinstance(inner, GraphQLObjectType) else ""
        required = any(is_required_argument(argument) for argument in field.args.values())
        if not required and (below or not isinstance(inner, GraphQLObjectType)):
            page = "(first: 1)" if "first" in field.args else ""
            yield f"query ($id: ID!) {{ patient(id: $id) {{ {name}{page} {below} }} }}"


CHARTS = list(charts())


class Recorded:
    """The graph over stores whose drivers report what they are sent."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.sql: list[str] = []
        self.pipelines: list[tuple[Collection, list[Document]]] = []

    async def ask(self, seen: View, patient_id: str) -> None:
        """Asks for all of a patient that a view shows."""
        self.sql.clear()
        self.pipelines.clear()
        oneself = UUID(patient_id.partition("/")[2]) if seen.name == "patient" else None
        caller = replace(self.graph.caller(), role=ROLE[seen.profile], purpose=seen.purposes[0], patient_id=oneself)
        for query in CHARTS:
            answer = await self.graph.ask_as(caller, query, id=patient_id)
            assert set(answer.codes) <= {"FORBIDDEN"}, query  # the access log is for privacy officers
            assert answer.data["patient"] is not None


@pytest_asyncio.fixture
async def recorded(network: Settings, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Recorded]:
    """Stores of its own, so that every connection is opened under the record."""
    stores = Stores(network)
    found = Recorded(Graph(network, stores, graph.facilities))
    prepare, aggregate = db.postgres._prepare, stores.notes.aggregate  # pyright: ignore[reportPrivateUsage]

    async def prepared(connection: asyncpg.Connection) -> None:
        await prepare(connection)
        connection.add_query_logger(logged)

    async def logged(query: LoggedQuery) -> None:
        if query.query.startswith("/* "):
            found.sql.append(query.query)

    async def aggregated(collection: Collection, pipeline: list[Document]) -> list[Document]:
        found.pipelines.append((collection, pipeline))
        return await aggregate(collection, pipeline)

    monkeypatch.setattr(db.postgres, "_prepare", prepared)
    monkeypatch.setattr(stores.notes, "aggregate", aggregated)
    yield found
    await stores.close()


@pytest.mark.parametrize("seen", VIEWS, ids=lambda seen: seen.name)
async def test_a_chart_asks_for_no_hidden_column(recorded: Recorded, graph: Graph, seen: View) -> None:
    [patient_id] = await ids_of(graph, "Patient", limit=1)
    await recorded.ask(seen, patient_id)
    read = {table for sql in recorded.sql for table in sources(sql).values()}
    assert {"patient", "patient_name", "encounter"} <= read
    for sql in recorded.sql:
        assert exists(sql, seen), sql.partition("\n")[0]
        assert named_although_hidden(sql, seen) == set(), sql.partition("\n")[0]


@pytest.mark.parametrize("seen", VIEWS, ids=lambda seen: seen.name)
async def test_a_pipeline_drops_hidden_fields_in_the_store(recorded: Recorded, graph: Graph, seen: View) -> None:
    """Before any stage that sorts, counts or returns: $unset names every top-level field whose kind is hidden."""
    [patient_id] = await ids_of(graph, "Patient", limit=1)
    await recorded.ask(seen, patient_id)
    for collection, pipeline in recorded.pipelines:
        if {"$unset": "search_terms"} in pipeline:
            continue  # verifies signatures with what is stored, and gives verdicts alone: db.mongo
        gone = {
            path
            for path, kind in collection.kinds.items()
            if kind and "." not in path and seen.forms[kind] is Form.HIDE
        }
        stages = [next(iter(stage)) for stage in pipeline]
        first = next((place for place, name in enumerate(stages) if name != "$match"), len(stages))
        dropped = pipeline[first].get("$unset", []) if gone else []
        assert gone <= set(dropped), collection.name
    asked = {collection.name for collection, _ in recorded.pipelines}
    assert (asked == {one.name for one in COLLECTIONS}) == (seen.forms[Phi.CLINICAL] is Form.SHOW)


async def test_the_record_shows_what_is_asked(recorded: Recorded, graph: Graph) -> None:
    """The same look at the clinician's statements, judged by a view that hides more, finds hidden columns."""
    [patient_id] = await ids_of(graph, "Patient", limit=1)
    by_name = {seen.name: seen for seen in VIEWS}
    await recorded.ask(by_name["clinician"], patient_id)
    found = {column for sql in recorded.sql for column in named_although_hidden(sql, by_name["cds"])}
    assert {"patient.address", "registration.mrn", "patient_name.family", "condition.note"} <= found
    assert len(recorded.sql) > 15


ROWS = "conditions(first: 1) { nodes { id } }"
"""A relation of a patient: the database does not write the patient's JSON then."""
WARD = """{ facility { inpatients(first: 5) { nodes { periodStart
    patient { ROWS %s } again: patient { ROWS %s } } } } }""".replace("ROWS", ROWS)
DOCUMENTS = {"address", "telecom", "contact", "communication", "marital_status"}


async def columns_of_patients(recorded: Recorded, one: str, other: str = "") -> set[str]:
    """Columns of JSON that the one statement of a ward's patients names."""
    recorded.sql.clear()
    answer = await recorded.graph.ask_as(recorded.graph.caller(), WARD % (one, other))
    assert answer.errors == []
    [sql] = [sql for sql in recorded.sql if sql.startswith("/* patient_by_id */")]
    return {name for name in DOCUMENTS if f"p.{name}" in sql}


async def test_documents_that_nobody_selected_are_not_fetched(recorded: Recorded) -> None:
    assert await columns_of_patients(recorded, "mrn gender") == set()
    assert await columns_of_patients(recorded, "mrn", "maritalStatus { text }") == {"marital_status"}
    assert await columns_of_patients(recorded, "address { city }", "telecom { value }") == {"address", "telecom"}


async def test_rows_that_a_function_of_ours_looks_at_are_fetched_whole(recorded: Recorded) -> None:
    assert await columns_of_patients(recorded, "mrn", "cohort { __typename }") == DOCUMENTS


async def test_rows_below_an_interface_are_fetched_whole(recorded: Recorded, graph: Graph) -> None:
    [encounter] = await ids_of(graph, "Encounter", limit=1)
    query = f"query ($id: ID!) {{ node(id: $id) {{ ... on Encounter {{ id patient {{ {ROWS} mrn }} }} }} }}"
    answer = await recorded.graph.ask_as(graph.caller(), query, id=encounter)
    assert answer.errors == []
    [sql] = [sql for sql in recorded.sql if sql.startswith("/* patient_by_id */")]
    assert {name for name in DOCUMENTS if f"p.{name}" in sql} == DOCUMENTS
