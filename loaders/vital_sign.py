"""Vital signs: device readings and charted values (FHIR R4 Observation, category vital-signs), and their trends.

TimescaleDB and plain PostgreSQL have the same names, so nothing here knows which it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import LiteralString, TypeAlias, TypeVar
from uuid import UUID

from db.postgres import Session
from loaders.facts import ChildrenBatch, grouped
from loaders.page import TimePage
from loaders.reader import Reader
from loaders.statement import Columns, Statement

T = TypeVar("T")

COLUMNS = Columns(
    "vital_sign",
    """
    id, position, facility_id, patient_id, encounter_id, device_id, status, code_system, code, code_display, panel_code,
    value, value_unit, value_code, data_absent_reason, effective, sort_time
    """,
)

LAST_POSITION = 2**15 - 1

PAGE = """(sort_time, id, position) < ($3::timestamptz, $4::uuid, $5::smallint)
      AND sort_time <= $3::timestamptz AND sort_time >= $6::timestamptz AND sort_time < $7::timestamptz"""
"""Position and range of a page. The second condition follows from the first, but only it leaves out whole chunks."""

NEWEST = "ORDER BY sort_time DESC, id DESC, position DESC"

VITAL_SIGNS_OF_PATIENTS = Statement(
    f"""/* vital_signs_of_patients */
SELECT parents.id, readings.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    SELECT {{}}
    FROM vital_sign
    WHERE patient_id = parents.id AND {PAGE}
    {NEWEST}
    LIMIT $2::int
) AS readings""",
    COLUMNS,
)

# A rare code among a monitor's readings: the newest of each code from its own index, then the newest of those.
VITAL_SIGNS_OF_PATIENTS_BY_CODE = Statement(
    f"""/* vital_signs_of_patients_by_code */
SELECT parents.id, readings.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    SELECT of_code.*
    FROM unnest($8::text[]) AS wanted (code)
    CROSS JOIN LATERAL (
        SELECT {{}}
        FROM vital_sign
        WHERE patient_id = parents.id AND code = wanted.code AND {PAGE}
        {NEWEST}
        LIMIT $2::int
    ) AS of_code
    {NEWEST}
    LIMIT $2::int
) AS readings""",
    COLUMNS,
)

VITAL_SIGNS_OF_ENCOUNTERS = Statement(
    f"""/* vital_signs_of_encounters */
SELECT parents.id, readings.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    SELECT {{}}
    FROM vital_sign
    WHERE encounter_id = parents.id AND {PAGE} AND ($8::text[] IS NULL OR code = ANY($8::text[]))
    {NEWEST}
    LIMIT $2::int
) AS readings""",
    COLUMNS,
)

VITAL_SIGN_BY_KEY = Statement(
    """/* vital_sign_by_key */
SELECT {}
FROM unnest($1::uuid[], $2::smallint[]) AS wanted (id, position)
JOIN vital_sign USING (id, position)""",
    COLUMNS,
)

# What an event of the feed tells of: by its keys, or where it has none all readings of its time.
NEW_VITAL_SIGNS = Statement(
    """/* new_vital_signs */
SELECT {}
FROM vital_sign
WHERE patient_id = $1::uuid AND sort_time >= $2::timestamptz AND sort_time <= $3::timestamptz
    AND ($4::text[] IS NULL OR id || '/' || position = ANY($4::text[]))
ORDER BY sort_time, id, position
LIMIT $5::int""",
    COLUMNS,
)

# The codes of a patient by hopping from one to the next in the index, then the newest reading of each.
LATEST_VITAL_SIGNS_OF_PATIENTS = Statement(
    f"""/* latest_vital_signs_of_patients */
WITH RECURSIVE known (patient_id, code) AS (
    SELECT parents.id, (SELECT min(code) FROM vital_sign WHERE patient_id = parents.id)
    FROM unnest($1::uuid[]) AS parents (id)
    UNION ALL
    SELECT known.patient_id,
        (SELECT min(v.code) FROM vital_sign AS v WHERE v.patient_id = known.patient_id AND v.code > known.code)
    FROM known
    WHERE known.code IS NOT NULL
)
SELECT known.patient_id, latest.*
FROM known
CROSS JOIN LATERAL (
    SELECT {{}}
    FROM vital_sign
    WHERE patient_id = known.patient_id AND code = known.code AND status IS DISTINCT FROM 'entered-in-error'
    {NEWEST}
    LIMIT 1
) AS latest
WHERE $2::text[] IS NULL OR known.code = ANY($2::text[])
ORDER BY known.patient_id, known.code""",
    COLUMNS,
)

# The same for charts of any facility; a chart without readings has a row too, which says when it was looked at.
LATEST_VITAL_SIGNS_OF_CHARTS = Statement(
    f"""/* latest_vital_signs_of_charts */
