"""Context of one request: its reader, the joining of one field's parents into one call, and records from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, cast
from uuid import UUID

from aiodataloader import DataLoader

from db.caller import Caller
from loaders.composed import Composed, Found, found
from loaders.reader import Reader

BatchResolver: TypeAlias = Callable[..., Awaitable[Sequence[Any]]]
"""`async def name(context, parents, *, arguments…)` -> one value for each parent, in their order."""


class Place(Protocol):
    """A place in the answer: graphql-core's Path."""

    def as_list(self) -> list[str | int]:
        """Keys and indexes from the root down."""
        ...


class Context:
    """What resolvers get: the caller's reader, and the key that signs cursors."""

    def __init__(self, reader: Reader, cursor_key: bytes) -> None:
        self.reader = reader
        self.cursor_key = cursor_key
        self._fields: dict[tuple[object, ...], DataLoader[Any, Any]] = {}
        self._facilities: dict[UUID, Context] = {}
        self._paths: dict[tuple[str | int, ...], Context] = {}

    @property
    def caller(self) -> Caller:
        """Who is asking."""
        return self.reader.caller

    def at(self, path: Place) -> Context:
        """The context of a place in the answer: below one that was entered, the other facility's."""
        if not self._paths:
            return self
        keys = tuple(path.as_list())
        return next((self._paths[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in self._paths), self)

    def enter(self, path: Place, facility_id: UUID) -> Context:
        """The context of another facility, for all that lies below a place in the answer.

        What of it the caller may see, that facility's policies decide: see access.exchanged_to.
        """
        context = self._paths[tuple(path.as_list())] = self.beside(facility_id)
        return context

    def beside(self, facility_id: UUID) -> Context:
        """The context of the same person at another facility, in the same request."""
        context = self._facilities.get(facility_id)
        if context is None:
            caller = replace(self.caller, facility_id=facility_id, home_facility_id=self.caller.facility_id)
            context = self._facilities[facility_id] = Context(self.reader.beside(caller), self.cursor_key)
        return context

    async def for_parent(self, resolver: BatchResolver, parent: object, arguments: Mapping[str, Any]) -> Any:
        """A batch resolver's value for one parent: how stock execution, which goes field by field, asks for a level.

        Raises what the resolver raises, or gives for this parent.
        """
        [value] = await self.for_level(resolver, [parent], arguments)
        if isinstance(value, Exception):
            raise value
        return value

    async def for_level(
        self, resolver: BatchResolver, parents: Sequence[Any], arguments: Mapping[str, Any]
    ) -> Sequence[Any]:
        """A batch resolver's values for parents, in their order; all that ask at one moment share one call."""
        key = (resolver, *((name, _hashable(value)) for name, value in arguments.items()))
        loader = self._fields.get(key)
        if loader is None:

            async def run(levels: list[Sequence[Any]]) -> list[Sequence[Any]]:
                everyone = [parent for level in levels for parent in level]
                with self.reader.under_way():
                    values = iter(await resolver(self, everyone, **arguments))
                return [[next(values) for _ in level] for level in levels]

            loader = self._fields[key] = DataLoader(run, cache=False)
        return await loader.load(parents)

    async def composed(
        self, statement: Composed, ids: Sequence[Sequence[UUID]], arguments: Sequence[Sequence[object]]
    ) -> Mapping[tuple[int, UUID], Found]:
        """What a composed statement finds for the ids of each branch; all that ask at one moment share one statement.

        Raises StoreError and FaultyText.
        """
        key = (statement.sql, *(_hashable(one) for of_branch in arguments for one in of_branch))
        loader = self._fields.get(key)
        if loader is None:

            async def run(asked: list[Sequence[Sequence[UUID]]]) -> list[Mapping[tuple[int, UUID], Found]]:
                together = [[key for of_branch in branch for key in of_branch] for branch in zip(*asked, strict=True)]
                with self.reader.under_way():
                    result = await found(self.reader, statement, together, arguments)
                return [result for _ in asked]

            loader = self._fields[key] = DataLoader(run, cache=False)
        return await loader.load(ids)


def _hashable(value: object) -> object:
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value
