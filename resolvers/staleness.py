"""How old an answer from a copy may be: what the caller demands, and whether it is met."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from db.errors import InvalidArgument

SECONDS_MAX = 31_536_000
"""A year: who demands less than that may as well demand nothing."""


def max_staleness(seconds: int | None) -> timedelta | None:
    """Bound of the argument maxStaleness. Raises InvalidArgument."""
    if seconds is None:
        return None
    if not 0 <= seconds <= SECONDS_MAX:
        raise InvalidArgument("maxStaleness", f"must be from 0 to {SECONDS_MAX}")
    return timedelta(seconds=seconds)


def is_stale(as_of: datetime | None, bound: timedelta) -> bool:
    """Whether a copy that is complete up to a time may lack something that is older than the bound."""
    return as_of is None or datetime.now(UTC) - as_of > bound
