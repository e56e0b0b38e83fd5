"""Providers of the caller's facility, and the patients whom they saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from loaders.patient import patient_by_id
from loaders.provider import ProviderRow, SeenPatientRow, patient_ids_of_providers, provider_by_id
from resolvers.arguments import resource_id
from resolvers.connection import Slice, link, slices, time_page
from resolvers.context import Context

of_facts = link(provider_by_id, "provider_id")


async def one(context: Context, *, id: str) -> ProviderRow | None:
    """The provider of an id; None for what is not there."""
    [row] = await context.reader.load_many(provider_by_id, [resource_id("id", id, "Provider")])
    return row


async def patients(
    context: Context,
    parents: Sequence[Any],
    *,
    first: int,
    after: str | None,
    start: str | None,
    end: str | None,
) -> Sequence[Slice[Any]]:
    """Patients of each provider, the latest seen first."""
    page = time_page(context, "Provider.patients", first, after, start, end)
    ids = [parent.id for parent in parents]
    seen = await patient_ids_of_providers(context.reader, ids, page)
    pages = slices(context, "Provider.patients", page, ids, seen)
    wanted = list({row.id for one_page in pages for row in one_page.rows})
    known = dict(zip(wanted, await context.reader.load_many(patient_by_id, wanted), strict=True))
    return [_of_patients(page, known) for page in pages]


def _of_patients(page: Slice[SeenPatientRow], known: Mapping[UUID, Any]) -> Slice[Any]:
    """The page with the patients in place of when they were seen, which their cursors are made of."""
    seen = {row.id: row for row in page.rows}
    return Slice(
        [known[key] for key in seen], lambda patient: page.cursor(seen[patient.id]), page.has_next, page.has_previous
    )
