"""Courses of laboratory results, from the copy in the vitals database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from db.errors import Stale
from loaders.lab_series import LabTrendRow, lab_series_as_of, lab_trends_of_patients
from resolvers import staleness
from resolvers.arguments import codes, time_range
from resolvers.context import Context


async def trend(
    context: Context,
    parents: Sequence[Any],
    *,
    code: list[str],
    start: str,
    end: str | None = None,
    max_staleness: int | None = None,
) -> Sequence[Sequence[LabTrendRow]]:
    """Trends of each patient, one for each code and unit. Raises Stale where the copy may be older than told."""
    bound = staleness.max_staleness(max_staleness)
    wanted = codes("code", code) or []
    since, until = time_range(start, end or datetime.now(UTC).isoformat())
    if bound is not None and staleness.is_stale(await lab_series_as_of(context.reader), bound):
        raise Stale
    ids = [parent.id for parent in parents]
    found = await lab_trends_of_patients(context.reader, ids, wanted, since, until)
    return [found[parent_id] for parent_id in ids]
