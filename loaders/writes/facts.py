"""What the writes of facts share: rows are recorded, locked and changed by names of columns; what is not named stays.

Values travel as JSON objects, which PostgreSQL turns into the columns' types: decimals keep their digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString, TypeAlias
from uuid import UUID

from db.transaction import Transaction
from loaders.write import Code, Moment, Refusal, lock_chart, not_found, row_for_update

Columns: TypeAlias = Mapping[str, Any]
"""Values of a row by column; a Moment stands for its text."""

ENTERED_IN_ERROR = "entered-in-error"
"""Status of what never was: it stays so (FHIR R4)."""


def patient_of(table: LiteralString) -> LiteralString:
    """Statement that gives the patient of the row $1."""
    return f"/* patient_of_{table} */ SELECT patient_id FROM {table} WHERE id = $1::uuid"


def for_update(table: LiteralString, columns: LiteralString) -> LiteralString:
    """Statement that locks the row $1 and gives these columns of it, its patient and its version."""
    return f"""/* {table}_for_update */
SELECT patient_id, version, sort_time, {columns} FROM {table} WHERE id = $1::uuid FOR UPDATE"""


def recorded(table: LiteralString, columns: LiteralString) -> LiteralString:
    """Statement that inserts rows of the patient $1 from a list of JSON objects $2."""
    return f"""/* record_{table} */
INSERT INTO {table} (facility_id, patient_id, {columns})
SELECT access.facility_id(), $1::uuid, {columns} FROM jsonb_populate_recordset(NULL::{table}, $2::jsonb)"""


def changed(table: LiteralString, columns: LiteralString) -> LiteralString:
    """Statement that changes what the JSON object $2 names of the row $1, among these columns."""
    return f"""/* change_{table} */
UPDATE {table} AS t
SET ({columns}) = (SELECT {columns} FROM jsonb_populate_record(t, $2::jsonb))
WHERE t.id = $1::uuid"""


async def locked(
    writing: Transaction, patient: LiteralString, row: LiteralString, id: UUID, version: int
) -> Mapping[str, Any]:
    """The row of an id as it is, with its chart: nobody else changes either before the end.

    Raises Refusal where there is none that the caller may write to, and where the client saw another version.
    """
    owners = await writing.fetch(patient, id)
    if not owners:
        raise not_found("id")
    await lock_chart(writing, owners[0]["patient_id"])
    return dict(await row_for_update(writing, row, id, version))


def stays(status: str | None) -> None:
    """Raises Refusal for a row that was entered in error."""
    if status == ENTERED_IN_ERROR:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "It was entered in error and stays so.")


def plain(columns: Columns) -> dict[str, Any]:
    """The same without Moments, as JSON takes it."""
    return {name: value.text if isinstance(value, Moment) else value for name, value in columns.items()}
