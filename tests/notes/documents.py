"""Small hand-made documents of the notes store."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from loaders.search_terms import terms

JUNE = datetime(2020, 6, 15, 8, 30, tzinfo=UTC)


def concept(code: str, display: str) -> dict[str, Any]:
    """A CodeableConcept of LOINC."""
    return {"coding": [{"system": "http://loinc.org", "code": code, "display": display}], "text": display}


PROGRESS = concept("11506-3", "Progress note")
DISCHARGE = concept("18842-5", "Discharge summary")


def metadata(facility_id: UUID, patient_id: UUID, encounter_id: UUID | None = None) -> dict[str, Any]:
    """Whose document it is."""
    return {
        "facility_id": str(facility_id),
        "patient_id": str(patient_id),
        "encounter_id": str(encounter_id) if encounter_id else None,
    }


def note(
    facility_id: UUID,
    patient_id: UUID,
    text: str = "Patient reports chest pains.",
    time: datetime = JUNE,
    encounter_id: UUID | None = None,
    **values: object,
) -> dict[str, Any]:
    """A clinical note with something at every path."""
    return {
        "_id": str(uuid4()),
        "metadata": metadata(facility_id, patient_id, encounter_id),
        "security": [],
        "status": "superseded",
        "doc_status": "final",
        "type": PROGRESS,
        "category": [concept("clinical-note", "Clinical note")],
        "date": time.isoformat(),
        "sort_time": time,
        "title": "Progress note",
        "author": [{"provider_id": str(uuid4()), "display": "Dr. Ada Park"}],
        "sections": [{"title": "Subjective", "code": None, "text": text}],
        "text": text,
        "search_terms": terms(text),
        "signatures": [
            {
                "provider_id": None,
                "display": "Dr. Bo Lind",
                "time": "2020-06-16",
                "type": "authenticator",
                "digest": None,
                "version": None,
            }
        ],
        "amendments": [
            {"time": "2020-06-17", "author": "Dr. Bo Lind", "reason": "typing error", "text": "Left, not right."}
        ],
        "relates_to": [{"code": "replaces", "target": str(uuid4())}],
        "drafted_by": None,
        "version": 1,
        "versions": [note_version(text, time)],
        "announced": 1,
        "unannounced": time,
    } | values


def note_version(text: str, time: datetime) -> dict[str, Any]:
    """The first entry of a note's history."""
    return {
        "version": 1,
        "operation": "draftNote",
        "subject": "test",
        "provider_id": None,
        "display": "Dr. Ada Park",
        "time": time.isoformat(),
        "key": "key",
        "input": "00",
        "status": "current",
        "doc_status": "preliminary",
        "reason": None,
        "sections": [{"title": "Subjective", "code": None, "text": text}],
        "digest": "00",
    }


def care_plan(facility_id: UUID, patient_id: UUID, time: datetime = JUNE, **values: object) -> dict[str, Any]:
    """A care plan with something at every path."""
    return {
        "_id": str(uuid4()),
        "metadata": metadata(facility_id, patient_id),
        "security": [],
        "status": "active",
        "intent": "plan",
        "title": "Diabetes self-management",
        "category": [concept("assess-plan", "Assessment and plan")],
        "period": {"start": "2020-06-15", "end": None},
        "sort_time": time,
        "addresses": [str(uuid4())],
        "activity": [{"code": PROGRESS, "status": "in-progress", "description": "Walk daily.", "location": "Home"}],
        "goal_ids": [],
        "care_team_ids": [str(uuid4())],
        "note": "Prefers mornings.",
    } | values


def goal(facility_id: UUID, patient_id: UUID, time: datetime = JUNE, **values: object) -> dict[str, Any]:
    """A goal with something at every path."""
    return {
        "_id": str(uuid4()),
        "metadata": metadata(facility_id, patient_id),
        "security": [],
        "lifecycle_status": "active",
        "achievement_status": "in-progress",
        "description": concept("x", "HbA1c below 7 %"),
        "target": [{"measure": PROGRESS, "dueDate": "2020-12-31"}],
        "start": "2020-06-15",
        "sort_time": time,
        "addresses": [],
    } | values


def summary(facility_id: UUID, patient_id: UUID, **values: object) -> dict[str, Any]:
    """A patient summary with something at every path."""
    return {
        "_id": f"{facility_id}/{patient_id}",
        "metadata": {"facility_id": str(facility_id), "patient_id": str(patient_id)},
        "updated": JUNE,
        "as_of": JUNE,
        "active_conditions": [{"id": str(uuid4()), "code": PROGRESS, "onset": "2019-03-04", "security": []}],
        "active_medications": [
            {"id": str(uuid4()), "medication": PROGRESS, "authored_on": "2020-01-02", "security": []}
        ],
        "allergies": [{"id": str(uuid4()), "code": PROGRESS, "criticality": "high", "security": []}],
        "last_encounters": [
            {
                "id": str(uuid4()),
                "status": "finished",
                "class": "AMB",
                "type": PROGRESS,
                "start": "2020-06-15",
                "end": "2020-06-16",
                "security": [],
            }
        ],
        "latest_results": [
            {
                "id": str(uuid4()),
                "test_id": str(uuid4()),
                "test": PROGRESS,
                "status": "final",
                "effective": "2020-06-15",
                "value": {"value": Decimal("5.40"), "unit": "%", "code": "%"},
                "concept": None,
                "interpretation": None,
                "security": [],
            }
        ],
        "latest_vitals": [
            {
                "id": f"{uuid4()}.0",
                "code": {"code": "8867-4"},
                "panel": None,
                "status": "final",
                "effective": "2020-06-15T10:00:00Z",
                "value": {"value": Decimal(72), "unit": "/min", "code": "/min"},
            }
        ],
        "care_plans": [
            {"id": str(uuid4()), "title": "Diabetes", "category": [], "start": "2020-06-15", "security": []}
        ],
        "counts": {"encounters": 1, "conditions": 1, "procedures": 0, "medication_requests": 1},
    } | values
