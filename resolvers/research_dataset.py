"""Research datasets, their versions and cells; the cohort of a patient."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from db.errors import InvalidCursor
from loaders.page import TimePage
from loaders.research_dataset import (
    MEASURES,
    AggregateRow,
    CohortRow,
    DatasetRow,
    VersionRow,
    age_band,
    aggregates_of_versions,
    cohorts,
    research_dataset_by_id,
    research_datasets,
    versions_of_datasets,
)
from resolvers.arguments import codes, page_size, resource_id
from resolvers.connection import Slice, link, relation, scope, time_page, time_slice
from resolvers.context import Context

DATASETS = "Query.researchDatasets"
AGGREGATES = "ResearchDatasetVersion.aggregates"


class Person(Protocol):
    """What a cohort needs of a patient, in the form in which the caller sees it."""

    @property
    def gender(self) -> str | None: ...
    @property
    def birth_date(self) -> str | None: ...
    @property
    def deceased(self) -> bool | None: ...
    @property
    def deceased_date_time(self) -> str | None: ...


async def page(context: Context, *, first: int, after: str | None) -> Slice[DatasetRow]:
    """Datasets that the caller may see, newest first."""
    wanted = time_page(context, DATASETS, first, after)
    return time_slice(scope(context, DATASETS), wanted, await research_datasets(context.reader, wanted))


async def one(context: Context, *, id: str) -> DatasetRow | None:
    """The dataset of an id; None for what is not there."""
    [row] = await context.reader.load_many(research_dataset_by_id, [resource_id("id", id, "ResearchDataset")])
    return row


versions = relation("ResearchDataset.versions", versions_of_datasets)
of_versions = link(research_dataset_by_id, "dataset_id")


async def latest_version(context: Context, parents: Sequence[DatasetRow]) -> Sequence[VersionRow | None]:
    """The newest version of each dataset."""
    found = await versions_of_datasets(context.reader, [parent.id for parent in parents], TimePage(1))
    return [next(iter(found[parent.id]), None) for parent in parents]


async def aggregates(
    context: Context,
    parents: Sequence[VersionRow],
    *,
    measure: list[str] | None,
    code: list[str] | None,
    first: int,
    after: str | None,
) -> Sequence[Slice[AggregateRow]]:
    """The cells of each version, in the order of publication."""
    size, signer, ordinal = page_size("first", first), scope(context, AGGREGATES), 0
    if after is not None:
        [position] = signer.verify(after, 1)
        if not position.isdigit():
            raise InvalidCursor("after")
        ordinal = int(position)
    found = await aggregates_of_versions(
        context.reader,
        [parent.id for parent in parents],
        limit=size + 1,
        after=ordinal,
        measures=codes("measure", measure, MEASURES),
        codes=codes("code", code),
    )
    return [
        Slice(rows[:size], lambda row: signer.sign(str(row.ordinal)), len(rows) > size, after is not None)
        for rows in (found[parent.id] for parent in parents)
    ]


async def cohorts_of_patients(context: Context, parents: Sequence[Person]) -> Sequence[CohortRow | None]:
    """The narrowest published cohort of each patient: by sex and age band, else by one of them, else everybody.

    None for the deceased and those of unknown sex, who are in no cohort.
    """
    today = datetime.now(UTC).date()
    sexes = [parent.gender for parent in parents if parent.gender and not _is_deceased(parent)]
    if not sexes:
        return [None] * len(parents)
    found = await cohorts(context.reader, sexes)

    def cohort(parent: Person) -> CohortRow | None:
        if not parent.gender or _is_deceased(parent):
            return None
        band = age_band(parent.birth_date, today)
        keys = ((parent.gender, band), (None, band), (parent.gender, None), (None, None))
        return next((found[key] for key in keys if key in found), None)

    return [cohort(parent) for parent in parents]


def _is_deceased(person: Person) -> bool:
    return bool(person.deceased or person.deceased_date_time)
