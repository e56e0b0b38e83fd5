"""Care plans with goals and activities: of current stays and of chronic conditions; and what patients consent to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from workers.network.resource import AS_OF, HL7, LOINC, Json, Source, concept, link, of, quantity, stamp
from workers.network.stays import Stay, team_id

CATEGORY = "http://hl7.org/fhir/us/core/CodeSystem/careplan-category"


@dataclass(frozen=True, slots=True)
class Chronic:
    """What is planned for a chronic condition: a measure (LOINC) to bring below a limit, and how."""

    codes: str
    title: str
    measure: str
    measure_display: str
    limit: float
    unit: str
    ucum: str
    activities: Sequence[str]


CHRONIC = (
    Chronic(
        "E11", "Diabetes care plan", "4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", 7.0, "%", "%",
        ("Diabetes self-management education", "Eye examination every year", "Foot examination every visit"),
    ),
    Chronic(
        "I10", "Hypertension care plan", "8480-6", "Systolic blood pressure", 130, "mmHg", "mm[Hg]",
        ("Low-sodium diet education", "Home blood pressure log"),
    ),
    Chronic(
        "E78", "Cholesterol care plan", "13457-7",
        "Cholesterol in LDL [Mass/volume] in Serum or Plasma by calculation", 100, "mg/dL", "mg/dL",
        ("Lipid panel every 6 months", "Mediterranean diet education"),
    ),
)  # fmt: skip


def stay_plan(stay: Stay) -> Iterator[Json]:
    """Goals and care plan of a current stay."""
    about = {"subject": link(stay.patient), "addresses": [link(stay.condition)]}
    goals = [
        _goal(stay.source, f"stay {stay.key} {number}", text, about) | {"startDate": stamp(stay.admitted)[:10]}
        for number, text in enumerate((stay.reason.goal, "Goes home safely with follow-up arranged"))
    ]
    yield from goals
    yield about | {
        "resourceType": "CarePlan",
        "id": stay.source.id("CarePlan", f"stay {stay.key}"),
        "status": "active",
        "intent": "plan",
        "title": f"Inpatient plan: {stay.reason.display}",
        "category": [concept(CATEGORY, "assess-plan", "Assessment and Plan of Treatment")],
        "encounter": link(stay.encounter),
        "period": {"start": stamp(stay.admitted)},
        "created": stamp(stay.admitted),
        "careTeam": [{"reference": f"CareTeam/{team_id(stay)}"}],
        "goal": [link(goal) for goal in goals],
        "activity": [_activity(text, "in-progress") for text in stay.reason.activities],
    }


def chronic_plans(resources: list[Json], source: Source) -> Iterator[Json]:
    """A care plan with a measured goal for every active condition of CHRONIC."""
    for condition in of(resources, "Condition"):
        code = next((coding.get("code", "") for coding in condition["code"].get("coding", [])), "")
        plan = next((plan for plan in CHRONIC if code.startswith(plan.codes)), None)
        if plan and condition["clinicalStatus"]["coding"][0]["code"] == "active":
            yield from _chronic_plan(condition, plan, source)


def _chronic_plan(condition: Json, plan: Chronic, source: Source) -> Iterator[Json]:
    key = condition["id"]
    start = AS_OF - timedelta(days=source.random(f"plan {key}").randint(60, 330))
    about = {"subject": condition["subject"], "addresses": [link(condition)]}
    goal = _goal(source, f"chronic {key}", f"{plan.measure_display} below {plan.limit:g} {plan.unit}", about) | {
        "startDate": stamp(start)[:10],
        "target": [
            {
                "measure": concept(LOINC, plan.measure, plan.measure_display),
                "detailQuantity": quantity(plan.limit, plan.unit, plan.ucum) | {"comparator": "<"},
                "dueDate": stamp(AS_OF + timedelta(days=90))[:10],
            }
        ],
    }
    yield goal
    yield about | {
        "resourceType": "CarePlan",
        "id": source.id("CarePlan", f"chronic {key}"),
        "status": "active",
        "intent": "plan",
        "title": plan.title,
        "category": [concept(CATEGORY, "assess-plan", "Assessment and Plan of Treatment")],
        "period": {"start": stamp(start)[:10]},
        "created": stamp(start)[:10],
        "goal": [link(goal)],
        "activity": [_activity(text, "scheduled") for text in plan.activities],
    }


def _goal(source: Source, key: str, text: str, about: Json) -> Json:
    return about | {
        "resourceType": "Goal",
        "id": source.id("Goal", key),
        "lifecycleStatus": "active",
        "achievementStatus": concept(HL7 + "goal-achievement", "in-progress", "In Progress"),
        "description": {"text": text},
    }


def _activity(text: str, status: str) -> Json:
    return {"detail": {"kind": "ServiceRequest", "code": {"text": text}, "status": status, "description": text}}


def consents(resources: list[Json], source: Source) -> Iterator[Json]:
    """A privacy consent of most patients; one in five does not want research, one in ten no disclosure to relatives."""
    for patient in of(resources, "Patient"):
        chances = source.random(f"consent {patient['id']}")
        if chances.random() < 0.2:
            continue
        drawn = chances.random()
        purpose = ("HRESCH", "healthcare research") if drawn < 0.2 else ("FAMRQT", "family requested")
        purpose = purpose if drawn < 0.3 else ("TREAT", "treatment")
        yield {
            "resourceType": "Consent",
            "id": source.id("Consent", patient["id"]),
            "status": "active",
            "scope": concept(HL7 + "consentscope", "patient-privacy", "Privacy Consent"),
            "category": [concept(LOINC, "59284-0", "Consent Document")],
            "patient": link(patient),
            "dateTime": stamp(AS_OF - timedelta(days=chances.randint(30, 360))),
            "organization": [source.facility.reference],
            "provision": {
                "type": "deny" if drawn < 0.3 else "permit",
                "purpose": [{"system": HL7 + "v3-ActReason", "code": purpose[0], "display": purpose[1]}],
            },
        }
