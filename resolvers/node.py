"""Relay's node: any resource by its global id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from db.policy import Phi, hides
from loaders.allergy_intolerance import allergy_intolerance_by_id
from loaders.appointment import appointment_by_id
from loaders.care_plan import care_plan_by_id, goal_by_id
from loaders.care_team import care_team_by_id
from loaders.clinical_note import note_by_id
from loaders.condition import condition_by_id
from loaders.consent import consent_by_id
from loaders.department import department_by_id
from loaders.diagnostic_report import diagnostic_report_by_id
from loaders.encounter import encounter_by_id
from loaders.facility import facility_by_id
from loaders.imaging_study import imaging_instance_by_id, imaging_series_by_id, imaging_study_by_id
from loaders.immunization import immunization_by_id
from loaders.lab import lab_result_by_id, lab_test_by_id
from loaders.medication import medication_by_id
from loaders.medication_administration import medication_administration_by_id
from loaders.medication_request import medication_request_by_id
from loaders.observation import observation_by_id
from loaders.patient import patient_by_id
from loaders.procedure import procedure_by_id
from loaders.provider import provider_by_id
from loaders.reader import Batch
from loaders.research_dataset import research_dataset_by_id, version_by_id
from loaders.research_project import extraction_by_id, project_by_id, reidentification_by_id, request_by_id
from resolvers import vital_sign
from resolvers.arguments import resource_id
from resolvers.context import Context

BATCHES: Mapping[str, Batch[UUID, Any]] = {
    "AllergyIntolerance": allergy_intolerance_by_id,
    "Appointment": appointment_by_id,
    "CareTeam": care_team_by_id,
    "Condition": condition_by_id,
    "Consent": consent_by_id,
    "Department": department_by_id,
    "DiagnosticReport": diagnostic_report_by_id,
    "Encounter": encounter_by_id,
    "Facility": facility_by_id,
    "Immunization": immunization_by_id,
    "LabResult": lab_result_by_id,
    "LabTest": lab_test_by_id,
    "Medication": medication_by_id,
    "MedicationAdministration": medication_administration_by_id,
    "MedicationRequest": medication_request_by_id,
    "Observation": observation_by_id,
    "Patient": patient_by_id,
    "Procedure": procedure_by_id,
    "Provider": provider_by_id,
    "CarePlan": care_plan_by_id,
    "ClinicalNote": note_by_id,
    "Goal": goal_by_id,
    "ImagingInstance": imaging_instance_by_id,
    "ImagingSeries": imaging_series_by_id,
    "ImagingStudy": imaging_study_by_id,
    "ResearchDataset": research_dataset_by_id,
    "ResearchDatasetVersion": version_by_id,
    "ResearchDatasetRequest": request_by_id,
    "ResearchExtraction": extraction_by_id,
    "ResearchProject": project_by_id,
    "ResearchReidentification": reidentification_by_id,
}
"""Batch function of each type that implements Node."""


WITHOUT_CLINICAL = {
    "Appointment",
    "Consent",
    "Department",
    "Encounter",
    "Facility",
    "LabTest",
    "Medication",
    "Patient",
    "Provider",
    "ResearchDatasetRequest",
    "ResearchExtraction",
    "ResearchProject",
    "ResearchReidentification",
}
"""Types whose existence says nothing clinical about a patient."""


async def several(context: Context, wanted: Mapping[str, Sequence[UUID]]) -> Sequence[Any]:
    """Resources of these types by their keys, one statement for each type; without what the caller may not see."""
    clinical = not hides(context.caller, Phi.CLINICAL)
    rows = [
        row
        for kind, keys in wanted.items()
        if clinical or kind in WITHOUT_CLINICAL
        for row in await context.reader.load_many(BATCHES[kind], keys)
    ]
    return [row for row in rows if row is not None]


async def one(context: Context, *, id: str) -> object | None:
    """The resource of an id of any type; None for what is not there."""
    kind = id.partition("/")[0]
    if kind not in WITHOUT_CLINICAL and hides(context.caller, Phi.CLINICAL):
        return None
    if kind == "VitalSign":
        return await vital_sign.one(context, id=id)
    key = resource_id("id", id, *BATCHES)
    [row] = await context.reader.load_many(BATCHES[kind], [key])
    return row
