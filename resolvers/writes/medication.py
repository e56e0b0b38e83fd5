"""Mutations of medications: ordering, stopping, giving."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from loaders.allergy_intolerance import AllergyIntoleranceRow, allergy_intolerance_by_id
from loaders.medication_administration import medication_administration_by_id
from loaders.medication_request import medication_request_by_id
from loaders.write import Concept, Written
from loaders.writes.medication_administration import NewAdministration, administer_medication, retract_administration
from loaders.writes.medication_request import NewMedicationRequest, order_medication, stop_medication
from resolvers.connection import link
from resolvers.context import Context
from resolvers.write import Given, Input, Prepared, write

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
PRIORITIES = ("routine", "urgent", "asap", "stat")
"""FHIR R4 RequestPriority."""
PERIOD_UNITS = ("s", "min", "h", "d", "wk", "mo", "a")
"""FHIR R4 UnitsOfTime, in UCUM."""
OUTCOMES = ("completed", "not-done", "on-hold")
"""What becomes of a dose (FHIR R4 MedicationAdministrationStatus): given, refused, held."""
REASON_MIN, REASON_MAX = 10, 500
"""Characters of the reason for ordering in spite of an allergy."""
INSTRUCTION_MAX = 2_000
"""Characters of an instruction."""
NAME_MAX = 200
"""Characters of a medication's name."""
FREQUENCY_MAX = 1_440
"""Doses in a period."""
CLOCKS_DIFFER = timedelta(minutes=5)
"""By how much a client's clock may be ahead."""
_UCUM_CODE = re.compile(r"[!-~]{1,50}")
_RXCUI = re.compile(r"[1-9]\d{0,7}")

written_request = link(medication_request_by_id, "id")
written_administration = link(medication_administration_by_id, "id")


async def found_allergies(context: Context, parents: Sequence[Written]) -> Sequence[Sequence[AllergyIntoleranceRow]]:
    """Allergies that forbid an order, as the caller may see them now."""
    wanted = [id for parent in parents for id in parent.found]
    found = dict(zip(wanted, await context.reader.load_many(allergy_intolerance_by_id, wanted), strict=True))
    return [[row for id in parent.found if (row := found[id])] for parent in parents]


async def order(context: Context, input: Input) -> Written:
    """Orders a medication."""

    def prepare(given: Given) -> Prepared:
        reason, dosage = given.concept("reason"), given.part("dosage")
        assert dosage is not None
        new = NewMedicationRequest(
            patient_id=given.needed_id("patient_id", "Patient"),
            encounter_id=given.id("encounter_id", "Encounter"),
            provider_id=given.id("provider_id", "Provider"),
            medication=given.id("medication_id", "Medication") or _medication(given),
            priority=given.one_of("priority", PRIORITIES) or "routine",
            authored=datetime.now(UTC),
            reason=[reason.fhir()] if reason else [],
            dosage=[_dosage(dosage)],
            allergy_override_reason=given.text("allergy_override_reason", REASON_MAX, REASON_MIN),
        )
        return lambda writing: order_medication(writing, new)

    return await write(context, "orderMedication", input, ["medication_request", "medication"], prepare)


async def stop(context: Context, input: Input) -> Written:
    """Stops an order."""

    def prepare(given: Given) -> Prepared:
        id, reason = given.needed_id("id", "MedicationRequest"), given.needed_concept("reason").fhir()
        return lambda writing: stop_medication(writing, id, given.version, reason)

    return await write(context, "stopMedication", input, ["medication_request"], prepare)


