"""FHIR data types in the shape in which the graph shows them."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from tests.fidelity.files import Json, elements, first


def pick(given: Json, *names: str) -> Json:
    """Elements of these names."""
    return {name: given.get(name) for name in names}


def concept(value: object) -> Json | None:
    """A CodeableConcept, or the first of several."""
    given = first(value)
    codings = [coding(item) for item in elements(given.get("coding"))]
    return {"coding": codings, "text": given.get("text")} if given else None


def concepts(value: object) -> list[Json | None]:
    """A list of CodeableConcepts."""
    return [concept(item) for item in elements(value)]


def coding(value: object) -> Json:
    """A Coding."""
    return pick(first(value), "system", "code", "display")


def code(value: object) -> object:
    """Code of a CodeableConcept."""
    return first(first(value).get("coding")).get("code")


def quantity(value: object) -> Json | None:
    """A Quantity with its exact number."""
    return pick(first(value), "value", "comparator", "unit", "system", "code") if value else None


def period(content: Json, element: str) -> tuple[object, object]:
    """Start and end of a choice of dateTime and Period."""
    given = first(content.get(f"{element}Period"))
    return content.get(f"{element}DateTime") or given.get("start"), given.get("end")


def texts(attachments: Sequence[object]) -> str:
    """Decoded texts of attachments."""
    return "\n\n".join(base64.b64decode(first(item)["data"]).decode() for item in attachments)


def plain_uid(text: str | None) -> str | None:
    """A DICOM UID without the prefix that FHIR gives it."""
    return text.removeprefix("urn:oid:") if text else None
