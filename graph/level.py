"""Running a compiled operation: all objects of a level at once, each relation one call, independent ones together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any
from uuid import UUID

from graphql import ExecutionResult, GraphQLError, located_error
from graphql.execution.values import VariableValues

from db.errors import AppError
from graph.compiled import Fault, Group, Item, Link, Path, Shape
from graph.compose import Asked, Written
from loaders.composed import FaultyText, Found
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
        data = _completed(self._root.complete, None, None, below)
        await self._settle(context, below)
        return ExecutionResult(data, self._errors or None)

    async def _settle(self, context: Context, below: Below) -> None:
        linked = [self._linked(context, link, items) for shape, items in below.items.items() for link in shape.links]
        grouped = [self._grouped(context, one, items) for shape, items in below.items.items() for one in shape.groups]
        await _all([*grouped, *linked])

    async def _grouped(self, context: Context, group: Group, items: Sequence[Item]) -> None:
        """Reads the relations that one statement writes."""
        reads: list[tuple[Link, Written, Sequence[Item], Asked]] = []
        for (link, written), count in zip(group.links, group.statement.counts, strict=True):
            open_items = self._open(context, link, items)
            try:
                asked = written.asked(context, self._arguments(link))
            except AppError as error:
                self._fail_all(link, open_items, error)
                # No ids then, and the statement of the others is the same.
                open_items, asked = (), Asked([None] * count)
            reads.append((link, written, open_items, asked))
        ids = [
            [key for item in open_items if (key := getattr(item.row, written.key)) is not None]
            for _, written, open_items, _ in reads
        ]
        found: Mapping[tuple[int, UUID], Found] = {}
        if any(ids):
            try:
                found = await context.composed(group.statement, ids, [asked.parameters for *_, asked in reads])
            except FaultyText as error:
                raise Fault from error
            except Exception as error:  # whatever it is, these fields have it as their error, see graph.errors
                for link, _, open_items, _ in reads:
                    self._fail_all(link, open_items, error)
                return
        for place, (link, written, open_items, asked) in enumerate(reads):
            for item in open_items:
                key = getattr(item.row, written.key)
                item.out[link.key] = None if key is None else written.value(context, asked, found.get((place, key)))

    def _arguments(self, link: Link) -> Mapping[str, Any]:
        try:
            return link.arguments(self._variables)
        except GraphQLError as error:
            raise Fault from error

    async def _linked(self, context: Context, link: Link, items: Sequence[Item]) -> None:
        """Reads one field for its objects: for those away from here, as at the other facility."""
        arguments = self._arguments(link)
        if link.hidden:
            return
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
        except Exception as error:  # whatever it is, these fields have it as their error, see graph.errors
            values = [error] * len(open_items)
        below = Below()
        for item, value in zip(open_items, values, strict=True):
            if isinstance(value, Exception):
                self._fail(link, item, value)
            else:
                item.out[link.key] = _completed(link.complete, value, (item.path, link.key), below)
        await self._settle(context, below)

    async def _values(
        self, context: Context, link: Link, items: Sequence[Item], arguments: Mapping[str, Any]
    ) -> Sequence[Any]:
        if link.source.relation:
            resolver = link.reads.resolver(link.source.relation.batch)
            return await context.for_level(resolver, [item.row for item in items], arguments)
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

    def _fail_all(self, link: Link, items: Sequence[Item], error: Exception) -> None:
        for item in items:
            self._fail(link, item, error)

    def _fail(self, link: Link, item: Item, error: Exception) -> None:
        """The field stays null, and the error says why."""
        if not link.nullable:
            raise Fault from error
        self._errors.append(located_error(error, link.nodes, _keys((item.path, link.key))))


def _completed(complete: Callable[..., Any], value: Any, path: Path | None, below: Below) -> Any:
    """A value as the answer holds it. Raises Fault for whatever is wrong with it."""
    try:
        return complete(value, path, below)
    except Fault:
        raise
    except Exception as error:
        raise Fault from error


def _keys(path: Path | None) -> list[str | int]:
    keys: list[str | int] = []
    while path:
        path, key = path
        keys.append(key)
    return keys[::-1]


async def _all(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Does all of it together, and raises what failed once the rest has ended: a statement that is cancelled would end
    the snapshot, in which graphql-core's own execution may have to answer.
    """
    if len(work) == 1:
        await work[0]
        return
    for failure in await asyncio.gather(*work, return_exceptions=True):
        if failure is not None:
            raise failure
