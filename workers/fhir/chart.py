"""Condition, Procedure, AllergyIntolerance, Immunization: the problem list and what was done."""

from __future__ import annotations

from loaders.allergy_intolerance import NO_KNOWN_ALLERGY
from workers.fhir.elements import (
    Json,
    Unusable,
    code,
    codes,
    concept,
    date_time,
    flag,
    note,
    obj,
    objects,
    sort_time,
    string,
    strings,
    timing,
    visible,
)
from workers.fhir.link import Link, Row


def condition(resource: Json, link: Link) -> list[Row]:
    """Condition → condition. Codes stay as written, dots and padding included."""
    onset, _ = timing(resource, "onset")
    abatement_start, abatement_end = timing(resource, "abatement")
    recorded = date_time(resource.get("recordedDate"))
    values = link.fact() | concept(resource.get("code")).columns()
    values |= {
        "clinical_status": code(resource.get("clinicalStatus")),
        "verification_status": code(resource.get("verificationStatus")),
        "category": codes(resource.get("category")),
        "severity": obj(resource.get("severity")),
        "body_site": objects(resource.get("bodySite")) or None,
        "onset": onset,
        "abatement": abatement_end or abatement_start,
        "recorded_date": recorded,
        "note": note(resource.get("note")),
        "sort_time": sort_time(onset, recorded),
    }
    return [Row("condition", values)]


def procedure(resource: Json, link: Link) -> list[Row]:
    """Procedure → procedure; a performer that is no provider is left out."""
    start, end = timing(resource, "performed")
    performers = [
        link.provider(item.get("actor"), f"performer.{position}")
        for position, item in enumerate(objects(resource.get("performer")))
    ]
    reasons = [visible(item.get("display")) for item in objects(resource.get("reasonReference"))]
    values = link.fact() | concept(resource.get("code")).columns()
    values |= {
        "provider_id": next((row for row in performers if row), None),
        "status": string(resource.get("status")) or "unknown",
        "reason": objects(resource.get("reasonCode")) + [{"text": text} for text in reasons if text],
        "reason_condition_id": link.many(resource.get("reasonReference"), "Condition"),
        "body_site": objects(resource.get("bodySite")) or None,
        "performed_start": start,
        "performed_end": end,
        "sort_time": sort_time(start, end),
    }
    return [Row("procedure", values)]


def allergy_intolerance(resource: Json, link: Link) -> list[Row]:
    """AllergyIntolerance → allergy_intolerance; a coded "no known allergies" is marked as what it is."""
    onset, _ = timing(resource, "onset")
    recorded = date_time(resource.get("recordedDate"))
    what = concept(resource.get("code"))
    all_codes = {what.code, *(item.get("code") for item in what.translation or [])}
    category = resource.get("category")
    values = link.fact() | what.columns()
    values |= {
        "clinical_status": code(resource.get("clinicalStatus")),
        "verification_status": code(resource.get("verificationStatus")),
        "type": string(resource.get("type")),
        "category": strings(category) or ([category] if isinstance(category, str) else []),
        "criticality": string(resource.get("criticality")),
        "no_known_allergy": not NO_KNOWN_ALLERGY.keys().isdisjoint(all_codes),
        "onset": onset,
        "recorded_date": recorded,
        "reaction": objects(resource.get("reaction")),
        "note": note(resource.get("note")),
        "sort_time": sort_time(onset, recorded),
    }
    return [Row("allergy_intolerance", values)]


def immunization(resource: Json, link: Link) -> list[Row]:
    """Immunization → immunization. Raises Unusable without a vaccine."""
    occurrence = date_time(resource.get("occurrenceDateTime"))
    what = concept(resource.get("vaccineCode"))
    if not (what.code or what.text or what.display):
        raise Unusable("it names no vaccine")
    values = link.fact() | what.columns()
    values |= {
        "status": string(resource.get("status")) or "unknown",
        "occurrence": occurrence,
        "occurrence_text": string(resource.get("occurrenceString")),
        "primary_source": flag(resource.get("primarySource")),
        "lot_number": string(resource.get("lotNumber")),
        "dose_quantity": obj(resource.get("doseQuantity")),
        "sort_time": sort_time(occurrence),
    }
    return [Row("immunization", values)]
