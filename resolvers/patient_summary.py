"""Summary of each patient: from the copy, or from the chart where the caller wants nothing that old."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from db.errors import Stale, StoreError
from loaders.patient_summary import PatientSummaryRow, summary_of_patients, summary_of_patients_now
from resolvers.context import Context
from resolvers.staleness import is_stale
from resolvers.staleness import max_staleness as bound_of


async def of_patients(
    context: Context, parents: Sequence[Any], *, max_staleness: int | None = None
) -> Sequence[PatientSummaryRow | None]:
    """Summary of each patient. Raises Stale where the copy may be older than told and the chart can't be read."""
    bound = bound_of(max_staleness)
    ids = [parent.id for parent in parents]
    rows = await context.reader.load_many(summary_of_patients, ids)
    if bound is None:
        return rows
    missing = [key if is_stale(row and row.as_of, bound) else None for key, row in zip(ids, rows, strict=True)]
    if not any(missing):
        return rows
    try:
        made = await context.reader.load_many(summary_of_patients_now, missing)
    except StoreError:
        raise Stale from None
    return [row if key is None else now for key, row, now in zip(missing, rows, made, strict=True)]
