"""The caller's facility (FHIR R4 Organization)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from loaders.facts import ByIdBatch, by_id
from loaders.statement import Columns

COLUMNS = Columns("facility", "id, code, name, type, address, telecom")
FACILITY_BY_ID = by_id("facility_by_id", COLUMNS)


@dataclass(frozen=True, slots=True)
class FacilityRow:
    """One row of `facility`, in the order of COLUMNS."""

    id: UUID
    code: str
    name: str
    type: dict[str, Any] | None
    address: dict[str, Any] | None
    telecom: list[dict[str, Any]] | None


facility_by_id = ByIdBatch(FACILITY_BY_ID, FacilityRow)
