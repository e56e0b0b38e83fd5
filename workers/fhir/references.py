"""What a FHIR reference points to: urn:uuid through fullUrl, relative, absolute, conditional, logical or contained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from workers.fhir.elements import Json, string
from workers.fhir.ids import row_id

ROW = "urn:caregraph:row"
"""Identifier system that leads from a FHIR resource's row id to the row that stands for it."""

_URN = re.compile(r"urn:(?:uuid|oid):(.+)")
_RELATIVE = re.compile(r"(?:.*/)?([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[^/]+)?")


@dataclass(frozen=True, slots=True)
class Target:
    """What a reference names: a row id, or an identifier that has still to be looked up."""

    type: str
    text: str
    id: UUID | None = None
    system: str | None = None
    value: str | None = None

    @property
    def likely_id(self) -> UUID:
        """Row id of the target, taking an identifier's value for its FHIR id where nothing else is known."""
        return self.id or row_id(self.type, self.value or self.text)


class Addresses:
    """fullUrl of every entry of one file, and the resource it names."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[str, UUID]] = {}

    def add(self, full_url: str, resource_type: str, row: UUID) -> None:
        """Remembers an entry."""
        self._entries[full_url] = (resource_type, row)

    def entry(self, full_url: str) -> tuple[str, UUID] | None:
        """FHIR type and row id of the entry with this fullUrl."""
        return self._entries.get(full_url)

    def target(self, reference: object, expected: str, parent: UUID) -> Target | None:
        """Target of a Reference of the resource `parent`; `expected` is its type where the text does not say.

        None where there is no reference (a display only).
        """
        if not isinstance(reference, dict):
            return None
        given = cast(Json, reference)
        text = string(given.get("reference"))
        if not text:
            return _logical(given, expected)
        if found := self._entries.get(text):
            return Target(found[0], f"{found[0]}/{found[1]}", found[1])
        if text.startswith("#"):
            return Target(expected, text, row_id(expected, f"{parent}{text}"))
        if "?" in text:
            return _conditional(text)
        if urn := _URN.fullmatch(text):
            row = row_id(expected, urn[1])
            return Target(expected, f"{expected}/{row}", row)
        if relative := _RELATIVE.fullmatch(text):
            return Target(relative[1], text, row_id(relative[1], relative[2]))
        return Target(expected, text)


def _logical(reference: Json, expected: str) -> Target | None:
    identifier = reference.get("identifier")
    if not isinstance(identifier, dict):
        return None
    given = cast(Json, identifier)
    value = string(given.get("value"))
    if not value:
        return None
    system = string(given.get("system")) or ""
    resource_type = string(reference.get("type")) or expected
    return Target(resource_type, f"{resource_type}?identifier={system}|{value}", None, system, value)


def _conditional(text: str) -> Target:
    """`Type?identifier=system|value`; another search stays text."""
    parts = urlsplit(text)
    resource_type = parts.path.rpartition("/")[2]
    token = parse_qs(parts.query).get("identifier", [""])[0]
    system, bar, value = token.rpartition("|")
    if not value:
        return Target(resource_type, text)
    return Target(resource_type, text, None, system if bar else "", value)


def references(value: Any) -> Iterator[Json]:
    """Every Reference inside a resource."""
    if isinstance(value, dict):
        given = cast(Json, value)
        logical = isinstance(given.get("identifier"), dict) and "resourceType" not in given
        if isinstance(given.get("reference"), str) or logical:
            yield given
            return
        for item in given.values():
            if isinstance(item, dict | list):
                yield from references(item)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            if isinstance(item, dict | list):
                yield from references(item)
