"""Vital signs of patients and encounters, the latest of each code, and trends at a resolution that fits the range."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

from db.errors import InvalidArgument, InvalidId
from loaders.vital_sign import (
    LAST_POSITION,
    ReadingPage,
    ReadingsOf,
    TrendSpan,
    VitalBucket,
    VitalSignRow,
    VitalTrendRow,
    latest_vital_signs_of_patients,
    vital_sign_by_key,
    vital_signs_of_encounters,
    vital_signs_of_patients,
    vital_trends_of_patients,
)
from resolvers.arguments import codes, resource_id, time_range
from resolvers.connection import Scope, Slice, listing, scope, time_page
from resolvers.context import BatchResolver, Context

POINTS_MAX = 1500
"""Points of one trend at most: a day by the minute, two months by the hour, four years by the day; then wider ones."""

RAW_DAYS_MAX = 7
"""Days that a trend may read reading by reading: a monitor gives 86,400 a day and code."""

WIDTHS = {
    VitalBucket.RAW: timedelta(minutes=1),
    VitalBucket.HOURLY: timedelta(hours=1),
    VitalBucket.DAILY: timedelta(days=1),
}
"""Narrowest bucket of each source."""


def readings(field: str, batch: Callable[..., Awaitable[ReadingsOf]]) -> BatchResolver:
    """Batch resolver of a connection of readings; `field` names it for cursors."""

    async def resolve(
        context: Context,
        parents: Sequence[Any],
        *,
        first: int,
        after: str | None,
        start: str | None = None,
        end: str | None = None,
        code: list[str] | None = None,
    ) -> Sequence[object]:
        page = reading_page(context, field, first, after, start, end)
        ids = [parent.id for parent in parents]
        found = await batch(context.reader, ids, page, codes("code", code))
        signer = scope(context, field)
        return [_slice(signer, page, found[parent_id]) for parent_id in ids]

    return resolve


def reading_page(
    context: Context, field: str, first: int, after: str | None, start: str | None, end: str | None
) -> ReadingPage:
    """Page of the arguments. Raises InvalidArgument or InvalidCursor naming the argument."""
    page = time_page(context, field, first, None, start, end)
    if after is None:
        return ReadingPage(page)
    time, key, position = scope(context, field).verify(after, 3)
    return ReadingPage(replace(page, before_time=datetime.fromisoformat(time), before_id=UUID(key)), int(position))


def _slice(signer: Scope, page: ReadingPage, rows: Sequence[VitalSignRow]) -> Slice[VitalSignRow]:
    shown = rows[: page.time.first]

    def cursor(row: VitalSignRow) -> str:
        return signer.sign(row.sort_time.isoformat(), str(row.id), str(row.position))

    return Slice(shown, cursor, len(rows) > page.time.first, page.before_position != LAST_POSITION)


of_patients = readings("Patient.vitalSigns", vital_signs_of_patients)
of_encounters = readings("Encounter.vitalSigns", vital_signs_of_encounters)
latest = listing(latest_vital_signs_of_patients, code=codes)
"""The newest reading of each code of each patient."""


async def trend(
    context: Context,
    parents: Sequence[Any],
    *,
    code: list[str],
    start: str,
    end: str | None = None,
    bucket: VitalBucket | None = None,
) -> Sequence[Sequence[VitalTrendRow]]:
    """Trends of each patient, one for each code and unit that has a value in the range."""
    wanted = codes("code", code) or []
    span = trend_span(*time_range(start, end or datetime.now(UTC).isoformat()), bucket)
    ids = [parent.id for parent in parents]
    found = await vital_trends_of_patients(context.reader, ids, wanted, span)
    return [found[parent_id] for parent_id in ids]


def trend_span(start: datetime, end: datetime, bucket: VitalBucket | None) -> TrendSpan:
    """Range widened to whole buckets at its start, and the narrowest source and bucket that stay under POINTS_MAX.

    A given bucket is kept, but raw readings of more than RAW_DAYS_MAX are refused: InvalidArgument names `bucket`.
    """
    length = end - start
    if bucket is None:
        bucket = next((b for b, width in WIDTHS.items() if length < width * POINTS_MAX), VitalBucket.DAILY)
    elif bucket is VitalBucket.RAW and length > timedelta(days=RAW_DAYS_MAX):
        raise InvalidArgument("bucket", f"can be RAW for {RAW_DAYS_MAX} days at most")
    # One bucket less than allowed: a range that starts within a bucket touches one more.
    width = WIDTHS[bucket] * max(1, ceil(length / (WIDTHS[bucket] * (POINTS_MAX - 1))))
    whole = (start - datetime(1970, 1, 1, tzinfo=UTC)) % WIDTHS[bucket]
    return TrendSpan(bucket, width, start if bucket is VitalBucket.RAW else start - whole, end)


async def one(context: Context, *, id: str) -> VitalSignRow | None:
    """The reading of an id, `VitalSign/<uuid>.<position>`; None for what is not there."""
    head, dot, position = id.rpartition(".")
    if not dot or not position.isascii() or not position.isdigit() or int(position) > LAST_POSITION:
        raise InvalidId("id", "must be an id of VitalSign")
    [row] = await context.reader.load_many(vital_sign_by_key, [(resource_id("id", head, "VitalSign"), int(position))])
    return row
