"""`python -m tests.bench.relations`: every relation for 1, 10, 100 and 1,000 parents, as a table in Markdown.

Each relation's batch resolver is called with that many parents at once, over embedded stores with a demo network: how
many statements that takes, which must not grow, and how long each parent takes, which should fall. Parents are rows of
the network, the first facility's; where it has fewer, copies with ids of their own make up the number: other keys to
look for, which have no entries. Prints the section of docs/benchmarks.md; asserts nothing (tests/relations does).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

from graphql import GraphQLObjectType
from strawberry import UNSET

from db.settings import load
from db.stores import Stores
from graph.definition import definition_of, metadata_of
from graph.field import Source
from loaders.reader import Reader
from loaders.vital_sign import VitalSignRow
from resolvers.context import Context
from resolvers.node import BATCHES
from tests.asking import CURSOR_KEY, Graph
from tests.conftest import MINUTES, POPULATION
from tests.ids import ids_of
from tests.relations.test_batching import RELATIONS, asker
from tests.schema_walk import GRAPH
from workers.demo import load as load_demo
from workers.embedded.stores import stores
from workers.migrate import migrate_all
from workers.network.facilities import FACILITIES

PARENTS = (1, 10, 100, 1000)
REQUIRED: Mapping[str, object] = {"code": ["8867-4"], "start": "2020", "end": "2030"}
"""Values of arguments that have no default, by the resolver's names."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One relation, called for ever more parents."""

    name: str
    rows: int
    """Different parents that the network has; the others are made."""
    statements: Sequence[int]
    """Of one call for each of PARENTS."""
    parent_us: Sequence[float]
    """Microseconds for each parent: medians of the rounds."""

    @property
    def line(self) -> str:
        """Row of the table."""
        times = " | ".join(f"{one:,.0f}" for one in self.parent_us)
        return f"| {self.name} | {self.rows} | {', '.join(map(str, self.statements))} | {times} |"

    @property
    def grows(self) -> bool:
        """Whether a thousand parents take more statements; a few may take fewer, if none of them has the relation."""
        return self.statements[-1] > self.statements[-2]


async def measured(graph: Graph, kind: str, relation: str, rounds: int) -> Measured:
    """Calls a relation's batch resolver in a new request for each number of parents, in turns."""
    rows = await _rows(graph, kind)
    parents = [rows[place] if place < len(rows) else _other(rows[place % len(rows)]) for place in range(max(PARENTS))]
    statements = [0] * len(PARENTS)
    times: list[list[float]] = [[] for _ in PARENTS]
    for turn in range(rounds + 1):  # the first one warms up
        for place, number in enumerate(PARENTS):
            statements[place], took = await _called(graph, kind, relation, parents[:number])
            if turn:
                times[place].append(took / number * 1e6)
    return Measured(f"{kind}.{relation}", len(rows), statements, [statistics.median(one) for one in times])


async def _called(graph: Graph, kind: str, relation: str, parents: Sequence[Any]) -> tuple[int, float]:
    """Statements and seconds of one call; the transaction is open and the caller's patients are known before it."""
    type_ = GRAPH.type_map[kind]
    assert isinstance(type_, GraphQLObjectType)
    declared = type_.fields[relation]
    source = cast("Source", metadata_of(declared, "source"))
    assert source.relation is not None
    arguments = {
        one.python_name: REQUIRED[one.python_name] if one.default is UNSET else one.default
        for one in definition_of(declared).arguments
    }
    caller = graph.caller(asker(kind, relation))
    reader = Reader(graph.stores, caller)
    try:
        await reader.patients()
        before = reader.statements.total()
        started = time.perf_counter()
        await source.relation.batch(Context(reader, CURSOR_KEY), parents, **arguments)
        return reader.statements.total() - before, time.perf_counter() - started
    finally:
        await reader.close()


async def _rows(graph: Graph, kind: str) -> Sequence[Any]:
    """Rows of a type at the first facility: as many as the network has, but not more than are asked with."""
    keys = [one.partition("/")[2] for one in await ids_of(graph, kind, limit=max(PARENTS))]
    reader = Reader(graph.stores, graph.caller())
    try:
        if kind == "VitalSign":
            return await _vital_signs(reader)
        found = await BATCHES[kind](reader, [UUID(key) for key in keys])
        return list(found.values())
    finally:
        await reader.close()


async def _vital_signs(reader: Reader) -> Sequence[VitalSignRow]:
    """Vital signs have keys of two parts, and are read as they are listed."""
    names = ", ".join(one.name for one in fields(VitalSignRow))
    sql = f"/* vital_signs_of_bench */ SELECT {names} FROM vital_sign LIMIT $1"
    rows = await reader.vitals.fetch(sql, max(PARENTS))  # pyright: ignore[reportArgumentType] - names of a row class
    return [VitalSignRow(*row) for row in rows]


def _other(row: Any) -> Any:
    """A parent like this one with an id, and keys of what it belongs to, of its own."""
    assert is_dataclass(row)
    assert not isinstance(row, type)
    keys = [one.name for one in fields(row) if isinstance(getattr(row, one.name), UUID) and one.name != "facility_id"]
    return replace(row, **{name: uuid4() for name in keys})


async def main(population: int, rounds: int) -> None:
    """Prints the section."""
    with tempfile.TemporaryDirectory(prefix="caregraph-") as data, stores(Path(data), {}) as running:
        settings = replace(load({**running.env, "CAREGRAPH_DATA": data}), store_timeout_s=60)
        await migrate_all(settings)
        await load_demo(settings, population=population, minutes=MINUTES, progress=lambda line: None)
        opened = Stores(settings)
        known = {facility.code: facility for facility in await opened.facilities()}
        graph = Graph(settings, opened, [known[facility.code] for facility in FACILITIES])
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        print(f"{machine}; a network of {population} people around each hospital; medians of {rounds} rounds.\n")
        print("| relation | rows | statements | " + " | ".join(f"{n:,} (µs/parent)" for n in PARENTS) + " |")
        print("|---|---|---|" + "---|" * len(PARENTS))
        grown: list[str] = []
        for kind, relation in RELATIONS:
            one = await measured(graph, kind, relation, rounds)
            print(one.line, flush=True)
            grown += [one.name] if one.grows else []
        print(f"\n{len(RELATIONS)} relations; statements that grow with parents: {', '.join(grown) or 'none'}.")
        await opened.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="N+1 shapes: every relation for 1 to 1,000 parents")
    parser.add_argument("--population", type=int, default=POPULATION)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.population, chosen.rounds))
