"""How far the copies of what PostgreSQL holds are behind it."""

from __future__ import annotations

from collections.abc import Sequence

from db.stores import ConsumerLag
from resolvers.context import Context


async def every(context: Context) -> Sequence[ConsumerLag]:
    """Each consumer of each feed, by database and name. Raises StoreError."""
    return await context.reader.lags()
