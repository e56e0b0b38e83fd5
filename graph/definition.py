"""What a field, an argument or a part of an input was declared with: Strawberry keeps it beside graphql-core's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphql import GraphQLArgument, GraphQLField, GraphQLInputField

Declared = GraphQLField | GraphQLArgument | GraphQLInputField


def directives_of(declared: Declared) -> Sequence[object]:
    """Directives, as they were given; none where nothing was."""
    return getattr(definition_of(declared), "directives", None) or ()


def metadata_of(declared: GraphQLField, name: str) -> object:
    """Metadata of a name, see graph.field; None where there is none."""
    return getattr(definition_of(declared), "metadata", {}).get(name)


def definition_of(declared: Declared) -> Any:
    """Strawberry's own definition: with `python_name`, `arguments`."""
    return declared.extensions.get("strawberry-definition")
