"""Other facilities whose records of a patient the caller may see: the patient consented, and is treated here."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from loaders.facts import ChildrenBatch
from loaders.statement import Statement

EXCHANGES_OF_PATIENTS = Statement("""/* exchanges_of_patients */
SELECT patient_id, patient_id, facility_id, code, name
FROM access.exchanges($1::uuid[])""")


@dataclass(frozen=True, slots=True)
class ExchangedRow:
    """One patient's records at one other facility."""

    patient_id: UUID
    facility_id: UUID
    code: str
    name: str


exchanges_of_patients = ChildrenBatch(EXCHANGES_OF_PATIENTS, ExchangedRow)
