"""Giving medications, and taking back what was recorded wrongly (FHIR R4 MedicationAdministration)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from db.transaction import Transaction
from loaders.write import Code, Refusal, check_version, not_found

ORDER_TO_ADMINISTER = """/* order_to_administer */
SELECT patient_id, encounter_id, medication_id, status, dosage, security
FROM access.order_to_administer($1::uuid)"""

IS_GIVEN = """/* is_given */
SELECT id FROM medication_administration
WHERE medication_request_id = $1::uuid AND due_time = $2::timestamptz
    AND status NOT IN ('not-done', 'on-hold', 'preparation', 'entered-in-error')"""

ADMINISTER_MEDICATION = """/* administer_medication */
INSERT INTO medication_administration (id, facility_id, patient_id, encounter_id, medication_id, medication_request_id,
    security, status, status_reason, due, due_time, effective_start, sort_time, dosage)
VALUES ($1::uuid, access.facility_id(), $2::uuid, $3::uuid, $4::uuid, $5::uuid, $6::text[], $7::text, $8::jsonb,
    $9::text, $10::timestamptz, $11::text, $12::timestamptz, $13::jsonb)"""

ADMINISTRATION_FOR_UPDATE = """/* administration_for_update */
SELECT version, status FROM medication_administration WHERE id = $1::uuid FOR UPDATE"""

RETRACT_ADMINISTRATION = """/* retract_administration */
UPDATE medication_administration SET status = 'entered-in-error', status_reason = $2::jsonb WHERE id = $1::uuid"""


@dataclass(frozen=True, slots=True)
class NewAdministration:
    """A dose of an order: given (`completed`), refused (`not-done`) or held (`on-hold`), with the reason why not.

    `effective`: when it was given, or was not; `dose` is a FHIR Quantity, None where it is as ordered.
    """

    request_id: UUID
    status: str
    status_reason: dict[str, Any] | None
    due: datetime | None
    effective: datetime
    dose: dict[str, Any] | None


async def administer_medication(writing: Transaction, new: NewAdministration) -> UUID:
    """Records what became of a dose, and gives the record's id. Raises Refusal."""
    rows = await writing.fetch(ORDER_TO_ADMINISTER, new.request_id)
    if not rows:
        raise not_found("orderId")
    order = rows[0]
    if order["status"] != "active":
        raise Refusal(Code.NOT_ALLOWED_NOW, "orderId", "The order is not active.")
    ordered: dict[str, Any] = (order["dosage"] or [{}])[0]
    _check_due(new, ordered)
    if new.due and await writing.fetch(IS_GIVEN, new.request_id, new.due):
        raise Refusal(Code.ALREADY_EXISTS, "dueTime", "The dose of this time has been given.")
    id = uuid4()
    await writing.fetch(
        ADMINISTER_MEDICATION, id, order["patient_id"], order["encounter_id"], order["medication_id"], new.request_id,
        order["security"], new.status, new.status_reason, new.due and new.due.isoformat(), new.due,
        new.effective.isoformat(), new.effective, _given(new, ordered),
    )  # fmt: skip
    return id


async def retract_administration(writing: Transaction, id: UUID, version: int, reason: dict[str, Any]) -> UUID:
    """Marks a record as entered in error: what it says did not happen. Raises Refusal where that has been done."""
    rows = await writing.fetch(ADMINISTRATION_FOR_UPDATE, id)
    if not rows:
        raise not_found("id")
    check_version(version, rows[0]["version"])
    if rows[0]["status"] == "entered-in-error":
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The record has been retracted already.")
    await writing.fetch(RETRACT_ADMINISTRATION, id, reason)
    return id


def _check_due(new: NewAdministration, ordered: dict[str, Any]) -> None:
    """Raises Refusal for a dose without its time where the order has times, and for one outside of its period."""
    repeat: dict[str, Any] = (ordered.get("timing") or {}).get("repeat") or {}
    if new.due is None and repeat.get("frequency") and not ordered.get("asNeededBoolean"):
        raise Refusal(Code.INVALID, "dueTime", "This must be given, because the order has times.")
    period: dict[str, Any] = repeat.get("boundsPeriod") or {}
    at, field = (new.due, "dueTime") if new.due else (new.effective, "givenAt")
    if (start := period.get("start")) and _lies(at, start) < 0:
        raise Refusal(Code.NOT_ALLOWED_NOW, field, "The order begins later.")
    if (end := period.get("end")) and _lies(at, end) > 0:
        raise Refusal(Code.NOT_ALLOWED_NOW, field, "The order ends before.")


def _lies(at: datetime, bound: str) -> int:
    """Whether an instant is before (-1), inside of (0) or after (1) a FHIR dateTime of any precision."""
    if len(bound) > len("YYYY-MM-DD"):
        instant = datetime.fromisoformat(bound)
        return (at > instant) - (at < instant)
    day = at.astimezone(UTC).isoformat()[: len(bound)]
    return (day > bound) - (day < bound)


def _given(new: NewAdministration, ordered: dict[str, Any]) -> dict[str, Any]:
    """FHIR MedicationAdministration.dosage: as ordered, where nothing else was said."""
    rate: dict[str, Any] = (ordered.get("doseAndRate") or [{}])[0]
    dosage = {"route": ordered.get("route"), "dose": new.dose or rate.get("doseQuantity")}
    return {name: value for name, value in dosage.items() if value is not None}
