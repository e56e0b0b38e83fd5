"""The questions, as each kind of server takes them, and what makes two answers the same one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

import orjson

from resolvers.connection import Scope
from tests.bench.engines.data import TABLE, WARD, Pages

FOLDER = Path(__file__).parent / "questions"
SEARCHES = ("garcia ana", "nguyen", "okafor ben", "lindqvst", "haddad", "kowal", "tanaka emil", "moreau")
"""Words, whole, beginnings and misspelt."""
ALONE = ("trend", "five", "five_clinical", "five_vitals", "five_notes", "five_archive", "five_warehouse")
"""Questions to stores beside the clinical database: rivals have none of them."""
NAMES = ("chart", "ward", "table", "search", *ALONE)

Canonical: TypeAlias = tuple[tuple[str, ...], tuple[Any, ...]]
"""Leaves of an object, sorted, and its lists, each in its order."""


@dataclass(frozen=True, slots=True)
class Question:
    """One document with the variables of its pages."""

    name: str
    document: str
    pages: Sequence[Mapping[str, Any]]

    def bodies(self, *, fixed: bool) -> list[bytes]:
        """Bodies of the requests; `fixed`: of the first page alone."""
        operation = re.search(r"query (\w+)", self.document)
        assert operation
        asked = {"query": self.document, "operationName": operation[1]}
        return [orjson.dumps(asked | {"variables": page}) for page in (self.pages[:1] if fixed else self.pages)]


def for_caregraph(pages: Pages, monitored: Sequence[str], sign: Callable[[str], Scope]) -> dict[str, Question]:
    """Every question; `sign` gives the scope of a field's cursors, `monitored` patients of all stores."""

    def stay(key: str | None) -> str | None:
        time, _, stay_id = (key or "").partition("|")
        instant = datetime.fromisoformat(time).astimezone(UTC).isoformat() if key else ""
        return sign("Facility.inpatients").sign(instant, stay_id) if key else None

    patient = [{"patient": f"Patient/{key}"} for key in monitored]
    variables: dict[str, list[dict[str, Any]]] = {
        "chart": [{"patient": f"Patient/{key}"} for key in pages.charts],
        "ward": [{"after": stay(key)} for key in pages.wards],
        "table": [{"after": sign("Query.patients").sign("1", key) if key else None} for key in pages.tables],
        "search": [{"search": words} for words in SEARCHES],
        **{name: patient for name in ALONE},
    }
    return _questions(FOLDER, variables)


def for_rivals(pages: Pages) -> dict[str, Question]:
    """The same documents, with positions in the open."""
    return _questions(
        FOLDER,
        {
            "chart": [{"patient": key} for key in pages.charts],
            "ward": [{"after": key} for key in pages.wards],
            "table": [{"after": key} for key in pages.tables],
            "search": [{"search": words} for words in SEARCHES],
        },
    )


def for_postgraphile(pages: Pages) -> dict[str, Question]:
    """What PostGraphile makes of the views under its own names, with pages by offset."""
    return _questions(
        FOLDER / "postgraphile",
        {
            "chart": [{"patient": key} for key in pages.charts],
            "ward": [{"offset": number * WARD} for number in range(len(pages.wards))],
            "table": [{"offset": number * TABLE} for number in range(len(pages.tables))],
            "search": [{"terms": words.split(" ")} for words in SEARCHES],
        },
    )


def _questions(folder: Path, variables: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Question]:
    texts = {name: (folder / f"{name}.graphql").read_text("utf-8") for name in variables}
    return {name: Question(name, texts[name], pages) for name, pages in variables.items()}


def entities(data: object) -> list[Canonical]:
    """The objects that an answer is about, in order, in a form that does not depend on the names of fields.

    Null, empty and one-element lists say no more than what is in them; numbers compare as numbers (PostGraphile gives a
    numeric as text), ids without the type that Caregraph puts before them, presigned URLs without their signature.
    """
    value: Any = data
    while isinstance(value, dict) and len(cast("dict[str, Any]", value)) == 1:
        value = next(iter(cast("dict[str, Any]", value).values()))
    return [canonical(item) for item in cast("list[Any]", value if isinstance(value, list) else [value])]


def canonical(value: object) -> Canonical:
    """One object, or a list's element."""
    leaves: list[str] = []
    lists: list[Any] = []
    _flatten(value, leaves, lists)
    return tuple(sorted(leaves)), tuple(sorted(lists))


def _flatten(value: object, leaves: list[str], lists: list[Any]) -> None:
    if isinstance(value, dict):
        for inner in cast("dict[str, object]", value).values():
            _flatten(inner, leaves, lists)
    elif isinstance(value, list):
        items = cast("list[object]", value)
        if len(items) == 1:
            _flatten(items[0], leaves, lists)
        elif items:
            lists.append(tuple(canonical(item) for item in items))
    elif value is not None:
        leaves.append(_leaf(value))


def _leaf(value: object) -> str:
    text = str(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{float(value):.9g}"
    if re.fullmatch(r"-?\d+\.\d+", text):
        return f"{float(text):.9g}"
    # A presigned URL is another one in every second.
    return re.sub(r"^[A-Z]\w+/(?=[0-9a-f-]{36}$)|\?X-Amz-.*", "", text)


def leaves(value: object) -> int:
    """Scalars of an answer, nulls among them."""
    if isinstance(value, dict):
        return sum(map(leaves, cast("dict[str, object]", value).values()))
    if isinstance(value, list):
        return sum(map(leaves, cast("list[object]", value)))
    return 1
