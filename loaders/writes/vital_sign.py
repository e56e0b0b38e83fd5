"""Recording vital signs: readings of devices, each sequence once, and values that people chart.

Which sequences of a device have been recorded, its ledger says (vitals.device_sequence, migration 0011). Batches of one
device wait for each other there; they may overlap, come again and come in any order.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from db.transaction import Transaction
from loaders.reader import Reader
from loaders.write import Code, UserErrorRow, Written
from loaders.writes.open_chart import check_chart

SEQUENCE_MAX = 2**62 - 1
DEVICE_MAX, UNIT_MAX, DIGITS_MAX = 200, 50, 30
"""Characters of a device's identifier, of a unit, and of a value."""
FUTURE_MAX = timedelta(minutes=5)
"""How far a device's clock may be ahead; how late a reading comes does not matter."""

INSTANT = re.compile(r"[12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
"""FHIR instant, to the microsecond."""
LOINC = re.compile(r"[1-9]\d{0,6}-\d", re.ASCII)

GIVEN = """unnest($1::uuid[], $2::text[], $3::bigint[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[],
    $9::text[]::numeric[], $10::text[], $11::text[], $12::text[], $13::timestamptz[])
    WITH ORDINALITY AS given (facility_id, device_id, sequence, patient_id, encounter_id, status, code, panel_code,
        value, value_unit, value_code, effective, sort_time, place)"""
"""Readings as arrays, in the order of Reading; `place` counts from 1."""

# One statement, so that one snapshot of the ledger decides; whoever has a row of it first lets the others wait.
# Rows are inserted, and so returned, in the order given, whatever way the planner joins them.
RECORD_READINGS = f"""/* record_readings */
WITH given AS MATERIALIZED (
    SELECT * FROM {GIVEN}
), touched AS (
    INSERT INTO vitals.device_sequence AS known (facility_id, device_id, block, seen)
    SELECT facility_id, device_id, sequence >> 16, range_agg(int8range(sequence, sequence + 1))
    FROM given
    WHERE device_id IS NOT NULL
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
    ON CONFLICT (facility_id, device_id, block) DO UPDATE SET before = known.seen, seen = known.seen + excluded.seen
    RETURNING facility_id, device_id, block, series, before
), recorded AS (
    INSERT INTO vitals.vital_sign (id, position, facility_id, patient_id, encounter_id, device_id, status, code_system,
        code, panel_code, value, value_unit, value_code, effective, sort_time)
    SELECT CASE WHEN given.device_id IS NULL THEN gen_random_uuid() ELSE vitals.reading_id(series, sequence) END, 0,
        given.facility_id, patient_id, encounter_id, given.device_id, status, 'http://loinc.org',
        code, panel_code, value, value_unit, value_code, effective, sort_time
    FROM given
    LEFT JOIN touched
        ON (touched.facility_id, touched.device_id, block) = (given.facility_id, given.device_id, sequence >> 16)
    WHERE given.device_id IS NULL OR NOT before @> sequence
    ORDER BY place
    RETURNING facility_id, patient_id, id, sort_time
)
SELECT ids, ARRAY(
        SELECT place FROM given
        JOIN touched
            ON (touched.facility_id, touched.device_id, block) = (given.facility_id, given.device_id, sequence >> 16)
        WHERE before @> sequence
        ORDER BY place
    ),
    feed.tell_readings(facilities, patients, ids, times)
FROM (
    SELECT array_agg(facility_id) AS facilities, array_agg(patient_id) AS patients, array_agg(id) AS ids,
        array_agg(sort_time) AS times
    FROM recorded
) AS told"""

RECORDED_BEFORE = f"""/* readings_recorded_before */
SELECT place
FROM {GIVEN}
JOIN vitals.device_sequence AS known
    ON (known.facility_id, known.device_id, block) = (given.facility_id, given.device_id, sequence >> 16)
JOIN vitals.vital_sign AS v
    ON (v.id, v.position, v.sort_time) = (vitals.reading_id(series, sequence), 0, given.sort_time)
WHERE (v.patient_id, v.code, v.panel_code, v.value, v.value_unit, v.value_code) IS NOT DISTINCT FROM
    (given.patient_id, given.code, given.panel_code, given.value, given.value_unit, given.value_code)
ORDER BY place"""


class Reading(NamedTuple):
    """A vital sign as it comes: of a device with its sequence, or charted by a person, without both."""

    facility_id: UUID
    device_id: str | None
    sequence: int | None
    patient_id: UUID
    encounter_id: UUID | None
    status: str
    code: str
    """LOINC."""
    panel_code: str | None
    value: str
    """Decimal digits, kept as they are."""
    unit: str | None
    """As people write it."""
    unit_code: str | None
    """UCUM."""
    effective: str
    """The instant as it came, with its offset (FHIR instant)."""
    time: datetime


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of readings, by their places among those given (from 0) where they were not recorded.

    A duplicate was recorded before; a conflict has a sequence that stands for another reading, which stays.
    """

    ids: Sequence[UUID]
    duplicates: Sequence[int]
    conflicts: Sequence[int]


Run: TypeAlias = Callable[..., Awaitable[Sequence[Any]]]
"""Runs a statement with its arguments: `Transaction.fetch`, or the workers'."""


async def record(run: Run, readings: Sequence[Reading]) -> Recorded:
    """Records readings, of which there must be one; each sequence of a device once.

    Raises what `run` raises; then nothing is recorded.
    """
    first: dict[tuple[UUID, str | None, int | None], int] = {}
    for place, one in enumerate(readings):
        first.setdefault((one[0], one[1], place if one[1] is None else one[2]), place)
    firsts = list(first.values())
    ids, known, _ = (await run(RECORD_READINGS, *_columns(readings, firsts)))[0]
    again = [firsts[place - 1] for place in known]
    if len(firsts) < len(readings):
        taken = set(firsts)
        again = sorted([*again, *(place for place in range(len(readings)) if place not in taken)])
    if not again:
        return Recorded(ids or (), (), ())
    rows = await run(RECORDED_BEFORE, *_columns(readings, again))
    same = {again[row[0] - 1] for row in rows}
    return Recorded(ids or (), sorted(same), [place for place in again if place not in same])


def _columns(readings: Sequence[Reading], places: Sequence[int]) -> Sequence[Sequence[Any]]:
    return list(zip(*(readings if len(places) == len(readings) else [readings[n] for n in places]), strict=True))


async def record_chart(reader: Reader, writing: Transaction, readings: Sequence[Reading]) -> Written:
    """Records a caller's readings of one patient; a conflict costs itself only.

    Raises Refusal where the chart is not open to the caller, or the encounter is not the patient's.
    """
    patient_id, encounter_id = readings[0].patient_id, readings[0].encounter_id
    await check_chart(reader, patient_id, encounter_id)
    came = await record(writing.fetch, readings)
    errors = tuple(
        UserErrorRow(
            Code.CONFLICT, ("readings", str(place), "sequence"), "The sequence stands for another reading, which stays."
        )
        for place in came.conflicts
    )
    counts = {"recorded": len(came.ids), "duplicates": len(came.duplicates)}
    return Written(None, errors, tuple(came.ids), counts=counts)
