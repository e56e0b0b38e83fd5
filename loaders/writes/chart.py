"""Recording and changing the plain facts of a chart (FHIR R4 Condition, Procedure, AllergyIntolerance, Immunization).

A code may give a row a label (clinical.label_row) that who recorded it may not see: it is recorded all the same, and
the payload has no object. Rules about other rows go by those that the caller may see, and so tell nothing of others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString, TypeAlias
from uuid import UUID, uuid4

from db.transaction import Transaction
from loaders.allergy_intolerance import NO_KNOWN_ALLERGY, NOT_ANY
from loaders.write import Code, Moment, Refusal, lock_chart, not_found
from loaders.writes.facts import (
    ENTERED_IN_ERROR,
    Columns,
    changed,
    for_update,
    locked,
    patient_of,
    plain,
    recorded,
    stays,
)

Settle: TypeAlias = Callable[[Columns, Columns], Columns]
"""From a row as it will be, and what was given of it, to further columns that follow. Raises Refusal."""
Contradict: TypeAlias = Callable[[Transaction, UUID, UUID, Columns], Awaitable[None]]
"""Looks at the other facts of a patient (the first id) where a row (the second) comes. Raises Refusal."""

WHERE_FACT_IS_RECORDED = """/* where_fact_is_recorded */
SELECT access.chart_is_open($1::uuid),
    $2::uuid IS NULL OR EXISTS (SELECT FROM encounter WHERE id = $2::uuid AND patient_id = $1::uuid),
    $3::uuid IS NULL OR EXISTS (SELECT FROM provider WHERE id = $3::uuid),
    NOT EXISTS (
        SELECT FROM unnest($4::uuid[]) AS reason (id)
        WHERE NOT EXISTS (SELECT FROM condition AS c WHERE c.id = reason.id AND c.patient_id = $1::uuid))"""

_WHAT: LiteralString = "id, encounter_id, code_system, code, code_display, code_text, sort_time"
_CONDITION: LiteralString = "clinical_status, verification_status, abatement, severity, note"
CONDITION_PATIENT = patient_of("condition")
CONDITION_FOR_UPDATE = for_update("condition", "clinical_status, verification_status, onset, abatement")
RECORD_CONDITION = recorded("condition", f"{_WHAT}, category, body_site, onset, recorded_date, {_CONDITION}")
CHANGE_CONDITION = changed("condition", _CONDITION)

_PROCEDURE: LiteralString = "status, performed_start, performed_end, reason, body_site"
PROCEDURE_PATIENT = patient_of("procedure")
PROCEDURE_FOR_UPDATE = for_update("procedure", "status, performed_start, performed_end")
RECORD_PROCEDURE = recorded("procedure", f"{_WHAT}, provider_id, reason_condition_id, {_PROCEDURE}")
CHANGE_PROCEDURE = changed("procedure", f"sort_time, {_PROCEDURE}")

_ALLERGY: LiteralString = "clinical_status, verification_status, criticality, reaction, note"
ALLERGY_PATIENT = patient_of("allergy_intolerance")
ALLERGY_FOR_UPDATE = for_update(
    "allergy_intolerance", "clinical_status, verification_status, no_known_allergy, code, category"
)
RECORD_ALLERGY = recorded(
    "allergy_intolerance", f"{_WHAT}, type, category, no_known_allergy, onset, recorded_date, {_ALLERGY}"
)
CHANGE_ALLERGY = changed("allergy_intolerance", _ALLERGY)

_IMMUNIZATION: LiteralString = "status, primary_source, lot_number, dose_quantity"
IMMUNIZATION_PATIENT = patient_of("immunization")
IMMUNIZATION_FOR_UPDATE = for_update("immunization", "status")
RECORD_IMMUNIZATION = recorded("immunization", f"{_WHAT}, occurrence, occurrence_text, {_IMMUNIZATION}")
CHANGE_IMMUNIZATION = changed("immunization", _IMMUNIZATION)

ACTIVE_ALLERGIES = """/* active_allergies */
SELECT id, patient_id FROM allergy_intolerance
WHERE patient_id = $1::uuid AND id <> $2::uuid AND NOT no_known_allergy AND clinical_status = 'active'
    AND verification_status IS DISTINCT FROM 'refuted' AND ($3::text IS NULL OR $3::text = ANY (category))
