"""Which resource types are imported, in which order, and by which mapper; the rest is skipped, with the reason."""

from __future__ import annotations

from collections.abc import Callable

from workers.fhir import chart, encounter, imaging, medication, note, observation, registry
from workers.fhir.elements import Json
from workers.fhir.link import Link, Row

Mapper = Callable[[Json, Link], list[Row]]

WAVES: tuple[dict[str, Mapper], ...] = (
    {"Organization": registry.organization},
    {
        "Practitioner": registry.practitioner,
        "Location": registry.location,
        "Medication": medication.medication,
        "Patient": registry.patient,
    },
    {"PractitionerRole": registry.practitioner_role, "Encounter": encounter.encounter},
    {
        "Appointment": encounter.appointment,
        "CareTeam": encounter.care_team,
        "Consent": encounter.consent,
        "Condition": chart.condition,
        "Procedure": chart.procedure,
        "AllergyIntolerance": chart.allergy_intolerance,
        "Immunization": chart.immunization,
        "MedicationRequest": medication.medication_request,
        "DiagnosticReport": observation.diagnostic_report,
        "Observation": observation.observation,
        "ImagingStudy": imaging.imaging_study,
    },
    {"MedicationAdministration": medication.medication_administration},
    {"DocumentReference": note.document_reference, "CarePlan": note.care_plan, "Goal": note.goal},
    {"DiagnosticReport": note.report_text},
)
"""One pass over a file each: what a wave refers to was written by the waves before it."""

NOTES_FROM = 5
"""First wave of the notes store: it runs when the others are committed."""

TEXT_WAVE = 6
"""Texts of reports, after the documents that may hold the same text."""

TEXT = "DiagnosticReport.presentedForm"
"""What the report and the importer's memory call the text of a report."""

REGISTRY = frozenset({"Organization", "Practitioner", "Location", "Medication", "Patient", "PractitionerRole"})
"""Types that are no fact about a patient in care."""

BILLING = "billing is not imported"
REASONS = {
    "Claim": BILLING,
    "ClaimResponse": BILLING,
    "ExplanationOfBenefit": BILLING,
    "Coverage": BILLING,
    "Account": BILLING,
    "Invoice": BILLING,
    "Provenance": "the importer keeps its own provenance",
    "AuditEvent": "the importer keeps its own provenance",
    "Device": "devices are not imported",
}


def imported(resource_type: str) -> bool:
    """Whether a type has a mapper."""
    return any(resource_type in wave for wave in WAVES)


def rank(resource_type: str | None) -> int:
    """Where a file comes whose first resource has this type: registries first, then people, encounters, facts."""
    return next((number for number, wave in enumerate(WAVES) if resource_type in wave), len(WAVES))


def reason(resource_type: str) -> str:
    """Why a type is skipped."""
    return REASONS.get(resource_type, "this type has no place in the stores")


def name_of(wave: int, resource_type: str) -> str:
    """Name under which a resource waits: a report and its text wait apart."""
    return TEXT if wave == TEXT_WAVE else resource_type


def names(wave: int) -> list[str]:
    """Names of everything that a wave writes."""
    return [name_of(wave, resource_type) for resource_type in WAVES[wave]]
