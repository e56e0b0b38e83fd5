"""Ids of rows: the FHIR id where it is a UUID, else a UUID derived from what the source calls the thing."""

from __future__ import annotations

import re
from uuid import UUID

from db.ids import derived_id

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def row_id(resource_type: str, fhir_id: str) -> UUID:
    """Row id of the resource with this type and FHIR id."""
    return UUID(fhir_id) if _UUID.fullmatch(fhir_id) else derived_id(resource_type, fhir_id)
