"""What the database writes as JSON is byte for byte what graphql-core answers of the same row, whatever it holds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from graph.encoding import encoded
from graph.execution import Engine
from graph.plan import plan
from graph.schema import schema
from loaders.reader import Reader
from resolvers.context import Context
from tests.asking import CURSOR_KEY, REQUEST, Graph
from tests.people import People

COLUMNS = (
    "status", "category", "code_system", "code", "code_display", "code_text", "code_translation", "value_number",
    "value_comparator", "value_unit", "value_concept", "value_text", "component", "reference_range", "note",
)  # fmt: skip
ROW: Any = f"""
INSERT INTO clinical.observation (id, facility_id, patient_id, sort_time, {", ".join(COLUMNS)})
VALUES ($1, $2, $3, $4, {", ".join(f"${number}" for number in range(5, 5 + len(COLUMNS)))})"""
QUANTITY = "{ value comparator unit system code }"
CONCEPT = "{ __typename coding { system code it: display } text }"
QUERY = f"""query($id: ID!) {{ patient(id: $id) {{ observations(first: 1) {{
    nodes {{ id status category code {CONCEPT} a: valueQuantity {QUANTITY} valueString note
        valueCodeableConcept {CONCEPT}
        component {{ code {CONCEPT} valueQuantity {QUANTITY} valueString }}
        referenceRange {{ low {QUANTITY} high {QUANTITY} type {CONCEPT} text }} }}
    edges {{ cursor }} pageInfo {{ hasNextPage startCursor }} }} }} }}"""

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15)
strange = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.lists(texts, max_size=2)


def objects(**elements: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """FHIR fragments with these elements, each there, missing, or now and then of another type."""
    return st.fixed_dictionaries({}, optional={name: one | one | one | strange for name, one in elements.items()})


numbers = decimals.map(float).map(lambda number: 0.0 if number == 0 else number)
codings = objects(system=texts, code=texts, display=texts)
concepts = objects(coding=st.lists(codings, max_size=2), text=texts)
quantities = objects(value=numbers, comparator=texts, unit=texts, system=texts, code=texts)
components = objects(code=concepts, valueQuantity=quantities, valueString=texts)
ranges = objects(low=quantities, high=quantities, type=concepts, text=texts)
maybe = st.none() | texts
rows = st.fixed_dictionaries(
    {
        "status": texts,
        "category": st.lists(texts, max_size=3),
        "code_system": maybe,
        "code": maybe,
        "code_display": maybe,
        "code_text": maybe,
        "code_translation": st.none() | st.lists(codings, max_size=2),
        "value_number": st.none() | decimals,
        "value_comparator": maybe,
        "value_unit": maybe,
        "value_concept": st.none() | concepts,
        "value_text": maybe,
        "component": st.none() | st.lists(components, max_size=2),
        "reference_range": st.none() | st.lists(ranges, max_size=2),
        "note": maybe,
    }
)


class Both:
    """One patient with one observation, asked for in both ways."""

    def __init__(self, graph: Graph, patient: UUID, observation: UUID) -> None:
        self._graph = graph
        self._patient = patient
        self._observation = observation
        self.composed = 0

    async def answers(self, row: dict[str, Any]) -> list[tuple[bytes, list[str]]]:
        """Data and codes of the errors: of the compiled execution, and of graphql-core's own."""
        worker = self._graph.stores.clinical
        await worker.worker_fetch("DELETE FROM clinical.observation WHERE id = $1", self._observation)
        at = datetime(2024, 5, 1, tzinfo=UTC)
        facility = self._graph.facilities[2].id
        values = [row[name] for name in COLUMNS]
        await worker.worker_fetch(ROW, self._observation, facility, self._patient, at, *values)
        return [await self._ask(compiled=compiled) for compiled in (True, False)]

    async def _ask(self, *, compiled: bool) -> tuple[bytes, list[str]]:
        caller = self._graph.caller(facility=2)
        reader = Reader(self._graph.stores, caller)
        engine = Engine(schema._schema, plan, lambda _: Given(reader), compiled=compiled)  # pyright: ignore[reportPrivateUsage] - as graph.app
        operation = engine.prepare(QUERY, None)
        assert not isinstance(operation, list)
        variables = {"id": f"Patient/{self._patient}"}
        [payload] = [one async for one in engine.run(operation, variables, caller, REQUEST, incremental=False)]
        self.composed += compiled and ("clinical", "patient_graph") in reader.statements and len(reader.statements) == 2
        return encoded(payload["data"]), [error["extensions"]["code"] for error in payload.get("errors", [])]


class Given:
    """A session of one reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def __aenter__(self) -> Context:
        return Context(self._reader, CURSOR_KEY)

    async def __aexit__(self, *_: object) -> None:
        await self._reader.close()


@pytest.fixture
async def both(graph: Graph) -> Both:
    """A patient of the third facility."""
    patient = await People(graph.stores).patient(graph.facilities[2].id)
    return Both(graph, patient, uuid4())


async def test_the_same_bytes_for_any_row(both: Both) -> None:
    loop = asyncio.get_running_loop()
    found: list[tuple[dict[str, Any], list[tuple[bytes, list[str]]]]] = []

    @settings(
        max_examples=150,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(rows)
    def collect(row: dict[str, Any]) -> None:
        found.append((row, []))

    await loop.run_in_executor(None, collect)
    for row, _ in found:
        compiled, stock = await both.answers(row)
        assert compiled == stock, orjson.dumps(row, default=str)
    assert 50 < both.composed < len(found), "some rows are composed, and some are left to graphql-core"


async def test_what_json_has_to_escape(both: Both) -> None:
    """Characters and numbers in which the two might differ."""
    words = "".join(map(chr, [*range(1, 32), 34, 47, 92, 127, 0x2028, 0xFEFF, 0x1F600]))
    row = {
        "status": "final",
        "category": [words, ""],
        "code_system": words,
        "code": "",
        "code_display": words,
        "code_text": words,
        "code_translation": [{"system": words, "code": "x"}],
        "value_number": Decimal("0.00000001200"),
        "value_comparator": None,
        "value_unit": words,
        "value_concept": {"text": words},
        "value_text": words,
        "component": [{"valueQuantity": {"value": 1e-9}}, {"valueString": words}],
        "reference_range": [],
        "note": words,
    }
    compiled, stock = await both.answers(row)
    assert compiled == stock
    assert stock[1] == []
    assert b"0.00000001200" in stock[0]
    assert both.composed == 1
