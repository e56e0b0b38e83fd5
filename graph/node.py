"""Relay's Node: every type with an id of its own can be fetched again by it.

A global id is a FHIR relative reference, `Patient/<uuid>`: unique, and readable in a log without saying who it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import strawberry

import resolvers.node
from graph.field import field
from graph.scopes import FHIR_TYPES, check_scopes
from loaders.element import GlobalId
from resolvers.context import Context

C = TypeVar("C", bound=type)


@strawberry.interface(description="A resource with a global id")
class Node:
    """Relay's Node interface."""

    id: strawberry.ID = field("Global id: FHIR type, slash, key", phi=None)


def node_id(type_name: str) -> Any:
    """The `id` field of a type."""
    return field("Global id: FHIR type, slash, key", phi=None, value=GlobalId(type_name))


def row_version() -> Any:
    """The `version` field of a type that clients update."""
    return field("Version of the record, one more for each change; an update says which one was seen", phi=None)


SERVED: dict[type, str] = {}
"""Name of the type of Node that each row class serves."""
ROWS: dict[str, type] = {}
"""Row class of each of them."""


def served_from(row: type) -> Callable[[C], C]:
    """Lets a type that implements Node be served from this row class."""

    def mark(cls: C) -> C:
        SERVED[row], ROWS[cls.__name__] = cls.__name__, row
        cls.is_type_of = classmethod(lambda _cls, value, _info: isinstance(value, row))  # type: ignore[attr-defined]
        return cls

    return mark


async def one(context: Context, *, id: str) -> object | None:
    """The resource of an id of any type. Raises InsufficientScope where the type that the id names is not granted."""
    # Only names of types: what else a client wrote does not get into a message.
    known = FHIR_TYPES.keys() | resolvers.node.BATCHES.keys()
    check_scopes(context.caller, known & {id.partition("/")[0]})
    return await resolvers.node.one(context, id=id)
