"""Running a compiled operation: all objects of a level at once, each relation one call, independent ones together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any
from uuid import UUID

from graphql import ExecutionResult, GraphQLError, located_error
from graphql.execution.values import VariableValues

from graph.compiled import Fault, Item, Link, Path, Shape
from resolvers.context import Context


class Below:
    """Objects found on a level whose relations are the next one, by shape."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: dict[Shape, list[Item]] = {}

    def note(self, shape: Shape, item: Item) -> None:
        """Keeps an object until the level above is complete."""
        if shape in self.items:
            self.items[shape].append(item)
        else:
            self.items[shape] = [item]


class Run:
    """One execution of one compiled operation."""

    def __init__(self, root: Shape, variables: VariableValues) -> None:
        self._root = root
        self._variables = variables
        self._errors: list[GraphQLError] = []

    async def execute(self, context: Context) -> ExecutionResult:
        """The answer with its errors. Raises Fault where graphql-core's own execution has to answer."""
        below = Below()
        data = self._root.complete(None, None, below)
        await self._settle(context, below)
        return ExecutionResult(data, self._errors or None)

    async def _settle(self, context: Context, below: Below) -> None:
        await _all([self._linked(context, link, items) for shape, items in below.items.items() for link in shape.links])

    async def _linked(self, context: Context, link: Link, items: Sequence[Item]) -> None:
        """Reads one field for its objects: for those away from here, as at the other facility."""
        try:
            arguments = link.arguments(self._variables)
        except GraphQLError as error:
            raise Fault from error
        if link.source.relation and link.source.relation.elsewhere:
            away: defaultdict[UUID, list[Item]] = defaultdict(list)
            for item in items:
                away[link.source.relation.elsewhere(item.row)].append(item)
            await _all([self._read(context.beside(at), link, there, arguments) for at, there in away.items()])
        else:
            await self._read(context, link, items, arguments)

    async def _read(self, context: Context, link: Link, items: Sequence[Item], arguments: Mapping[str, Any]) -> None:
        open_items = self._open(context, link, items)
        if not open_items:
            return
        try:
            values = await self._values(context, link, open_items, arguments)
        except Fault:
            raise
        except Exception as error:  # whatever it is, these fields have it as their error, see graph.errors
            values = [error] * len(open_items)
        below = Below()
        for item, value in zip(open_items, values, strict=True):
            if isinstance(value, Exception):
                self._fail(link, item, value)
            else:
                item.out[link.key] = link.complete(value, (item.path, link.key), below)
        await self._settle(context, below)

    async def _values(
        self, context: Context, link: Link, items: Sequence[Item], arguments: Mapping[str, Any]
    ) -> Sequence[Any]:
        if link.source.relation:
            return await context.for_level(link.source.relation.batch, [item.row for item in items], arguments)
        assert link.source.root is not None
        return [await link.source.root(context, **arguments)]

    def _open(self, context: Context, link: Link, items: Sequence[Item]) -> Sequence[Item]:
        """Objects below which the caller may look; the others have that as their error."""
        relation = link.source.relation
        if relation is None or not relation.chart:
            return items
        found: list[Item] = []
        for item in items:
            suppressed = relation.suppressed(context.caller, item.row)
            if suppressed:
                self._fail(link, item, suppressed)
            else:
                found.append(item)
        return found

    def _fail(self, link: Link, item: Item, error: Exception) -> None:
        """The field stays null, and the error says why."""
        if not link.nullable:
            raise Fault from error
        self._errors.append(located_error(error, link.nodes, _keys((item.path, link.key))))


def _keys(path: Path | None) -> list[str | int]:
    keys: list[str | int] = []
    while path:
        path, key = path
        keys.append(key)
    return keys[::-1]


async def _all(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Does all of it together; what is left is cancelled where one fails."""
    if len(work) == 1:
        await work[0]
        return
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
