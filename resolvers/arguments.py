"""Checks of arguments: each failure is a typed error that names the argument and never quotes its value."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from db.errors import InvalidArgument, InvalidId
from loaders.page import FIRST_TIME, LAST_TIME

PAGE_SIZE_MAX = 100
"""Rows of one page at most."""
LIST_MAX = 100
"""Entries of one list argument at most."""
TEXT_MAX = 200
"""Characters of one text argument at most."""

_DATE_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(T\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d))?)?)?", re.ASCII
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def page_size(argument: str, value: int, maximum: int = PAGE_SIZE_MAX) -> int:
    """A page size from 1 to the maximum."""
    if not 1 <= value <= maximum:
        raise InvalidArgument(argument, f"must be from 1 to {maximum}")
    return value


def resource_id(argument: str, value: str, *types: str) -> UUID:
    """UUID of a global id (`Patient/uuid`) of one of the types."""
    kind, _, key = value.partition("/")
    if kind not in types or not _UUID.fullmatch(key):
        raise InvalidId(argument, f"must be an id of {' or '.join(types)}")
    return UUID(key)


def codes(argument: str, values: Sequence[str] | None, allowed: Collection[str] | None = None) -> list[str] | None:
    """Codes to filter by, or None for any; from the value set where one is given."""
    if values is None:
        return None
    if not 1 <= len(values) <= LIST_MAX:
        raise InvalidArgument(argument, f"must have 1 to {LIST_MAX} entries")
    if any(not value or len(value) > TEXT_MAX or "\0" in value for value in values):
        raise InvalidArgument(argument)
    if allowed is not None and not set(values) <= set(allowed):
        raise InvalidArgument(argument, f"must be of {', '.join(sorted(allowed))}")
    return list(values)


def text(argument: str, value: str, minimum: int = 1, maximum: int = TEXT_MAX) -> str:
    """A text to search for: not blank, without control characters, of bounded length."""
    stripped = " ".join(value.split())
    if not minimum <= len(stripped) <= maximum or not stripped.isprintable():
        raise InvalidArgument(argument, f"must have {minimum} to {maximum} printable characters")
    return stripped


def time_range(start: str | None, end: str | None) -> tuple[datetime, datetime]:
    """Instants of the arguments `from` (inclusive) and `to` (exclusive); a partial date means its whole period.

    So from: "2020", to: "2020" is the whole year 2020, as in FHIR search. Dates without an offset are UTC.
    """
    since = FIRST_TIME if start is None else _period("from", start)[0]
    until = LAST_TIME if end is None else _period("to", end)[1]
    if since >= until:
        raise InvalidArgument("to", "must be after 'from'")
    return since, until


def moment(argument: str, value: str) -> datetime:
    """Last moment that a FHIR dateTime means: of a partial date that is the end of its period."""
    first, after = _period(argument, value)
    return first if first == after else after - timedelta(microseconds=1)


def _period(argument: str, value: str) -> tuple[datetime, datetime]:
    """First instant of a FHIR dateTime, and the first after it."""
    match = _DATE_TIME.fullmatch(value)
    if not match:
        raise InvalidArgument(argument, "must be a FHIR dateTime")
    year, month, day, time = match.groups()
    try:
        if time:
            instant = datetime.fromisoformat(value).astimezone(UTC)
            return instant, instant
        first = datetime(int(year), int(month or 1), int(day or 1), tzinfo=UTC)
        if day:
            return first, first + timedelta(days=1)
        if month:
            return first, (first + timedelta(days=32)).replace(day=1)
        return first, first.replace(year=first.year + 1)
    except (ValueError, OverflowError):
        raise InvalidArgument(argument, "must be a FHIR dateTime") from None
