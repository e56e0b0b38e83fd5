"""Encounters of patients, of providers, of the stay that they are part of; one by id."""

from __future__ import annotations

from loaders.encounter import (
    EncounterRow,
    encounter_by_id,
    encounters_of_patients,
    encounters_of_providers,
    encounters_of_wholes,
)
from resolvers.arguments import codes, resource_id
from resolvers.connection import link, one_of, relation
from resolvers.context import Context

STATUS = one_of(
    "planned", "arrived", "triaged", "in-progress", "onleave", "finished", "cancelled", "entered-in-error", "unknown"
)
"""FHIR R4 EncounterStatus."""
CLASSES = ("AMB", "EMER", "FLD", "HH", "IMP", "ACUTE", "NONAC", "OBSENC", "PRENC", "SS", "VR")
"""HL7 v3 ActEncounterCode."""

of_patients = relation("Patient.encounters", encounters_of_patients, status=STATUS, class_=codes, code=codes)
of_providers = relation("Provider.encounters", encounters_of_providers, status=STATUS, class_=codes, code=codes)
parts = relation("Encounter.parts", encounters_of_wholes, status=STATUS, class_=codes, code=codes)
whole = link(encounter_by_id, "part_of_id")
of_facts = link(encounter_by_id, "encounter_id")
written = link(encounter_by_id, "id")


async def one(context: Context, *, id: str) -> EncounterRow | None:
    """The encounter of an id; None for what is not there."""
    [row] = await context.reader.load_many(encounter_by_id, [resource_id("id", id, "Encounter")])
    return row
