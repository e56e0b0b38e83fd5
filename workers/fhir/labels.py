"""Sensitivity labels: what a source says (FHIR meta.security), and what the clinical database says of documents."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from db.bulk import Bulk
from db.policy import LABELS
from loaders.labels import labels_of
from workers.fhir.elements import Json, obj, objects, string

SENSITIVITY = ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "http://hl7.org/fhir/v3/ActCode")
"""Systems of sensitivity codes: the present one, and that of FHIR STU3."""

CONFIDENTIALITY = (
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    "http://hl7.org/fhir/v3/Confidentiality",
)
RESTRICTED = frozenset({"R", "V"})
"""Codes of HL7 v3-Confidentiality, restricted and very restricted, that stand for the label R."""

BROADER = {
    "SUD": "ETH",
    "ETHUD": "ETH",
    "OPIOIDUD": "ETH",
    "MH": "PSY",
    "BH": "PSY",
    "VIO": "SDV",
    "MST": "SDV",
}
"""Codes of HL7 v3-ActCode whose subject a label of the policy covers."""

IMPLIED = """/* implied_labels */
SELECT clinical.labels_of(NULL, NULL, d.one -> 'coding') AS own,
    (SELECT coalesce(array_agg(l.label) FILTER (WHERE l.label IS NOT NULL), '{}')
     FROM jsonb_array_elements_text(d.one -> 'addresses') AS a (id)
     JOIN clinical.condition AS c ON c.id = a.id::uuid AND c.label IS NOT NULL
     LEFT JOIN LATERAL unnest(c.label) AS l (label) ON true
     HAVING count(*) > 0) AS addressed,
    (SELECT e.label FROM clinical.encounter AS e WHERE e.id = (d.one ->> 'encounter_id')::uuid) AS encountered
FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS d (one, position)
ORDER BY d.position
"""

SENSITIVE = """/* patients_of_sensitive_facts */
SELECT DISTINCT patient_id
FROM (
    SELECT patient_id, label FROM clinical.encounter WHERE id = ANY($1::uuid[])
    UNION ALL SELECT patient_id, label FROM clinical.condition WHERE id = ANY($1::uuid[])
) AS f
WHERE label <> '{}'
"""


def security(resource: Json) -> list[str]:
    """Labels of the policy that a resource's own meta.security names, sorted.

    A sensitivity code that the policy does not know restricts (R): what it is about is not known here.
    """
    labels: set[str] = set()
    for coding in objects((obj(resource.get("meta")) or {}).get("security")):
        system, code = coding.get("system"), string(coding.get("code"))
        if code and system in SENSITIVITY:
            known = BROADER.get(code, code)
            labels.add(known if known in LABELS else "R")
        elif code in RESTRICTED and system in CONFIDENTIALITY:
            labels.add("R")
    return sorted(labels)


async def label(bulk: Bulk, documents: Sequence[Json]) -> None:
    """Adds to `security` of documents what their codes, the conditions that they address and their encounter imply.

    Raises Refused, StoreUnavailable.
    """
    subjects = [_subject(document) for document in documents]
    rows = await bulk.fetch("clinical", IMPLIED, subjects)
    for document, (own, addressed, encountered) in zip(documents, rows, strict=True):
        document["security"] = labels_of(document["security"] or (), own, addressed, encountered)


def _subject(document: Json) -> Json:
    """What implies the labels of a note (its type), a care plan (category, activities) or a goal (description)."""
    activities = [item["code"] for item in document.get("activity", [])]
    planned = [document.get("description"), *document.get("category", []), *activities]
    concepts = [document["type"]] if "type" in document else planned
    codings = [coding for one in concepts if one for coding in objects(one.get("coding")) if coding.get("code")]
    encounter_id = document["metadata"]["encounter_id"]
    return {"coding": codings, "addresses": document.get("addresses", []), "encounter_id": encounter_id}


async def sensitive_patients(bulk: Bulk, facts: Sequence[UUID]) -> list[UUID]:
    """Patients of those of these encounters and conditions that have labels."""
    return [row["patient_id"] for row in await bulk.fetch("clinical", SENSITIVE, facts)]
