"""A patient's whole chart out of the graph: every relation to its last page, as a clinician of each facility."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from db.policy import LABELS, ROLES
from db.stores import FacilityName
from tests.asking import Graph
from tests.fidelity.files import Json

EVERY_LABEL = replace(ROLES["physician"], labels=frozenset(LABELS))
"""A physician from whom no sensitivity label hides a fact: what is compared is everything."""

PAGE = 40
"""Entries of one page: small enough that the larger charts need many."""

CONCEPT = "{ coding { system code display } text }"
QUANTITY = "{ value comparator unit system code }"
VALUE = f"valueQuantity {QUANTITY} valueCodeableConcept {CONCEPT} valueString dataAbsentReason {CONCEPT}"
OBSERVED = f"""
    id encounter {{ id }} status effectiveDateTime issued {VALUE} valueDateTime
    component {{ code {CONCEPT} {VALUE} }} interpretation {CONCEPT}
    referenceRange {{ low {QUANTITY} high {QUANTITY} text }}
"""
PERSON = f"""
    gender birthDate deceasedDateTime name {{ use family given prefix suffix }} telecom {{ system value use }}
    address {{ use line city state postalCode country }} maritalStatus {CONCEPT} identifier {{ system }}
"""
RELATIONS = {
    "encounters": f"""
        id status class type {CONCEPT} periodStart periodEnd reasonCode {CONCEPT} facility {{ name }} partOf {{ id }}
        admitSource {CONCEPT} dischargeDisposition {CONCEPT}
    """,
    "conditions": f"""
        id encounter {{ id }} clinicalStatus verificationStatus category code {CONCEPT} onsetDateTime abatementDateTime
        recordedDate
    """,
    "labResults": f"{OBSERVED} test {{ code {CONCEPT} }}",
    "observations": f"{OBSERVED} code {CONCEPT} category",
    "vitalSigns": f"""
        id encounter {{ id }} status code {{ system code display }} panel {{ code }} valueQuantity {QUANTITY}
        dataAbsentReason {{ coding {{ code }} }} effectiveDateTime
    """,
    "diagnosticReports": f"""
        id encounter {{ id }} status code {CONCEPT} category {CONCEPT} effectiveDateTime issued
        results(first: 100) {{ nodes {{ id }} }}
    """,
    "clinicalNotes": f"id encounter {{ id }} status docStatus type {CONCEPT} category {CONCEPT} date text",
    "carePlans": f"""
        id encounter {{ id }} status intent title category {CONCEPT} period {{ start end }} addresses goals {{ id }}
        activity {{ code {CONCEPT} status description location }}
    """,
    "goals": f"""
        id encounter {{ id }} lifecycleStatus achievementStatus description {CONCEPT} startDate
        target {{ measure {CONCEPT} detailQuantity {QUANTITY} detailString dueDate }}
    """,
    "procedures": f"""
        id encounter {{ id }} status code {CONCEPT} reason {CONCEPT} reasonConditions {{ id }} performedStart
        performedEnd
    """,
    "immunizations": f"""
        id encounter {{ id }} status vaccineCode {CONCEPT} occurrenceDateTime occurrenceString primarySource lotNumber
        doseQuantity {QUANTITY}
    """,
    "allergyIntolerances": f"""
        id encounter {{ id }} clinicalStatus verificationStatus type category criticality code {CONCEPT} onsetDateTime
        recordedDate reaction {{ manifestation {CONCEPT} severity description }}
    """,
    "medicationRequests": f"""
        id encounter {{ id }} status intent priority authoredOn medication {{ code {CONCEPT} }} reason {CONCEPT}
        reasonConditions {{ id }}
        dosageInstruction {{ sequence text frequency periodUnit asNeeded dose {QUANTITY} }}
    """,
    "medicationAdministrations": f"""
        id encounter {{ id }} status effectiveStart effectiveEnd medication {{ code {CONCEPT} }}
    """,
    "careTeams": f"id encounter {{ id }} status name periodStart periodEnd participant {{ role {CONCEPT} }}",
    "imagingStudies": f"""
        id encounter {{ id }} uid status started modality procedureCode {CONCEPT} numberOfSeries numberOfInstances
        series(first: 10) {{
            uid number modality bodySite {{ system code display }} started numberOfInstances
            instances(first: 10) {{ uid number title sopClass }}
        }}
    """,
}
"""What is asked of each relation of a patient."""


def page(relation: str, size: int) -> str:
    """Query for one page of one of these relations; all of them at once may cost more than one request is given."""
    return f"""query ($id: ID!, $after: String) {{ patient(id: $id) {{ {PERSON}
        {relation}(first: {size}, after: $after) {{
            nodes {{ {RELATIONS[relation]} }} pageInfo {{ hasNextPage endCursor }} }} }} }}"""


async def at_facility(graph: Graph, patient: str, facility: FacilityName, size: int = PAGE) -> tuple[Json, Any]:
    """The facts that a clinician of one facility reads, by relation, and the patient's own elements."""
    reader = replace(graph.caller(facility=facility), role=EVERY_LABEL)
    found: dict[str, list[Json]] = {relation: [] for relation in RELATIONS}
    person: Json = {}
    for relation, facts in found.items():
        after, more = None, True
        while more:
            answer = await graph.ask_as(reader, page(relation, size), id=patient, after=after)
            assert answer.errors == []
            person = answer.data["patient"]
            assert person is not None
            connection = person.pop(relation)
            assert len(connection["nodes"]) <= size
            facts += connection["nodes"]
            after, more = connection["pageInfo"]["endCursor"], connection["pageInfo"]["hasNextPage"]
    return found, person


async def whole_chart(
    graph: Graph, patient: str, facilities: Sequence[FacilityName], size: int = PAGE
) -> tuple[dict[str, list[Json]], list[Json]]:
    """Facts of all facilities by relation, and the patient's own elements as each facility shows them."""
    facts: dict[str, list[Json]] = defaultdict(list)
    people: list[Json] = []
    for facility in facilities:
        found, person = await at_facility(graph, patient, facility, size)
        people.append(person)
        for relation, nodes in found.items():
            facts[relation] += nodes
    return facts, people
