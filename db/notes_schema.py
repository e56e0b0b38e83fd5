"""Collections of the notes store: their validators, indexes, and the PHI kind of every path.

A path is written `signatures[].time` where `signatures` is an array. Validators refuse fields that are not declared
here, so that nothing without a kind is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from db.policy import Phi

Schema: TypeAlias = Mapping[str, Any]
Keys: TypeAlias = Sequence[tuple[str, int | str]]
"""Keys of one index with their direction, or "text"."""

TEXT: Schema = {"bsonType": ["string", "null"]}
STRING: Schema = {"bsonType": "string"}
INSTANT: Schema = {"bsonType": "date"}
OBJECT: Schema = {"bsonType": ["object", "null"]}
OBJECTS: Schema = {"bsonType": "array", "items": {"bsonType": "object"}}
STRINGS: Schema = {"bsonType": "array", "items": {"bsonType": "string"}}
UUID: Schema = {"bsonType": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
UUID_OR_NULL: Schema = {"bsonType": ["string", "null"], "pattern": UUID["pattern"]}
NUMBER: Schema = {"bsonType": ["int", "long"]}
NUMBER_OR_NULL: Schema = {"bsonType": ["int", "long", "null"]}
DIGEST: Schema = {"bsonType": ["string", "null"], "pattern": "^[0-9a-f]{64}$"}


def closed(required: Sequence[str] = (), **properties: Schema) -> Schema:
    """Schema of an object that has no other properties."""
    return {
        "bsonType": "object",
        "additionalProperties": False,
        "required": list(required) or list(properties),
        "properties": properties,
    }


LABELS: Schema = {"bsonType": ["array", "null"], "items": STRING}
METADATA = closed(facility_id=UUID, patient_id=UUID, encounter_id=UUID_OR_NULL)
"""Whose document it is, and where; the facility is the tenant."""


@dataclass(frozen=True, slots=True)
class Collection:
    """One collection: `kinds` has every field, and those parts of a field whose kind is another one."""

    name: str
    schema: Schema
    kinds: Mapping[str, Phi | None]
    indexes: Mapping[str, Keys]
    text_index: Keys = ()
    """Index for `$text`, made only where the server has such indexes."""
    sparse_indexes: Mapping[str, Keys] = field(default_factory=dict[str, Keys])
    """Indexes of those documents alone that have the field."""
    replaceable: Schema = field(default_factory=dict[str, Any])
    """Condition of the documents that a worker may replace or delete; callers made the others."""

    @property
    def labelled(self) -> bool:
        """Whether documents carry sensitivity labels, in `security` (FHIR meta.security); null is unlabelled."""
        return "security" in self.kinds

    @property
    def labelled_parts(self) -> list[str]:
        """Arrays whose entries carry labels of their own, likewise."""
        fields: Mapping[str, Schema] = self.schema["properties"]
        return [name for name, one in fields.items() if "security" in one.get("items", {}).get("properties", {})]


def newest_first(*equal: str) -> Keys:
    """Keys of an index that reads documents with these values newest first.

    The facility is not the leading key: each of `equal` is far more selective, MongoDB can use either order alike, and
    the embedded server takes an index by its leading key alone, so that every read of a facility would walk it whole.
    """
    return [*((path, 1) for path in (*equal, "metadata.facility_id")), ("sort_time", -1), ("_id", -1)]


SECTIONS: Schema = {"bsonType": "array", "items": closed(title=TEXT, code=OBJECT, text=TEXT)}

NOTE_VERSION = closed(
    version=NUMBER,
    operation=STRING,
    subject=STRING,
    provider_id=UUID_OR_NULL,
    display=TEXT,
    time=STRING,
    key=STRING,
    input=STRING,
    status=STRING,
    doc_status=STRING,
    reason=TEXT,
    sections={**SECTIONS, "bsonType": ["array", "null"]},
    digest=STRING,
)
"""One write to a note, by whom and when; `sections` where it brought others, `digest` of the text and of who signed.

