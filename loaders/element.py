"""Values of FHIR elements that both Python, of a row, and SQL, of its columns, can give: see loaders.json_text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, cast


@lru_cache(maxsize=1024)
def fhir_name(name: str) -> str:
    """FHIR element name of a Python name: `postal_code` is `postalCode`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def take(source: Any, name: str) -> object:
    """The attribute of a row, or the element of a FHIR fragment."""
    if isinstance(source, dict):
        element = cast("dict[str, object]", source)
        return element.get(name) if name in element else element.get(fhir_name(name))
    return getattr(source, name)


@dataclass(frozen=True, slots=True)
class Element:
    """The attribute of a row, or the element of a FHIR fragment, that has another name than its field."""

    name: str

    def __call__(self, source: Any) -> object:
        return take(source, self.name)


@dataclass(frozen=True, slots=True)
class Listed:
    """A list element that a FHIR fragment may lack: an empty list then."""

    name: str

    def __call__(self, source: Any) -> object:
        return take(source, self.name) or []


@dataclass(frozen=True, slots=True)
class Inside:
    """What lies inside the FHIR fragment of a column, at a path of element names."""

    column: str
    path: tuple[str, ...]

    def __call__(self, row: Any) -> object:
        value: Mapping[str, Any] | None = getattr(row, self.column)
        for name in self.path:
            value = (value or {}).get(name)
        return value


@dataclass(frozen=True, slots=True)
class Member:
    """The member of an enum whose value an attribute has. Raises ValueError for another value."""

    enum: type[Enum]
    name: str

    def __call__(self, row: Any) -> Enum:
        return self.enum(getattr(row, self.name))


@dataclass(frozen=True, slots=True)
class GlobalId:
    """Global id of a row: the type's name and the row's key; None for a row without that key."""

    type_name: str
    attribute: str = "id"

    def __call__(self, row: Any) -> str | None:
        key = getattr(row, self.attribute)
        return f"{self.type_name}/{key}" if key else None


@dataclass(frozen=True, slots=True)
class Concept:
    """CodeableConcept of a row: its main coding and text stand in columns, further codings in JSON.

    None where it has neither code nor text.
    """

    def __call__(self, row: Any) -> dict[str, Any] | None:
        coding: list[dict[str, Any]] = []
        if row.code or row.code_display:
            coding.append({"system": row.code_system, "code": row.code, "display": row.code_display})
        coding += getattr(row, "code_translation", None) or []
        if not coding and not row.code_text:
            return None
        return {"coding": coding, "text": row.code_text}


@dataclass(frozen=True, slots=True)
class ValueQuantity:
    """Quantity of a row with the columns of an Observation's value; None where it has no number or comparator."""

    def __call__(self, row: Any) -> dict[str, Any] | None:
        if row.value_number is None and row.value_comparator is None:
            return None
        return {
            "value": row.value_number,
            "comparator": row.value_comparator,
            "unit": row.value_unit,
            "system": row.value_system,
            "code": row.value_code,
        }


@dataclass(frozen=True, slots=True)
class JoinedName:
    """Name of a professional in one text: prefixes, given names, family name."""

    def __call__(self, row: Any) -> str:
        return " ".join([*(row.prefix or ()), *(row.given or ()), *([row.family] if row.family else ())])


concept = Concept()
value_quantity = ValueQuantity()
joined_name = JoinedName()
