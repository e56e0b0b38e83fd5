"""Makes a facility of what clinosim simulated: ids of its own, references within it, clinosim's flaws mended."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from workers.dicom import SECONDARY_CAPTURE
from workers.fhir.elements import CPT
from workers.network.resource import HL7, LOINC, Json, Source, concept, of, stamp

IMAGING_REPORT = "18748-4"
"""LOINC type of the documents that repeat what a DiagnosticReport says."""

DROPPED = frozenset("meta identifier basedOn specimen endpoint evidence length statusHistory reasonReference".split())
"""Elements that name what the demo does not keep."""

INSTANCES_MAX = 3
"""Of a series: enough to see that there are several, and quick to store."""

SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
}
"""DICOM SOP class of the files that workers.dicom has by modality; those of other modalities are secondary captures."""

UNAVAILABLE = "(display unavailable)"
JAPANESE = "urn:oid:1.2.392."
"""Begin of the systems of Japanese billing codes, which clinosim writes for every country."""

VISIT = timedelta(minutes=20)
"""Length of a visit that clinosim ended when it began."""

_TAG = re.compile(r"<[^>]+>")
_DESCRIPTOR_TAIL = re.compile(r"[,;(].*")


def repaired(resources: Sequence[Json], source: Source) -> list[Json]:
    """The facility's resources, its Organization first; of what happened before a patient's birth nothing is left."""
    gone = _before_birth(resources)
    kept = [_repaired(item, source) for item in resources if item["id"] not in gone and not _mentions(item, gone)]
    return [source.facility.organization(), *(item for item in kept if item)]


def _before_birth(resources: Sequence[Json]) -> frozenset[str]:
    """Ids of the encounters that began before their patient was born."""
    born = {f"Patient/{item['id']}": item.get("birthDate", "") for item in of(list(resources), "Patient")}
    encounters = of(list(resources), "Encounter")
    return frozenset(item["id"] for item in encounters if item["period"]["start"] < born[item["subject"]["reference"]])


def _mentions(resource: Json, gone: frozenset[str]) -> bool:
    context = resource.get("context", {})
    contexts = [resource.get("encounter", {}), context, *context.get("encounter", [])]
    named = [item["reference"].partition("/")[2] for item in contexts if "reference" in item]
    return not gone.isdisjoint(named)


def _repaired(resource: Json, source: Source) -> Json | None:
    kind, key = resource["resourceType"], resource["id"]
    mended = {name: value for name, value in resource.items() if name not in DROPPED}
    mend = MENDS.get(kind)
    made = mend(mended, resource, source) if mend else mended
    if made is None:
        return None
    return _localized(made, source) | {"id": source.id(made["resourceType"], key)}


def _localized(value: Any, source: Source) -> Any:
    """The value with this facility's ids in its references, without codes of another country or empty codings."""
    if isinstance(value, list):
        items = (_localized(item, source) for item in cast("list[Any]", value) if not _foreign(item))
        return [item for item in items if item not in ({}, [])]
    if not isinstance(value, dict):
        return value
    given = cast(Json, value)
    text = given.get("reference")
    if isinstance(text, str):
        kind, _, key = text.partition("/")
        if kind == "Organization":
            return source.facility.reference
        return given | source.reference(kind, key)
    return {name: _localized(item, source) for name, item in given.items()}


def _foreign(value: object) -> bool:
    return isinstance(value, dict) and str(cast(Json, value).get("system", "")).startswith(JAPANESE)


def _location(mended: Json, resource: Json, source: Source) -> Json:
    """Wards are part of their department, departments of the building, and all have a name that says which."""
    key: str = resource["id"]
    kind, _, short = key.removeprefix("loc-").partition("-")
    department = resource["managingOrganization"]["reference"].partition("/")[2]
    if kind == "hospital":
        mended["name"] = source.facility.name
    elif kind == "dept":
        mended["partOf"] = {"reference": "Location/loc-hospital-main"}
    elif "partOf" not in mended:
        mended["partOf"] = {"reference": f"Location/loc-{department}"}
    if kind == "ward":
        areas = {"ER": "Emergency Area", "OPD": "Outpatient Clinic", "OPD-ONC": "Oncology Clinic"}
        mended["name"] = areas.get(short) or f"{source.facility.ward} {short}"
    mended["identifier"] = [{"system": f"urn:caregraph:demo:{source.facility.code}:location", "value": short.upper()}]
    return mended


