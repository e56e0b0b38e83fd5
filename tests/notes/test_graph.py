"""Notes, plans and goals as a client of the graph sees them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from db.caller import Profile
from db.mongo import Mongo
from db.notes_schema import CARE_PLANS, CLINICAL_NOTES, GOALS
from graph.schema import schema
from loaders.reader import Reader
from tests.notes.conftest import ReaderOf
from tests.notes.documents import care_plan, concept, goal, note
from tests.notes.test_lists import context

SEARCH = """query ($text: String!) { clinicalNotes(text: $text, first: 1) {
  nodes {
    id status docStatus date title text type { coding { system code } text } author { providerId display }
    sections { title text } signatures { display time type }
    amendments { author reason text } relatesTo { code targetId }
  }
  edges { cursor node { id } }
  pageInfo { hasNextPage }
  facets { code display count }
} }"""

PLAN = """query ($id: ID!) { node(id: $id) { ... on CarePlan {
  id status intent title note addresses careTeamIds period { start end }
  activity { code { text } status description location }
  goals { id lifecycleStatus achievementStatus startDate description { text } addresses
          target { measure { text } dueDate detailQuantity { value unit } } }
} } }"""


async def asked(reader: Reader, query: str, **variables: str) -> Any:
    """Data of an operation that has no errors."""
    result = await schema.execute(query, variables, context(reader))
    assert result.errors is None
    return result.data


async def test_a_search_shows_the_note(notes: Mongo, reader: ReaderOf, facility_id: UUID) -> None:
    document = note(facility_id, uuid4())
    await notes.worker_upsert(CLINICAL_NOTES, [document])
    data = await asked(reader(), SEARCH, text="chest pain")
    [node] = data["clinicalNotes"]["nodes"]
    assert node["id"] == f"ClinicalNote/{document['_id']}"
    assert node["author"] == [
        {"providerId": f"Provider/{document['author'][0]['provider_id']}", "display": "Dr. Ada Park"}
    ]
    assert node["sections"] == [{"title": "Subjective", "text": document["text"]}]
    assert node["signatures"] == [{"display": "Dr. Bo Lind", "time": "2020-06-16", "type": "authenticator"}]
    assert node["relatesTo"] == [
        {"code": "replaces", "targetId": f"ClinicalNote/{document['relates_to'][0]['target']}"}
    ]
    assert node["type"]["coding"] == [{"system": "http://loinc.org", "code": "11506-3"}]
    assert data["clinicalNotes"]["facets"] == [{"code": "11506-3", "display": "Progress note", "count": 1}]
    assert data["clinicalNotes"]["pageInfo"] == {"hasNextPage": False}


async def test_a_plan_shows_its_goals(notes: Mongo, reader: ReaderOf, facility_id: UUID) -> None:
    patient_id, condition = uuid4(), str(uuid4())
    quantity = {"value": Decimal("7.0"), "unit": "%"}
    target = {"measure": concept("4548-4", "HbA1c"), "detailQuantity": quantity, "dueDate": "2020-12-31"}
    aim = goal(facility_id, patient_id, target=[target], addresses=[condition])
    plan = care_plan(facility_id, patient_id, goal_ids=[str(uuid4()), aim["_id"]], addresses=[condition])
    await notes.worker_upsert(GOALS, [aim])
    await notes.worker_upsert(CARE_PLANS, [plan])
    key = f"CarePlan/{plan['_id']}"
    shown = (await asked(reader(), PLAN, id=key))["node"]
    assert shown["addresses"] == [f"Condition/{condition}"]
    assert shown["period"] == {"start": "2020-06-15", "end": None}
    assert shown["activity"][0]["description"] == "Walk daily."
    [one] = shown["goals"]
    assert (one["id"], one["startDate"], one["addresses"]) == (
        f"Goal/{aim['_id']}",
        "2020-06-15",
        [f"Condition/{condition}"],
    )
    assert one["target"][0]["detailQuantity"] == quantity
    assert one["target"][0]["dueDate"] == "2020-12-31"
    masked = (await asked(reader(Profile.ANALYST), PLAN, id=key))["node"]
    assert (masked["note"], masked["activity"][0]["description"]) == (None, None)
    assert masked["period"] == {"start": "2020", "end": None}
    assert masked["goals"][0]["target"][0]["dueDate"] == "2020"
    assert (await asked(reader(facility=uuid4()), PLAN, id=key))["node"] is None
