"""Numbers in place of keys: random, so that they say nothing about a record (45 CFR 164.514(c)(1))."""

from __future__ import annotations

import polars as pl


def numbered(frame: pl.DataFrame, key: str, seed: int, first: int) -> pl.DataFrame:
    """Columns `key` (every distinct value of it but null) and `number` (Int64): first, first + 1, … shuffled.

    The seed (random, below 2**64, as secret as the keys) and the set of keys decide, in whatever order the rows come:
    a partition that is made a second time has the same numbers. Of a key nothing but its place among the others enters
    the shuffle, and that place is as likely to get any number.
    """
    keys = frame.get_column(key).drop_nulls().unique().sort()
    numbers = pl.int_range(first, first + len(keys), dtype=pl.Int64, eager=True)
    return pl.DataFrame({key: keys, "number": numbers.shuffle(seed)})
