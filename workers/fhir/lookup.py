"""Looks up, for a batch of resources at once, what their references resolve to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from db.bulk import Bulk
from workers.fhir.elements import Json, objects, string
from workers.fhir.link import Known
from workers.fhir.references import Addresses, Target, references

STORED = ("Patient", "Practitioner", "Location", "Encounter", "Organization", "Medication", "MedicationRequest")
"""FHIR types whose rows other rows refer to, in the order of EXISTING's parameters."""

EXISTING = """/* existing_rows */
SELECT 0 AS rank, 'Patient' AS type, id, id AS row_id, NULL::uuid AS facility_id
    FROM clinical.patient WHERE id = ANY($1::uuid[])
UNION ALL SELECT 0, 'Practitioner', id, id, NULL FROM clinical.provider WHERE id = ANY($2::uuid[])
UNION ALL SELECT 0, 'Location', id, id, facility_id FROM clinical.department WHERE id = ANY($3::uuid[])
UNION ALL SELECT 0, 'Encounter', id, id, facility_id FROM clinical.encounter WHERE id = ANY($4::uuid[])
UNION ALL SELECT 0, 'Organization', id, id, NULL FROM clinical.facility WHERE id = ANY($5::uuid[])
UNION ALL SELECT 0, 'Medication', id, id, NULL FROM clinical.medication WHERE id = ANY($6::uuid[])
UNION ALL SELECT 0, 'MedicationRequest', id, id, NULL
    FROM clinical.medication_request WHERE id = ANY($7::uuid[])
UNION ALL SELECT 1, resource_type, value::uuid, resource_id, NULL
    FROM clinical.resource_identifier
    WHERE system = 'urn:caregraph:row' AND resource_type IN ('Organization', 'PractitionerRole')
        AND value = ANY($8::text[])
ORDER BY rank
"""

IDENTIFIED = """/* identified_rows */
SELECT k.type, k.system, k.value, min(r.resource_id::text)::uuid AS row_id
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (type, system, value)
JOIN clinical.resource_identifier AS r
    ON r.resource_type = k.type AND r.value = k.value AND (r.system = k.system OR k.system = '')
GROUP BY k.type, k.system, k.value
"""

# managingOrganization, else where most encounters are; ties by id, so that the order of imports does not matter.
HOMES = """/* homes_of_patients */
SELECT p.id, s.facility_id AS managing_id, coalesce(s.facility_id, most.facility_id) AS facility_id
FROM unnest($1::uuid[]) AS p (id)
LEFT JOIN clinical.patient_source AS s ON s.patient_id = p.id
LEFT JOIN LATERAL (
    SELECT r.facility_id
    FROM clinical.registration AS r
    CROSS JOIN LATERAL (SELECT count(*) AS encounters FROM clinical.encounter AS e
        WHERE e.facility_id = r.facility_id AND e.patient_id = r.patient_id) AS counted
    WHERE r.patient_id = p.id AND counted.encounters > 0
    ORDER BY counted.encounters DESC, r.facility_id
    LIMIT 1
) AS most ON true
"""

FACILITIES_BY_NAME = """/* facilities_by_name */
SELECT name, min(id::text)::uuid AS id FROM clinical.facility WHERE name = ANY($1::text[]) GROUP BY name
"""

# A location without an organization belongs where the encounters are that name it.
FACILITIES_OF_LOCATIONS = """/* facilities_of_locations */
SELECT DISTINCT ON (u.target_id) u.target_id AS id, e.facility_id
FROM clinical.unresolved_reference AS u
JOIN clinical.encounter AS e ON e.id = u.resource_id
WHERE u.target_type = 'Location' AND u.target_id = ANY($1::uuid[]) AND u.resource_type = 'Encounter'
GROUP BY u.target_id, e.facility_id
ORDER BY u.target_id, count(*) DESC, e.facility_id
"""


@dataclass(frozen=True, slots=True)
class Item:
    """One resource of a batch."""

    type: str
    id: UUID
    fhir_id: str
    resource: Json


async def known(bulk: Bulk, items: Sequence[Item], addresses: Addresses) -> Known:
    """What the references of these resources resolve to now."""
    targets = list(_targets(items, addresses))
    wanted = {(target.type, target.system or "", target.value) for target in targets if target.value}
    wanted |= {("Organization", system, value) for item in items for system, value in _own(item)}
    identified: dict[tuple[str, str, str], UUID] = {}
    if wanted:
        types, systems, values = zip(*wanted, strict=True)
        for row in await bulk.fetch("clinical", IDENTIFIED, list(types), list(systems), list(values)):
            identified[row["type"], row["system"], row["value"]] = row["row_id"]
    ids: dict[str, set[UUID]] = defaultdict(set)
    for target in targets:
        ids[target.type].add(target.likely_id)
    for (resource_type, _, _), row in identified.items():
        ids[resource_type].add(row)
    for item in items:
        ids[item.type].add(item.id)
    return await _existing(bulk, ids, identified)


async def _existing(bulk: Bulk, ids: dict[str, set[UUID]], identified: dict[tuple[str, str, str], UUID]) -> Known:
    aliases = [str(row) for name in ("Organization", "PractitionerRole") for row in ids.get(name, ())]
    found = await bulk.fetch("clinical", EXISTING, *(list(ids.get(name, ())) for name in STORED), aliases)
    rows = {(row["type"], row["id"]): row["row_id"] for row in found}
    facilities = {(row["type"], row["id"]): row["facility_id"] for row in found if row["facility_id"]}
    patients = [row["id"] for row in found if row["type"] == "Patient"]
    homes = await bulk.fetch("clinical", HOMES, patients) if patients else []
    return Known(
        rows,
        identified,
        facilities,
        homes={row["id"]: row["facility_id"] for row in homes if row["facility_id"]},
        managing={row["id"]: row["managing_id"] for row in homes if row["managing_id"]},
    )


def _own(item: Item) -> Iterable[tuple[str, str]]:
    """Identifiers of an organization, which may have been met before the organization itself."""
    if item.type != "Organization":
        return []
    listed = objects(item.resource.get("identifier"))
    return [(string(found.get("system")) or "", value) for found in listed if (value := string(found.get("value")))]


def _targets(items: Sequence[Item], addresses: Addresses) -> Iterable[Target]:
    """Every target of every reference; one whose type the text does not say is looked for in every type."""
    for item in items:
        for reference in references({key: value for key, value in item.resource.items() if key != "contained"}):
            target = addresses.target(reference, "", item.id)
            if target and target.type:
                yield target
            elif target:
                yield from (replace(target, type=expected) for expected in STORED)


async def location_facilities(bulk: Bulk, items: Sequence[Item]) -> dict[UUID, UUID]:
    """Facility of locations that name no organization: by their name, or by the encounters that took place there."""
    by_name = {
        row["name"]: row["id"]
        for row in await bulk.fetch("clinical", FACILITIES_BY_NAME, [str(item.resource.get("name")) for item in items])
    }
    by_use = await bulk.fetch("clinical", FACILITIES_OF_LOCATIONS, [item.id for item in items])
    found = {item.id: by_name[name] for item in items if (name := item.resource.get("name")) in by_name}
    return {row["id"]: row["facility_id"] for row in by_use} | found
