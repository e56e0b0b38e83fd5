"""Global ids of a type that a facility's clinician sees: what tests of every type start from."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from db.notes_schema import CARE_PLANS, CLINICAL_NOTES, GOALS
from loaders.reader import Reader
from tests.asking import Graph
from tests.people import FIRST_BYTES
from tests.research.people import made

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


IMAGING_VIEWS = {
    "ImagingInstance": "imaging_instance",
    "ImagingSeries": "imaging_series",
    "ImagingStudy": "imaging_study",
}
"""The same for the imaging database."""
COLLECTIONS = {"CarePlan": CARE_PLANS, "ClinicalNote": CLINICAL_NOTES, "Goal": GOALS}
"""The same for MongoDB."""
RESEARCH = {
    "ResearchDatasetRequest": "research_dataset",
    "ResearchExtraction": "research_extraction",
    "ResearchProject": "research_project",
    "ResearchReidentification": "research_reidentification",
}
"""Table of the clinical database for each type that privacy officers and members see; the network has none of them."""
DATASETS = "{ researchDatasets(first: 100) { nodes { id versions { nodes { id } } } } }"


async def ids_of(graph: Graph, kind: str, facility: int = 0, limit: int = 1000) -> Sequence[str]:
    """Global ids of a type at a facility, in order, but not of patients that tests made (their consents may say no).

    Raises KeyError for a type that has no entry here.
    """
    if kind in COLLECTIONS:
        facility_id = str(graph.facilities[facility].id)
        found = await graph.stores.notes.worker_find(COLLECTIONS[kind], {"metadata.facility_id": facility_id})
        return sorted(f"{kind}/{document['_id']}" for document in found)[:limit]
    if kind in RESEARCH:
        return await _of_research(graph, kind, facility, limit)
    if kind.startswith("ResearchDataset"):
        datasets = (await graph.ask(DATASETS, facility=facility)).data["researchDatasets"]["nodes"]
        versions = [version["id"] for dataset in datasets for version in dataset["versions"]["nodes"]]
        return (versions if kind.endswith("Version") else [dataset["id"] for dataset in datasets])[:limit]
    reader = Reader(graph.stores, graph.caller(facility=facility))
    try:
        if kind == "VitalSign":
            sql = "/* ids_of_vital_signs */ SELECT id || '.' || position FROM vital_sign ORDER BY sort_time LIMIT $1"
            return [f"VitalSign/{row[0]}" for row in await reader.vitals.fetch(sql, limit)]
        view = IMAGING_VIEWS.get(kind) or VIEWS[kind]
        session = reader.imaging if kind in IMAGING_VIEWS else reader.clinical
        sql = f"/* ids_of_{view} */ SELECT id FROM {view} ORDER BY id LIMIT $1"
        rows = await session.fetch(sql, limit)  # pyright: ignore[reportArgumentType] - names from the tables above
        return [f"{kind}/{row[0]}" for row in rows if not str(row[0]).startswith(FIRST_BYTES)]
    finally:
        await reader.close()


async def _of_research(graph: Graph, kind: str, facility: int, limit: int) -> Sequence[str]:
    """Ids of a type at a project's home; where there is no project yet, of one that is made now."""
    home, clinical = graph.facilities[facility].id, graph.stores.clinical
    if not await clinical.worker_fetch("SELECT FROM clinical.research_reidentification WHERE facility_id = $1", home):
        [patient] = await ids_of(graph, "Patient", facility, 1)
        await made(graph.stores, home, UUID(patient.removeprefix("Patient/")))
    sql = f"SELECT id FROM clinical.{RESEARCH[kind]} WHERE facility_id = $1 ORDER BY id LIMIT $2"
    rows = await clinical.worker_fetch(sql, home, limit)  # pyright: ignore[reportArgumentType] - as above
    return [f"{kind}/{row[0]}" for row in rows]
