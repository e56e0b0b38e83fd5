"""Context of one request: its reader, and the joining of one field's parents into one call of its batch resolver."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from aiodataloader import DataLoader

from db.caller import Caller
from loaders.reader import Reader

BatchResolver: TypeAlias = Callable[..., Awaitable[Sequence[Any]]]
"""`async def name(context, parents, *, arguments…)` -> one value for each parent, in their order."""


class Context:
    """What resolvers get: the caller's reader, and the key that signs cursors."""

    def __init__(self, reader: Reader, cursor_key: bytes) -> None:
        self.reader = reader
        self.cursor_key = cursor_key
        self._fields: dict[tuple[object, ...], DataLoader[Any, Any]] = {}

    @property
    def caller(self) -> Caller:
        """Who is asking."""
        return self.reader.caller

    async def for_parent(self, resolver: BatchResolver, parent: object, arguments: Mapping[str, Any]) -> Any:
        """A batch resolver's value for one parent; all parents of one moment share one call.

        This is how stock execution, which resolves field by field, reaches a function that takes a whole level.
        """
        key = (resolver, *((name, tuple(v) if isinstance(v, list) else v) for name, v in arguments.items()))
        loader = self._fields.get(key)
        if loader is None:

            async def run(parents: list[Any]) -> list[Any]:
                return list(await resolver(self, parents, **arguments))

            loader = self._fields[key] = DataLoader(run, cache=False)
        return await loader.load(parent)
