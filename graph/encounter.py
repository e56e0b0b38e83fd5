"""Encounter: a visit or a stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

import resolvers.chart
import resolvers.clinical_note
import resolvers.encounter
import resolvers.facility
import resolvers.imaging_study
import resolvers.lab
import resolvers.patient
import resolvers.provider
import resolvers.vital_sign
from db.policy import Phi
from graph.chart import Condition, DiagnosticReport, Immunization, Observation, Procedure
from graph.clinical_note import NOTES, ClinicalNote
from graph.connection import Connection
from graph.datatype import CodeableConcept, FhirDateTime, Period
from graph.facility import Department, Facility
from graph.field import CODE, FACTS, PAGE, PERIOD, field
from graph.imaging_study import IMAGING, ImagingStudy
from graph.lab import LabResult
from graph.medication import MedicationAdministration, MedicationRequest
from graph.node import Node, node_id, row_version, served_from
from graph.provider import Provider
from graph.vital_sign import VitalSign
from loaders.element import Element, Inside, concept
from loaders.encounter import EncounterRow

if TYPE_CHECKING:
    from graph.patient import Patient


@strawberry.type(description="A place where the patient is or was during an encounter")
class EncounterLocation:
    """FHIR Encounter.location; the field that holds one carries its PHI kind."""

    display: str | None = field("Department and bed in words", phi=None)
    period: Period | None = field("When the patient was there", phi=None)


@strawberry.type(description="A visit or stay of a patient (FHIR R4 Encounter)")
@served_from(EncounterRow)
class Encounter(Node):
    """Served from EncounterRow."""

    id: strawberry.ID = node_id("Encounter")
    version: int = row_version()
    status: str | None = field("Status: planned, in-progress, finished, …", phi=None)
    class_: str | None = field(
        "Class of the encounter (HL7 v3 ActCode: AMB, IMP, EMER, …)",
        phi=None,
        value=Element("class_code"),
        name="class",
    )
    type: CodeableConcept | None = field("Type of the encounter", phi=Phi.CLINICAL, value=concept)
    period_start: FhirDateTime | None = field("Start of the encounter", phi=Phi.DATE)
    period_end: FhirDateTime | None = field("End of the encounter; null while it lasts", phi=Phi.DATE)
    reason_code: list[CodeableConcept] | None = field(
        "Reasons of the encounter", phi=Phi.CLINICAL, value=Inside("details", ("reason",))
    )
    admit_source: CodeableConcept | None = field(
        "Where the patient came from", phi=Phi.CLINICAL, value=Inside("details", ("hospitalization", "admitSource"))
    )
    discharge_disposition: CodeableConcept | None = field(
        "Where the patient went", phi=Phi.CLINICAL, value=Inside("details", ("hospitalization", "dischargeDisposition"))
    )
    locations: list[EncounterLocation] | None = field(
        "Places of the patient during the encounter, the present one last",
        phi=Phi.FREE_TEXT,
        value=Inside("details", ("locations",)),
    )
    patient: Annotated[Patient, strawberry.lazy("graph.patient")] | None = field(
        "Patient of the encounter", phi=None, batch=resolvers.patient.of_facts
    )
    facility: Facility | None = field("Facility of the encounter", phi=None, batch=resolvers.facility.of_facts)
    department: Department | None = field("Department of the encounter", phi=None, batch=resolvers.facility.department)
    provider: Provider | None = field("Provider who leads the encounter", phi=None, batch=resolvers.provider.of_facts)
    part_of: Annotated[Encounter, strawberry.lazy("graph.encounter")] | None = field(
        "Stay that the encounter is part of", phi=None, batch=resolvers.encounter.whole
    )
    parts: Connection[Annotated[Encounter, strawberry.lazy("graph.encounter")]] | None = field(
        "Encounters that are part of this one, newest first",
        phi=None,
        batch=resolvers.encounter.parts,
        args=(*PAGE, *PERIOD),
    )
    conditions: Connection[Condition] | None = field(
        "Conditions recorded in the encounter", phi=Phi.CLINICAL, batch=resolvers.chart.encounter_conditions, args=FACTS
    )
    procedures: Connection[Procedure] | None = field(
        "Procedures done in the encounter", phi=Phi.CLINICAL, batch=resolvers.chart.encounter_procedures, args=FACTS
    )
    immunizations: Connection[Immunization] | None = field(
        "Immunizations given in the encounter",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.encounter_immunizations,
        args=FACTS,
    )
    medication_requests: Connection[MedicationRequest] | None = field(
        "Orders of medications made in the encounter",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.encounter_medication_requests,
        args=FACTS,
    )
    medication_administrations: Connection[MedicationAdministration] | None = field(
        "Medications given in the encounter",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.encounter_medication_administrations,
        args=FACTS,
    )
    lab_results: Connection[LabResult] | None = field(
        "Laboratory results of the encounter", phi=Phi.CLINICAL, batch=resolvers.lab.of_encounters, args=FACTS
    )
    vital_signs: Connection[VitalSign] | None = field(
        "Vital signs of the encounter, newest first",
        phi=Phi.CLINICAL,
        batch=resolvers.vital_sign.of_encounters,
        args=(*PAGE, *PERIOD, CODE),
    )
    clinical_notes: Connection[ClinicalNote] | None = field(
        "Clinical notes of the encounter, newest first",
        phi=Phi.CLINICAL,
        batch=resolvers.clinical_note.of_encounters,
        args=NOTES,
    )
    imaging_studies: Connection[ImagingStudy] | None = field(
        "Imaging studies of the encounter, newest first",
        phi=Phi.CLINICAL,
        batch=resolvers.imaging_study.of_encounters,
        args=IMAGING,
    )
    observations: Connection[Observation] | None = field(
        "Other observations of the encounter",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.encounter_observations,
        args=FACTS,
    )
    diagnostic_reports: Connection[DiagnosticReport] | None = field(
        "Diagnostic reports of the encounter",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.encounter_diagnostic_reports,
        args=FACTS,
    )
