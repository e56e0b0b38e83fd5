"""Mutations of the plain facts of a chart: what may be said of each, by column; value sets are those of FHIR R4."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from loaders.allergy_intolerance import NO_KNOWN_ALLERGY, allergy_intolerance_by_id
from loaders.condition import condition_by_id
from loaders.immunization import immunization_by_id
from loaders.procedure import procedure_by_id
from loaders.write import Written
from loaders.writes.chart import FACTS, change, record
from loaders.writes.facts import ENTERED_IN_ERROR
from resolvers.connection import link
from resolvers.context import Context
from resolvers.write import Given, Input, Prepared, write

NOTE_MAX = 10_000
"""Characters of a remark."""
LIST_MAX = 20
"""Entries of a list: categories, body sites, reactions."""

CLINICAL = ("active", "recurrence", "relapse", "inactive", "remission", "resolved")
CERTAINTY = ("unconfirmed", "provisional", "differential", "confirmed", "refuted")
CATEGORIES = ("problem-list-item", "encounter-diagnosis")
ALLERGY_CLINICAL = ("active", "inactive", "resolved")
ALLERGY_CERTAINTY = ("unconfirmed", "confirmed", "refuted")
ALLERGY_TYPES = ("allergy", "intolerance")
ALLERGY_CATEGORIES = ("food", "medication", "environment", "biologic")
CRITICALITIES = ("low", "high", "unable-to-assess")
SEVERITIES = ("mild", "moderate", "severe")
EVENT = ("preparation", "in-progress", "not-done", "on-hold", "stopped", "completed", "unknown")
IMMUNIZATION = ("completed", "not-done")

Read: TypeAlias = Callable[[Given, str], Any]
"""From an input and the name of a field to the value of its column. Raises Refusal."""
Columns: TypeAlias = Mapping[str, tuple[str, Read]]
"""By field of an input: its column, and how its value is read."""


def _one_of(*allowed: str) -> Read:
    return lambda given, name: given.one_of(name, allowed)


def _status(*allowed: str) -> Read:
    return lambda given, name: given.needed_one_of(name, allowed)


def _each_of(*allowed: str) -> Read:
    def read(given: Given, name: str) -> Any:
        values: Collection[str] = given.get(name) or ()
        if not set(values) <= set(allowed):
            raise given.invalid(name, f"must be of {', '.join(sorted(allowed))}")
        return sorted(set(values))

    return read


def _concept(given: Given, name: str) -> Any:
    concept = given.concept(name)
    return concept and concept.fhir()


def _concepts(given: Given, name: str) -> Any:
    return [concept.fhir() for concept in given.concepts(name, LIST_MAX)]


def _maybe_concepts(given: Given, name: str) -> Any:
    return _concepts(given, name) or None


def _text(maximum: int) -> Read:
    return lambda given, name: given.text(name, maximum)


def _reaction(given: Given, name: str) -> Any:
    return [_one_reaction(part) for part in given.parts(name, LIST_MAX)]


def _one_reaction(given: Given) -> Any:
    reaction = {
        "substance": _concept(given, "substance"),
        "manifestation": _concepts(given, "manifestation"),
        "severity": given.one_of("severity", SEVERITIES),
        "description": given.text("description", NOTE_MAX),
    }
    if not reaction["manifestation"]:
        raise given.invalid("manifestation", "must have an entry")
    return {name: value for name, value in reaction.items() if value is not None}


def _conditions(given: Given, name: str) -> Any:
    values = given.get(name) or ()
    if len(values) > LIST_MAX:
        raise given.invalid(name, f"may have {LIST_MAX} entries at most")
    return [Given({"id": value}, given.at(name)).needed_id("id", "Condition") for value in values]


def _as_is(given: Given, name: str) -> Any:
    return given.get(name)


_WHERE: Columns = {"encounter_id": ("encounter_id", lambda given, name: given.id(name, "Encounter"))}

CHANGED: Mapping[str, Columns] = {
    "Condition": {
        "clinical_status": ("clinical_status", _one_of(*CLINICAL)),
        "verification_status": ("verification_status", _one_of(*CERTAINTY, ENTERED_IN_ERROR)),
        "abatement_date_time": ("abatement", Given.moment),
        "severity": ("severity", _concept),
        "note": ("note", _text(NOTE_MAX)),
    },
    "Procedure": {
        "status": ("status", _status(*EVENT, ENTERED_IN_ERROR)),
        "performed_start": ("performed_start", Given.moment),
        "performed_end": ("performed_end", Given.moment),
        "reason": ("reason", _concepts),
        "body_site": ("body_site", _maybe_concepts),
    },
    "AllergyIntolerance": {
        "clinical_status": ("clinical_status", _one_of(*ALLERGY_CLINICAL)),
        "verification_status": ("verification_status", _one_of(*ALLERGY_CERTAINTY, ENTERED_IN_ERROR)),
        "criticality": ("criticality", _one_of(*CRITICALITIES)),
        "reaction": ("reaction", _reaction),
        "note": ("note", _text(NOTE_MAX)),
    },
    "Immunization": {
        "status": ("status", _status(*IMMUNIZATION, ENTERED_IN_ERROR)),
        "primary_source": ("primary_source", _as_is),
        "lot_number": ("lot_number", _text(100)),
        "dose_quantity": ("dose_quantity", Given.quantity),
    },
}
"""What an update may change of each type: what it does not give stays, and null clears it."""

RECORDED: Mapping[str, Columns] = {
    "Condition": {
        **_WHERE,
        **CHANGED["Condition"],
        "verification_status": ("verification_status", _one_of(*CERTAINTY)),
        "category": ("category", _each_of(*CATEGORIES)),
        "body_site": ("body_site", _maybe_concepts),
        "onset_date_time": ("onset", Given.moment),
    },
    "Procedure": {
        **_WHERE,
        **CHANGED["Procedure"],
        "status": ("status", _status(*EVENT)),
        "provider_id": ("provider_id", lambda given, name: given.id(name, "Provider")),
        "reason_condition_ids": ("reason_condition_id", _conditions),
    },
    "AllergyIntolerance": {
        **_WHERE,
        **CHANGED["AllergyIntolerance"],
        "verification_status": ("verification_status", _one_of(*ALLERGY_CERTAINTY)),
        "type": ("type", _one_of(*ALLERGY_TYPES)),
        "category": ("category", _each_of(*ALLERGY_CATEGORIES)),
        "onset_date_time": ("onset", Given.moment),
    },
    "Immunization": {
        **_WHERE,
        **CHANGED["Immunization"],
        "status": ("status", _status(*IMMUNIZATION)),
        "occurrence_date_time": ("occurrence", Given.moment),
        "occurrence_string": ("occurrence_text", _text(500)),
    },
}
"""What is said of each type where it is recorded, beside its code: not that it was entered in error."""
TABLES = {
    "Condition": "condition",
    "Procedure": "procedure",
    "AllergyIntolerance": "allergy_intolerance",
    "Immunization": "immunization",
}


def _recorder(type_name: str, code: str = "code") -> Callable[[Context, Input], Awaitable[Written]]:
    """Resolver that records a fact of a type, whose code is in this field."""

    def prepare(given: Given) -> Prepared:
        patient = given.needed_id("patient_id", "Patient")
        what = given.needed_concept(code)
        columns = {column: read(given, name) for name, (column, read) in RECORDED[type_name].items()}
        columns |= {"code_system": what.system, "code": what.code, "code_display": what.display}
        columns |= {"code_text": what.text, **_BY_TYPE[type_name](given, columns)}
        return lambda writing: record(writing, FACTS[type_name], patient, columns)

    async def resolve(context: Context, input: Input) -> Written:
        return await write(context, f"record{type_name}", input, [TABLES[type_name]], prepare)

    return resolve


def _changer(type_name: str) -> Callable[[Context, Input], Awaitable[Written]]:
    """Resolver that changes a fact of a type."""

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("id", type_name)
        columns = {column: read(given, name) for name, (column, read) in CHANGED[type_name].items() if name in given}
        return lambda writing: change(writing, FACTS[type_name], id, given.version, columns)

    async def resolve(context: Context, input: Input) -> Written:
        return await write(context, f"update{type_name}", input, [TABLES[type_name]], prepare)

    return resolve


def _dated(given: Given, columns: Mapping[str, Any]) -> Mapping[str, Any]:
    """Status and date of what is recorded now: active where nothing else is said."""
    status = columns["clinical_status"] or "active"
    return {"clinical_status": status, "recorded_date": datetime.now(UTC).isoformat(timespec="milliseconds")}


def _allergy(given: Given, columns: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**_dated(given, columns), "no_known_allergy": columns["code"] in NO_KNOWN_ALLERGY}


def _occurred(given: Given, columns: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises Refusal unless one of the two says when (FHIR R4 Immunization.occurrence[x])."""
    if (columns["occurrence"] is None) == (columns["occurrence_text"] is None):
        raise given.invalid("occurrence_date_time", "or occurrenceString must be given, and not both")
    return {}


_BY_TYPE: Mapping[str, Callable[[Given, Mapping[str, Any]], Mapping[str, Any]]] = {
    "Condition": _dated,
    "Procedure": lambda given, columns: {},
    "AllergyIntolerance": _allergy,
    "Immunization": _occurred,
}
"""Further columns of what is recorded, by type."""

record_condition, update_condition = _recorder("Condition"), _changer("Condition")
record_procedure, update_procedure = _recorder("Procedure"), _changer("Procedure")
record_allergy, update_allergy = _recorder("AllergyIntolerance"), _changer("AllergyIntolerance")
record_immunization, update_immunization = _recorder("Immunization", "vaccine_code"), _changer("Immunization")

condition = link(condition_by_id, "id")
procedure = link(procedure_by_id, "id")
allergy = link(allergy_intolerance_by_id, "id")
immunization = link(immunization_by_id, "id")
