"""Reader: all that one caller reads in one request; a call to `load` joins the others of its moment in one batch."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from aiodataloader import DataLoader

from db.caller import Caller
from db.stores import Stores

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Batch: TypeAlias = Callable[["Reader", Sequence[K]], Awaitable[Mapping[K, V]]]
"""From a reader and keys to a mapping; a key that is not in the mapping has no value."""


class Reader:
    """The five stores as one caller sees them, for the length of one request.

    `statements` counts what was sent, by (store, statement name): what golden tests compare.
    """

    def __init__(self, stores: Stores, caller: Caller) -> None:
        self.caller = caller
        self.statements: Counter[tuple[str, str]] = Counter()
        self.clinical = stores.clinical.session(caller, self._record)
        self.imaging = stores.imaging.session(caller, self._record)
        self.vitals = stores.vitals.session(caller, self._record)
        self.notes = stores.notes.session(caller, self._record)
        self.archive = stores.archive.session(caller, self._record)
        self.warehouse = stores.warehouse.session(caller, self._record)
        self._loaders: dict[Batch[Any, Any], DataLoader[Any, Any]] = {}

    async def load_many(self, batch: Batch[K, V], keys: Sequence[K | None]) -> list[V | None]:
        """Values of the keys, in their order; asked for together with every other key of this batch function.

        Raises what the batch function raises, StoreError above all.
        """
        loader = self._loaders.get(batch)
        if loader is None:
            loader = self._loaders[batch] = DataLoader(self._in_order(batch))
        wanted = [key for key in dict.fromkeys(keys) if key is not None]
        values = dict(zip(wanted, await loader.load_many(wanted), strict=True))
        return [None if key is None else values[key] for key in keys]

    async def close(self) -> None:
        """Ends the snapshots of this request."""
        await asyncio.gather(self.clinical.close(), self.imaging.close(), self.vitals.close())

    def _record(self, store: str, statement: str) -> None:
        self.statements[store, statement] += 1

    def _in_order(self, batch: Batch[K, V]) -> Callable[[list[K]], Coroutine[Any, Any, list[V | None]]]:
        async def run(keys: list[K]) -> list[V | None]:
            found = await batch(self, keys)
            return [found.get(key) for key in keys]

        return run