`key` and `input` are the client's idempotency key and an HMAC of what came with it.
"""

CLINICAL_NOTES = Collection(
    name="clinical_notes",
    schema=closed(
        (
            *("_id", "metadata", "security", "status", "doc_status", "type", "category", "date", "sort_time", "title"),
            *("author", "sections", "text", "search_terms", "signatures", "amendments", "relates_to"),
        ),
        _id=UUID,
        metadata=METADATA,
        security=LABELS,
        status=STRING,
        doc_status=TEXT,
        type=OBJECT,
        category=OBJECTS,
        date=TEXT,
        sort_time=INSTANT,
        title=TEXT,
        author={"bsonType": "array", "items": closed(provider_id=UUID_OR_NULL, display=TEXT)},
        sections=SECTIONS,
        text=STRING,
        search_terms=STRINGS,
        signatures={
            "bsonType": "array",
            "items": closed(
                ("provider_id", "display", "time", "type"),
                provider_id=UUID_OR_NULL,
                display=TEXT,
                time=TEXT,
                type=TEXT,
                digest=DIGEST,
                version=NUMBER_OR_NULL,
            ),
        },
        amendments={"bsonType": "array", "items": closed(time=TEXT, author=TEXT, reason=TEXT, text=TEXT)},
        relates_to={"bsonType": "array", "items": closed(code=TEXT, target=UUID_OR_NULL)},
        # What only notes have that were written here, see db/note_writing.py.
        drafted_by=TEXT,
        version=NUMBER,
        versions={"bsonType": "array", "items": NOTE_VERSION},
        announced=NUMBER,
        unannounced=INSTANT,
    ),
    kinds={
        "_id": None,
        "metadata": None,
        "security": None,
        "status": None,
        "doc_status": None,
        "type": Phi.CLINICAL,
        "category": Phi.CLINICAL,
        "date": Phi.DATE,
        "sort_time": Phi.DATE,
        "title": Phi.CLINICAL,
        "author": None,
        "sections": Phi.FREE_TEXT,
        "text": Phi.FREE_TEXT,
        "search_terms": Phi.FREE_TEXT,
        "signatures": None,
        "signatures[].time": Phi.DATE,
        # Who has the digest of a text can tell whether a guess of it is right.
        "signatures[].digest": Phi.FREE_TEXT,
        "amendments": Phi.FREE_TEXT,
        "amendments[].time": Phi.DATE,
        "relates_to": None,
        "drafted_by": None,
        "version": None,
        "versions": Phi.FREE_TEXT,
        "versions[].time": Phi.DATE,
        "announced": None,
        "unannounced": Phi.DATE,
    },
    indexes={
        "of_patient": newest_first("metadata.patient_id"),
        "of_encounter": newest_first("metadata.encounter_id"),
        "by_term": newest_first("search_terms"),
    },
    text_index=[("metadata.facility_id", 1), ("text", "text")],
    sparse_indexes={"unannounced": [("unannounced", 1)]},
    replaceable={"drafted_by": {"$not": {"$type": "string"}}},
)

CARE_PLANS = Collection(
    name="care_plans",
    schema=closed(
        _id=UUID,
        metadata=METADATA,
        security=LABELS,
        status=STRING,
        intent=STRING,
        title=TEXT,
        category=OBJECTS,
        period=closed(start=TEXT, end=TEXT),
        sort_time=INSTANT,
        addresses={"bsonType": "array", "items": UUID},
        activity={"bsonType": "array", "items": closed(code=OBJECT, status=TEXT, description=TEXT, location=TEXT)},
        goal_ids={"bsonType": "array", "items": UUID},
        care_team_ids={"bsonType": "array", "items": UUID},
        note=TEXT,
    ),
    kinds={
        "_id": None,
        "metadata": None,
        "security": None,
        "status": None,
        "intent": None,
        "title": Phi.CLINICAL,
        "category": Phi.CLINICAL,
        "period": None,
        "period.start": Phi.DATE,
        "period.end": Phi.DATE,
        "sort_time": Phi.DATE,
        "addresses": Phi.CLINICAL,
        "activity": Phi.CLINICAL,
        "activity[].description": Phi.FREE_TEXT,
        "goal_ids": None,
        "care_team_ids": None,
        "note": Phi.FREE_TEXT,
    },
    indexes={"of_patient": newest_first("metadata.patient_id")},
)

GOALS = Collection(
    name="goals",
    schema=closed(
        _id=UUID,
        metadata=METADATA,
        security=LABELS,
        lifecycle_status=STRING,
        achievement_status=TEXT,
        description=OBJECT,
        target=OBJECTS,
        start=TEXT,
        sort_time=INSTANT,
        addresses={"bsonType": "array", "items": UUID},
    ),
    kinds={
        "_id": None,
        "metadata": None,
        "security": None,
        "lifecycle_status": None,
        "achievement_status": Phi.CLINICAL,
        "description": Phi.CLINICAL,
        "target": Phi.CLINICAL,
        "target[].dueDate": Phi.DATE,
        "start": Phi.DATE,
        "sort_time": Phi.DATE,
        "addresses": Phi.CLINICAL,
    },
    indexes={"of_patient": newest_first("metadata.patient_id")},
)

PATIENT_SUMMARIES = Collection(
    name="patient_summaries",
    schema=closed(
        _id=STRING,
        metadata=closed(facility_id=UUID, patient_id=UUID),
        updated=INSTANT,
        as_of=INSTANT,
        active_conditions={"bsonType": "array", "items": closed(id=UUID, code=OBJECT, onset=TEXT, security=LABELS)},
        active_medications={
            "bsonType": "array",
            "items": closed(id=UUID, medication=OBJECT, authored_on=TEXT, security=LABELS),
        },
        allergies={"bsonType": "array", "items": closed(id=UUID, code=OBJECT, criticality=TEXT, security=LABELS)},
        last_encounters={
            "bsonType": "array",
            "items": closed(
                ("id", "status", "class", "type", "start", "end", "security"),
                **{"class": TEXT},
                id=UUID,
                status=TEXT,
                type=OBJECT,
                start=TEXT,
                end=TEXT,
                security=LABELS,
            ),
        },
        latest_results={
            "bsonType": "array",
            "items": closed(
                id=UUID,
                test_id=UUID,
                test=OBJECT,
                status=STRING,
                effective=TEXT,
                value=OBJECT,
                concept=OBJECT,
                interpretation={"bsonType": ["array", "null"]},
                security=LABELS,
            ),
        },
        latest_vitals={
            "bsonType": "array",
            "items": closed(id=STRING, code=OBJECT, panel=TEXT, status=TEXT, effective=TEXT, value=OBJECT),
        },
        care_plans={
            "bsonType": "array",
            "items": closed(id=UUID, title=TEXT, category=OBJECTS, start=TEXT, security=LABELS),
        },
        counts={"bsonType": "object", "additionalProperties": {"bsonType": ["int", "long"]}},
    ),
    kinds={
        "_id": None,
        "metadata": None,
        "updated": Phi.DATE,
        "as_of": None,
        "active_conditions": Phi.CLINICAL,
        "active_conditions[].onset": Phi.DATE,
        "active_medications": Phi.CLINICAL,
        "active_medications[].authored_on": Phi.DATE,
        "allergies": Phi.CLINICAL,
        "last_encounters": None,
        "last_encounters[].type": Phi.CLINICAL,
        "last_encounters[].start": Phi.DATE,
        "last_encounters[].end": Phi.DATE,
        "latest_results": Phi.CLINICAL,
        "latest_results[].effective": Phi.DATE,
        "latest_vitals": Phi.CLINICAL,
        "latest_vitals[].effective": Phi.DATE,
        "care_plans": Phi.CLINICAL,
        "care_plans[].start": Phi.DATE,
        "counts": Phi.CLINICAL,
    },
    indexes={},
)

COLLECTIONS = (CLINICAL_NOTES, CARE_PLANS, GOALS, PATIENT_SUMMARIES)

COPIES = Collection(
    name="copies", schema=closed(_id=STRING, as_of=INSTANT), kinds={"_id": None, "as_of": None}, indexes={}
)
"""Up to when each copy has what its sources have, by its name; of nobody, so that it is none of the collections."""
