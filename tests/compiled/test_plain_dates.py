"""Dates are written into JSON as they are: the database lets nothing into their columns that JSON would escape."""

from __future__ import annotations

from typing import cast

from graphql import GraphQLObjectType, get_named_type

from graph.definition import definition_of, metadata_of
from graph.field import Source
from graph.schema import schema
from loaders.element import Element
from loaders.json_text import PLAIN
from tests.asking import Graph

TYPES_OF_COLUMNS = """
SELECT DISTINCT table_name || '.' || column_name AS name, domain_schema || '.' || domain_name AS domain
FROM information_schema.columns
WHERE table_schema = ANY('{clinical,imaging,vitals}') AND data_type = 'text' AND column_name = ANY($1::text[])"""


def columns() -> set[str]:
    """Names of columns that fields of these scalars show as they are."""
    found: set[str] = set()
    for type_ in schema._schema.type_map.values():  # pyright: ignore[reportPrivateUsage] - as graph.app
        for declared in type_.fields.values() if isinstance(type_, GraphQLObjectType) else ():
            source = cast("Source | None", metadata_of(declared, "source"))
            if get_named_type(declared.type).name not in PLAIN or source is None or source.relation or source.root:
                continue
            value = source.value or Element(definition_of(declared).python_name)
            if isinstance(value, Element):
                found.add(value.name)
    return found


async def test_columns_of_dates_take_nothing_else(graph: Graph) -> None:
    names = columns()
    assert {"effective", "issued", "birth_date", "onset"} <= names
    domains = {}
    for store in (graph.stores.clinical, graph.stores.imaging, graph.stores.vitals):
        domains |= {name: domain for name, domain in await store.worker_fetch(TYPES_OF_COLUMNS, list(names))}
    assert len(domains) > 20
    assert {
        name for name, domain in domains.items() if domain not in ("access.fhir_date", "access.fhir_date_time")
    } == set()
