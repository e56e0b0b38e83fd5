"""The plain facts of the chart: relations of patients and encounters that need no logic of their own.

Value sets are those of FHIR R4; a code outside them is a typed error, not an empty list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loaders.allergy_intolerance import allergy_intolerances_of_patients
from loaders.appointment import appointments_of_patients, appointments_of_providers
from loaders.care_team import care_teams_of_patients, participants_of_care_teams
from loaders.condition import ConditionRow, condition_by_id, conditions_of_encounters, conditions_of_patients
from loaders.consent import consents_of_patients
from loaders.diagnostic_report import diagnostic_reports_of_encounters, diagnostic_reports_of_patients
from loaders.immunization import immunizations_of_encounters, immunizations_of_patients
from loaders.medication import medication_by_id
from loaders.medication_administration import (
    medication_administrations_of_encounters,
    medication_administrations_of_patients,
    medication_administrations_of_requests,
)
from loaders.medication_request import (
    medication_request_by_id,
    medication_requests_of_encounters,
    medication_requests_of_patients,
)
from loaders.observation import observations_of_encounters, observations_of_patients
from loaders.procedure import procedures_of_encounters, procedures_of_patients
from resolvers.arguments import codes
from resolvers.connection import link, one_of, relation
from resolvers.context import Context

CLINICAL_STATUS = one_of("active", "recurrence", "relapse", "inactive", "remission", "resolved")
ALLERGY_STATUS = one_of("active", "inactive", "resolved")
EVENT_STATUS = one_of(
    "preparation", "in-progress", "not-done", "on-hold", "stopped", "completed", "entered-in-error", "unknown"
)
REQUEST_STATUS = one_of(
    "active", "on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft", "unknown"
)
REPORT_STATUS = one_of(
    "registered", "partial", "preliminary", "final", "amended", "corrected", "appended", "cancelled",
    "entered-in-error", "unknown",
)  # fmt: skip
OBSERVATION_STATUS = one_of(
    "registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"
)
APPOINTMENT_STATUS = one_of(
    "proposed", "pending", "booked", "arrived", "fulfilled", "cancelled", "noshow", "entered-in-error", "checked-in",
    "waitlist",
)  # fmt: skip
CARE_TEAM_STATUS = one_of("proposed", "active", "suspended", "inactive", "entered-in-error")
CONSENT_STATUS = one_of("draft", "proposed", "active", "rejected", "inactive", "entered-in-error")

patient_conditions = relation("Patient.conditions", conditions_of_patients, status=CLINICAL_STATUS, code=codes)
encounter_conditions = relation("Encounter.conditions", conditions_of_encounters, status=CLINICAL_STATUS, code=codes)
patient_procedures = relation("Patient.procedures", procedures_of_patients, status=EVENT_STATUS, code=codes)
encounter_procedures = relation("Encounter.procedures", procedures_of_encounters, status=EVENT_STATUS, code=codes)
patient_allergies = relation(
    "Patient.allergyIntolerances", allergy_intolerances_of_patients, status=ALLERGY_STATUS, code=codes
)
patient_immunizations = relation("Patient.immunizations", immunizations_of_patients, status=EVENT_STATUS, code=codes)
encounter_immunizations = relation(
    "Encounter.immunizations", immunizations_of_encounters, status=EVENT_STATUS, code=codes
)
patient_medication_requests = relation(
    "Patient.medicationRequests", medication_requests_of_patients, status=REQUEST_STATUS, code=codes
)
encounter_medication_requests = relation(
    "Encounter.medicationRequests", medication_requests_of_encounters, status=REQUEST_STATUS, code=codes
)
patient_medication_administrations = relation(
    "Patient.medicationAdministrations", medication_administrations_of_patients, status=EVENT_STATUS, code=codes
)
encounter_medication_administrations = relation(
    "Encounter.medicationAdministrations", medication_administrations_of_encounters, status=EVENT_STATUS, code=codes
)
request_administrations = relation(
    "MedicationRequest.administrations", medication_administrations_of_requests, status=EVENT_STATUS, code=codes
)


async def reason_conditions(context: Context, parents: Sequence[Any]) -> Sequence[Sequence[ConditionRow]]:
    """Conditions that each procedure or order names as its reason; those that the caller may not see are left out."""
    wanted = list({key for parent in parents for key in parent.reason_condition_id or ()})
    found = dict(zip(wanted, await context.reader.load_many(condition_by_id, wanted), strict=True))
    return [[row for key in p.reason_condition_id or () if (row := found[key])] for p in parents]


medication = link(medication_by_id, "medication_id")
medication_request = link(medication_request_by_id, "medication_request_id")
patient_diagnostic_reports = relation(
    "Patient.diagnosticReports", diagnostic_reports_of_patients, status=REPORT_STATUS, code=codes
)
encounter_diagnostic_reports = relation(
    "Encounter.diagnosticReports", diagnostic_reports_of_encounters, status=REPORT_STATUS, code=codes
)
patient_observations = relation(
    "Patient.observations", observations_of_patients, status=OBSERVATION_STATUS, code=codes, category=codes
)
encounter_observations = relation(
    "Encounter.observations", observations_of_encounters, status=OBSERVATION_STATUS, code=codes, category=codes
)
patient_appointments = relation("Patient.appointments", appointments_of_patients, status=APPOINTMENT_STATUS)
provider_appointments = relation("Provider.appointments", appointments_of_providers, status=APPOINTMENT_STATUS)
patient_care_teams = relation("Patient.careTeams", care_teams_of_patients, status=CARE_TEAM_STATUS)
care_team_participants = link(participants_of_care_teams, "id")
patient_consents = relation("Patient.consents", consents_of_patients, status=CONSENT_STATUS)
