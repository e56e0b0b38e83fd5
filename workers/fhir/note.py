"""DocumentReference, the text of a DiagnosticReport, CarePlan and Goal: documents of the notes store."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from loaders.search_terms import terms
from workers.fhir.elements import (
    Json,
    Unusable,
    code,
    concept,
    date_time,
    first_of,
    note,
    obj,
    objects,
    period,
    sort_time,
    string,
)
from workers.fhir.link import Link, Row

NOTES, CARE_PLANS, GOALS = "clinical_notes", "care_plans", "goals"
COLLECTIONS = (NOTES, CARE_PLANS, GOALS)
TEXT_TYPES = ("text/plain", "text/markdown", "text/x-markdown", "text/html")

_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)


def text_hash(text: str) -> bytes:
    """What tells whether two texts are the same one."""
    return hashlib.sha256(text.strip().encode()).digest()


def attachment_text(attachment: Json) -> str | None:
    """Text of an attachment's base64 data; None for a link or for bytes that are no text. Raises Unusable."""
    data, kind = string(attachment.get("data")), str(attachment.get("contentType") or "text/plain")
    if not data or kind.partition(";")[0].strip().lower() not in TEXT_TYPES:
        return None
    try:
        raw = base64.b64decode("".join(data.split()), validate=True)
    except binascii.Error:
        raise Unusable("its text is not base64") from None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def document_reference(resource: Json, link: Link) -> list[Row]:
    """DocumentReference → clinical_notes, whatever its status: superseded is the norm."""
    attachments = [obj(item.get("attachment")) or {} for item in objects(resource.get("content"))]
    texts = [text for item in attachments if (text := attachment_text(item))]
    written = date_time(resource.get("date"))
    started, _ = period((obj(resource.get("context")) or {}).get("period"))
    authenticator = resource.get("authenticator")
    values = _note("\n\n".join(texts), link) | {
        "status": string(resource.get("status")) or "unknown",
        "doc_status": string(resource.get("docStatus")),
        "type": obj(resource.get("type")),
        "category": objects(resource.get("category")),
        "date": written or started,
        "sort_time": sort_time(written, started),
        "title": _title(resource, attachments),
        "author": _authors(resource.get("author"), link),
        "signatures": [_signature(authenticator, link)] if isinstance(authenticator, dict) else [],
        "relates_to": [_relation(item, link) for item in objects(resource.get("relatesTo"))],
    }
    return [Row(NOTES, values)]


def report_text(resource: Json, link: Link) -> list[Row]:
    """DiagnosticReport.presentedForm → clinical_notes; [] where it has no text."""
    attachments = objects(resource.get("presentedForm"))
    texts = [text for item in attachments if (text := attachment_text(item))]
    if not texts:
        return []
    issued = date_time(resource.get("issued")) or date_time(resource.get("effectiveDateTime"))
    status = string(resource.get("status"))
    values = _note("\n\n".join(texts), link) | {
        "status": "entered-in-error" if status == "entered-in-error" else "current",
        "doc_status": status,
        "type": obj(resource.get("code")),
        "category": objects(resource.get("category")),
        "date": issued,
        "sort_time": sort_time(issued),
        "title": _title(resource, attachments),
        "author": _authors(resource.get("performer"), link),
        "signatures": [],
        "relates_to": [],
    }
    return [Row(NOTES, values)]


def _note(text: str, link: Link) -> Json:
    return {
        "_id": str(link.id),
        "metadata": metadata(link),
        "security": link.security,
        "sections": sections(text),
        "text": text,
        "search_terms": terms(text),
        "amendments": [],
    }


def metadata(link: Link) -> Json:
    """Whose document this is, and where."""
    return {
        "facility_id": str(link.facility_id),
        "patient_id": str(link.patient_id),
        "encounter_id": str(link.encounter_id) if link.encounter_id else None,
    }


def sections(text: str) -> list[Json]:
    """A text by its markdown headings; what precedes the first heading is a section without title."""
    found = list(_HEADING.finditer(text))
    ends = [*(item.start() for item in found), len(text)]
    bounds = [(None, 0, ends[0]), *((item[2], item.end(), end) for item, end in zip(found, ends[1:], strict=True))]
    return [
        {"title": title, "code": None, "text": body}
        for title, start, end in bounds
        if (body := text[start:end].strip()) or title
    ]


def _title(resource: Json, attachments: list[Json]) -> str | None:
    what = concept(first_of(resource, ("type", "code")))
    shown = (string(item.get("title")) for item in attachments)
    titled = next((text for text in shown if text), None) or string(resource.get("description"))
    return titled or what.text or what.display


def _authors(value: object, link: Link) -> list[Json]:
    return [
        _person(item, link, f"author.{position}") | {"display": string(item.get("display"))}
        for position, item in enumerate(objects(value))
    ]


def _person(reference: object, link: Link, element: str) -> Json:
    row = link.provider(reference, element)
    return {"provider_id": str(row) if row else None}


def _signature(reference: object, link: Link) -> Json:
    display = string((obj(reference) or {}).get("display"))
    return _person(reference, link, "authenticator") | {"display": display, "time": None, "type": "authenticator"}


def _relation(relation: Json, link: Link) -> Json:
    target = link.target(relation.get("target"), "DocumentReference")
    return {"code": string(relation.get("code")), "target": str(target.likely_id) if target else None}


def care_plan(resource: Json, link: Link) -> list[Row]:
    """CarePlan → care_plans."""
    start, end = period(resource.get("period"))
    created = date_time(resource.get("created"))
    categories = objects(resource.get("category"))
    shown = [what.text or what.display for what in map(concept, categories)]
    values: Json = {
        "_id": str(link.id),
        "metadata": metadata(link),
        "security": link.security,
        "status": string(resource.get("status")) or "unknown",
        "intent": string(resource.get("intent")) or "plan",
        "title": string(resource.get("title")) or next((text for text in shown if text), None),
        "category": categories,
        "period": {"start": start, "end": end},
        "sort_time": sort_time(start, created),
        "addresses": _ids(resource.get("addresses"), "Condition", link),
        "activity": [_activity(item) for item in objects(resource.get("activity"))],
        "goal_ids": _ids(resource.get("goal"), "Goal", link),
        "care_team_ids": _ids(resource.get("careTeam"), "CareTeam", link),
        "note": note(resource.get("note")),
    }
    return [Row(CARE_PLANS, values)]


def _activity(activity: Json) -> Json:
    detail = obj(activity.get("detail")) or {}
    return {
        "code": obj(detail.get("code")),
        "status": string(detail.get("status")),
        "description": string(detail.get("description")),
        "location": string((obj(detail.get("location")) or {}).get("display")),
    }


def _ids(value: object, expected: str, link: Link) -> list[str]:
    targets = (link.target(item, expected) for item in objects(value))
    return [str(target.id) for target in targets if target and target.id]


def goal(resource: Json, link: Link) -> list[Row]:
    """Goal → goals."""
    start = date_time(resource.get("startDate"))
    values: Json = {
        "_id": str(link.id),
        "metadata": metadata(link),
        "security": link.security,
        "lifecycle_status": string(resource.get("lifecycleStatus")) or "unknown",
        "achievement_status": code(resource.get("achievementStatus")),
        "description": obj(resource.get("description")),
        "target": objects(resource.get("target")),
        "start": start,
        "sort_time": sort_time(start, date_time(resource.get("statusDate"))),
        "addresses": _ids(resource.get("addresses"), "Condition", link),
    }
    return [Row(GOALS, values)]
