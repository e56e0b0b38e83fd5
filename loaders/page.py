"""A page of rows ordered by time: how many, after which row, within which range; newest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

FIRST_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""`sort_time` of a row whose source gives no time; also where an open range starts."""
LAST_TIME = datetime(9999, 12, 31, tzinfo=UTC)
LAST_ID = UUID(int=2**128 - 1)


class Timed(Protocol):
    """A row that a time page orders."""

    @property
    def id(self) -> UUID: ...
    @property
    def sort_time(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class TimePage:
    """`first` rows with start <= sort_time < end that come after (before_time, before_id) in descending order.

    The open ends are values, not NULL, so that every bound is an index condition in every plan.
    """

    first: int
    before_time: datetime = LAST_TIME
    before_id: UUID = LAST_ID
    start: datetime = FIRST_TIME
    end: datetime = LAST_TIME
