"""The graph's own declarations, of which a release is made: what a field is of which kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from db.policy import Phi


def fields(type_: Any) -> Sequence[Any]:
    """Fields of a type of the graph, in their order."""
    return type_.__strawberry_definition__.fields


def field(type_: Any, name: str) -> Any:
    """A field by its Python name; a name that there is not is a mistake of ours."""
    return next(one for one in fields(type_) if one.python_name == name)


def kinds(type_: Any, name: str) -> tuple[Phi, ...]:
    """PHI kinds that the graph declares for a field."""
    return tuple(field(type_, name).metadata["source"].kinds)
