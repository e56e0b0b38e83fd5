"""Medication, MedicationRequest, MedicationAdministration: a catalogue of drugs, orders and what was given."""

from __future__ import annotations

from uuid import UUID

from db.ids import derived_id
from workers.fhir.elements import Concept, Json, concept, date_time, obj, objects, sort_time, string, timing, visible
from workers.fhir.link import Link, Row
from workers.fhir.references import references
from workers.fhir.registry import identifiers


def medication(resource: Json, link: Link) -> list[Row]:
    """Medication → medication. A resource without display is named by its identifiers, or by its ingredients."""
    return [_medication(resource, link.id), *identifiers(resource, "Medication", link.id)]


def _medication(resource: Json, row: UUID) -> Row:
    what = concept(resource.get("code"))
    ingredients = objects(resource.get("ingredient"))
    if not (what.display or what.text):
        named = [text for item in objects(resource.get("identifier")) if (text := _name_of_identifier(item))]
        parts = [concept(item.get("itemCodeableConcept")) for item in ingredients]
        shown = [text for part in parts if (text := part.display or part.text)]
        text = (named[0] if named else None) or " / ".join(shown) or None
        what = Concept(what.system, what.code, what.display, text, what.translation)
    values = what.columns() | {"id": row, "form": obj(resource.get("form")), "ingredient": ingredients}
    return Row("medication", values)


def _name_of_identifier(identifier: Json) -> str | None:
    """A drug's name among identifiers: MIMIC writes it under a system that ends in medication-name."""
    value = string(identifier.get("value"))
    return value if value and str(identifier.get("system")).endswith("name") else None


def medication_request(resource: Json, link: Link) -> list[Row]:
    """MedicationRequest → medication_request and the catalogue row of its medication."""
    drug, rows = _drug(resource, link)
    authored = date_time(resource.get("authoredOn"))
    reasons = [visible(item.get("display")) for item in objects(resource.get("reasonReference"))]
    values = link.fact() | {
        "medication_id": drug,
        "provider_id": link.provider(resource.get("requester"), "requester"),
        "status": string(resource.get("status")) or "unknown",
        "intent": string(resource.get("intent")) or "order",
        "priority": string(resource.get("priority")),
        "authored_on": authored,
        "reason": objects(resource.get("reasonCode")) + [{"text": text} for text in reasons if text],
        "reason_condition_id": link.many(resource.get("reasonReference"), "Condition"),
        "dosage": objects(resource.get("dosageInstruction")),
        "dispense": obj(resource.get("dispenseRequest")),
        "sort_time": sort_time(authored),
    }
    return [*rows, Row("medication_request", values)]


def medication_administration(resource: Json, link: Link) -> list[Row]:
    """MedicationAdministration → medication_administration and the catalogue row of its medication."""
    drug, rows = _drug(resource, link)
    start, end = timing(resource, "effective")
    values = link.fact() | {
        "medication_id": drug,
        "medication_request_id": link.one(resource.get("request"), "MedicationRequest", "request"),
        "status": string(resource.get("status")) or "unknown",
        "effective_start": start,
        "effective_end": end,
        "dosage": obj(resource.get("dosage")),
        "sort_time": sort_time(start, end),
    }
    return [*rows, Row("medication_administration", values)]


def _drug(resource: Json, link: Link) -> tuple[UUID | None, list[Row]]:
    """Catalogue id of the medication, and its row where it stands in this resource."""
    reference = resource.get("medicationReference")
    if isinstance(reference, dict):
        contained = _contained(resource, next(references(reference), {}))
        if contained is None:
            return link.one(reference, "Medication", "medication"), []
        target = link.target(reference, "Medication")
        row = target.likely_id if target else link.id
        return row, [_medication(contained, row)]
    what = concept(resource.get("medicationCodeableConcept"))
    if not (what.code or what.text or what.display):
        return None, []
    row = derived_id("medication", what.system, what.code, None if what.code else what.text or what.display)
    return row, [Row("medication_concept", {"id": row, **what.columns(), "form": None, "ingredient": []})]


def _contained(resource: Json, reference: Json) -> Json | None:
    """The contained resource that `#id` names; its id means nothing outside of this resource."""
    name = str(reference.get("reference"))
    found = (item for item in objects(resource.get("contained")) if f"#{item.get('id')}" == name)
    return next(found, None)
