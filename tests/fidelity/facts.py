"""What files say about a patient, in the shape in which the graph is asked for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from tests.fidelity.datatypes import code, coding, concept, concepts, period, pick, plain_uid, quantity, texts
from tests.fidelity.files import Files, Json, Resource, elements, first

VITAL_CODES = frozenset({"8867-4", "9279-1", "8310-5", "8302-2", "29463-7", "85354-9"})
"""LOINC codes by which an Observation without category is a vital sign in these files."""


class Chart:
    """Facts of one patient by the graph's relation that shows them."""

    def __init__(self, files: Files, patient: str) -> None:
        self.files = files
        self.patient = patient

    def sections(self) -> dict[str, list[Json]]:
        """Facts of every relation."""
        found = {relation: [fact(self, item) for item in self._of(kind)] for kind, relation, fact in FACTS}
        for item in self._of("Observation"):
            relation = place(item.content)
            found.setdefault(relation, []).extend(
                self._vitals(item) if relation == "vitalSigns" else [self._seen(item)]
            )
        found["clinicalNotes"] = self._notes()
        return found

    def person(self) -> Json:
        """The patient's own elements."""
        content = self.files.content(self.patient)
        return pick(content, "gender", "birthDate", "deceasedDateTime") | {
            "name": [pick(item, "use", "family", "given", "prefix", "suffix") for item in elements(content["name"])],
            "telecom": [pick(item, "system", "value", "use") for item in elements(content.get("telecom"))],
            "address": [
                pick(item, "use", "line", "city", "state", "postalCode", "country")
                for item in elements(content.get("address"))
            ],
            "maritalStatus": concept(content.get("maritalStatus")),
            "identifier": [pick(item, "system") for item in elements(content.get("identifier"))],
        }

    def _of(self, resource_type: str) -> list[Resource]:
        return self.files.of(self.patient, resource_type)

    def common(self, item: Resource) -> Json:
        """Id and encounter of a fact."""
        context = first(item.content.get("context"))
        reference = item.content.get("encounter") or context.get("encounter") or context
        found = self.files.target(item, reference)
        return {"id": item.name, "encounter": {"id": found} if found else None}

    def ids(self, item: Resource, references: object) -> list[Json]:
        """Ids of what these references name."""
        found = (self.files.target(item, reference) for reference in elements(references))
        return [{"id": target} for target in found if target]

    def reasons(self, item: Resource) -> list[Json]:
        """Ids of the conditions that a fact names as its reason; one of another facility is not shown there."""
        named = self.ids(item, item.content.get("reasonReference"))
        return [one for one in named if self._place(self.files.resource(one["id"])) == self._place(item)]

    def _place(self, item: Resource) -> str | None:
        """Organization of a fact's encounter."""
        encounter = self.common(item)["encounter"]
        visit = self.files.resource(encounter["id"]) if encounter else None
        return self.files.target(visit, visit.content.get("serviceProvider")) if visit else None

    def _seen(self, item: Resource) -> Json:
        content = item.content
        what: Json = {"code": concept(content["code"])}
        other: Json = what | {"category": [code(value) for value in elements(content.get("category"))]}
        own = {"test": what} if place(content) == "labResults" else other
        return (
            own
            | self.common(item)
            | values(content)
            | pick(content, "status", "issued", "valueDateTime")
            | {
                "effectiveDateTime": period(content, "effective")[0],
                "component": [
                    {"code": concept(part["code"])} | values(part) for part in elements(content.get("component"))
                ],
                "interpretation": concepts(content.get("interpretation")),
                "referenceRange": [
                    {"low": quantity(part.get("low")), "high": quantity(part.get("high")), "text": part.get("text")}
                    for part in elements(content.get("referenceRange"))
                ],
            }
        )

    def _vitals(self, item: Resource) -> list[Json]:
        """One reading, or one for each component: the graph shows them alone, with the code of the panel."""
        content = item.content
        parts = elements(content.get("component"))
        shared = self.common(item) | {
            "status": content["status"],
            "effectiveDateTime": period(content, "effective")[0],
            "panel": {"code": code(content["code"])} if parts else None,
        }
        return [
            shared
            | {
                "code": coding(part["code"]["coding"]),
                "valueQuantity": quantity(part.get("valueQuantity")),
                "dataAbsentReason": {"coding": [{"code": code(part["dataAbsentReason"])}]}
                if "dataAbsentReason" in part
                else None,
            }
            for part in parts or [content]
        ]

    def _notes(self) -> list[Json]:
        """Documents, and texts of reports that no document has."""
        notes: list[Json] = []
        for item in self._of("DocumentReference"):
            content = item.content
            notes.append(
                self.common(item)
                | pick(content, "status", "docStatus", "date")
                | {
                    "type": concept(content.get("type")),
                    "category": concepts(content.get("category")),
                    "text": texts([part["attachment"] for part in elements(content["content"])]),
                }
            )
        told = {note["text"].strip() for note in notes}
        for item in self._of("DiagnosticReport"):
            content = item.content
            text = texts(elements(content.get("presentedForm")))
            if text and text.strip() not in told:
                shown = {"type": concept(content["code"]), "category": concepts(content.get("category")), "text": text}
                about = {"status": "current", "docStatus": content["status"], "date": content["issued"]}
                notes.append(self.common(item) | shown | about)
        return notes


