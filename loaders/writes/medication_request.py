"""Ordering medications and stopping orders (FHIR R4 MedicationRequest)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from db.ids import derived_id
from db.transaction import Transaction
from loaders.write import Code, Concept, Refusal, check_version, lock_chart, not_found

CAN_BE_STOPPED = ("active", "on-hold", "draft")
"""Statuses of an order that has not ended."""

WHERE_MEDICATION_IS_ORDERED = """/* where_medication_is_ordered */
SELECT access.chart_is_open($1::uuid),
    $2::uuid IS NULL OR EXISTS (SELECT FROM encounter WHERE id = $2::uuid AND patient_id = $1::uuid),
    $3::uuid IS NULL OR EXISTS (SELECT FROM provider WHERE id = $3::uuid)"""

MEDICATION_IS_KNOWN = """/* medication_is_known */
SELECT id FROM medication WHERE id = $1::uuid"""

ENTER_MEDICATION = """/* enter_medication */
INSERT INTO medication (id, code_system, code, code_display) VALUES ($1::uuid, $2::text, $3::text, $4::text)
ON CONFLICT (id) DO NOTHING"""

ALLERGIES_AGAINST = """/* allergies_against */
SELECT id FROM access.allergies_against($1::uuid, $2::uuid)"""

ORDER_MEDICATION = """/* order_medication */
INSERT INTO medication_request (id, facility_id, patient_id, encounter_id, medication_id, provider_id, status, intent,
    priority, authored_on, sort_time, reason, dosage, allergy_override_reason, ordered_here)
VALUES ($1::uuid, access.facility_id(), $2::uuid, $3::uuid, $4::uuid,
    coalesce($5::uuid, (SELECT p.id FROM provider AS p WHERE p.id = (access.context()).provider_id)), 'active', 'order',
    $6::text, $7::text, $8::timestamptz, $9::jsonb, $10::jsonb, $11::text, true)"""

MEDICATION_REQUEST_FOR_UPDATE = """/* medication_request_for_update */
SELECT version, status FROM medication_request WHERE id = $1::uuid FOR UPDATE"""

STOP_MEDICATION = """/* stop_medication */
UPDATE medication_request SET status = 'stopped', status_reason = $2::jsonb WHERE id = $1::uuid"""


@dataclass(frozen=True, slots=True)
class NewMedicationRequest:
    """What is ordered: `medication` by its id in the catalogue or by its code; `dosage` as a list of FHIR Dosage."""

    patient_id: UUID
    encounter_id: UUID | None
    provider_id: UUID | None
    medication: UUID | Concept
    priority: str
    authored: datetime
    reason: list[dict[str, Any]]
    dosage: list[dict[str, Any]]
    allergy_override_reason: str | None


async def order_medication(writing: Transaction, new: NewMedicationRequest) -> UUID:
    """Orders a medication and gives the order's id. Raises Refusal, with the allergies that the caller sees."""
    await lock_chart(writing, new.patient_id)
    [found] = await writing.fetch(WHERE_MEDICATION_IS_ORDERED, new.patient_id, new.encounter_id, new.provider_id)
    for there, name in zip(found, ("patientId", "encounterId", "providerId"), strict=True):
        if not there:
            raise not_found(name)
    medication_id = await _catalogued(writing, new.medication)
    allergies = [row["id"] for row in await writing.fetch(ALLERGIES_AGAINST, new.patient_id, medication_id)]
    if allergies and new.allergy_override_reason is None:
        raise _allergy(allergies)
    id = uuid4()
    await writing.fetch(
        ORDER_MEDICATION, id, new.patient_id, new.encounter_id, medication_id, new.provider_id, new.priority,
        new.authored.isoformat(), new.authored, new.reason, new.dosage,
        new.allergy_override_reason if allergies else None,
    )  # fmt: skip
    return id


async def stop_medication(writing: Transaction, id: UUID, version: int, reason: dict[str, Any]) -> UUID:
    """Stops an order: nothing is given of it from now on. Raises Refusal for one that has ended."""
    rows = await writing.fetch(MEDICATION_REQUEST_FOR_UPDATE, id)
    if not rows:
        raise not_found("id")
    check_version(version, rows[0]["version"])
    if rows[0]["status"] not in CAN_BE_STOPPED:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The order has ended already.")
    await writing.fetch(STOP_MEDICATION, id, reason)
    return id


async def _catalogued(writing: Transaction, medication: UUID | Concept) -> UUID:
    """Id in the catalogue; a code that is not there is entered, under the id that an import would give it."""
    if isinstance(medication, UUID):
        if not await writing.fetch(MEDICATION_IS_KNOWN, medication):
            raise not_found("medicationId")
        return medication
    id = derived_id("medication", medication.system, medication.code, None)
    await writing.fetch(ENTER_MEDICATION, id, medication.system, medication.code, medication.display)
    return id


def _allergy(ids: list[UUID | None]) -> Refusal:
    seen = [id for id in ids if id is not None]
    message = "The patient is allergic to this or to its class"
    if len(seen) < len(ids):
        message += "; not all that is known of it may be shown to you"
    return Refusal(Code.ALLERGY, "allergyOverrideReason", f"{message}.", found=seen)
