"""Encounter, Appointment, CareTeam and Consent: when and with whom a patient is in care."""

from __future__ import annotations

from uuid import UUID

from workers.fhir.elements import (
    Json,
    Unusable,
    code,
    concept,
    date_time,
    instant,
    obj,
    objects,
    period,
    sort_time,
    string,
)
from workers.fhir.link import Link, Row

CLASSES = {
    "ambulatory": "AMB",
    "outpatient": "AMB",
    "inpatient": "IMP",
    "emergency": "EMER",
    "home": "HH",
    "virtual": "VR",
    "AMBULATORY": "AMB",
    "INPATIENT": "IMP",
    "EMERGENCY": "EMER",
}
"""Spellings of encounter classes outside v3-ActCode, and the code of v3-ActCode that each means."""


def encounter(resource: Json, link: Link) -> list[Row]:
    """Encounter → encounter; what varies by class goes into `details`."""
    start, end = period(resource.get("period"))
    class_code = code(resource.get("class"))
    participants = [_participant(item, link) for item in objects(resource.get("participant"))]
    places = objects(resource.get("location"))
    details: Json = {
        "reason": objects(resource.get("reasonCode")),
        "hospitalization": obj(resource.get("hospitalization")),
        "participants": [shown for _, shown in participants],
        "locations": [{"display": (obj(item.get("location")) or {}).get("display")} | _when(item) for item in places],
        "priority": obj(resource.get("priority")),
        "type": objects(resource.get("type"))[1:],
    }
    values = link.fact() | concept(resource.get("type")).columns()
    del values["encounter_id"]
    values |= {
        "department_id": link.one(places[0].get("location"), "Location", "location") if places else None,
        "provider_id": next((row for row, _ in participants if row), None),
        "part_of_id": link.one(resource.get("partOf"), "Encounter", "partOf"),
        "status": string(resource.get("status")) or "unknown",
        "class_code": CLASSES.get(class_code or "", class_code),
        "period_start": start,
        "period_end": end,
        "sort_time": sort_time(start, end),
        "end_time": instant(end),
        "details": {key: value for key, value in details.items() if value},
    }
    return [Row("encounter", values)]


def _participant(participant: Json, link: Link) -> tuple[UUID | None, Json]:
    individual = participant.get("individual")
    row = link.provider(individual, "participant")
    shown: Json = {
        "type": objects(participant.get("type")),
        "display": (obj(individual) or {}).get("display"),
        "provider_id": str(row) if row else None,
    }
    return row, {key: value for key, value in (shown | _when(participant)).items() if value}


def _when(item: Json) -> Json:
    given = obj(item.get("period"))
    return {"period": given} if given else {}


def appointment(resource: Json, link: Link) -> list[Row]:
    """Appointment → appointment; it must have a start and an end."""
    actors = [obj(item.get("actor")) or {} for item in objects(resource.get("participant"))]
    targets = [(actor, link.target(actor, "Patient")) for actor in actors]
    by_type = {target.type: actor for actor, target in reversed(targets) if target}
    start, end = date_time(resource.get("start")), date_time(resource.get("end"))
    if not start or not end:
        raise Unusable("it has no start or no end")
    values = link.fact() | concept(resource.get("serviceType") or resource.get("appointmentType")).columns()
    del values["encounter_id"]
    values |= {
        "provider_id": link.provider(by_type.get("Practitioner") or by_type.get("PractitionerRole"), "participant"),
        "department_id": link.one(by_type.get("Location"), "Location", "location"),
        "status": string(resource.get("status")) or "unknown",
        "description": string(resource.get("description")) or string(resource.get("comment")),
        "start_date_time": start,
        "end_date_time": end,
        "sort_time": instant(start),
        "end_time": instant(end),
    }
    return [Row("appointment", values)]


def care_team(resource: Json, link: Link) -> list[Row]:
    """CareTeam → care_team and its participants; who is no provider is named by FHIR type."""
    start, end = period(resource.get("period"))
    values = link.fact() | {
        "status": string(resource.get("status")),
        "name": string(resource.get("name")),
        "category": objects(resource.get("category")),
        "period_start": start,
        "period_end": end,
        "sort_time": sort_time(start, end),
    }
    members = [_member(item, link, position) for position, item in enumerate(objects(resource.get("participant")))]
    return [Row("care_team", values), *members]


def _member(participant: Json, link: Link, position: int) -> Row:
    member = participant.get("member")
    provider_id = link.provider(member, f"participant.{position}")
    target = link.target(member, "Practitioner")
    values: Json = {
        "care_team_id": link.id,
        "facility_id": link.facility_id,
        "position": position,
        "provider_id": provider_id,
        "member": target.type if target and not provider_id else None,
        "role": obj(participant.get("role")),
    }
    return Row("care_team_participant", values)


def consent(resource: Json, link: Link) -> list[Row]:
    """Consent → consent, its provision kept as it is."""
    stated = date_time(resource.get("dateTime"))
    values = link.fact() | {
        "status": string(resource.get("status")) or "unknown",
        "scope": obj(resource.get("scope")),
        "category": objects(resource.get("category")),
        "date_time": stated,
        "provision": obj(resource.get("provision")) or {},
        "sort_time": sort_time(stated),
    }
    del values["encounter_id"]
    return [Row("consent", values)]
