"""Building blocks of the demo's FHIR resources: stable ids, references, concepts, and the instant that they end at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID, uuid5

Json = dict[str, Any]
"""A FHIR resource or element."""

AS_OF = datetime(2026, 7, 1, 8, tzinfo=UTC)
"""Now, in the demo: its records end here, whatever the clock says, so that a seed always makes the same network."""

START, END = "2025-06-30", "2026-06-30"
"""The year that is simulated, which ends the day before AS_OF."""

NAMESPACE = UUID("0f4a4f0e-6a5e-5d1b-8f57-4d2f3c9a7b10")
"""Namespace of every id of the demo."""

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
UCUM = "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem/"


@dataclass(frozen=True, slots=True)
class Facility:
    """A hospital of the network."""

    code: str
    name: str
    initial: str
    """What its record numbers begin with, so that no two patients of the network share one."""
    address: Json
    phone: str
    ward: str
    """What its wards are called, before clinosim's number of the ward."""

    @property
    def id(self) -> UUID:
        """The same for every seed, since a code is unique."""
        return uuid5(NAMESPACE, f"Organization {self.code}")

    @property
    def reference(self) -> Json:
        """Reference to its Organization."""
        return {"reference": f"Organization/{self.id}", "display": self.name}

    def organization(self) -> Json:
        """Its Organization."""
        return {
            "resourceType": "Organization",
            "id": str(self.id),
            "active": True,
            "type": [concept(HL7 + "organization-type", "prov", "Healthcare Provider")],
            "name": self.name,
            "address": [self.address],
            "telecom": [{"system": "phone", "value": self.phone, "use": "work"}],
        }


@dataclass(frozen=True, slots=True)
class Source:
    """One facility in one network: where its ids and its chances come from."""

    facility: Facility
    seed: int

    def id(self, resource_type: str, key: str) -> str:
        """Id of the resource of this type and key, the same on every run with the seed."""
        return str(uuid5(NAMESPACE, f"{self.seed} {self.facility.code} {resource_type} {key}"))

    def reference(self, resource_type: str, key: str) -> Json:
        """Reference to that resource."""
        return {"reference": f"{resource_type}/{self.id(resource_type, key)}"}

    def uid(self, key: str) -> str:
        """DICOM UID of this key (PS3.5 B.2)."""
        return f"2.25.{UUID(self.id('UID', key)).int}"

    def random(self, purpose: str) -> Random:
        """Chances of one purpose, so that a change in one does not change the others."""
        return Random(f"{self.seed} {self.facility.code} {purpose}")  # noqa: S311 - a demo's chance, not a secret


def concept(system: str, code: str, display: str) -> Json:
    """A CodeableConcept of one coding."""
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def quantity(value: float, unit: str, code: str | None = None) -> Json:
    """A Quantity; `code` is its UCUM code where the unit as shown is not."""
    return {"value": value, "unit": unit, "system": UCUM, "code": code or unit}


def stamp(moment: datetime) -> str:
    """A FHIR instant."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def link(resource: Json) -> Json:
    """Reference to a resource."""
    return {"reference": f"{resource['resourceType']}/{resource['id']}"}


def named(practitioner: Json) -> Json:
    """Reference to a Practitioner that shows the name."""
    name = practitioner["name"][0]
    return link(practitioner) | {"display": " ".join([*name.get("prefix", []), *name["given"], name["family"]])}


def of(resources: list[Json], resource_type: str) -> Iterator[Json]:
    """The resources of one type."""
    return (resource for resource in resources if resource["resourceType"] == resource_type)
