"""Ids of rows: the FHIR id where it is a UUID, else a UUID derived from what the source calls the thing."""

from __future__ import annotations

import re
from uuid import UUID, uuid5

NAMESPACE = UUID("6c8f3c0e-5d0b-5c1a-9b0e-0f4f6d5b7a21")
"""Namespace of every derived id; never changes, or a second import would double the first."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def row_id(resource_type: str, fhir_id: str) -> UUID:
    """Row id of the resource with this type and FHIR id."""
    return UUID(fhir_id) if _UUID.fullmatch(fhir_id) else derived_id(resource_type, fhir_id)


def derived_id(*parts: str | None) -> UUID:
    """Id derived from parts, the same on every run; parts never run into each other."""
    return uuid5(NAMESPACE, "\x1f".join(part or "" for part in parts))