WITH RECURSIVE chart AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS c (facility_id, patient_id)
), known (facility_id, patient_id, code) AS (
    SELECT c.facility_id, c.patient_id,
        (SELECT min(v.code) FROM vital_sign AS v WHERE v.facility_id = c.facility_id AND v.patient_id = c.patient_id)
    FROM chart AS c
    UNION ALL
    SELECT k.facility_id, k.patient_id,
        (SELECT min(v.code) FROM vital_sign AS v
         WHERE v.facility_id = k.facility_id AND v.patient_id = k.patient_id AND v.code > k.code)
    FROM known AS k
    WHERE k.code IS NOT NULL
)
SELECT c.facility_id, c.patient_id, transaction_timestamp() AS as_of, latest.*
FROM chart AS c
LEFT JOIN known AS k ON k.facility_id = c.facility_id AND k.patient_id = c.patient_id AND k.code IS NOT NULL
LEFT JOIN LATERAL (
    SELECT {{}}
    FROM vital_sign AS v
    WHERE v.facility_id = k.facility_id AND v.patient_id = k.patient_id AND v.code = k.code
      AND v.status IS DISTINCT FROM 'entered-in-error'
    {NEWEST}
    LIMIT 1
) AS latest ON true
ORDER BY c.facility_id, c.patient_id, k.code""",
    Columns(
        "vital_sign",
        """id, position, status, code_system, code, code_display, panel_code, value, value_unit, value_code,
        effective""",
    ),
)


@dataclass(frozen=True, slots=True)
class VitalSignRow:
    """One row of `vital_sign`, in the order of COLUMNS; `panel_code` is the code of the Observation it is a part of."""

    id: UUID
    position: int
    facility_id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    device_id: str | None
    status: str | None
    code_system: str | None
    code: str | None
    code_display: str | None
    panel_code: str | None
    value: Decimal | None
    value_unit: str | None
    value_code: str | None
    data_absent_reason: str | None
    effective: str | None
    sort_time: datetime

    @property
    def key(self) -> str:
        """Key of the global id: the Observation's id and the component's position."""
        return f"{self.id}.{self.position}"


@dataclass(frozen=True, slots=True)
class ReadingPage:
    """A TimePage in which components of one Observation, of the same time and id, are told apart by position."""

    time: TimePage
    before_position: int = LAST_POSITION


class VitalBucket(Enum):
    """Where a trend reads: readings themselves, or their hourly or daily rollup."""

    RAW = "raw"
    HOURLY = "hourly"
    DAILY = "daily"


ROLLUP_LAG_MAX = timedelta(hours=2)
"""Readings younger than this are read as they are, since a rollup may not have them yet; it must run more often."""


@dataclass(frozen=True, slots=True)
class TrendSpan:
    """Range and resolution of a trend: start <= bucket < end, buckets of `width` aligned to UTC."""

    bucket: VitalBucket
    width: timedelta
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class TrendPointRow:
    """One bucket: its start, and the lowest, mean and highest of `count` values."""

    start: datetime
    min: Decimal
    avg: Decimal
    max: Decimal
    count: int


@dataclass(frozen=True, slots=True)
class VitalTrendRow:
    """Points of one code in one unit, oldest first; values of different units are never merged."""

    code: str
    unit: str | None
    span: TrendSpan
    points: Sequence[TrendPointRow]


READINGS = """
    SELECT patient_id, code, coalesce(value_code, value_unit) AS unit, sort_time AS time,
        value AS min, value AS max, value AS sum, 1 AS count
    FROM vital_sign
    WHERE patient_id = ANY($1::uuid[]) AND code = ANY($2::text[]) AND value IS NOT NULL
      AND status IS DISTINCT FROM 'entered-in-error'
      AND sort_time >= greatest($3::timestamptz, $5::timestamptz) AND sort_time < $4::timestamptz"""


def rolled_up(view: LiteralString) -> LiteralString:
    """Buckets of a rollup until $5, and the readings from there on."""
    return f"""
    SELECT patient_id, code, unit, bucket AS time, min, max, sum, count
    FROM {view}
    WHERE patient_id = ANY($1::uuid[]) AND code = ANY($2::text[])
      AND bucket >= $3::timestamptz AND bucket < least($4::timestamptz, $5::timestamptz)
    UNION ALL{READINGS}"""


def trend(name: LiteralString, source: LiteralString) -> LiteralString:
    """Statement: $1 patients, $2 codes, $3 and $4 range, $5 from when on readings are read, $6 width of a bucket."""
    return f"""/* {name} */
SELECT patient_id, code, unit, date_bin($6::interval, time, timestamptz '1970-01-01 00:00Z') AS start,
    min(min), sum(sum) / sum(count), max(max), sum(count)::bigint
