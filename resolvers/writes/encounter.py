"""Mutations of encounters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from loaders.write import Concept, Written
from loaders.writes.encounter import (
    BEGINNINGS,
    MOVES,
    EncounterChange,
    NewEncounter,
    Transfer,
    discharge_encounter,
    open_encounter,
    transfer_encounter,
    update_encounter,
)
from resolvers.context import Context
from resolvers.encounter import CLASSES
from resolvers.write import Given, Input, Prepared, write

LOCATION_MAX = 100
"""Characters of what says where in a department."""
STATUSES = {*MOVES, *(status for following in MOVES.values() for status in following)} - {"planned"}
"""Statuses that an encounter can come to."""


async def open_one(context: Context, input: Input) -> Written:
    """Opens an encounter of a patient; by default it begins now."""

    def prepare(given: Given) -> Prepared:
        reason, source = given.concept("reason"), given.concept("admit_source")
        details: dict[str, Any] = {"reason": _reasons(reason)}
        if source:
            details["hospitalization"] = {"admitSource": source.fhir()}
        new = NewEncounter(
            patient_id=given.needed_id("patient_id", "Patient"),
            status=given.one_of("status", BEGINNINGS) or "in-progress",
            class_code=given.needed_one_of("class_", CLASSES),
            type=_type(given),
            department_id=given.id("department_id", "Department"),
            provider_id=given.id("provider_id", "Provider"),
            start=given.time("period_start") or datetime.now(UTC),
            details=details,
        )
        return lambda writing: open_encounter(writing, new)

    return await write(context, "openEncounter", input, ["encounter"], prepare)


async def update(context: Context, input: Input) -> Written:
    """Changes what an encounter is; what is not given stays."""

    def prepare(given: Given) -> Prepared:
        id, columns, details = given.needed_id("id", "Encounter"), dict[str, Any](), dict[str, Any]()
        if "class_" in given:
            columns["class_code"] = given.needed_one_of("class_", CLASSES)
        if "type" in given:
            concept = _type(given)
            columns |= {"code_system": concept.system, "code": concept.code}
            columns |= {"code_display": concept.display, "code_text": concept.text}
        if "provider_id" in given:
            columns["provider_id"] = given.id("provider_id", "Provider")
        if "reason" in given:
            details["reason"] = _reasons(given.concept("reason"))
        change = EncounterChange(columns, details, given.one_of("status", STATUSES))
        now = datetime.now(UTC)
        return lambda writing: update_encounter(writing, id, given.version, change, now)

    return await write(context, "updateEncounter", input, ["encounter"], prepare)


async def transfer(context: Context, input: Input) -> Written:
    """Takes a patient to another place; by default now."""

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("id", "Encounter")
        to = Transfer(
            department_id=given.needed_id("department_id", "Department"),
            location=given.text("location", LOCATION_MAX),
            provider_id=given.id("provider_id", "Provider"),
            at=given.time("when") or datetime.now(UTC),
        )
        return lambda writing: transfer_encounter(writing, id, given.version, to)

    return await write(context, "transferEncounter", input, ["encounter"], prepare)


async def discharge(context: Context, input: Input) -> Written:
    """Ends an encounter; by default now."""

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("id", "Encounter")
        end = given.time("period_end") or datetime.now(UTC)
        disposition = given.concept("discharge_disposition")
        return lambda writing: discharge_encounter(writing, id, given.version, end, disposition and disposition.fhir())

    return await write(context, "dischargeEncounter", input, ["encounter"], prepare)


def _type(given: Given) -> Concept:
    """The type: coded, because what nobody can tell the labels of is restricted, and its author might not see it."""
    concept = given.needed_concept("type")
    if concept.code is None:
        raise given.invalid("type", "needs a code and its system")
    return concept


def _reasons(reason: Concept | None) -> list[dict[str, Any]]:
    return [reason.fhir()] if reason else []
