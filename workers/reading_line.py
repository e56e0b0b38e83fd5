"""A line of readings as devices' gateways send it (NDJSON), and whom it is about."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple, cast
from uuid import UUID

import orjson

from db.postgres import Postgres
from loaders.writes.vital_sign import DEVICE_MAX, DIGITS_MAX, INSTANT, LOINC, SEQUENCE_MAX, UNIT_MAX, Reading

REMEMBER_S = 60
"""Seconds after which who is registered where is asked anew."""
REMEMBER_MAX = 100_000
"""Patients that are remembered at once."""

DECIMAL = re.compile(r"-?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,2})?", re.ASCII)

REGISTERED = """/* registered_patients */
SELECT f.id, r.patient_id
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[])
    WITH ORDINALITY AS asked (code, facility_id, mrn, patient_id, place)
LEFT JOIN clinical.facility AS f
    ON f.id = coalesce(asked.facility_id, (SELECT id FROM clinical.facility AS c WHERE c.code = asked.code))
LEFT JOIN clinical.registration AS r
    ON r.facility_id = f.id AND r.patient_id = coalesce(asked.patient_id,
        (SELECT m.patient_id FROM clinical.registration AS m WHERE m.facility_id = f.id AND m.mrn = asked.mrn))
ORDER BY place"""


class Rejection(Enum):
    """Why a line is not taken."""

    MALFORMED = "MALFORMED"
    """No JSON object, a member missing or of another type; `patient` and `mrn` both, or neither."""
    TOO_LONG = "TOO_LONG"
    UNKNOWN_FACILITY = "UNKNOWN_FACILITY"
    UNKNOWN_PATIENT = "UNKNOWN_PATIENT"
    """Not registered at the facility."""
    INVALID_DEVICE = "INVALID_DEVICE"
    INVALID_SEQUENCE = "INVALID_SEQUENCE"
    INVALID_CODE = "INVALID_CODE"
    INVALID_VALUE = "INVALID_VALUE"
    INVALID_UNIT = "INVALID_UNIT"
    INVALID_TIME = "INVALID_TIME"
    """No instant with an offset, or one in the future."""
    CONFLICT = "CONFLICT"
    """The sequence stands for another reading, which stays."""
    REFUSED = "REFUSED"
    """The store does not take it."""


class Whom(NamedTuple):
    """A patient as a line names one: a facility by code or id, and there a patient by id, or by number."""

    facility: str
    patient: str | None
    mrn: str | None


class Registrations:
    """Who is registered where, remembered for REMEMBER_S."""

    def __init__(self, clinical: Postgres) -> None:
        self._clinical = clinical
        self._known: dict[Whom, tuple[UUID | None, UUID | None]] = {}
        self._since = 0.0

    async def of(self, asked: Collection[Whom]) -> Mapping[Whom, tuple[UUID | None, UUID | None]]:
        """Facility and patient of each; None for what there is not. Raises StoreError."""
        if time.monotonic() - self._since > REMEMBER_S or len(self._known) > REMEMBER_MAX:
            self._known, self._since = {}, time.monotonic()
        missing = [one for one in asked if one not in self._known]
        if missing:
            facilities = [_uuid(one.facility) for one in missing]
            arguments = (
                [one.facility for one in missing],
                facilities,
                [one.mrn for one in missing],
                [_uuid(one.patient) for one in missing],
            )
            rows = await self._clinical.worker_fetch(REGISTERED, *arguments)
            self._known.update((one, (row[0], row[1])) for one, row in zip(missing, rows, strict=True))
        return self._known


def parsed(line: bytes) -> tuple[Whom, dict[str, Any]] | Rejection:
    """Whom a line is about, and its members."""
    try:
        given = orjson.loads(line)
    except orjson.JSONDecodeError:
        return Rejection.MALFORMED
    if not isinstance(given, dict):
        return Rejection.MALFORMED
    members = cast("dict[str, Any]", given)
    facility, patient, mrn = members.get("facility"), members.get("patient"), members.get("mrn")
    if not _is_text(facility, DEVICE_MAX) or (patient is None) == (mrn is None):
        return Rejection.MALFORMED
    if not _is_text(mrn if patient is None else patient, DEVICE_MAX):
        return Rejection.MALFORMED
    return Whom(cast("str", facility), patient, mrn), members


def reading(
    given: Mapping[str, Any], facility_id: UUID | None, patient_id: UUID | None, latest: datetime
) -> Reading | Rejection:
    """The reading of a line; a number keeps the digits that it has as a double, a string all of them."""
    device_id, sequence, code, value = given.get("device"), given.get("sequence"), given.get("code"), given.get("value")
    panel_code, unit, unit_code, effective = given.get("panel"), given.get("unit"), given.get("ucum"), given.get("time")
    if facility_id is None:
        return Rejection.UNKNOWN_FACILITY
    if patient_id is None:
        return Rejection.UNKNOWN_PATIENT
    if not _is_text(device_id, DEVICE_MAX):
        return Rejection.INVALID_DEVICE
    if type(sequence) is not int or not 0 <= sequence <= SEQUENCE_MAX:
        return Rejection.INVALID_SEQUENCE
    if not _is_loinc(code) or (panel_code is not None and not _is_loinc(panel_code)):
        return Rejection.INVALID_CODE
    digits = repr(value) if type(value) in (int, float) else value
    if not isinstance(digits, str) or len(digits) > DIGITS_MAX or not DECIMAL.fullmatch(digits):
        return Rejection.INVALID_VALUE
    if not all(one is None or _is_text(one, UNIT_MAX) for one in (unit, unit_code)):
        return Rejection.INVALID_UNIT
    at = _instant(effective)
    if at is None or at > latest:
        return Rejection.INVALID_TIME
    return Reading(
        facility_id, device_id, sequence, patient_id, None, "final", cast("str", code), panel_code, digits, unit,
        unit_code, cast("str", effective), at,
    )  # fmt: skip


def _is_text(value: object, maximum: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= maximum and "\x00" not in value


def _is_loinc(value: object) -> bool:
    return isinstance(value, str) and LOINC.fullmatch(value) is not None


def _instant(value: object) -> datetime | None:
    if not isinstance(value, str) or not INSTANT.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _uuid(value: str | None) -> UUID | None:
    try:
        return None if value is None else UUID(value.removeprefix("Patient/"))
    except ValueError:
        return None