async def administer(context: Context, input: Input) -> Written:
    """Records what became of a dose; by default it was given now."""

    def prepare(given: Given) -> Prepared:
        now = datetime.now(UTC)
        status, reason, due = given.needed_one_of("status", OUTCOMES), given.concept("reason"), given.time("due_time")
        given_at = given.time("given_at")
        is_given = status == "completed"
        if is_given is (reason is not None):
            raise given.invalid("reason", "is of a dose that was not given" if is_given else "must be given")
        if not is_given and (given_at or given.get("dose")):
            raise given.invalid("given_at" if given_at else "dose", "is of a dose that was given")
        if given_at and given_at > now + CLOCKS_DIFFER:
            raise given.invalid("given_at", "must not be in the future")
        if due and (due.second or due.microsecond):
            raise given.invalid("due_time", "must be a whole minute")
        new = NewAdministration(
            request_id=given.needed_id("order_id", "MedicationRequest"),
            status=status,
            status_reason=reason and reason.fhir(),
            due=due,
            effective=(given_at if is_given else due) or now,
            dose=_amount(given, "dose"),
        )
        return lambda writing: administer_medication(writing, new)

    return await write(context, "administerMedication", input, ["medication_administration"], prepare)


async def retract(context: Context, input: Input) -> Written:
    """Marks the record of a dose as entered in error."""

    def prepare(given: Given) -> Prepared:
        id, reason = given.needed_id("id", "MedicationAdministration"), given.needed_concept("reason").fhir()
        return lambda writing: retract_administration(writing, id, given.version, reason)

    return await write(context, "retractMedicationAdministration", input, ["medication_administration"], prepare)


def _medication(given: Given) -> Concept:
    """A medication by its code. The catalogue is every facility's: nothing gets into it but a code and a name."""
    medication = given.concept("medication")
    if medication is None:
        raise given.invalid("medication_id", "or a medication must be given")
    if medication.system != RXNORM or not _RXCUI.fullmatch(medication.code or ""):
        raise given.invalid("medication", "must have a code of RxNorm")
    if not medication.display or len(medication.display) > NAME_MAX or medication.text:
        raise given.invalid("medication", f"must have a display of {NAME_MAX} characters at most, and no text")
    return medication


def _dosage(given: Given) -> dict[str, Any]:
    """FHIR R4 Dosage that can be followed: an amount, a route, and how often or that it is as needed."""
    dose, route = _amount(given, "dose"), given.needed_concept("route")
    if dose is None:
        raise given.invalid("dose", "must be given")
    repeat = _repeat(given)
    dosage = {
        "text": given.text("text", INSTRUCTION_MAX),
        "patientInstruction": given.text("patient_instruction", INSTRUCTION_MAX),
        "timing": {"repeat": repeat} if repeat else None,
        "asNeededBoolean": given.get("as_needed"),
        "route": route.fhir(),
        "doseAndRate": [{"doseQuantity": dose}],
    }
    return {name: value for name, value in dosage.items() if value is not None}


def _repeat(given: Given) -> dict[str, Any]:
    """FHIR R4 Timing.repeat. Raises Refusal for a part of it, and for none where it is not as needed."""
    frequency, period = given.get("frequency"), given.get("period")
    unit, start, end = given.one_of("period_unit", PERIOD_UNITS), given.time("start"), given.time("end")
    parts = (frequency, period, unit)
    if any(parts) != all(parts) or not (any(parts) or given.get("as_needed")):
        raise given.invalid("frequency", "needs a period and its unit, unless it is as needed")
    if frequency is not None and not 0 < frequency <= FREQUENCY_MAX:
        raise given.invalid("frequency", f"must be from 1 to {FREQUENCY_MAX}")
    if period is not None and not _is_positive(period):
        raise given.invalid("period", "must be more than 0")
    if start and end and end <= start:
        raise given.invalid("end", "must be after the start")
    bounds = {name: at.isoformat() for name, at in (("start", start), ("end", end)) if at}
    rhythm = {"frequency": frequency, "period": period, "periodUnit": unit} if frequency else {}
    return ({"boundsPeriod": bounds} if bounds else {}) | rhythm


def _amount(given: Given, name: str) -> dict[str, Any] | None:
    """FHIR R4 SimpleQuantity of more than nothing, in UCUM; None where none was given."""
    amount = given.quantity(name)
    if amount is None:
        return None
    if not _is_positive(amount["value"]) or "comparator" in amount:
        raise given.invalid(name, "must be a number of more than 0")
    if not _UCUM_CODE.fullmatch(amount.get("code", "")):
        raise given.invalid(name, "must have a unit of UCUM in its code")
    return amount


def _is_positive(number: Decimal) -> bool:
    return number.is_finite() and number > 0
