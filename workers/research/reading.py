"""From PostgreSQL into columns: COPY at a bounded rate, parsed by Polars. No record is ever a Python object."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import LiteralString, TypeAlias

import polars as pl

from db.research import Reading

Types: TypeAlias = Mapping[str, pl.DataType | type[pl.DataType]]
"""Type of each column of a statement, in its order."""


class Rate:
    """A bound on the bytes that all reads of a process take in a second, so that the server has time for charts.

    With a bound one statement runs at a time: the server sorts and joins for it without sending anything.
    """

    def __init__(self, bytes_per_s: float | None) -> None:
        """None: no bound."""
        self.turn: AbstractAsyncContextManager[object] = asyncio.Lock() if bytes_per_s else nullcontext()
        self._bytes_per_s = bytes_per_s
        self._free_at = time.monotonic()

    async def take(self, size: int) -> None:
        """Waits until so many bytes may be taken; the server's COPY waits with it."""
        if self._bytes_per_s is None:
            return
        now = time.monotonic()
        self._free_at = max(now, self._free_at) + size / self._bytes_per_s
        await asyncio.sleep(self._free_at - now)


async def read(reading: Reading, rate: Rate, types: Types, sql: LiteralString, *args: object) -> pl.DataFrame:
    """Rows of a statement as columns of these types; the empty field is null. Raises StoreError."""
    received = io.BytesIO()

    async def take(chunk: bytes) -> None:
        received.write(chunk)
        await rate.take(len(chunk))

    async with rate.turn:
        await reading.copy(sql, take, *args)
    received.seek(0)
    return await asyncio.to_thread(parse, received, types)


def parse(received: io.BytesIO, types: Types) -> pl.DataFrame:
    """Columns of a CSV with a header, as PostgreSQL writes it."""
    flags = [name for name, type_ in types.items() if type_ == pl.Boolean]
    read_as = {name: pl.String if name in flags else type_ for name, type_ in types.items()}
    frame = pl.read_csv(received, schema=read_as, infer_schema=False)
    return frame.with_columns(pl.col(name) == "t" for name in flags)
