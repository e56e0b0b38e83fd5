"""SMART on FHIR v2 scopes (SMART App Launch 2.2, section 3): which types of the graph a token lets be read.

`user/Observation.rs` reads laboratory results, vital signs and observations. Who reads the graph both reads and
searches, so a scope must have `r` and `s`. These grant nothing: scopes with parameters (`?category=…`), which the graph
can't hold to; those of v1 (`.read`, `.*`); anything malformed. A token without any scope of SMART is a dashboard's of
our own, where nobody delegates less than all to an app: role, reach and policy are its whole limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

from db.caller import Caller
from db.errors import InsufficientScope

_OF_SMART = re.compile(r"(patient|user|system)/.*|launch(/.*)?", re.DOTALL)
_SCOPE = re.compile(r"(?P<level>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]+)\.(?P<may>c?r?u?d?s?)")

_OBSERVATION = ("Observation",)
_RESEARCH = ("ResearchStudy",)
_AUDIT = ("AuditEvent",)

FHIR_TYPES: Mapping[str, tuple[str, ...]] = {
    **{
        name: (name,)
        for name in (
            "AllergyIntolerance",
            "Appointment",
            "CarePlan",
            "CareTeam",
            "Condition",
            "Consent",
            "DiagnosticReport",
            "Encounter",
            "Goal",
            "ImagingStudy",
            "Immunization",
            "Medication",
            "MedicationAdministration",
            "MedicationRequest",
            "Observation",
            "Patient",
            "Procedure",
        )
    },
    "LabResult": _OBSERVATION,
    "LabResultVersion": _OBSERVATION,
    "LabTest": _OBSERVATION,
    "LabTrend": _OBSERVATION,
    "VitalSign": _OBSERVATION,
    "VitalTrend": _OBSERVATION,
    "ClinicalNote": ("DocumentReference",),
    "ClinicalNoteSearch": ("DocumentReference",),
    "Department": ("Location",),
    "Facility": ("Organization",),
    "ImagingInstance": ("ImagingStudy",),
    "JobProgress": ("ImagingStudy",),
    "ImagingSeries": ("ImagingStudy",),
    "ImagingUpload": ("ImagingStudy",),
    "ExchangedRecords": ("Patient",),
    "PatientMatch": ("Patient",),
    "PatientSummary": ("Patient",),
    "PossibleDuplicate": ("Patient",),
    "Provider": ("Practitioner",),
    "SummaryAllergy": ("AllergyIntolerance",),
    "SummaryCarePlan": ("CarePlan",),
    "SummaryCondition": ("Condition",),
    "SummaryCounts": ("Condition", "Encounter", "MedicationRequest", "Procedure"),
    "SummaryEncounter": ("Encounter",),
    "SummaryMedication": ("MedicationRequest",),
    "SummaryResult": _OBSERVATION,
    "SummaryVitalSign": _OBSERVATION,
    "ChartChange": ("Patient",),
    "VitalsChange": _OBSERVATION,
    "WardChange": ("Encounter",),
    "AccessEvent": _AUDIT,
    "AccessExplanation": _AUDIT,
    "BreakGlassChange": _AUDIT,
    "BreakGlassGrant": _AUDIT,
    "ChartPresence": _AUDIT,
    "Disclosure": _AUDIT,
    "CohortCell": _RESEARCH,
    "CohortCondition": _RESEARCH,
    "CohortCounts": _RESEARCH,
    "CohortSummary": _RESEARCH,
    "PrivacyBudget": _RESEARCH,
    "ResearchAggregate": _RESEARCH,
    "ResearchColumn": _RESEARCH,
    "ResearchDataset": _RESEARCH,
    "ResearchDatasetRequest": _RESEARCH,
    "ResearchDatasetVersion": _RESEARCH,
    "ResearchExtraction": _RESEARCH,
    "ResearchProject": _RESEARCH,
    "ResearchReidentification": _RESEARCH,
    "ResearchFile": _RESEARCH,
    "ResearchLineage": _RESEARCH,
    "ResearchReport": _RESEARCH,
    "ResearchRow": _RESEARCH,
    "ResearchTable": _RESEARCH,
}
"""FHIR types of which the scopes must grant each, by type of the graph; that of a connection or edge is its node's."""

PARTS = frozenset(
    {
        "Address",
        "AllergyReaction",
        "BusinessAddress",
        "BusinessContactPoint",
        "CarePlanActivity",
        "CareTeamParticipant",
        "Change",
        "ClinicalFact",
        "ClinicalNoteFacet",
        "CodeableConcept",
        "Coding",
        "Communication",
        "ContactPoint",
        "DataUseAgreement",
        "Dosage",
        "EncounterLocation",
        "GoalTarget",
        "HumanName",
        "Identifier",
        "ImagingUploadPart",
        "Ingredient",
        "IrbApproval",
        "LabTrendPoint",
        "Me",
        "Node",
        "NoteAmendment",
        "NoteAuthor",
        "NoteRelation",
        "NoteSection",
        "NoteSignature",
        "NoteVersion",
        "ObservationComponent",
        "PageInfo",
        "PatientContact",
        "Period",
        "Quantity",
        "Query",
        "ReferenceRange",
        "ResearchFacility",
        "ResearchMember",
        "ResearchProgress",
        "ResearchStratum",
        "Subscription",
        "SyncStatus",
        "UserError",
        "VitalTrendPoint",
    }
)
"""Types that need no scope: roots, parts that are only reached through a resource, and interfaces, see graph.node."""

READABLE = frozenset(chain.from_iterable(FHIR_TYPES.values()))
"""FHIR types that `*` stands for."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the scopes of a token grant: FHIR types to read, and whether any scope is one of a single patient."""

    types: frozenset[str]
    of_patient: bool


def granted(scope: str | None) -> Grant | None:
    """The grant of a `scope` claim (RFC 8693, section 4.2); None where no scope is one of SMART."""
    of_smart = [one for one in (scope or "").split() if _OF_SMART.fullmatch(one)]
    if not of_smart:
        return None
    types: set[str] = set()
    for found in filter(None, map(_SCOPE.fullmatch, of_smart)):
        if {"r", "s"} <= set(found["may"]):
            types |= READABLE if found["type"] == "*" else READABLE & {found["type"]}
    return Grant(frozenset(types), any(one.startswith("patient/") for one in of_smart))


def check_scopes(caller: Caller, types: Iterable[str]) -> None:
    """Raises InsufficientScope for the first of these types of the graph that is not granted.

    A type without an entry here is granted by nothing; so is Mutation: what an app is lent is reading.
    """
    if caller.types is None:
        return
    for name in types:
        for needed in needed_types(name):
            if needed not in caller.types:
                raise InsufficientScope(needed)


def needed_types(name: str) -> tuple[str, ...]:
    """FHIR types that a type of the graph needs; itself where it has no entry, which no scope grants."""
    if name in PARTS or name.endswith("Payload"):
        return ()
    return FHIR_TYPES.get(name) or FHIR_TYPES.get(re.sub(r"(Connection|Edge)$", "", name)) or (name,)
