"""What clients get of vital signs: pages, the latest of each code, trends; exact values, nothing merged or dropped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.errors import ArgumentError, InvalidArgument, InvalidCursor, InvalidId
from loaders.vital_sign import VitalBucket, VitalSignRow, VitalTrendRow
from resolvers import vital_sign
from resolvers.context import Context
from tests.vitals.conftest import Vitals
from tests.vitals.readings import (
    BLOOD_PRESSURE,
    DIASTOLIC,
    HEART_RATE,
    NOON,
    SYSTOLIC,
    TEMPERATURE,
    reading,
    write,
)
from workers.rollup import rollup


def parents(*ids: UUID) -> Sequence[Any]:
    """Rows of patients or encounters as far as the resolvers look at them."""
    return [SimpleNamespace(id=one) for one in ids]


def blood_pressure(facility: UUID, patient: UUID, systolic: str | None, diastolic: str | None) -> list[VitalSignRow]:
    """Two components of one Observation."""
    panel: dict[str, Any] = {"id": uuid4(), "panel_code": BLOOD_PRESSURE, "value_unit": "mmHg", "value_code": "mm[Hg]"}
    return [
        reading(facility, patient, systolic, code=SYSTOLIC, position=0, **panel),
        reading(facility, patient, diastolic, code=DIASTOLIC, position=1, **panel),
    ]


async def pages(context: Context, patient: UUID, first: int, **arguments: Any) -> list[VitalSignRow]:
    """Every row of a connection, read page by page."""
    rows: list[VitalSignRow] = []
    after = None
    while True:
        [page] = await vital_sign.of_patients(context, parents(patient), first=first, after=after, **arguments)
        assert len(page.rows) <= first
        rows += page.rows
        if not page.has_next:
            return rows
        after = page.cursor(page.rows[-1])


async def trends(context: Context, patient: UUID, *codes: str, **arguments: Any) -> Sequence[VitalTrendRow]:
    """Trends of one patient."""
    [found] = await vital_sign.trend(context, parents(patient), code=list(codes), **arguments)
    return found


async def test_components_of_blood_pressure_page_apart(vitals: Vitals, facility: UUID) -> None:
    """Both components share id and time: a page that ends between them loses neither and repeats neither."""
    patient = uuid4()
    rows = blood_pressure(facility, patient, "120", "80") + blood_pressure(facility, patient, "11", "879")
    await write(vitals, rows)
    async with vitals.request(facility) as context:
        for first in (1, 2, 3):
            read = await pages(context, patient, first)
            assert sorted(row.key for row in read) == sorted(row.key for row in rows)
        assert await vital_sign.one(context, id=f"VitalSign/{rows[1].key}") == rows[1]


async def test_every_reading_is_kept_as_it_is(vitals: Vitals, facility: UUID) -> None:
    """Exact decimals, outliers, duplicates of patient, code and instant, values that are missing and why."""
    patient = uuid4()
    rows = [
        reading(facility, patient, "18.0000"),
        reading(facility, patient, "18.0000"),
        reading(facility, patient, "36.123456789012345"),
        reading(facility, patient, "1.9E+2"),
        reading(facility, patient, "-879"),
        reading(facility, patient, None, data_absent_reason="not-performed"),
        reading(facility, patient, None),
    ]
    await write(vitals, rows)
    await rollup(vitals.settings)
    async with vitals.request(facility) as context:
        read = await pages(context, patient, 3)
        assert sorted(read, key=lambda row: row.id) == sorted(rows, key=lambda row: row.id)
        assert {str(row.value) for row in read} == {"18.0000", "36.123456789012345", "190", "-879", "None"}
        [hourly] = await trends(context, patient, HEART_RATE, start="2021-03", end="2021-03", bucket=VitalBucket.HOURLY)
        [point] = hourly.points
        assert (point.min, point.max, point.count) == (Decimal(-879), Decimal(190), 5)


async def test_filters_and_order(vitals: Vitals, facility: UUID) -> None:
    """Newest first, by code and range, of patients and of encounters; a code given twice gives nothing twice."""
    patient, encounter = uuid4(), uuid4()
    beats = [reading(facility, patient, str(60 + n), n) for n in range(30)]
    warm = reading(facility, patient, "37.2", -600, code=TEMPERATURE, encounter_id=encounter)
    await write(vitals, [*beats, warm])
    async with vitals.request(facility) as context:
        assert await pages(context, patient, 7) == [*reversed(beats), warm]
        assert await pages(context, patient, 7, code=[TEMPERATURE, TEMPERATURE]) == [warm]
        assert await pages(context, patient, 7, code=[HEART_RATE, TEMPERATURE]) == [*reversed(beats), warm]
        within = {"start": "2021-03-04T12:10:00Z", "end": "2021-03-04T12:20:00Z"}
        assert await pages(context, patient, 4, **within) == beats[19:9:-1]
        assert await pages(context, patient, 4, code=[HEART_RATE], **within) == beats[19:9:-1]
        for code in (None, [TEMPERATURE]):
            [page] = await vital_sign.of_encounters(context, parents(encounter), first=5, after=None, code=code)
            assert page.rows == [warm]
        [page] = await vital_sign.of_encounters(context, parents(encounter), first=5, after=None, code=[HEART_RATE])
        assert page.rows == []


async def test_latest_of_each_code(vitals: Vitals, facility: UUID) -> None:
    """By instant, not counting what was entered in error; only of the codes asked for."""
    patient = uuid4()
    late, wrong = reading(facility, patient, "61", 5), reading(facility, patient, "999", 9, status="entered-in-error")
    warm = reading(facility, patient, "37.2", -600, code=TEMPERATURE)
    await write(
        vitals, [reading(facility, patient, "60"), late, wrong, warm, reading(facility, patient, "1", code=None)]
    )
    async with vitals.request(facility) as context:
        assert await vital_sign.latest(context, parents(patient, uuid4())) == [[warm, late], []]
        assert await vital_sign.latest(context, parents(patient), code=[HEART_RATE, "0-0"]) == [[late]]


async def test_trend_of_any_source_tells_the_same(vitals: Vitals, facility: UUID) -> None:
    """Raw minutes, hours and days have the same extremes and counts, by code and unit."""
    patient = uuid4()
    rows = [reading(facility, patient, str(60 + n % 37), n * 1.5) for n in range(400)]
    await write(vitals, [*rows, reading(facility, patient, "1", value_code=None, value_unit="Hz")])
    await write(vitals, blood_pressure(facility, patient, "120", "80"))
    await rollup(vitals.settings)
    async with vitals.request(facility) as context:
        for bucket in VitalBucket:
            found = await trends(
                context, patient, HEART_RATE, SYSTOLIC, DIASTOLIC, start="2021-03-04", end="2021-03-04", bucket=bucket
            )
            assert [(trend.code, trend.unit) for trend in found] == [
                (DIASTOLIC, "mm[Hg]"),
                (SYSTOLIC, "mm[Hg]"),
                (HEART_RATE, "/min"),
                (HEART_RATE, "Hz"),
            ]
            points = found[2].points
            assert [point.start for point in points] == sorted(point.start for point in points)
            assert all(
                (point.start - NOON) % found[2].span.width == timedelta(0) or bucket is VitalBucket.DAILY
                for point in points
            )
            assert sum(point.count for point in points) == 400
            assert round(sum(point.avg * point.count for point in points)) == sum(row.value or 0 for row in rows)
            assert (min(p.min for p in points), max(p.max for p in points)) == (60, 96)


async def test_newest_readings_are_in_the_trend_before_the_rollup(vitals: Vitals, facility: UUID) -> None:
    """The rollup has not run since a reading of five minutes ago; hours and days show it all the same, once."""
    patient, now = uuid4(), datetime.now(NOON.tzinfo)
    rows = [reading(facility, patient, "60", sort_time=now - timedelta(hours=hours)) for hours in (0.1, 3, 5)]
    await write(vitals, rows[1:])
    await rollup(vitals.settings)
    await write(vitals, rows[:1])
    start = (now - timedelta(days=2)).isoformat()
    async with vitals.request(facility) as context:
        for bucket in (VitalBucket.HOURLY, VitalBucket.DAILY):
            [trend] = await trends(context, patient, HEART_RATE, start=start, bucket=bucket)
            assert sum(point.count for point in trend.points) == 3
    await rollup(vitals.settings)
    async with vitals.request(facility) as context:
        [trend] = await trends(context, patient, HEART_RATE, start=start, bucket=VitalBucket.HOURLY)
        assert sum(point.count for point in trend.points) == 3


@pytest.mark.parametrize(
    ("days", "bucket", "seconds"),
    [
        (0, VitalBucket.RAW, 60),
        (1, VitalBucket.RAW, 60),
        (2, VitalBucket.HOURLY, 3600),
        (60, VitalBucket.HOURLY, 3600),
        (365, VitalBucket.DAILY, 86400),
        (365 * 30, VitalBucket.DAILY, 8 * 86400),
    ],
)
def test_range_chooses_the_source(days: int, bucket: VitalBucket, seconds: int) -> None:
    """Minutes for a day, hours for weeks, days for years; and never more points than POINTS_MAX."""
    span = vital_sign.trend_span(NOON, NOON + timedelta(days=days), None)
    assert (span.bucket, span.width) == (bucket, timedelta(seconds=seconds))
    assert timedelta(days=days) / span.width + 1 <= vital_sign.POINTS_MAX


async def test_statements_do_not_grow_with_parents(vitals: Vitals, facility: UUID) -> None:
    """One statement for each relation, for one patient as for twenty-five."""
    patients = [uuid4() for _ in range(25)]
    rows = [reading(facility, patient, "60", n, encounter_id=patient) for patient in patients for n in range(3)]
    await write(vitals, rows)
    await rollup(vitals.settings)
    sent: list[Any] = []
    for ids in (patients[:1], patients):
        async with vitals.request(facility) as context:
            some = parents(*ids)
            read: list[Sequence[Any]] = [
                await vital_sign.of_patients(context, some, first=2, after=None),
                await vital_sign.of_patients(context, some, first=2, after=None, code=[HEART_RATE]),
                await vital_sign.of_encounters(context, some, first=2, after=None),
                await vital_sign.latest(context, some),
                *[
                    await vital_sign.trend(context, some, code=[HEART_RATE], start="2021", end="2021", bucket=bucket)
                    for bucket in (VitalBucket.HOURLY, VitalBucket.DAILY)
                ],
            ]
            assert [len(values) for values in read] == [len(ids)] * len(read)
            assert all(len(page.rows) == 2 and page.has_next for values in read[:3] for page in values)
            assert all(len(values) == 1 for of_patients in read[3:] for values in of_patients)
            sent.append(context.reader.statements)
    assert sent[0] == sent[1]
    assert set(sent[0].values()) == {1}


GOOD: dict[str, Any] = {"code": [HEART_RATE], "start": "2021"}


@pytest.mark.parametrize(
    ("arguments", "error", "argument"),
    [
        ({"code": []}, InvalidArgument, "code"),
        ({"code": [""]}, InvalidArgument, "code"),
        ({"start": "yesterday"}, InvalidArgument, "from"),
        ({"end": "2019"}, InvalidArgument, "to"),
        ({"bucket": VitalBucket.RAW}, InvalidArgument, "bucket"),
    ],
)
async def test_trend_refuses_and_names_the_argument(
    vitals: Vitals, facility: UUID, arguments: dict[str, Any], error: type[ArgumentError], argument: str
) -> None:
    """Without sending a statement."""
    async with vitals.request(facility) as context:
        with pytest.raises(error) as raised:
            await vital_sign.trend(context, parents(uuid4()), **(GOOD | arguments))
        assert raised.value.argument == argument
        assert not context.reader.statements


async def test_cursor_is_good_for_one_field_and_facility(vitals: Vitals, facility: UUID) -> None:
    """A cursor of another facility or field, or a changed one, is refused; so is an id that is none."""
    patient = uuid4()
    await write(vitals, [reading(facility, patient, "60", n) for n in range(3)])
    async with vitals.request(facility) as context:
        [page] = await vital_sign.of_patients(context, parents(patient), first=1, after=None)
        [cursor] = [page.cursor(row) for row in page.rows]
        for relation, forged in ((vital_sign.of_encounters, cursor), (vital_sign.of_patients, cursor[:-2] + "AA")):
            with pytest.raises(InvalidCursor):
                await relation(context, parents(patient), first=1, after=forged)
        with pytest.raises(InvalidArgument):
            await vital_sign.of_patients(context, parents(patient), first=101, after=None)
        for malformed in ("VitalSign/1", f"VitalSign/{patient}", f"Patient/{patient}.0", f"VitalSign/{patient}.99999"):
            with pytest.raises(InvalidId):
                await vital_sign.one(context, id=malformed)
    async with vitals.request(uuid4()) as context:
        with pytest.raises(InvalidCursor):
            await vital_sign.of_patients(context, parents(patient), first=1, after=cursor)
        assert await vital_sign.one(context, id=f"VitalSign/{page.rows[0].key}") is None
