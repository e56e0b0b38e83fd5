"""Readings for the tests: built with defaults, written as the workers write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString, TypeAlias
from uuid import UUID, uuid4

import asyncpg

from db.stores import Stores
from loaders.vital_sign import COLUMNS, VitalSignRow
from tests.vitals.conftest import Vitals

HEART_RATE, SYSTOLIC, DIASTOLIC, BLOOD_PRESSURE, TEMPERATURE = "8867-4", "8480-6", "8462-4", "85354-9", "8310-5"
NOON = datetime(2021, 3, 4, 12, tzinfo=UTC)

WRITE: LiteralString = f"""
INSERT INTO vitals.vital_sign ({COLUMNS.listed})
SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::numeric[], $13::text[], $14::text[], $15::text[], $16::text[],
    $17::timestamptz[])
ON CONFLICT (id, position, sort_time) DO UPDATE SET value = excluded.value, status = excluded.status
"""


def reading(facility_id: UUID, patient_id: UUID, value: str | None, minutes: float = 0, **other: Any) -> VitalSignRow:
    """A heart rate at NOON plus minutes, or what `other` says."""
    time = NOON + timedelta(minutes=minutes)
    row = VitalSignRow(
        id=uuid4(),
        position=0,
        facility_id=facility_id,
        patient_id=patient_id,
        encounter_id=None,
        device_id="monitor-7",
        status="final",
        code_system="http://loinc.org",
        code=HEART_RATE,
        code_display="Heart rate",
        panel_code=None,
        value=None if value is None else Decimal(value),
        value_unit="beats/minute",
        value_code="/min",
        data_absent_reason=None,
        effective=time.isoformat(),
        sort_time=time,
    )
    return replace(row, **other)


async def write(vitals: Vitals, rows: Sequence[VitalSignRow]) -> None:
    """Upserts readings as the worker role."""
    columns = [list(column) for column in zip(*[astuple(row) for row in rows], strict=True)]
    await as_worker(vitals, WRITE, *columns)


async def as_worker(vitals: Vitals, sql: LiteralString, *args: object) -> Sequence[Any]:
    """Rows of a statement of the worker role."""
    stores = Stores(vitals.settings)
    try:
        return await stores.vitals.worker_fetch(sql, *args)
    finally:
        await stores.close()


Before: TypeAlias = Callable[[int], str]
"""From the process id of a session to the statements that open its transaction."""


async def as_login(url: str, sql: str, before: Before = lambda pid: "SELECT", *args: object) -> Sequence[Any]:
    """Rows of a statement of whoever the URL logs in, in a transaction after the statements of `before`."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(before(connection.get_server_pid()))
            return await connection.fetch(sql, *args)
    finally:
        await connection.close()
