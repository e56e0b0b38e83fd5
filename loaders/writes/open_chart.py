"""Whether a chart is open to whoever writes to a store beside the clinical one, which knows no registrations."""

from __future__ import annotations

from uuid import UUID

from loaders.reader import Reader
from loaders.write import not_found

OPEN_CHART = """/* open_chart */
SELECT access.chart_is_open($1::uuid),
    $2::uuid IS NULL OR EXISTS (SELECT FROM encounter WHERE id = $2::uuid AND patient_id = $1::uuid)"""


async def check_chart(reader: Reader, patient_id: UUID, encounter_id: UUID | None) -> None:
    """Raises Refusal where the chart is not open to the caller, or the encounter is not the patient's."""
    [found] = await reader.clinical.fetch(OPEN_CHART, patient_id, encounter_id)
    for there, name in zip(found, ("patientId", "encounterId"), strict=True):
        if not there:
            raise not_found(name)