FROM ({source}
) AS parts
GROUP BY patient_id, code, unit, start
ORDER BY patient_id, code, unit, start"""


TRENDS: Mapping[VitalBucket, LiteralString] = {
    VitalBucket.RAW: trend("vital_trend_raw", READINGS),
    VitalBucket.HOURLY: trend("vital_trend_hourly", rolled_up("vital_sign_hourly")),
    VitalBucket.DAILY: trend("vital_trend_daily", rolled_up("vital_sign_daily")),
}

Key: TypeAlias = tuple[UUID, int]
"""Id of the Observation and position of the component."""
ReadingsOf: TypeAlias = Mapping[UUID, Sequence[VitalSignRow]]
"""Readings of each parent, newest first."""


async def vital_signs_of_patients(
    reader: Reader, ids: Sequence[UUID], page: ReadingPage, codes: Sequence[str] | None
) -> ReadingsOf:
    """Up to page.time.first + 1 newest readings of each patient, of any code or of one of these."""
    if codes is None:
        return await _newest(reader, VITAL_SIGNS_OF_PATIENTS, ids, page)
    return await _newest(reader, VITAL_SIGNS_OF_PATIENTS_BY_CODE, ids, page, list(dict.fromkeys(codes)))


async def vital_signs_of_encounters(
    reader: Reader, ids: Sequence[UUID], page: ReadingPage, codes: Sequence[str] | None
) -> ReadingsOf:
    """Up to page.time.first + 1 newest readings of each encounter, of any code or of one of these."""
    return await _newest(reader, VITAL_SIGNS_OF_ENCOUNTERS, ids, page, codes)


async def _newest(
    reader: Reader, statement: Statement, ids: Sequence[UUID], page: ReadingPage, *filters: object
) -> ReadingsOf:
    time = page.time
    position = (time.before_time, time.before_id, page.before_position)
    bounds = (time.first + 1, *position, time.start, time.end)
    sql = statement.for_caller(reader.caller)
    return grouped(ids, await reader.vitals.fetch(sql, _distinct(ids), *bounds, *filters), VitalSignRow)


def vitals(reader: Reader) -> Session:
    """The vitals database."""
    return reader.vitals


latest_vital_signs_of_patients = ChildrenBatch(LATEST_VITAL_SIGNS_OF_PATIENTS, VitalSignRow, vitals)
"""The newest reading of each code of each patient, by code; those entered in error don't count."""


async def vital_sign_by_key(reader: Reader, keys: Sequence[Key]) -> Mapping[Key, VitalSignRow]:
    """Readings by Observation and position."""
    ids, positions = [key[0] for key in keys], [key[1] for key in keys]
    sql = VITAL_SIGN_BY_KEY.for_caller(reader.caller)
    found = [VitalSignRow(*record) for record in await reader.vitals.fetch(sql, ids, positions)]
    return {(row.id, row.position): row for row in found}


async def new_vital_signs(
    reader: Reader, patient_id: UUID, since: datetime, until: datetime, keys: Sequence[str] | None, at_most: int
) -> Sequence[VitalSignRow]:
    """Readings of a patient from `since` to `until`, both included, oldest first; of these keys (`id/position`)."""
    sql = NEW_VITAL_SIGNS.for_caller(reader.caller)
    return [
        VitalSignRow(*record)
        for record in await reader.vitals.fetch(sql, patient_id, since, until, keys and list(keys), at_most)
    ]


async def vital_trends_of_patients(
    reader: Reader, ids: Sequence[UUID], codes: Sequence[str], span: TrendSpan
) -> Mapping[UUID, Sequence[VitalTrendRow]]:
    """Trends of each patient, by code and unit, in one statement."""
    settled = datetime.now(UTC) - ROLLUP_LAG_MAX
    raw_from = {
        VitalBucket.RAW: span.start,
        VitalBucket.HOURLY: settled.replace(minute=0, second=0, microsecond=0),
        VitalBucket.DAILY: settled.replace(hour=0, minute=0, second=0, microsecond=0),
    }[span.bucket]
    bounds = (span.start, span.end, raw_from, span.width)
    trends: dict[UUID, dict[tuple[str, str | None], list[TrendPointRow]]] = {parent_id: {} for parent_id in ids}
    for record in await reader.vitals.fetch(TRENDS[span.bucket], _distinct(ids), _distinct(codes), *bounds):
        points = trends[record[0]].setdefault((record[1], record[2]), [])
        points.append(TrendPointRow(*record[3:]))
    return {
        parent_id: [VitalTrendRow(code, unit, span, points) for (code, unit), points in of_parent.items()]
        for parent_id, of_parent in trends.items()
    }


def _distinct(values: Sequence[T]) -> list[T]:
    return list(dict.fromkeys(values))
