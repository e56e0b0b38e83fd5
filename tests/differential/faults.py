"""Faults, put in where fields get their values, so that both executions meet them: stores, relations, roots, values."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from graphql import GraphQLField, GraphQLInterfaceType, GraphQLObjectType

from db.errors import InvalidArgument, StoreUnavailable
from db.stores import Stores
from graph.definition import definition_of, metadata_of
from graph.field import Source
from resolvers.connection import Slice
from tests.differential.arguments import Choices
from tests.schema_walk import GRAPH

STORES = ("clinical", "imaging", "vitals", "notes", "archive", "warehouse")
OF_RELATIONS = (
    "refused",
    "broken",
    "some refused",
    "some broken",
    "none",
    "some none",
    "null entries",
    "hollow",
    "too few",
)
OF_VALUES = ("refused", "broken", "some broken", "none", "some none", "strange")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong: the name of a store that is down, or a kind of fault at a field's coordinate."""

    place: str
    kind: str = "down"


def faults(choices: Choices, selected: Sequence[str]) -> Sequence[Fault]:
    """Mostly none; otherwise a store, or one or two fields that a document selects."""
    how = choices.weighted({"none": 14, "store": 1, "field": 5})
    if how == "none":
        return ()
    if how == "store":
        return [Fault(choices.pick(STORES))]
    places = [place for place in selected if _kinds(field_at(place))]
    if not places:
        return ()
    chosen = dict.fromkeys(choices.pick(places) for _ in range(choices.weighted({1: 3, 2: 1})))
    return [Fault(place, choices.pick(_kinds(field_at(place)))) for place in chosen]


@contextmanager
def injected(stores: Stores, wrong: Sequence[Fault]) -> Generator[None]:
    """Has these faults for as long as it lasts."""
    undo: list[Callable[[], None]] = []
    try:
        for fault in wrong:
            undo.append(_down(stores, fault.place) if fault.kind == "down" else _at_field(fault))
        yield
    finally:
        for step in reversed(undo):
            step()


def field_at(coordinate: str) -> GraphQLField:
    """A field of the schema."""
    owner, _, name = coordinate.partition(".")
    type_ = GRAPH.type_map[owner]
    assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
    return type_.fields[name]


def _kinds(declared: GraphQLField) -> Sequence[str]:
    source = cast("Source | None", metadata_of(declared, "source"))
    if source is None or not (source.value or source.relation or source.root):
        return ()
    if definition_of(declared).origin.__module__ == "graph.connection":
        return ()  # what a page is made of is known to who makes it; a relation's faults are of the page itself
    if source.root:
        return [kind for kind in OF_RELATIONS if not kind.startswith(("some", "too"))]
    return OF_RELATIONS if source.relation else OF_VALUES


def _down(stores: Stores, name: str) -> Callable[[], None]:
    """A store whose every call fails at once, without opening its breaker."""
    guard = getattr(stores, name).guard

    async def run(_call: Callable[[], Awaitable[object]]) -> object:
        raise StoreUnavailable(name)

    guard.run = run
    return lambda: delattr(guard, "run")


def _at_field(fault: Fault) -> Callable[[], None]:
    declared = field_at(fault.place)
    source = cast("Source", metadata_of(declared, "source"))
    if source.relation:
        wrong = _relation(source.relation.batch, fault.kind)
        return _replaced([(source.relation, "batch", wrong)])
    # Stock execution has the function in the resolver's closure.
    [cell] = [
        cell
        for cell in definition_of(declared).base_resolver.wrapped_func.__closure__
        if cell.cell_contents is (source.value or source.root)
    ]
    if source.value:
        return _replaced([(source, "value", wrong := _value(source.value, fault.kind)), (cell, "cell_contents", wrong)])
    assert source.root is not None
    return _replaced([(source, "root", wrong := _root(source.root, fault.kind)), (cell, "cell_contents", wrong)])


def _replaced(places: Sequence[tuple[Any, str, object]]) -> Callable[[], None]:
    """Sets attributes, those of frozen dataclasses too; gives what sets them back."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for owner, name, value in places:
        object.__setattr__(owner, name, value)

    def undo() -> None:
        for owner, name, value in before:
            object.__setattr__(owner, name, value)

    return undo


def _relation(batch: Callable[..., Awaitable[Sequence[Any]]], kind: str) -> Callable[..., Awaitable[Sequence[Any]]]:
    async def wrong(context: Any, parents: Sequence[Any], **arguments: Any) -> Sequence[Any]:
        if not kind.startswith("some") and kind in ("refused", "broken"):
            raise _error(kind)
        values = await batch(context, parents, **arguments)
        changed = [_changed(value, kind, parent) for value, parent in zip(values, parents, strict=True)]
        return changed[:-1] if kind == "too few" else changed

    return wrong


def _root(root: Callable[..., Awaitable[Any]], kind: str) -> Callable[..., Awaitable[Any]]:
    async def wrong(context: Any, **arguments: Any) -> Any:
        if kind in ("refused", "broken"):
            raise _error(kind)
        return _changed(await root(context, **arguments), kind, None)

    return wrong


def _value(value: Callable[[Any], object], kind: str) -> Callable[[Any], object]:
    def wrong(row: Any) -> object:
        made = value(row)
        if kind in ("refused", "broken"):
            raise _error(kind)
        changed = _changed(made, kind, row)
        if isinstance(changed, Exception):
            raise changed
        return changed

    return wrong


def _error(kind: str) -> Exception:
    return InvalidArgument("first") if kind.endswith("refused") else RuntimeError("nobody expected this")


def _changed(value: Any, kind: str, owner: Any) -> Any:
    """What a fault makes of one value; `some` faults are of the owners whose ids say so."""
    if kind.startswith("some") and zlib.crc32(str(getattr(owner, "id", "")).encode()) % 2 and hasattr(owner, "id"):
        return value
    if kind.endswith(("refused", "broken")):
        return _error(kind)
    if kind.endswith("none"):
        return None
    if kind == "strange":
        return object()
    if kind in ("null entries", "hollow"):
        return _in_rows(value, kind)
    return value


def _in_rows(value: Any, kind: str) -> Any:
    """The value with null entries in its list, or with rows that lack half of what they have."""
    if isinstance(value, Slice):
        return dataclasses.replace(cast("Slice[Any]", value), rows=_in_rows(list(value.rows), kind))
    if isinstance(value, list | tuple):
        rows = list(cast("Sequence[Any]", value))
        return [*rows[:1], None, *rows[1:]] if kind == "null entries" else [_in_rows(row, kind) for row in rows]
    if kind == "hollow" and dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in dataclasses.fields(value) if one.init and zlib.crc32(one.name.encode()) % 2]
        return dataclasses.replace(value, **dict.fromkeys(names))
    return value
