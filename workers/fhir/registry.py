"""Who and where: Organization, Location, Practitioner, PractitionerRole, Patient."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from uuid import UUID

from workers.fhir.elements import (
    Json,
    clean,
    code,
    concept,
    date_time,
    fhir_date,
    flag,
    obj,
    objects,
    string,
    strings,
    whole,
)
from workers.fhir.link import Link, Row
from workers.fhir.references import ROW

NPI = "http://hl7.org/fhir/sid/us-npi"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"

KINDS = {
    "MR": "MEDICAL_RECORD_NUMBER",
    "SS": "SSN",
    "SB": "SSN",
    "DL": "LICENSE_NUMBER",
    "MB": "HEALTH_PLAN_NUMBER",
    "HC": "HEALTH_PLAN_NUMBER",
    "MC": "HEALTH_PLAN_NUMBER",
    "MA": "HEALTH_PLAN_NUMBER",
    "AN": "ACCOUNT_NUMBER",
}
"""PHI kind by type code of an identifier (HL7 v2-0203); any other is OTHER_IDENTIFIER."""

KIND_BY_SYSTEM = {"http://hl7.org/fhir/sid/us-ssn": "SSN", "http://hl7.org/fhir/sid/us-mbi": "HEALTH_PLAN_NUMBER"}
FACILITY_CODE = re.compile(r"[A-Z0-9][A-Z0-9-]{0,31}")
GENDERS = ("male", "female", "other", "unknown")


UNKNOWN = "UNKNOWN-"
"""How the code of a facility begins whose name is not known yet."""


def facility_code(name: str, facility_id: UUID) -> str:
    """Short code of a facility that its data gives none: the beginning of its name and a hash of its id."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().upper()
    slug = re.sub(r"[^A-Z0-9]+", "-", plain).strip("-")[:20].strip("-") or "FACILITY"
    return f"{slug}-{hashlib.sha256(facility_id.bytes).hexdigest()[:8].upper()}"


def facility(facility_id: UUID, name: str | None, code: str | None = None) -> Row:
    """A facility of which only the name is known, or nothing yet."""
    values: Json = {
        "id": facility_id,
        "code": code or facility_code(name or UNKNOWN, facility_id),
        "name": name or "Organization not yet imported",
    }
    return Row("facility", values | {"type": None, "address": None, "telecom": []})


def organization(resource: Json, link: Link) -> list[Row]:
    """Organization → facility. The row of an organization that was first met by identifier is kept."""
    also = next(iter(strings(resource.get("alias"))), None)
    name = string(resource.get("name")) or also or "Organization without name"
    first_met = (
        link.known.identifiers.get(("Organization", string(item.get("system")) or "", string(item.get("value")) or ""))
        for item in objects(resource.get("identifier"))
    )
    row = link.known.rows.get(("Organization", link.id)) or next((found for found in first_met if found), link.id)
    values = facility(row, name).values | {
        "type": obj(resource.get("type")),
        "address": obj(resource.get("address")),
        "telecom": objects(resource.get("telecom")),
    }
    return [Row("facility", values), *identifiers(resource, "Organization", row), alias("Organization", link.id, row)]


def alias(resource_type: str, fhir_row: UUID, row: UUID) -> Row:
    """Leads from a FHIR resource to the row that stands for it."""
    return Row(
        "resource_identifier",
        {"resource_type": resource_type, "system": ROW, "value": str(fhir_row), "resource_id": row},
    )


def identifiers(resource: Json, resource_type: str, row: UUID) -> list[Row]:
    """What conditional references to this resource resolve through."""
    return [
        Row(
            "resource_identifier",
            {
                "resource_type": resource_type,
                "system": string(item.get("system")) or "",
                "value": value,
                "resource_id": row,
            },
        )
        for item in objects(resource.get("identifier"))
        if (value := string(item.get("value")))
    ]


def location(resource: Json, link: Link) -> list[Row]:
    """Location → department of `link.facility_id`."""
    values: Json = {
        "id": link.id,
        "facility_id": link.facility_id,
        "parent_id": link.one(resource.get("partOf"), "Location", "partOf"),
        "code": next((string(item.get("value")) for item in objects(resource.get("identifier"))), None),
        "name": string(resource.get("name")) or string(resource.get("description")) or "Location without name",
        "type": obj(resource.get("type")),
        "physical_type": code(resource.get("physicalType")),
    }
    return [Row("department", values), *identifiers(resource, "Location", link.id)]


