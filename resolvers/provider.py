"""Providers of the caller's facility, and the patients whom they saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loaders.patient import patient_by_id
from loaders.provider import ProviderRow, patient_ids_of_providers, provider_by_id
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
    return [Slice([known[row.id] for row in p.rows], p.cursors, p.has_next, p.has_previous) for p in pages]
