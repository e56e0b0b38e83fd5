"""Patients: by id, by medical record number, by search; their names and identifiers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from uuid import UUID

from db.errors import InvalidArgument, InvalidCursor
from loaders.page import LAST_ID
from loaders.patient import (
    Match,
    PatientRow,
    identifiers_of_patients,
    names_of_patients,
    patient_by_id,
    patient_id_by_mrn,
    patients_by_search,
    patients_of_facility,
)
from resolvers.arguments import page_size, resource_id, text
from resolvers.connection import Slice, link, scope
from resolvers.context import Context

TERMS_MAX = 6
"""Words of one search at most."""
_BIRTH_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

names = link(names_of_patients, "id")
identifiers = link(identifiers_of_patients, "id")
of_facts = link(patient_by_id, "patient_id")


async def one(context: Context, *, id: str | None, mrn: str | None) -> PatientRow | None:
    """The patient of an id or of a medical record number of the caller's facility; None for what is not there."""
    if (id is None) == (mrn is None):
        raise InvalidArgument("id" if id is not None else "mrn", "must be given, and not both id and mrn")
    if id is not None:
        patient_id: UUID | None = resource_id("id", id, "Patient")
    else:
        [patient_id] = await context.reader.load_many(patient_id_by_mrn, [text("mrn", mrn or "")])
    [row] = await context.reader.load_many(patient_by_id, [patient_id])
    return row


async def search(
    context: Context, *, search: str | None, first: int, after: str | None
) -> Slice[tuple[Decimal, PatientRow]]:
    """Patients that match a name, birth date or medical record number, best first, each with its score.

    Without a search: all patients of the facility by id, with score 1.
    """
    size = page_size("first", first)
    words = [] if search is None else text("search", search, minimum=2).split(" ")
    dates = [word for word in words if _BIRTH_DATE.fullmatch(word)]
    terms = [word for word in words if word not in dates]
    if len(terms) > TERMS_MAX or len(dates) > 1:
        raise InvalidArgument("search", f"must have at most {TERMS_MAX} words and one birth date")
    signer = scope(context, "Query.patients")
    before = _position(signer.verify(after, 2)) if after is not None else Match(LAST_ID, Decimal(2))
    if words:
        matches = await patients_by_search(context.reader, terms, dates[0] if dates else None, before, size + 1)
    else:
        matches = await patients_of_facility(context.reader, before, size + 1)
    shown = matches[:size]
    rows = await context.reader.load_many(patient_by_id, [match.patient_id for match in shown])
    return Slice(
        rows=[(match.score, row) for match, row in zip(shown, rows, strict=True) if row is not None],
        cursor=lambda found: signer.sign(str(found[0]), str(found[1].id)),
        has_next=len(matches) > size,
        has_previous=after is not None,
    )


def _position(values: Sequence[str]) -> Match:
    try:
        return Match(UUID(values[1]), Decimal(values[0]))
    except (ValueError, InvalidOperation):
        raise InvalidCursor("after") from None
