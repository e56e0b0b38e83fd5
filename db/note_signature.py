"""What a signature under a clinical note is over: SHA-256 of its canonical form (RFC 8785); docs/notes-signature.md.

Whoever has a note as the graph gives it can make the same form of it: names and ids are the graph's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import rfc8785

Part = Mapping[str, Any]


def text_of(sections: Sequence[Part]) -> str:
    """Whole text of a note: its sections, each under its title as a heading of markdown."""
    parts = (f"# {one['title']}\n\n{one['text']}" if one["title"] else one["text"] for one in sections)
    return "\n\n".join(parts)


def digest(note: Part, version: int, sections: Sequence[Part], signature: Part | None) -> str:
    """SHA-256, in hexadecimal, of one version of a note as somebody signs it; without a signature of the text alone."""
    whose = note["metadata"]
    form = {
        "id": f"ClinicalNote/{note['_id']}",
        "patient": f"Patient/{whose['patient_id']}",
        "encounter": _id("Encounter", whose["encounter_id"]),
        "type": _concept(note["type"]),
        "title": note["title"],
        "date": note["date"],
        "author": [_person(one) for one in note["author"]],
        "version": version,
        "sections": [
            {"title": one["title"], "code": _concept(one["code"]), "text": one["text"]} for one in sections
        ],
        "signature": signature and {**_person(signature), "time": signature["time"], "type": signature["type"]},
    }  # fmt: skip
    return hashlib.sha256(rfc8785.dumps(form)).hexdigest()


def verdicts(note: Part) -> list[bool | None]:
    """Whether each signature of a note holds, in their order; None for one of another system, which has no digest."""
    contents = {one["version"]: one["sections"] for one in note.get("versions", []) if one["sections"] is not None}
    newest = max(contents, default=0)

    def holds(signature: Part) -> bool | None:
        if signature.get("digest") is None:
            return None
        version = signature["version"]
        sections = contents.get(version)
        if sections is None or signature["digest"] != digest(note, version, sections, signature):
            return False
        return version != newest or (sections == note["sections"] and note["text"] == text_of(sections))

    return [holds(one) for one in note["signatures"]]


def _person(one: Part) -> dict[str, Any]:
    return {"providerId": _id("Provider", one["provider_id"]), "display": one["display"]}


def _id(kind: str, key: str | None) -> str | None:
    return key and f"{kind}/{key}"


def _concept(concept: Part | None) -> dict[str, Any] | None:
    if concept is None:
        return None
    codings = [{name: one.get(name) for name in ("system", "code", "display")} for one in concept.get("coding", [])]
    return {"coding": codings, "text": concept.get("text")}
