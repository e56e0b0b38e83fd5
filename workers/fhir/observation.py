"""Observation and DiagnosticReport: laboratory results, vital signs, and everything else that was observed."""

from __future__ import annotations

from uuid import UUID

from db.ids import derived_id
from workers.fhir.elements import (
    Json,
    code,
    codes,
    concept,
    date_time,
    note,
    number,
    obj,
    objects,
    quantity,
    sort_time,
    string,
    timing,
)
from workers.fhir.link import Link, Row

LABORATORY = frozenset({"laboratory", "lab"})
VITAL_SIGNS = frozenset({"vital-signs", "vital-sign"})
LOINC = "http://loinc.org"
VITAL_CODES = frozenset(
    "85353-1 9279-1 8867-4 2708-6 59408-5 8310-5 8331-1 8302-2 8306-3 9843-4 29463-7 3141-9 39156-5 "
    "85354-9 55284-4 8480-6 8462-4 8478-0".split()
)
"""LOINC codes of vital signs (FHIR R4 vital signs profiles and their older spellings), for sources without category."""


def observation(resource: Json, link: Link) -> list[Row]:
    """Observation → lab_result, vital_sign or observation, by category, and by LOINC code where there is none."""
    categories = codes(resource.get("category"))
    if not LABORATORY.isdisjoint(categories):
        return _lab_result(resource, link)
    vital = not VITAL_SIGNS.isdisjoint(categories) or (not categories and _has_vital_code(resource))
    rows = _vital_signs(resource, link) if vital else []
    return rows or _other(resource, link, categories)


def _has_vital_code(resource: Json) -> bool:
    codings = objects((obj(resource.get("code")) or {}).get("coding"))
    return any(item.get("system") == LOINC and item.get("code") in VITAL_CODES for item in codings)


def _lab_result(resource: Json, link: Link) -> list[Row]:
    test = concept(resource.get("code"))
    row = derived_id("lab_test", test.system, test.code, None if test.code else test.text or test.display)
    text = None if test.code else test.text or test.display
    catalogue: Json = {
        "id": row,
        "code_system": test.system,
        "code": test.code,
        "code_display": test.display or test.text,
        "code_text": text,
    }
    values = _common(resource, link) | {
        "lab_test_id": row,
        "diagnostic_report_id": None,
        "specimen": string((obj(resource.get("specimen")) or {}).get("display")),
    }
    return [Row("lab_test", catalogue), Row("lab_result", values), _place("lab_result", values)]


def _other(resource: Json, link: Link, categories: list[str]) -> list[Row]:
    values = _common(resource, link) | concept(resource.get("code")).columns() | {"category": categories}
    return [Row("observation", values), _place("observation", values)]


def _place(table: str, values: Json) -> Row:
    place: Json = {"resource_id": values["id"], "place": table, "sort_time": values["sort_time"]}
    return Row("observation_place", place)


def _common(resource: Json, link: Link) -> Json:
    """What laboratory results and other observations share; one kind of value, a reason for its absence, or nothing."""
    start, end = timing(resource, "effective")
    issued = date_time(resource.get("issued"))
    return (
        link.fact()
        | quantity(resource.get("valueQuantity"))
        | _value(resource)
        | {
            "status": string(resource.get("status")) or "unknown",
            "effective": start or end,
            "issued": issued,
            "data_absent_reason": obj(resource.get("dataAbsentReason")),
            "component": objects(resource.get("component")) or None,
            "member_id": _members(resource, link) or None,
            "interpretation": objects(resource.get("interpretation")) or None,
            "reference_range": objects(resource.get("referenceRange")) or None,
            "note": note(resource.get("note")),
            "sort_time": sort_time(start, end, issued),
        }
    )


def _value(resource: Json) -> Json:
    """Columns of a value that is no quantity; forms without a column of their own become text."""
    text = string(resource.get("valueString")) or string(resource.get("valueTime"))
    for name in ("valueInteger", "valueBoolean"):
        if name in resource:
            text = str(resource[name]).lower()
    pair = obj(resource.get("valueRange") or resource.get("valueRatio"))
    if pair:
        text = "–".join(_shown(part) for part in pair.values() if isinstance(part, dict))
    return {
        "value_concept": obj(resource.get("valueCodeableConcept")),
        "value_text": text,
        "value_date_time": date_time(resource.get("valueDateTime")) or date_time(_start(resource.get("valuePeriod"))),
    }


def _shown(part: object) -> str:
    given = obj(part) or {}
    parts = (given.get("value"), given.get("unit") or given.get("code"))
    return " ".join(str(item) for item in parts if item is not None)


def _start(value: object) -> object:
    return (obj(value) or {}).get("start")


def _members(resource: Json, link: Link) -> list[UUID]:
    targets = (link.target(item, "Observation") for item in objects(resource.get("hasMember")))
    return [target.id for target in targets if target and target.id]


def _vital_signs(resource: Json, link: Link) -> list[Row]:
    """One row for each component, or one for the whole; [] for what readings can't hold whole."""
    components = objects(resource.get("component"))
    readings = components or [resource]
    beside = components and any(name.startswith("value") for name in resource)
    whole = all(map(_fits, readings)) and any(map(_measured, readings))
    if beside or objects(resource.get("hasMember")) or not whole:
        return []
    start, end = timing(resource, "effective")
    issued = date_time(resource.get("issued"))
    if not (start or end or issued):
        return []
    device = obj(resource.get("device")) or {}
    shared = link.fact() | {
        "device_id": string(device.get("reference")) or string(device.get("display")),
        "status": string(resource.get("status")) or "unknown",
        "panel_code": concept(resource.get("code")).code if components else None,
        "effective": start or end,
        "sort_time": sort_time(start, end, issued),
    }
    rows = [
        Row("vital_sign", shared | _reading(item) | {"position": position}) for position, item in enumerate(readings)
    ]
    return [*rows, _place("vital_sign", shared)]


def _fits(item: Json) -> bool:
    """Whether an Observation or component has no other value than a plain quantity."""
    values = [name for name in item if name.startswith("value")]
    return values in ([], ["valueQuantity"]) and "comparator" not in (obj(item.get("valueQuantity")) or {})


def _measured(item: Json) -> bool:
    """Whether it has a number, or a reason why there is none."""
    return number((obj(item.get("valueQuantity")) or {}).get("value")) is not None or "dataAbsentReason" in item


def _reading(item: Json) -> Json:
    what, value = concept(item.get("code")), quantity(item.get("valueQuantity"))
    return {
        "code_system": what.system,
        "code": what.code or what.text or what.display or "unknown",
        "code_display": what.display or what.text,
        "value": value["value_number"],
        "value_unit": value["value_unit"],
        "value_code": value["value_code"],
        "data_absent_reason": code(item.get("dataAbsentReason")),
    }


def diagnostic_report(resource: Json, link: Link) -> list[Row]:
    """DiagnosticReport → diagnostic_report and the results that it lists."""
    start, end = timing(resource, "effective")
    issued = date_time(resource.get("issued"))
    values = link.fact() | concept(resource.get("code")).columns()
    values |= {
        "status": string(resource.get("status")) or "unknown",
        "category": objects(resource.get("category")),
        "effective": start or end,
        "issued": issued,
        "sort_time": sort_time(start, end, issued),
    }
    results = (link.target(item, "Observation") for item in objects(resource.get("result")))
    return [
        Row("diagnostic_report", values),
        *(Row("report_result", {"report_id": link.id, "result_id": item.id}) for item in results if item and item.id),
    ]
