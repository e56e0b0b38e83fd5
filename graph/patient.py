"""Patient: the centre of the graph."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import strawberry

import resolvers.audit
import resolvers.care_plan
import resolvers.chart
import resolvers.clinical_note
import resolvers.encounter
import resolvers.exchange
import resolvers.imaging_study
import resolvers.lab
import resolvers.lab_series
import resolvers.patient
import resolvers.patient_summary
import resolvers.presence
import resolvers.research_dataset
import resolvers.vital_sign
from db.policy import Phi
from graph.audit import AccessEvent
from graph.care_plan import CarePlan, Goal
from graph.chart import (
    AllergyIntolerance,
    CareTeam,
    Condition,
    Consent,
    DiagnosticReport,
    Immunization,
    Observation,
    Procedure,
)
from graph.clinical_note import NOTES, ClinicalNote
from graph.connection import Connection, PageInfo
from graph.datatype import (
    Address,
    CodeableConcept,
    Communication,
    ContactPoint,
    FhirDate,
    FhirDateTime,
    HumanName,
    Identifier,
    PatientContact,
)
from graph.encounter import Encounter
from graph.exchange import ExchangedRecords
from graph.field import CODE, FACTS, PAGE, PERIOD, STATUS, arg, field
from graph.imaging_study import IMAGING, ImagingStudy
from graph.lab import LabResult
from graph.lab_series import LAB_TREND, LabTrend
from graph.medication import MedicationAdministration, MedicationRequest
from graph.node import Node, node_id, row_version, served_from
from graph.patient_summary import MAX_STALENESS, PatientSummary
from graph.presence import ChartPresence
from graph.research_dataset import CohortSummary
from graph.schedule import Appointment
from graph.vital_sign import TREND, VitalSign, VitalTrend
from loaders.patient import PatientRow


@strawberry.type(description="A person who receives care, as registered at the caller's facility (FHIR R4 Patient)")
@served_from(PatientRow)
class Patient(Node):
    """Served from PatientRow."""

    id: strawberry.ID = node_id("Patient")
    version: int = row_version()
    mrn: str | None = field("Medical record number at the caller's facility", phi=Phi.MEDICAL_RECORD_NUMBER)
    active: bool | None = field("Whether the record is in use", phi=None)
    name: list[HumanName] | None = field(
        "Names of the patient, the official one first", phi=None, batch=resolvers.patient.names, chart=False
    )
    identifier: list[Identifier] | None = field(
        "Identifiers of the patient", phi=None, batch=resolvers.patient.identifiers, chart=False
    )
    gender: str | None = field("Administrative gender: male, female, other or unknown", phi=None)
    birth_sex: str | None = field("Sex at birth (US Core)", phi=None)
    birth_date: FhirDate | None = field("Date of birth", phi=Phi.DATE)
    age: str | None = field(
        "Age in completed years, today or at death; where dates are masked a band of five years, such as 40-44, of the "
        "age reached by the end of the year, and 90+ from 90 on",
        phi=Phi.DATE,
    )
    deceased: bool | None = field("Whether the patient has died; null where nobody said", phi=None)
    deceased_date_time: FhirDateTime | None = field("Time of death", phi=Phi.DATE)
    marital_status: CodeableConcept | None = field("Marital status of the patient", phi=None)
    multiple_birth: int | None = field("Place in the order of a multiple birth", phi=None)
    race: str | None = field("Race of the patient (US Core, as text)", phi=None)
    ethnicity: str | None = field("Ethnicity of the patient (US Core, as text)", phi=None)
    address: list[Address] | None = field("Addresses of the patient", phi=None)
    telecom: list[ContactPoint] | None = field("Ways to reach the patient", phi=(Phi.PHONE, Phi.FAX, Phi.EMAIL))
    contact: list[PatientContact] | None = field("People to contact about the patient", phi=Phi.NAME)
    communication: list[Communication] | None = field("Languages of the patient", phi=None)

    encounters: Connection[Encounter] | None = field(
        "Encounters of the patient, newest first",
        phi=None,
        batch=resolvers.encounter.of_patients,
        args=(
            *PAGE,
            *PERIOD,
            STATUS,
            arg("class_", list[str] | None, "Encounter classes (AMB, IMP, EMER, …)", phi=None, graphql_name="class"),
            CODE,
        ),
    )
    conditions: Connection[Condition] | None = field(
        "Conditions of the patient, newest first; `status` is the clinical status",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.patient_conditions,
        args=FACTS,
    )
    procedures: Connection[Procedure] | None = field(
        "Procedures of the patient, newest first",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.patient_procedures,
        args=FACTS,
    )
    allergy_intolerances: Connection[AllergyIntolerance] | None = field(
        "Allergies and intolerances of the patient; `status` is the clinical status",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.patient_allergies,
        args=FACTS,
    )
    immunizations: Connection[Immunization] | None = field(
        "Immunizations of the patient, newest first",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.patient_immunizations,
        args=FACTS,
    )
    medication_requests: Connection[MedicationRequest] | None = field(
        "Orders of medications for the patient, newest first; `code` is the medication's",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.patient_medication_requests,
        args=FACTS,
    )
    medication_administrations: Connection[MedicationAdministration] | None = field(
        "Medications given to the patient, newest first; `code` is the medication's",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.patient_medication_administrations,
        args=FACTS,
    )
    lab_results: Connection[LabResult] | None = field(
        "Laboratory results of the patient, newest first", phi=Phi.CLINICAL, batch=resolvers.lab.of_patients, args=FACTS
    )
    latest_lab_results: list[LabResult] | None = field(
        "Latest result of each laboratory test of the patient, by instant",
        phi=Phi.CLINICAL,
        batch=resolvers.lab.latest,
        args=(CODE,),
        size=20,
    )
    observations: Connection[Observation] | None = field(
        "Other observations of the patient (social history, survey, …), newest first",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.patient_observations,
        args=(*FACTS, arg("category", list[str] | None, "Categories of which one must match", phi=Phi.CLINICAL)),
    )
    diagnostic_reports: Connection[DiagnosticReport] | None = field(
        "Diagnostic reports of the patient, newest first",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.patient_diagnostic_reports,
        args=FACTS,
    )
    vital_signs: Connection[VitalSign] | None = field(
        "Vital signs of the patient, newest first; a blood pressure is two entries of one panel",
        phi=Phi.CLINICAL,
        batch=resolvers.vital_sign.of_patients,
        args=(*PAGE, *PERIOD, CODE),
    )
    latest_vital_signs: list[VitalSign] | None = field(
        "Latest reading of each vital sign of the patient",
        phi=Phi.CLINICAL,
        batch=resolvers.vital_sign.latest,
        args=(CODE,),
        size=10,
    )
    vital_trend: list[VitalTrend] | None = field(
        "Courses of vital signs in buckets, chosen by the length of the range",
        phi=Phi.CLINICAL,
        batch=resolvers.vital_sign.trend,
        args=TREND,
        weight=50,
    )
    lab_trend: list[LabTrend] | None = field(
        "Courses of laboratory tests; STALE where the series may be older than `maxStaleness` demands",
        phi=Phi.CLINICAL,
        batch=resolvers.lab_series.trend,
        args=LAB_TREND,
        weight=50,
    )
    clinical_notes: Connection[ClinicalNote] | None = field(
        "Clinical notes of the patient, newest first; superseded ones too, unless `status` says otherwise",
        phi=Phi.CLINICAL,
        batch=resolvers.clinical_note.of_patients,
        args=NOTES,
    )
    care_plans: Connection[CarePlan] | None = field(
        "Care plans of the patient, newest first",
        phi=Phi.CLINICAL,
        batch=resolvers.care_plan.of_patients,
        args=(*PAGE, *PERIOD, STATUS),
    )
    goals: Connection[Goal] | None = field(
        "Goals of the patient's care, newest first",
        phi=Phi.CLINICAL,
        batch=resolvers.care_plan.patient_goals,
        args=(*PAGE, *PERIOD, STATUS),
    )
    summary: PatientSummary | None = field(
        "Chart at a glance: made beforehand, or from the chart where `maxStaleness` demands that; else STALE",
        phi=Phi.CLINICAL,
        batch=resolvers.patient_summary.of_patients,
        args=(MAX_STALENESS,),
    )
    imaging_studies: Connection[ImagingStudy] | None = field(
        "Imaging studies of the patient, newest first",
        phi=Phi.CLINICAL,
        batch=resolvers.imaging_study.of_patients,
        args=IMAGING,
    )
    cohort: CohortSummary | None = field(
        "Patients of the same sex and age band in the network, counted",
        phi=Phi.CLINICAL,
        batch=resolvers.research_dataset.cohorts_of_patients,
    )
    appointments: Connection[Appointment] | None = field(
        "Appointments of the patient, latest first",
        phi=None,
        batch=resolvers.chart.patient_appointments,
        args=(*PAGE, *PERIOD, STATUS),
    )
    care_teams: Connection[CareTeam] | None = field(
        "Care teams of the patient, newest first",
        phi=Phi.CLINICAL,
        batch=resolvers.chart.patient_care_teams,
        args=(*PAGE, *PERIOD, STATUS),
    )
    exchanged_records: list[ExchangedRecords] | None = field(
        "Records of the patient at other facilities, which the patient lets those who treat here see",
        phi=None,
        batch=resolvers.exchange.of_patients,
        size=3,
    )
    consents: Connection[Consent] | None = field(
        "Consents of the patient, newest first",
        phi=None,
        batch=resolvers.chart.patient_consents,
        args=(*PAGE, *PERIOD, STATUS),
    )
    chart_presence: list[ChartPresence] | None = field(
        "Others of the facility who have the chart open now, the first come first",
        phi=None,
        batch=resolvers.presence.of_patients,
        size=3,
    )
    access_log: Connection[AccessEvent] | None = field(
        "Accesses to the patient's records, newest first: for privacy officers, and for the patient",
        phi=None,
        batch=resolvers.audit.of_patients,
        args=(*PAGE, *PERIOD),
        chart=False,
    )


@strawberry.type(description="A patient that a search found, with the score and the place in the list")
class PatientMatchEdge:
    """Served from (cursor, (score, PatientRow))."""

    cursor: str = field("Opaque place of the entry in its list", phi=None, value=lambda edge: edge[0])
    score: Decimal = field(
        "How well the patient matches: 1 exact, 0.9 by a prefix, less where a word is only similar",
        phi=None,
        value=lambda edge: edge[1][0],
    )
    node: Patient = field("Patient found", phi=None, value=lambda edge: edge[1][1])


@strawberry.type(description="A page of patients that a search found, best first")
class PatientMatchConnection:
    """Served from a Slice of (score, PatientRow)."""

    edges: list[PatientMatchEdge] = field("Patients with score and cursor", phi=None, value=lambda page: page.edges())
    nodes: list[Patient] = field("Patients alone", phi=None, value=lambda page: [row for _, row in page.rows])
    page_info: PageInfo = field("Where the page lies in its list", phi=None, value=lambda page: page)


LazyPatient = Annotated[Patient, strawberry.lazy("graph.patient")]
"""Patient for the types that Patient refers to."""
