"""Laboratory results as series: the copy in the vitals database that `python -m workers sync` keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from loaders.reader import Reader
from loaders.statement import Columns, Statement

POINTS_MAX = 1000
"""Results of a test and range that are shown, the newest ones."""

LAB_TRENDS_OF_PATIENTS = Statement(
    """/* lab_trends_of_patients */
SELECT parents.id AS patient_id, points.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN unnest($2::text[]) AS wanted (code)
CROSS JOIN LATERAL (
    SELECT {}
    FROM lab_series
    WHERE patient_id = parents.id AND code = wanted.code
      AND sort_time >= $3::timestamptz AND sort_time < $4::timestamptz
    ORDER BY sort_time DESC, result_id DESC
    LIMIT $5::int
) AS points""",
    Columns("lab_series", "result_id, code, unit, status, value, comparator, sort_time"),
)
COPY_OF_LAB_RESULTS = """/* copy_of_lab_results */
SELECT as_of FROM copy WHERE name = 'lab_series'"""


@dataclass(frozen=True, slots=True)
class LabTrendPointRow:
    """One row of `lab_series`."""

    result_id: UUID
    code: str
    unit: str | None
    status: str
    value: Decimal
    comparator: str | None
    sort_time: datetime


@dataclass(frozen=True, slots=True)
class LabTrendRow:
    """Points of one code in one unit, oldest first; what was committed before `as_of` is among them."""

    code: str
    unit: str | None
    as_of: datetime | None
    points: Sequence[LabTrendPointRow]


async def lab_series_as_of(reader: Reader) -> datetime | None:
    """Up to when the series are complete in the snapshot of this request; None of a copy that was never made."""
    rows = await reader.vitals.fetch(COPY_OF_LAB_RESULTS)
    return rows[0]["as_of"] if rows else None


async def lab_trends_of_patients(
    reader: Reader, ids: Sequence[UUID], codes: Sequence[str], start: datetime, end: datetime
) -> Mapping[UUID, Sequence[LabTrendRow]]:
    """Trends of each patient, by code and unit; of results that have a number and no sensitivity label."""
    as_of = await lab_series_as_of(reader)
    sql = LAB_TRENDS_OF_PATIENTS.for_caller(reader.caller)
    distinct = list(dict.fromkeys(ids)), list(dict.fromkeys(codes))
    trends: dict[UUID, dict[tuple[str, str | None], list[LabTrendPointRow]]] = {key: {} for key in ids}
    for patient_id, *values in await reader.vitals.fetch(sql, *distinct, start, end, POINTS_MAX):
        point = LabTrendPointRow(*values)
        trends[patient_id].setdefault((point.code, point.unit), []).append(point)
    return {
        key: [LabTrendRow(code, unit, as_of, points[::-1]) for (code, unit), points in sorted(found.items(), key=str)]
        for key, found in trends.items()
    }
