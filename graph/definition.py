"""What a field or an argument of the schema was declared with: Strawberry keeps it beside graphql-core's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphql import GraphQLArgument, GraphQLField

Declared = GraphQLField | GraphQLArgument


def directives_of(declared: Declared) -> Sequence[object]:
    """Directives, as they were given; none where nothing was."""
    return getattr(_definition(declared), "directives", None) or ()


def metadata_of(declared: GraphQLField, name: str) -> object:
    """Metadata of a name, see graph.field; None where there is none."""
    return getattr(_definition(declared), "metadata", {}).get(name)


def _definition(declared: Declared) -> Any:
    return declared.extensions.get("strawberry-definition")
