"""Rollups equal a recomputation from the readings; a store that is down says so; chunks and partitions are as meant."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.errors import StoreUnavailable
from loaders.page import FIRST_TIME
from loaders.vital_sign import VitalSignRow
from resolvers import vital_sign
from tests.vitals.conftest import Vitals
from tests.vitals.readings import DIASTOLIC, HEART_RATE, TEMPERATURE, as_login, as_worker, reading, write
from workers.rollup import rollup

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

ROLLED_UP = """/* rolled_up */
SELECT 'hour', patient_id, code, unit, bucket, min, max, sum, count FROM vital_sign_hourly
UNION ALL SELECT 'day', patient_id, code, unit, bucket, min, max, sum, count FROM vital_sign_daily
"""

CHUNKS = """
SELECT range_start::text, range_end::timestamp - range_start::timestamp AS width
FROM timescaledb_information.chunks
WHERE hypertable_name = 'vital_sign'
"""


def recomputed(rows: list[VitalSignRow]) -> set[Any]:
    """What the rollups must hold for these readings."""
    groups: dict[Any, list[Decimal]] = defaultdict(list)
    for row in rows:
        if row.value is None or row.status == "entered-in-error":
            continue
        for name, width in (("hour", HOUR), ("day", DAY)):
            bucket = row.sort_time - (row.sort_time - FIRST_TIME) % width
            groups[name, row.patient_id, row.code, row.value_code or row.value_unit, bucket].append(row.value)
    return {(*key, min(values), max(values), sum(values), len(values)) for key, values in groups.items()}


def some_readings(facility: UUID, seed: int) -> list[VitalSignRow]:
    """Readings of decades, dense hours among them, in two units, with missing, wrong and outlying values."""
    dice = random.Random(seed)
    patients = [uuid4() for _ in range(3)]
    rows: list[VitalSignRow] = []
    for _ in range(300):
        centuries = dice.choice([0, 0, 0, -30 * 365 * 24 * 60, 5 * 24 * 60, 120 * 365 * 24 * 60])
        row = reading(facility, dice.choice(patients), str(Decimal(dice.randrange(1, 100000)) / 100), 0)
        rows.append(
            replace(
                row,
                code=dice.choice([HEART_RATE, DIASTOLIC, TEMPERATURE]),
                status=dice.choice(["final", "final", "amended", "entered-in-error", None]),
                value=dice.choice([row.value, row.value, None]),
                value_code=dice.choice(["/min", "Cel", None]),
                value_unit=dice.choice(["beats/minute", None]),
                sort_time=row.sort_time + timedelta(minutes=centuries + dice.randrange(0, 3000)),
            )
        )
    return rows


@pytest.mark.parametrize("seed", [1, 2])
async def test_rollups_equal_recomputation(vitals: Vitals, facility: UUID, seed: int) -> None:
    """After inserts, corrections and deletions; and again when nothing changed."""
    rows = some_readings(facility, seed)

    async def rolled_up() -> set[Any]:
        await rollup(vitals.settings)
        async with vitals.request(facility) as context:
            return {tuple(record) for record in await context.reader.vitals.fetch(ROLLED_UP)}

    await write(vitals, rows)
    assert await rolled_up() == recomputed(rows)
    corrected = [replace(row, value=Decimal("7.50"), status="corrected") for row in rows[:50]]
    await write(vitals, corrected)
    gone = [row.id for row in rows[50:100]]
    await as_worker(vitals, "DELETE FROM vitals.vital_sign WHERE id = ANY($1)", gone)
    left = corrected + rows[100:]
    assert await rolled_up() == recomputed(left)
    assert await rolled_up() == recomputed(left)


async def test_reading_without_time(vitals: Vitals, facility: UUID) -> None:
    """A reading whose source gives no time has its place before all others."""
    patient = uuid4()
    timeless = replace(reading(facility, patient, "60"), effective=None, sort_time=FIRST_TIME + DAY)
    await write(vitals, [timeless, reading(facility, patient, "61")])
    await rollup(vitals.settings)
    async with vitals.request(facility) as context:
        [page] = await vital_sign.of_patients(context, [SimpleNamespace(id=patient)], first=10, after=None)
        assert [row.value for row in page.rows] == [61, 60]
        assert page.rows[1] == timeless


async def test_history_and_future_share_few_chunks(vitals: Vitals, facility: UUID) -> None:
    """A hundred and fifty years of yearly visits add no chunk; two readings of today are within one hour's chunk."""
    if vitals.flavour == "plain":
        pytest.skip("partitions of plain PostgreSQL are fixed")
    before = await as_login(vitals.settings.vitals_url, CHUNKS)
    now = datetime.now(UTC)
    years = [now.replace(year=year, day=1) for year in (*range(1950, now.year), *range(2041, 2150))]
    await write(vitals, [replace(reading(facility, uuid4(), "60"), sort_time=time) for time in years])
    assert await as_login(vitals.settings.vitals_url, CHUNKS) == before
    await write(vitals, [replace(reading(facility, uuid4(), "60"), sort_time=now + timedelta(days=3))])
    [new] = set(await as_login(vitals.settings.vitals_url, CHUNKS)) - set(before)
    assert new["width"] == HOUR


async def test_old_chunks_become_wide(vitals: Vitals, facility: UUID) -> None:
    """Hours here and there in a month that is not now end up in one chunk for the month, with every reading."""
    if vitals.flavour == "plain":
        pytest.skip("partitions of plain PostgreSQL are fixed")
    patient, start = uuid4(), datetime(2031, 2, 1, tzinfo=UTC)
    rows = [
        replace(reading(facility, patient, str(60 + hour % 50)), sort_time=start + timedelta(hours=hour))
        for hour in (0, 1, 2, 7, 30, 31, 200, 671)
    ]
    await write(vitals, rows)
    of_month = f"{CHUNKS} AND range_start >= '2031-01-01' AND range_end < '2031-04-01'"
    assert len(await as_login(vitals.settings.vitals_url, of_month)) == len(rows)
    await rollup(vitals.settings)
    [chunk] = await as_login(vitals.settings.vitals_url, of_month)
    assert chunk["width"] == 28 * DAY
    async with vitals.request(facility) as context:
        [page] = await vital_sign.of_patients(context, [SimpleNamespace(id=patient)], first=10, after=None)
        assert page.rows == rows[::-1]
        stored = {tuple(record) for record in await context.reader.vitals.fetch(ROLLED_UP)}
    assert stored == recomputed(rows)
    await rollup(vitals.settings)
    assert len(await as_login(vitals.settings.vitals_url, of_month)) == 1


async def test_stopped_store_is_unavailable(vitals: Vitals, facility: UUID) -> None:
    """A typed error while it is down, answers again once it is back."""
    parents = [SimpleNamespace(id=uuid4())]
    await vitals.stop()
    try:
        async with vitals.request(facility) as context:
            with pytest.raises(StoreUnavailable):
                await vital_sign.of_patients(context, parents, first=10, after=None)
        with pytest.raises(StoreUnavailable):
            await rollup(vitals.settings)
    finally:
        await vitals.start()
    async with vitals.request(facility) as context:
        [page] = await vital_sign.of_patients(context, parents, first=10, after=None)
        assert page.rows == []
