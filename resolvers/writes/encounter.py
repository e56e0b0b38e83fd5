"""Mutations of encounters."""

from __future__ import annotations

from datetime import UTC, datetime

from loaders.write import Written
from loaders.writes.encounter import NewEncounter, discharge_encounter, open_encounter
from resolvers.context import Context
from resolvers.encounter import CLASSES
from resolvers.write import Given, Input, Prepared, write


async def open_one(context: Context, input: Input) -> Written:
    """Opens an encounter of a patient; by default it begins now."""

    def prepare(given: Given) -> Prepared:
        reason, source = given.concept("reason"), given.concept("admit_source")
        details = {
            "reason": [reason.fhir()] if reason else [],
            "hospitalization": {"admitSource": source.fhir()} if source else None,
        }
        new = NewEncounter(
            patient_id=given.needed_id("patient_id", "Patient"),
            class_code=given.needed_one_of("class_", CLASSES),
            type=given.needed_concept("type"),
            department_id=given.id("department_id", "Department"),
            provider_id=given.id("provider_id", "Provider"),
            start=given.time("period_start") or datetime.now(UTC),
            details=details,
        )
        return lambda writing: open_encounter(writing, new)

    return await write(context, "openEncounter", input, ["encounter"], prepare)


async def discharge(context: Context, input: Input) -> Written:
    """Ends an encounter; by default now."""

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("id", "Encounter")
        end = given.time("period_end") or datetime.now(UTC)
        disposition = given.concept("discharge_disposition")
        return lambda writing: discharge_encounter(writing, id, given.version, end, disposition and disposition.fhir())

    return await write(context, "dischargeEncounter", input, ["encounter"], prepare)