def values(content: Json) -> Json:
    """Value of an Observation or of a component; a number or flag that is no Quantity reads as its JSON text."""
    plain = next((content[name] for name in ("valueInteger", "valueBoolean") if name in content), None)
    return {
        "valueQuantity": quantity(content.get("valueQuantity")),
        "valueCodeableConcept": concept(content.get("valueCodeableConcept")),
        "valueString": content.get("valueString") if plain is None else json.dumps(plain),
        "dataAbsentReason": concept(content.get("dataAbsentReason")),
    }


def place(content: Json) -> str:
    """Relation that shows an Observation: vital signs are plain numbers, or say why there is none."""
    categories = {code(item) for item in elements(content.get("category"))}
    if "laboratory" in categories:
        return "labResults"
    parts = elements(content.get("component")) or [content]
    kinds = [[name for name in part if name.startswith("value")] for part in parts]
    plain = all(kind in ([], ["valueQuantity"]) for kind in kinds)
    exact = not any("comparator" in first(part.get("valueQuantity")) for part in parts)
    told = any("valueQuantity" in part or "dataAbsentReason" in part for part in parts)
    vital = categories & {"vital-signs", "vital-sign"} or (not categories and code(content["code"]) in VITAL_CODES)
    return "vitalSigns" if vital and plain and exact and told else "observations"


def encounter(chart: Chart, item: Resource) -> Json:
    """An Encounter and the name of its hospital."""
    content = item.content
    provider = chart.files.target(item, content.get("serviceProvider"))
    part_of = chart.files.target(item, content.get("partOf"))
    stay = first(content.get("hospitalization"))
    return {
        "id": item.name,
        "status": content["status"],
        "class": content["class"]["code"],
        "type": concept(content.get("type")),
        "periodStart": first(content.get("period")).get("start"),
        "periodEnd": first(content.get("period")).get("end"),
        "reasonCode": concepts(content.get("reasonCode")),
        "admitSource": concept(stay.get("admitSource")),
        "dischargeDisposition": concept(stay.get("dischargeDisposition")),
        "facility": pick(chart.files.content(provider), "name") if provider else None,
        "partOf": {"id": part_of} if part_of else None,
    }


def condition(chart: Chart, item: Resource) -> Json:
    """A Condition."""
    content = item.content
    return chart.common(item) | {
        "clinicalStatus": code(content.get("clinicalStatus")),
        "verificationStatus": code(content.get("verificationStatus")),
        "category": [code(value) for value in elements(content.get("category"))],
        "code": concept(content["code"]),
        "onsetDateTime": content.get("onsetDateTime"),
        "abatementDateTime": content.get("abatementDateTime"),
        "recordedDate": content.get("recordedDate"),
    }


def procedure(chart: Chart, item: Resource) -> Json:
    """A Procedure; a reason that is a reference shows its display."""
    content = item.content
    start, end = period(content, "performed")
    named = [{"text": part["display"]} for part in elements(content.get("reasonReference")) if "display" in part]
    return chart.common(item) | {
        "status": content["status"],
        "code": concept(content["code"]),
        "reason": [*concepts(content.get("reasonCode")), *map(concept, named)],
        "reasonConditions": chart.reasons(item),
        "performedStart": start,
        "performedEnd": end,
    }


def allergy(chart: Chart, item: Resource) -> Json:
    """An AllergyIntolerance."""
    content = item.content
    return (
        chart.common(item)
        | pick(content, "type", "category", "criticality", "onsetDateTime", "recordedDate")
        | {
            "clinicalStatus": code(content.get("clinicalStatus")),
            "verificationStatus": code(content.get("verificationStatus")),
            "code": concept(content["code"]),
            "reaction": [
                {"manifestation": concepts(part.get("manifestation"))} | pick(part, "severity", "description")
                for part in elements(content.get("reaction"))
            ],
        }
    )


def immunization(chart: Chart, item: Resource) -> Json:
    """An Immunization."""
    shown = pick(item.content, "status", "occurrenceDateTime", "occurrenceString", "primarySource", "lotNumber")
    dose = quantity(item.content.get("doseQuantity"))
    return chart.common(item) | shown | {"vaccineCode": concept(item.content["vaccineCode"]), "doseQuantity": dose}


def medication_request(chart: Chart, item: Resource) -> Json:
    """A MedicationRequest with its drug, which stands in it, beside it or in a resource of its own."""
    content = item.content
    drug = content.get("medicationCodeableConcept")
    if reference := content.get("medicationReference"):
        inside = {f"#{part['id']}": part for part in elements(content.get("contained"))}
        found = chart.files.target(item, reference)
        drug = (inside.get(reference["reference"]) or chart.files.content(str(found)))["code"]
    return (
        chart.common(item)
        | pick(content, "status", "intent", "priority", "authoredOn")
        | {
            "medication": {"code": concept(drug)},
            "reason": concepts(content.get("reasonCode")),
            "reasonConditions": chart.reasons(item),
            "dosageInstruction": [dosage(part) for part in elements(content.get("dosageInstruction"))],
        }
    )


