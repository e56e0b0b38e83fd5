"""Consents of patients, given, changed and withdrawn (FHIR R4 Consent)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from db.transaction import Transaction
from loaders.write import Code, Refusal, lock_chart, not_found, row_for_update

STANDING = ("draft", "proposed", "active")
"""Statuses of a consent that was neither refused nor withdrawn."""

WHERE_CONSENT_IS_GIVEN = """/* where_consent_is_given */
SELECT access.chart_is_open($1::uuid),
    NOT EXISTS (SELECT FROM unnest($2::uuid[]) AS one WHERE NOT EXISTS (SELECT FROM provider WHERE id = one)),
    NOT EXISTS (SELECT FROM unnest($3::uuid[]) AS one WHERE NOT EXISTS (SELECT FROM facility WHERE id = one))"""

GIVE_CONSENT = """/* give_consent */
INSERT INTO consent (id, facility_id, patient_id, status, scope, category, date_time, provision, sort_time)
VALUES ($1::uuid, access.facility_id(), $2::uuid, 'active', $3::jsonb, $4::jsonb, $5::text, $6::jsonb,
    $7::timestamptz)"""

CONSENT_FOR_UPDATE = """/* consent_for_update */
SELECT patient_id, version, status
FROM consent
WHERE id = $1::uuid
FOR UPDATE"""

CHANGE_CONSENT = """/* change_consent */
UPDATE consent
SET (scope, category, date_time, sort_time, provision) = (
    SELECT n.scope, n.category, n.date_time, n.sort_time, n.provision
    FROM jsonb_populate_record(consent, $2::jsonb) AS n)
WHERE id = $1::uuid"""

WITHDRAW_CONSENT = """/* withdraw_consent */
UPDATE consent SET status = 'inactive' WHERE id = $1::uuid"""

STILL_OPEN = """/* chart_is_open_still */
SELECT access.chart_is_open($1::uuid)"""


@dataclass(frozen=True, slots=True)
class Provision:
    """A rule of a consent as FHIR Consent.provision; providers and facilities are those that it names."""

    fhir: Mapping[str, Any]
    providers: Sequence[UUID] = ()
    facilities: Sequence[UUID] = ()


@dataclass(frozen=True, slots=True)
class NewConsent:
    """What a patient agrees to or refuses; `time` is the first instant of `date_time`."""

    patient_id: UUID
    scope: Mapping[str, Any]
    category: Sequence[Mapping[str, Any]]
    date_time: str
    time: datetime
    provision: Provision


async def give_consent(writing: Transaction, new: NewConsent) -> UUID:
    """Records a consent, which holds from now on, and gives its id. Raises Refusal."""
    await lock_chart(writing, new.patient_id)
    await _check_named(writing, new.patient_id, new.provision)
    id = uuid4()
    await writing.fetch(
        GIVE_CONSENT, id, new.patient_id, dict(new.scope), list(new.category), new.date_time, dict(new.provision.fhir),
        new.time,
    )  # fmt: skip
    await _check_open(writing, new.patient_id)
    return id


async def change_consent(
    writing: Transaction, id: UUID, version: int, columns: Mapping[str, Any], provision: Provision | None
) -> UUID:
    """Changes a consent; what is not among `columns` stays, as does the rule where none is given. Raises Refusal."""
    row = await _standing(writing, id, version)
    await lock_chart(writing, row["patient_id"])
    if provision is not None:
        await _check_named(writing, row["patient_id"], provision)
        columns = {**columns, "provision": provision.fhir}
    await writing.fetch(CHANGE_CONSENT, id, dict(columns))
    await _check_open(writing, row["patient_id"])
    return id


async def withdraw_consent(writing: Transaction, id: UUID, version: int) -> UUID:
    """Ends a consent: its rule holds no more. Raises Refusal."""
    await _standing(writing, id, version)
    await writing.fetch(WITHDRAW_CONSENT, id)
    return id


async def _standing(writing: Transaction, id: UUID, version: int) -> Any:
    row = await row_for_update(writing, CONSENT_FOR_UPDATE, id, version)
    if row["status"] not in STANDING:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The consent has ended already.")
    return row


async def _check_named(writing: Transaction, patient_id: UUID, provision: Provision) -> None:
    [found] = await writing.fetch(
        WHERE_CONSENT_IS_GIVEN, patient_id, list(provision.providers), list(provision.facilities)
    )
    for there, field in zip(found, ("patientId", ("provision", "actor"), ("provision", "actor")), strict=True):
        if not there:
            raise not_found(field)


async def _check_open(writing: Transaction, patient_id: UUID) -> None:
    """Raises Refusal where the chart is now closed to the caller too: somebody must be left who can withdraw that."""
    [(still,)] = await writing.fetch(STILL_OPEN, patient_id)
    if not still:
        raise Refusal(Code.INVALID, "provision", "This closes the chart to you, too; somebody else must record it.")