LIMIT 1"""
REFUTE_NO_KNOWN_ALLERGY = """/* refute_no_known_allergy */
UPDATE allergy_intolerance SET clinical_status = 'inactive', verification_status = 'refuted'
WHERE patient_id = $1::uuid AND id <> $2::uuid AND no_known_allergy AND code = ANY ($3::text[])
    AND clinical_status = 'active'"""

ENDED = ("inactive", "remission", "resolved")
"""Clinical statuses of a condition that has abated (FHIR R4 con-4)."""


@dataclass(frozen=True, slots=True)
class Fact:
    """How one kind of fact is written."""

    patient: LiteralString
    locked: LiteralString
    recorded: LiteralString
    changed: LiteralString
    status: str
    """Column that says what was entered in error."""
    ordered_by: tuple[str, ...]
    """Columns of which the first that is there orders the row."""
    settle: Settle
    contradict: Contradict | None = None


async def record(writing: Transaction, fact: Fact, patient_id: UUID, given: Columns) -> UUID:
    """Records a fact of a patient and gives its id. Raises Refusal."""
    await lock_chart(writing, patient_id)
    named = (given.get("encounter_id"), given.get("provider_id"), given.get("reason_condition_id") or [])
    [found] = await writing.fetch(WHERE_FACT_IS_RECORDED, patient_id, *named)
    for there, name in zip(found, ("patientId", "encounterId", "providerId", "reasonConditionIds"), strict=True):
        if not there:
            raise not_found(name)
    id, time = uuid4(), _first(fact, given) or datetime.now(UTC)
    row = {**given, **fact.settle(given, given), "id": id, "sort_time": time}
    if fact.contradict:
        await fact.contradict(writing, patient_id, id, row)
    await writing.fetch(fact.recorded, patient_id, [plain(row)])
    return id


async def change(writing: Transaction, fact: Fact, id: UUID, version: int, given: Columns) -> UUID:
    """Changes what is given of a fact. Raises Refusal, also for one that was entered in error."""
    row = await locked(writing, fact.patient, fact.locked, id, version)
    stays(row[fact.status])
    new = {**given, **fact.settle({**row, **given}, given)}
    if isinstance(start := given.get(fact.ordered_by[0]), Moment):
        new["sort_time"] = start.instant
    if fact.contradict:
        await fact.contradict(writing, row["patient_id"], id, {**row, **new})
    await writing.fetch(fact.changed, id, plain(new))
    return id


def _first(fact: Fact, given: Columns) -> datetime | None:
    moments = [given.get(name) for name in fact.ordered_by]
    return next((moment.instant for moment in moments if isinstance(moment, Moment)), None)


def _in_order(row: Columns, start: str, end: str, field: str) -> None:
    """Raises Refusal for an end that is given and before the start; one of less precision may begin before it."""
    until, since = row.get(end), row.get(start)
    if since is None or not isinstance(until, Moment):
        return
    text, instant = (since.text, since.instant) if isinstance(since, Moment) else (since, row["sort_time"])
    if until.instant < instant and not text.startswith(until.text):
        raise Refusal(Code.INVALID, field, "This must be after the start.")


def _with_clinical_status(row: Columns, given: Columns) -> Columns:
    """What was entered in error has no clinical status, all else has one (FHIR R4 con-3, con-5, ait-1, ait-2)."""
    if row["verification_status"] == ENTERED_IN_ERROR:
        return {"clinical_status": None}
    if given.get("clinical_status", "") is None:
        raise Refusal(Code.INVALID, "clinicalStatus", "This must be given.")
    return {}


def _condition(row: Columns, given: Columns) -> Columns:
    _in_order(row, "onset", "abatement", "abatementDateTime")
    follows = _with_clinical_status(row, given)
    if not follows and row["abatement"] and row["clinical_status"] not in ENDED:
        raise Refusal(Code.INVALID, "clinicalStatus", f"This must be one of {', '.join(ENDED)}: it has abated.")
    return follows


def _procedure(row: Columns, _given: Columns) -> Columns:
    _in_order(row, "performed_start", "performed_end", "performedEnd")
    return {}


def _immunization(_row: Columns, _given: Columns) -> Columns:
    return {}


async def _contradict_allergies(writing: Transaction, patient_id: UUID, id: UUID, row: Columns) -> None:
    """An active allergy refutes what said that there is none; while there is one, nothing says so."""
    if row["clinical_status"] != "active" or row["verification_status"] == "refuted":
        return
    if not row["no_known_allergy"]:
        refuted = [code for code, of in NO_KNOWN_ALLERGY.items() if code == NOT_ANY or of in row["category"]]
        await writing.fetch(REFUTE_NO_KNOWN_ALLERGY, patient_id, id, refuted)
        return
    category = NO_KNOWN_ALLERGY.get(row["code"])
    if row["code"] == NOT_ANY or category:
        if await writing.fetch(ACTIVE_ALLERGIES, patient_id, id, category):
            raise Refusal(Code.NOT_ALLOWED_NOW, "clinicalStatus", "The patient has an active allergy.")


FACTS: Mapping[str, Fact] = {
    "Condition": Fact(
        CONDITION_PATIENT, CONDITION_FOR_UPDATE, RECORD_CONDITION, CHANGE_CONDITION,
        "verification_status", ("onset", "recorded_date"), _condition,
    ),
    "Procedure": Fact(
        PROCEDURE_PATIENT, PROCEDURE_FOR_UPDATE, RECORD_PROCEDURE, CHANGE_PROCEDURE,
        "status", ("performed_start", "performed_end"), _procedure,
    ),
    "AllergyIntolerance": Fact(
        ALLERGY_PATIENT, ALLERGY_FOR_UPDATE, RECORD_ALLERGY, CHANGE_ALLERGY,
        "verification_status", ("onset", "recorded_date"), _with_clinical_status, _contradict_allergies,
    ),
    "Immunization": Fact(
        IMMUNIZATION_PATIENT, IMMUNIZATION_FOR_UPDATE, RECORD_IMMUNIZATION, CHANGE_IMMUNIZATION,
        "status", ("occurrence",), _immunization,
    ),
}  # fmt: skip
"""By type of the graph."""