def _practitioner(mended: Json, resource: Json, source: Source) -> Json:
    """Staff numbers are the facility's; a national number has the form of an NPI, but begins with 9 as no NPI does."""
    staff = {"system": f"urn:caregraph:demo:{source.facility.code}:staff", "value": resource["id"]}
    digits = f"9{source.random(resource['id']).randrange(10**8):08d}"
    npi = {"system": "http://hl7.org/fhir/sid/us-npi", "value": digits + _check_digit("80840" + digits)}
    return mended | {"identifier": [npi, staff]}


def _check_digit(digits: str) -> str:
    """Luhn check digit (ISO/IEC 7812-1)."""
    doubled = (int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return str(-sum(value // 10 + value % 10 for value in doubled) % 10)


def _practitioner_role(mended: Json, resource: Json, source: Source) -> Json:
    """Physicians belong to a department, which clinosim gives as their organization."""
    department = resource["organization"]["reference"].partition("/")[2]
    if resource.get("location", [{}])[0].get("reference") in (None, "Location/loc-hospital-main"):
        mended["location"] = [{"reference": f"Location/loc-{department}"}]
    return mended


def _patient(mended: Json, resource: Json, source: Source) -> Json:
    """Record numbers differ between facilities; the facility manages the record."""
    number = resource["identifier"][0]
    value = number["value"].replace("POP-", source.facility.initial)
    system = f"urn:caregraph:demo:{source.facility.code}:mrn"
    identifier = {"use": "usual", "type": number["type"], "system": system, "value": value}
    return mended | {"identifier": [identifier], "managingOrganization": {"reference": "Organization/hospital-main"}}


def _encounter(mended: Json, resource: Json, source: Source) -> Json:
    """A visit takes time; a stay is on its ward first and in its bed second."""
    period = dict(mended["period"])
    if period.get("end") == period["start"]:
        period["end"] = stamp(datetime.fromisoformat(period["start"]) + VISIT)
    places = mended.get("location", [])
    wards = [item for item in places if item["location"]["reference"].startswith("Location/loc-ward-")]
    return mended | {"period": period, "location": wards + [item for item in places if item not in wards]}


def _condition(mended: Json, resource: Json, source: Source) -> Json:
    """A display that is said to be unavailable is none."""
    code = dict(mended["code"])
    if code.get("text") == UNAVAILABLE:
        del code["text"]
    code["coding"] = [
        {name: value for name, value in coding.items() if value != UNAVAILABLE} for coding in code.get("coding", [])
    ]
    return mended | {"code": code}


def _procedure(mended: Json, resource: Json, source: Source) -> Json:
    """Names are plain words, without CPT, which is licensed; a site that is not specified is none."""
    codings = mended["code"].get("coding", [])
    text = str(mended["code"].get("text", ""))
    if any(coding.get("system") in CPT and coding.get("display") == text for coding in codings):
        text = _DESCRIPTOR_TAIL.sub("", text)
    kept = [coding for coding in codings if coding.get("system") not in CPT]
    sites = [site for site in mended.get("bodySite", []) if "coding" in site]
    return mended | {"code": {"coding": kept, "text": _words(text)}, "bodySite": sites}


def _words(text: str) -> str:
    """A name that a program wrote, as words."""
    plain = text.replace("_", " ")
    return plain[:1].upper() + plain[1:]


def _administration(mended: Json, resource: Json, source: Source) -> Json:
    """R4 knows no timing and no doseAndRate of an administration."""
    dosage = {name: value for name, value in mended.get("dosage", {}).items() if name not in ("timing", "doseAndRate")}
    return mended | {"dosage": dosage}


def _observation(mended: Json, resource: Json, source: Source) -> Json:
    """Laboratory results have the category that says so."""
    codes = {coding.get("code") for category in mended.get("category", []) for coding in category.get("coding", [])}
    if "LAB" in codes:
        mended["category"] = [concept(HL7 + "observation-category", "laboratory", "Laboratory")]
    return mended


def _report(mended: Json, resource: Json, source: Source) -> Json:
    """A report without a code is one of imaging."""
    if not any(coding.get("code") for coding in mended["code"].get("coding", [])):
        mended["code"] = concept(LOINC, IMAGING_REPORT, "Diagnostic imaging study")
    return mended


def _care_team(mended: Json, resource: Json, source: Source) -> Json:
    """Its name does not hold clinosim's key of the encounter."""
    reasons = [reason["text"] for reason in mended.get("reasonCode", []) if reason.get("text")]
    return mended | {"name": f"Care team: {reasons[0]}" if reasons else "Care team"}


def _study(mended: Json, resource: Json, source: Source) -> Json:
    """A study has series, and each as many instances as it says, INSTANCES_MAX at most; the study counts them."""
    modality = next(iter(mended.get("modality", [])), {"code": "OT", "display": "Other"})
    only = {"uid": source.uid(f"{resource['id']} series"), "number": 1, "modality": modality, "numberOfInstances": 1}
    series = [_series(item, resource["id"], source) for item in mended.get("series") or [only]]
    kept = [item for item in resource["identifier"] if item.get("system") == "urn:dicom:uid"]
    total = sum(item["numberOfInstances"] for item in series)
    counts = {"numberOfSeries": len(series), "numberOfInstances": total}
    return (
        mended | counts | {"identifier": kept, "series": series, "description": _words(mended.get("description", ""))}
    )


def _series(series: Json, study: str, source: Source) -> Json:
    keys = [
        f"{study} {series['uid']} {number}"
        for number in range(1, 1 + min(max(series.get("numberOfInstances", 1), 1), INSTANCES_MAX))
    ]
    sop_class = SOP_CLASSES.get(series["modality"]["code"], SECONDARY_CAPTURE)
    coding = {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{sop_class}"}
    instances = [{"uid": source.uid(key), "number": number, "sopClass": coding} for number, key in enumerate(keys, 1)]
    text = {"description": _words(series["description"])} if series.get("description") else {}
    return series | text | {"numberOfInstances": len(instances), "instance": instances}


def _composition(mended: Json, resource: Json, source: Source) -> Json | None:
    """A Composition as the DocumentReference of its text, whose sections are headings."""
    codes = {coding.get("code") for coding in resource["type"].get("coding", [])}
    if IMAGING_REPORT in codes:
        return None
    sections = [
        f"# {part['title']}\n{html.unescape(_TAG.sub(' ', part.get('text', {}).get('div', ''))).strip()}"
        for part in resource.get("section", [])
    ]
    made = {name: resource[name] for name in ("subject", "date", "author", "type", "custodian") if name in resource}
    return made | {
        "resourceType": "DocumentReference",
        "status": "current",
        "docStatus": resource["status"],
        "authenticator": resource["author"][0],
        "content": [attachment("\n\n".join(sections), resource["title"])],
        "context": {"encounter": [resource["encounter"]]} if "encounter" in resource else {},
    }


def attachment(text: str, title: str) -> Json:
    """Content of a DocumentReference that holds this text."""
    data = base64.b64encode(text.encode()).decode()
    return {"attachment": {"contentType": "text/markdown", "language": "en", "data": data, "title": title}}


Mend = Callable[[Json, Json, Source], Json | None]
MENDS: dict[str, Mend] = {
    "Location": _location,
    "Practitioner": _practitioner,
    "PractitionerRole": _practitioner_role,
    "Patient": _patient,
    "Encounter": _encounter,
    "Condition": _condition,
    "Procedure": _procedure,
    "MedicationAdministration": _administration,
    "Observation": _observation,
    "DiagnosticReport": _report,
    "CareTeam": _care_team,
    "ImagingStudy": _study,
    "Composition": _composition,
}
"""What is done by type: from the resource without the dropped elements and as it was, the resource to keep, or None."""
