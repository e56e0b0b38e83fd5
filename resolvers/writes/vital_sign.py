"""Mutation of vital signs: readings of a device, or charted by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

from loaders.vital_sign import Key, VitalSignRow, vital_sign_by_key
from loaders.write import Written
from loaders.writes.vital_sign import (
    DEVICE_MAX,
    DIGITS_MAX,
    FUTURE_MAX,
    INSTANT,
    LOINC,
    SEQUENCE_MAX,
    UNIT_MAX,
    Reading,
    record_chart,
)
from resolvers.context import Context
from resolvers.write import Given, Input, Prepared, write

READINGS_MAX = 100
"""Readings of one mutation: what a list may have (graph/limits.py). Streams go through `python -m workers ingest`."""
STATUSES = ("preliminary", "final")


async def record(context: Context, input: Input) -> Written:
    """Records readings of one patient."""

    def prepare(given: Given) -> Prepared:
        patient_id, encounter_id = given.needed_id("patient_id", "Patient"), given.id("encounter_id", "Encounter")
        device_id = given.text("device_id", DEVICE_MAX)
        parts = given.parts("readings", READINGS_MAX)
        if not parts:
            raise given.invalid("readings", "must have an entry")
        readings = [_reading(one, context.caller.facility_id, device_id, patient_id, encounter_id) for one in parts]
        return lambda writing: record_chart(context.reader, writing, readings)

    return await write(context, "recordVitals", input, ["vital_sign"], prepare, "vitals")


async def recorded(context: Context, parents: list[Written]) -> list[list[VitalSignRow]]:
    """The readings that each write recorded, as the caller may see them now, in the order of the input."""
    keys: list[Key] = [(id, 0) for written in parents for id in written.found]
    rows = iter(await context.reader.load_many(vital_sign_by_key, keys))
    return [[row for _ in written.found if (row := next(rows)) is not None] for written in parents]


def _reading(
    given: Given, facility_id: UUID, device_id: str | None, patient_id: UUID, encounter_id: UUID | None
) -> Reading:
    """Raises Refusal."""
    effective, time = given.get("effective"), given.time("effective")
    if time is None or not INSTANT.fullmatch(effective):
        raise given.invalid("effective", "must be a time as YYYY-MM-DDThh:mm:ss with an offset")
    if time > datetime.now(UTC) + FUTURE_MAX:
        raise given.invalid("effective", "must not be in the future")
    return Reading(
        facility_id=facility_id,
        device_id=device_id,
        sequence=_sequence(given, device_id),
        patient_id=patient_id,
        encounter_id=encounter_id,
        status=given.one_of("status", STATUSES) or "final",
        code=cast("str", _loinc(given, "code")),  # the schema demands it
        panel_code=_loinc(given, "panel_code"),
        value=_value(given),
        unit=given.text("unit", UNIT_MAX),
        unit_code=given.text("unit_code", UNIT_MAX),
        effective=effective,
        time=time,
    )


def _sequence(given: Given, device_id: str | None) -> int | None:
    sequence: Decimal | None = given.get("sequence")
    if (sequence is None) != (device_id is None):
        raise given.invalid("sequence", "comes with deviceId, and only with it")
    if sequence is None:
        return None
    if not 0 <= sequence <= SEQUENCE_MAX or sequence != int(sequence):
        raise given.invalid("sequence", "must be a whole number from 0 to 2^62 - 1")
    return int(sequence)


def _loinc(given: Given, name: str) -> str | None:
    code = given.get(name)
    if code is not None and not LOINC.fullmatch(code):
        raise given.invalid(name, "must be a code of LOINC")
    return code


def _value(given: Given) -> str:
    value: Decimal = given.get("value")
    text = format(value, "f") if value.is_finite() and abs(value.adjusted()) < DIGITS_MAX else ""
    if not 0 < len(text) <= DIGITS_MAX:
        raise given.invalid("value", f"must be a number of {DIGITS_MAX} digits at most")
    return text
