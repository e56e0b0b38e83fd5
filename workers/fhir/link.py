"""One resource with its place: patient, encounter, facility, and what its references resolve to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from workers.fhir.elements import Json, obj, objects, string
from workers.fhir.references import Addresses, Target


@dataclass(frozen=True, slots=True)
class Row:
    """Values of one row of a table of db.bulk, or one document of a collection."""

    table: str
    values: Json


@dataclass(frozen=True, slots=True)
class Known:
    """What the references of a batch resolve to; made by workers.fhir.lookup."""

    rows: Mapping[tuple[str, UUID], UUID] = field(default_factory=dict[tuple[str, UUID], UUID])
    """(FHIR type, row id) of the targets that are stored, with the row that stands for them."""
    identifiers: Mapping[tuple[str, str, str], UUID] = field(default_factory=dict[tuple[str, str, str], UUID])
    """(FHIR type, system, value) of the conditional references that resolve."""
    facilities: Mapping[tuple[str, UUID], UUID] = field(default_factory=dict[tuple[str, UUID], UUID])
    """Facility of an Encounter or Location."""
    homes: Mapping[UUID, UUID] = field(default_factory=dict[UUID, UUID])
    """Facility of a patient, for facts without an encounter."""
    managing: Mapping[UUID, UUID] = field(default_factory=dict[UUID, UUID])
    """Facility of a patient's managingOrganization, for encounters that name none."""

    def row(self, target: Target) -> UUID | None:
        """Row that a target resolves to, or None."""
        found = target.id or self.identifiers.get((target.type, target.system or "", target.value or ""))
        return self.rows.get((target.type, found)) if found else None


@dataclass(slots=True)
class Link:
    """What a mapper needs to know beside the resource itself; remembers what did not resolve."""

    resource_type: str
    id: UUID
    fhir_id: str
    addresses: Addresses
    known: Known
    fallback_id: UUID
    security: list[str] = field(default_factory=list[str])
    """Sensitivity labels that the source gives the resource."""
    single_facility: bool = False
    facility_id: UUID | None = None
    patient_id: UUID | None = None
    encounter_id: UUID | None = None
    unresolved: list[tuple[str, Target]] = field(default_factory=list[tuple[str, Target]])
    providers: set[UUID] = field(default_factory=set[UUID])
    stubs: dict[UUID, tuple[str | None, Target]] = field(default_factory=dict[UUID, tuple[str | None, Target]])
    """Organizations that are only referred to, with the name that the reference shows."""

    def target(self, reference: object, expected: str) -> Target | None:
        """What a Reference names."""
        return self.addresses.target(reference, expected, self.id)

    def one(self, reference: object, expected: str, element: str) -> UUID | None:
        """Row that a Reference resolves to; otherwise None, and its text is kept under the element's name."""
        target = self.target(reference, expected)
        if not target:
            return None
        row = self.known.row(target)
        if row is None:
            self.unresolved.append((element, target))
        return row

    def many(self, references: object, expected: str) -> list[UUID]:
        """Rows that References name, stored yet or not: for columns that no foreign key binds."""
        targets = [self.target(reference, expected) for reference in objects(references)]
        return [target.likely_id for target in targets if target and target.type == expected]

    def provider(self, reference: object, element: str) -> UUID | None:
        """Provider that a Reference to a Practitioner or PractitionerRole resolves to; they act at this facility."""
        target = self.target(reference, "Practitioner")
        if not target or target.type not in ("Practitioner", "PractitionerRole"):
            return None
        row = self.one(reference, "Practitioner", element)
        if row:
            self.providers.add(row)
        return row

    def organization(self, reference: object) -> UUID | None:
        """Facility of a Reference to an Organization; one that is not known yet gets its row from its name."""
        target = self.target(reference, "Organization")
        if not target or target.type != "Organization":
            return None
        if self.single_facility:
            return self.fallback_id
        row = self.known.row(target)
        if row is None:
            row = target.likely_id
            shown = string((obj(reference) or {}).get("display"))
            self.stubs[row] = (shown, target)
        return row

    def fact(self) -> Json:
        """The columns that every fact of a patient has; not every table keeps the labels."""
        return {
            "id": self.id,
            "facility_id": self.facility_id,
            "patient_id": self.patient_id,
            "encounter_id": self.encounter_id,
            "security": self.security,
        }