def practitioner(resource: Json, link: Link) -> list[Row]:
    """Practitioner → provider."""
    name = obj(resource.get("name")) or {}
    npi = (item.get("value") for item in objects(resource.get("identifier")) if item.get("system") == NPI)
    values: Json = {
        "id": link.id,
        "npi": string(next(npi, None)),
        "family": string(name.get("family")) or string(name.get("text")),
        "given": strings(name.get("given")),
        "prefix": strings(name.get("prefix")),
        "gender": string(resource.get("gender")),
        "qualification": objects(clean(resource.get("qualification"))),
        "telecom": objects(resource.get("telecom")),
        "active": resource.get("active") is not False,
    }
    return [Row("provider", values), *identifiers(resource, "Practitioner", link.id)]


def practitioner_role(resource: Json, link: Link) -> list[Row]:
    """PractitionerRole → practitioner_role at the facility of its organization."""
    provider_id = link.provider(resource.get("practitioner"), "practitioner")
    place = next(iter(objects(resource.get("location"))), None)
    department = link.one(place, "Location", "location") if place else None
    values: Json = {
        "id": link.id,
        "facility_id": link.facility_id,
        "provider_id": provider_id,
        "department_id": department,
        "role": obj(resource.get("code")),
        "specialty": obj(resource.get("specialty")),
    }
    stands_for = [alias("PractitionerRole", link.id, provider_id)] if provider_id else []
    return [Row("practitioner_role", values), *stands_for]


def patient(resource: Json, link: Link) -> list[Row]:
    """Patient → patient, its names and identifiers, and what the importer remembers of it."""
    died = date_time(resource.get("deceasedDateTime"))
    gender = string(resource.get("gender"))
    values: Json = {
        "id": link.id,
        "active": resource.get("active") is not False,
        "gender": gender if gender in GENDERS or gender is None else "unknown",
        "birth_date": fhir_date(resource.get("birthDate")),
        "deceased": True if died else flag(resource.get("deceasedBoolean")),
        "deceased_date_time": died,
        "marital_status": obj(resource.get("maritalStatus")),
        "multiple_birth": whole(resource.get("multipleBirthInteger")),
        "race": _us_core(resource, "race"),
        "ethnicity": _us_core(resource, "ethnicity"),
        "birth_sex": _us_core(resource, "birthsex"),
        "address": objects(resource.get("address")),
        "telecom": objects(resource.get("telecom")),
        "contact": objects(resource.get("contact")),
        "communication": objects(resource.get("communication")),
    }
    listed = [item for item in objects(resource.get("identifier")) if string(item.get("value"))]
    numbers = [item["value"] for item in listed if _kind(item) == "MEDICAL_RECORD_NUMBER"]
    source: Json = {
        "patient_id": link.id,
        "mrn": numbers[0] if numbers else link.fhir_id,
        "facility_id": link.organization(resource.get("managingOrganization")),
    }
    return [
        Row("patient", values),
        *(_name(name, link.id, position) for position, name in enumerate(objects(resource.get("name")))),
        *(_identifier(item, link.id, position) for position, item in enumerate(listed)),
        *identifiers(resource, "Patient", link.id),
        Row("patient_source", source),
    ]


def _name(name: Json, patient_id: UUID, position: int) -> Row:
    values: Json = {
        "patient_id": patient_id,
        "position": position,
        "use": string(name.get("use")),
        "family": string(name.get("family")),
        "given": strings(name.get("given")),
        "prefix": strings(name.get("prefix")),
        "suffix": strings(name.get("suffix")),
        "text": string(name.get("text")),
    }
    return Row("patient_name", values)


def _identifier(identifier: Json, patient_id: UUID, position: int) -> Row:
    values: Json = {
        "patient_id": patient_id,
        "position": position,
        "kind": _kind(identifier),
        "type": obj(identifier.get("type")),
        "system": string(identifier.get("system")),
        "value": identifier["value"],
    }
    return Row("patient_identifier", values)


def _kind(identifier: Json) -> str:
    of_system = KIND_BY_SYSTEM.get(str(identifier.get("system")), "OTHER_IDENTIFIER")
    return KINDS.get(concept(identifier.get("type")).code or "", of_system)


def _us_core(resource: Json, name: str) -> str | None:
    """Text of a US Core extension: of its `text` part, of its OMB category, or its own code."""
    for item in objects(resource.get("extension")):
        if item.get("url") == US_CORE + name:
            parts = {str(part.get("url")): part for part in objects(item.get("extension"))}
            text = string(parts.get("text", {}).get("valueString"))
            category = obj(parts.get("ombCategory", {}).get("valueCoding")) or {}
            return text or string(category.get("display")) or string(item.get("valueCode"))
    return None
