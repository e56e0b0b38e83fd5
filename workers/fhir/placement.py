"""Where a resource belongs: its patient, its encounter and its facility; or what it has to wait for."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from workers.fhir.elements import Json, Unusable, obj, objects
from workers.fhir.link import Link
from workers.fhir.waves import REGISTRY

Waits = str | None
"""'patient', 'encounter', 'practitioner' or 'facility': what is not known yet; None when a resource has its place."""


def place(resource: Json, link: Link, locations: Mapping[UUID, UUID], *, final: bool) -> Waits:
    """Sets patient, encounter and facility of a link. When `final`, only an unknown patient is waited for.

    Raises Unusable when a fact names no patient.
    """
    if link.resource_type in REGISTRY:
        return _registry(resource, link, locations, final=final)
    target = link.target(_patient(resource, link), "Patient")
    if not target or target.type != "Patient":
        raise Unusable("it names no patient")
    link.patient_id = link.known.row(target)
    if not link.patient_id:
        link.unresolved.append(("patient", target))
        return "patient"
    if link.resource_type == "Encounter":
        link.facility_id = _of_encounter(resource, link)
        return None
    link.encounter_id = link.one(_encounter(resource), "Encounter", "encounter")
    waits = bool(link.unresolved) and not final
    home = link.known.homes.get(link.patient_id, link.fallback_id)
    of_encounter = link.known.facilities.get(("Encounter", link.encounter_id)) if link.encounter_id else None
    elsewhere = of_encounter or _of_appointment(resource, link)
    link.facility_id = link.fallback_id if link.single_facility else elsewhere or home
    return "encounter" if waits else None


def _registry(resource: Json, link: Link, locations: Mapping[UUID, UUID], *, final: bool) -> Waits:
    if link.resource_type not in ("Location", "PractitionerRole"):
        return None
    if link.resource_type == "PractitionerRole":
        known = link.organization(resource.get("organization")) or _of_place(resource.get("location"), link)
        link.facility_id = known or link.fallback_id
        if not link.target(resource.get("practitioner"), "Practitioner"):
            raise Unusable("it names no practitioner")
        return None if link.one(resource.get("practitioner"), "Practitioner", "practitioner") else "practitioner"
    kept = link.known.facilities.get(("Location", link.id))
    known = link.organization(resource.get("managingOrganization")) or locations.get(link.id)
    link.facility_id = link.fallback_id if link.single_facility else known or kept
    if not link.facility_id and final:
        link.facility_id = link.fallback_id
    return None if link.facility_id else "facility"


def _patient(resource: Json, link: Link) -> object:
    if link.resource_type != "Appointment":
        return resource.get("subject") or resource.get("patient")
    actors = (item.get("actor") for item in objects(resource.get("participant")))
    named = ((actor, link.target(actor, "")) for actor in actors)
    return next((actor for actor, target in named if target and target.type == "Patient"), None)


def _encounter(resource: Json) -> object:
    """Reference to the encounter, by whatever name the type has for it."""
    context = obj(resource.get("context")) or {}
    inside = objects(context.get("encounter"))
    return resource.get("encounter") or (inside[0] if inside else context if "reference" in context else None)


def _of_encounter(resource: Json, link: Link) -> UUID:
    if link.single_facility:
        return link.fallback_id
    places = objects(resource.get("location"))
    found = link.organization(resource.get("serviceProvider")) or _of_place(
        places[0].get("location") if places else None, link
    )
    return found or link.known.managing.get(link.patient_id or link.id) or link.fallback_id


def _of_place(reference: object, link: Link) -> UUID | None:
    target = link.target(obj(reference), "Location")
    row = link.known.row(target) if target else None
    return link.known.facilities.get(("Location", row)) if row else None


def _of_appointment(resource: Json, link: Link) -> UUID | None:
    if link.resource_type != "Appointment":
        return None
    actors = (item.get("actor") for item in objects(resource.get("participant")))
    return next((found for actor in actors if (found := _of_place(actor, link))), None)
