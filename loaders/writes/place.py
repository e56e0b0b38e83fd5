"""Where something happens and with whom: a chart that is open, a department and a provider of the facility."""

from __future__ import annotations

from uuid import UUID

from db.transaction import Transaction
from loaders.write import not_found

PLACE_OF_WRITE = """/* place_of_write */
SELECT access.chart_is_open($1::uuid), (SELECT name FROM department WHERE id = $2::uuid),
    EXISTS (SELECT FROM provider WHERE id = $3::uuid)"""


async def check_place(
    writing: Transaction, patient_id: UUID | None, department_id: UUID | None, provider_id: UUID | None
) -> str | None:
    """Name of the department. Raises Refusal for the first of the ids that is of nothing the caller may write to."""
    [(is_open, department, is_here)] = await writing.fetch(PLACE_OF_WRITE, patient_id, department_id, provider_id)
    if patient_id and not is_open:
        raise not_found("patientId")
    if department_id and department is None:
        raise not_found("departmentId")
    if provider_id and not is_here:
        raise not_found("providerId")
    return department
