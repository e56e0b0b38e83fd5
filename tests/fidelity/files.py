"""FHIR files as plain JSON: what each patient's resources say, and what their references point to.

This reads files anew, without the importer, so that a mistake of the importer is not made twice.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

Json = dict[str, Any]
"""A resource or an element of one; numbers with a fraction are Decimal."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource and the fullUrls of its file, each with the `Type/id` that it stands for."""

    content: Json
    urls: Mapping[str, str]

    @property
    def name(self) -> str:
        """`Type/id`."""
        return name(self.content)


def name(content: Json) -> str:
    """`Type/id` of a resource."""
    return f"{content['resourceType']}/{content['id']}"


def elements(value: object) -> list[Json]:
    """Objects of a list, or the object where it stands alone."""
    listed = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [cast(Json, item) for item in listed if isinstance(item, dict)]


def first(value: object) -> Json:
    """First object of a list, or the object where it stands alone; {} without one."""
    return next(iter(elements(value)), {})


class Files:
    """All resources of some files, each once."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._resources: dict[str, Resource] = {}
        self._identified: dict[str, str] = {}
        self._of_patient: dict[str, list[Resource]] = defaultdict(list)
        self._wordings: dict[tuple[object, object], set[str]] = defaultdict(set)
        for path in paths:
            self._read(path)
        for resource in self._resources.values():
            subject = resource.content.get("subject") or resource.content.get("patient")
            if target := self.target(resource, subject):
                self._of_patient[target].append(resource)

    def patients(self) -> list[str]:
        """`Patient/id` of every patient, sorted."""
        return sorted(key for key in self._resources if key.startswith("Patient/"))

    def resource(self, name: str) -> Resource:
        """The resource of `Type/id`, with what it needs to resolve its references."""
        return self._resources[name]

    def content(self, key: str) -> Json:
        """Resource of a `Type/id`."""
        return self._resources[key].content

    def of(self, patient: str, resource_type: str) -> list[Resource]:
        """Resources of a type about a patient."""
        return [item for item in self._of_patient[patient] if item.content["resourceType"] == resource_type]

    def target(self, resource: Resource, reference: object) -> str | None:
        """`Type/id` that a Reference inside this resource names; None where these files don't have it."""
        text = str(first(reference).get("reference"))
        found = resource.urls.get(text) or self._identified.get(text) or text
        return found if found in self._resources else None

    def wordings(self, coding: Json) -> set[str]:
        """Every display that these files have for a code."""
        return self._wordings[coding.get("system"), coding.get("code")]

    def _read(self, path: Path) -> None:
        entries = list(_entries(path))
        urls = {url: name(content) for url, content in entries if url}
        for _, content in entries:
            self._resources[name(content)] = Resource(content, urls)
            for item in elements(content.get("identifier")):
                token = f"{content['resourceType']}?identifier={item.get('system')}|{item.get('value')}"
                self._identified[token] = name(content)
            self._collect_wordings(content)

    def _collect_wordings(self, value: Any) -> None:
        for item in cast("list[Any]", value) if isinstance(value, list) else cast(Json, value).values():
            if isinstance(item, dict | list):
                self._collect_wordings(item)
        if isinstance(value, dict) and "code" in value and "display" in value:
            coding = cast(Json, value)
            self._wordings[coding.get("system"), str(coding["code"])].add(visible(coding["display"]))


def visible(text: str) -> str:
    """A label without the zero-width spaces that some sources put into it."""
    return text.replace("\u200b", "").strip()


def _entries(path: Path) -> Iterator[tuple[str | None, Json]]:
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    if ".ndjson" in path.name:
        yield from ((None, json.loads(line, parse_float=Decimal)) for line in text.splitlines() if line)
        return
    for entry in json.loads(text, parse_float=Decimal)["entry"]:
        yield entry.get("fullUrl"), entry["resource"]
