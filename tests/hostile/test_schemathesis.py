"""Schemathesis: operations made from the schema; none fails in the served API, and no answer tells what is in it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import schemathesis
from graphql import StringValueNode, build_schema, introspection_from_schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.settings import Settings
from graph.auth import issue
from tests.asking import Graph
from tests.served import ROOT, Api

EXAMPLES_MAX = 12
"""Operations of each root field."""
PERSONAS = ("registrar", "biller", "cds", "analyst", "privacy")
"""Who asks: those who need no provider, department or patient of their own; each sees other forms."""
SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
INCREMENTAL = ("defer", "stream")
SDL = (ROOT / "schema.graphql").read_text(encoding="utf-8")
LEAK = re.compile(
    r"Traceback|File \"|site-packages|\.py\b|asyncpg|pymongo|snowflake|aioboto|graphql\.|strawberry"
    r"|\b(SELECT|FROM|WHERE|relation|column|syntax error at)\b|Exception|0x[0-9a-f]{6}"
)
"""What an error must not say: where it comes from, and what was asked of a store."""


def schema_of(text: str) -> Any:
    """The committed schema, for Schemathesis; it can't introspect one with directives of incremental delivery."""
    built = build_schema(text)
    built.directives = tuple(directive for directive in built.directives if directive.name not in INCREMENTAL)
    for scalar in ("Date", "DateTime", "Decimal"):
        values = st.one_of(st.text(max_size=12), st.dates().map(str), st.datetimes().map(str))
        schemathesis.graphql.scalar(scalar, values.map(lambda value: StringValueNode(value=value)))
    return schemathesis.graphql.from_dict(dict(introspection_from_schema(built)))


OPERATIONS = [found.ok() for found in schema_of(SDL).get_all_operations()]


@pytest.fixture(scope="session")
def tokens(network: Settings, graph: Graph) -> dict[str, str]:
    """A token of each persona at the first facility."""
    return {persona: issue(network, persona, graph.facilities[0].id) for persona in PERSONAS}


def test_every_root_is_asked() -> None:
    """A root field that Schemathesis can't make would go unnoticed."""
    schema = build_schema(SDL)
    roots = [kind for kind in (schema.query_type, schema.mutation_type) if kind]
    assert {operation.label for operation in OPERATIONS} == {f"{kind}.{name}" for kind in roots for name in kind.fields}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
@settings(max_examples=EXAMPLES_MAX, deadline=None, database=None, derandomize=True, suppress_health_check=SLOW)
@given(data=st.data())
def test_operation(api: Api, tokens: dict[str, str], operation: Any, data: st.DataObject) -> None:
    """No 500, no INTERNAL, a code for every error, and no word of what is behind."""
    case = data.draw(operation.as_strategy())
    persona = data.draw(st.sampled_from(PERSONAS))
    response = case.call(base_url=f"{api.url}/graphql", headers={"Authorization": f"Bearer {tokens[persona]}"})
    # Schemathesis' own check takes every entry of `errors` for a failure of the server, INVALID_ID too.
    answer = response.json()
    assert response.status_code in (200, 400, 403), answer
    assert "data" in answer or answer["errors"]
    for error in answer.get("errors", ()):
        assert error["extensions"]["code"] not in ("INTERNAL", "STORE_UNAVAILABLE"), (error, case.body)
        assert not LEAK.search(error["message"]), error
