"""Global ids of a type that a facility's clinician sees: what tests of every type start from."""

from __future__ import annotations

from collections.abc import Sequence

from loaders.reader import Reader
from tests.asking import Graph

VIEWS = {
    "AllergyIntolerance": "allergy_intolerance",
    "Appointment": "appointment",
    "CareTeam": "care_team",
    "Condition": "condition",
    "Consent": "consent",
    "Department": "department",
    "DiagnosticReport": "diagnostic_report",
    "Encounter": "encounter",
    "Facility": "facility",
    "Immunization": "immunization",
    "LabResult": "lab_result",
    "LabTest": "lab_test",
    "Medication": "medication",
    "MedicationAdministration": "medication_administration",
    "MedicationRequest": "medication_request",
    "Observation": "observation",
    "Patient": "patient",
    "Procedure": "procedure",
    "Provider": "provider",
}
"""View of the clinical database for each type of Node."""


async def ids_of(graph: Graph, kind: str, facility: int = 0, limit: int = 1000) -> Sequence[str]:
    """Global ids of a type at a facility, in order. Raises KeyError for a type that has no entry here."""
    reader = Reader(graph.stores, graph.caller(facility=facility))
    try:
        sql = f"/* ids_of_{VIEWS[kind]} */ SELECT id FROM {VIEWS[kind]} ORDER BY id LIMIT $1"
        rows = await reader.clinical.fetch(sql, limit)  # pyright: ignore[reportArgumentType] - names from the table above
        return [f"{kind}/{row[0]}" for row in rows]
    finally:
        await reader.close()