def medication_administration(chart: Chart, item: Resource) -> Json:
    """A MedicationAdministration of a coded drug."""
    content = item.content
    start, end = period(content, "effective")
    return (
        chart.common(item)
        | pick(content, "status")
        | {
            "medication": {"code": concept(content["medicationCodeableConcept"])},
            "effectiveStart": start,
            "effectiveEnd": end,
        }
    )


def dosage(part: Json) -> Json:
    """One line of a dosage."""
    repeat = first(first(part.get("timing")).get("repeat"))
    dose = first(part.get("doseAndRate")).get("doseQuantity")
    return (
        pick(part, "sequence", "text")
        | pick(repeat, "frequency", "periodUnit")
        | {
            "asNeeded": part.get("asNeededBoolean"),
            "dose": quantity(dose),
        }
    )


def report(chart: Chart, item: Resource) -> Json:
    """A DiagnosticReport and the laboratory results among its results."""
    content = item.content
    results = chart.ids(item, content.get("result"))
    labs = [result for result in results if place(chart.files.content(result["id"])) == "labResults"]
    return (
        chart.common(item)
        | pick(content, "status", "issued")
        | {
            "code": concept(content["code"]),
            "category": concepts(content.get("category")),
            "effectiveDateTime": period(content, "effective")[0],
            "results": {"nodes": labs},
        }
    )


def care_plan(chart: Chart, item: Resource) -> Json:
    """A CarePlan; without a title it goes by the first of its categories that has a name."""
    content = item.content
    categories = [first(part) for part in elements(content.get("category"))]
    labels = [part.get("text") or first(part.get("coding")).get("display") for part in categories]
    details = [part["detail"] for part in elements(content.get("activity"))]
    return (
        chart.common(item)
        | pick(content, "status", "intent", "period")
        | {
            "title": content.get("title") or next((label for label in labels if label), None),
            "category": concepts(categories),
            "addresses": [target["id"] for target in chart.ids(item, content.get("addresses"))],
            "goals": chart.ids(item, content.get("goal")),
            "activity": [
                pick(part, "status", "description")
                | {"code": concept(part.get("code")), "location": first(part.get("location")).get("display")}
                for part in details
            ],
        }
    )


def care_team(chart: Chart, item: Resource) -> Json:
    """A CareTeam and the roles in it."""
    period = first(item.content.get("period"))
    own = {
        "periodStart": period.get("start"),
        "periodEnd": period.get("end"),
        "participant": [{"role": concept(part.get("role"))} for part in elements(item.content.get("participant"))],
    }
    return chart.common(item) | pick(item.content, "status", "name") | own


def goal(chart: Chart, item: Resource) -> Json:
    """A Goal."""
    content = item.content
    targets = [
        {"measure": concept(part.get("measure")), "detailQuantity": quantity(part.get("detailQuantity"))}
        | pick(part, "detailString", "dueDate")
        for part in elements(content.get("target"))
    ]
    own = {
        "achievementStatus": code(content.get("achievementStatus")),
        "description": concept(content["description"]),
        "target": targets,
    }
    return chart.common(item) | pick(content, "lifecycleStatus", "startDate") | own


def imaging_study(chart: Chart, item: Resource) -> Json:
    """An ImagingStudy down to its instances."""
    content, series = item.content, elements(item.content.get("series"))
    return (
        chart.common(item)
        | pick(content, "status", "started", "numberOfSeries", "numberOfInstances")
        | {
            "uid": plain_uid(first(content["identifier"])["value"]),
            "modality": list(dict.fromkeys(part["modality"]["code"] for part in series)),
            "procedureCode": concepts(content.get("procedureCode")),
            "series": [
                pick(part, "uid", "number", "started", "numberOfInstances")
                | {
                    "modality": part["modality"]["code"],
                    "bodySite": coding(part.get("bodySite")),
                    "instances": [
                        pick(one, "uid", "number", "title")
                        | {"sopClass": plain_uid(first(one.get("sopClass")).get("code"))}
                        for one in elements(part.get("instance"))
                    ],
                }
                for part in series
            ],
        }
    )


FACTS: Sequence[tuple[str, str, Callable[[Chart, Resource], Json]]] = (
    ("Encounter", "encounters", encounter),
    ("Condition", "conditions", condition),
    ("Procedure", "procedures", procedure),
    ("AllergyIntolerance", "allergyIntolerances", allergy),
    ("Immunization", "immunizations", immunization),
    ("MedicationRequest", "medicationRequests", medication_request),
    ("DiagnosticReport", "diagnosticReports", report),
    ("CarePlan", "carePlans", care_plan),
    ("MedicationAdministration", "medicationAdministrations", medication_administration),
    ("CareTeam", "careTeams", care_team),
    ("Goal", "goals", goal),
    ("ImagingStudy", "imagingStudies", imaging_study),
)
"""FHIR type, relation of the graph, and what a resource says."""
