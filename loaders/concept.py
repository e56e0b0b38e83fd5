"""CodeableConcept of a row: its main coding and text stand in columns, further codings in JSON."""

from __future__ import annotations

from typing import Any, Protocol


class Coded(Protocol):
    """A row with the columns of one concept."""

    @property
    def code_system(self) -> str | None: ...
    @property
    def code(self) -> str | None: ...
    @property
    def code_display(self) -> str | None: ...
    @property
    def code_text(self) -> str | None: ...


def concept(row: Coded) -> dict[str, Any] | None:
    """FHIR CodeableConcept of a row; None where it has neither code nor text."""
    coding: list[dict[str, Any]] = []
    if row.code or row.code_display:
        coding.append({"system": row.code_system, "code": row.code, "display": row.code_display})
    coding += getattr(row, "code_translation", None) or []
    if not coding and not row.code_text:
        return None
    return {"coding": coding, "text": row.code_text}
