"""The reads that documents of the notes store share: the newest N of each parent, and by id; one aggregate each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from db.mongo import Document
from db.notes_schema import Collection
from loaders.page import FIRST_TIME, LAST_ID, LAST_TIME, TimePage
from loaders.reader import Batch, Reader

R = TypeVar("R")
Row = TypeVar("Row", covariant=True)

NEWEST_FIRST: Document = {"sort_time": -1, "_id": -1}


class NewestBatch(Protocol[Row]):
    """Newest rows of each parent: up to page.first + 1 of each; filters in the order of the batch's paths."""

    def __call__(
        self, reader: Reader, ids: Sequence[UUID], page: TimePage, *filters: Sequence[str] | None
    ) -> Awaitable[Mapping[UUID, Sequence[Row]]]: ...


def within(page: TimePage) -> list[Document]:
    """Stages that keep the range of the page and what comes after its position; an open end needs none."""
    conditions: list[Document] = []
    if page.start > FIRST_TIME:
        conditions.append({"sort_time": {"$gte": page.start}})
    if page.end < LAST_TIME:
        conditions.append({"sort_time": {"$lt": page.end}})
    if (page.before_time, page.before_id) != (LAST_TIME, LAST_ID):
        same = {"sort_time": page.before_time, "_id": {"$lt": str(page.before_id)}}
        conditions.append({"$or": [{"sort_time": {"$lt": page.before_time}}, same]})
    return [{"$match": condition} for condition in conditions]


def any_of(path: str, values: Sequence[str] | None) -> list[Document]:
    """Stages that keep documents with one of the values; none for None, which means any."""
    return [] if values is None else [{"$match": {path: {"$in": list(values)}}}]


def newest_documents(
    statement: str,
    collection: Collection,
    parent: str,
    row: Callable[[Document], R],
    paths: Sequence[str] = (),
    unread: Sequence[str] = (),
) -> NewestBatch[R]:
    """Batch function of the newest documents of each parent, by the path of the parent's id.

    Filters are values of `paths`, in their order; fields in `unread` stay on the server. A window numbers the documents
    of each parent: a $group would hold a parent's documents in one, which BSON bounds to 16 MB.
    """
    rank: Document = {"partitionBy": f"${parent}", "sortBy": NEWEST_FIRST, "output": {"rank": {"$documentNumber": {}}}}

    async def batch(
        reader: Reader, ids: Sequence[UUID], page: TimePage, *filters: Sequence[str] | None
    ) -> Mapping[UUID, Sequence[R]]:
        stages = within(page)
        for path, values in zip(paths, filters, strict=True):
            stages += any_of(path, values)
        if unread:
            stages.append({"$unset": list(unread)})
        stages += [{"$setWindowFields": rank}, {"$match": {"rank": {"$lte": page.first + 1}}}]
        keys = {parent: {"$in": [str(key) for key in dict.fromkeys(ids)]}}
        rows: dict[UUID, list[R]] = {key: [] for key in ids}
        name = parent.rpartition(".")[2]
        found = await reader.notes.aggregate(statement, collection, keys, stages)
        for document in sorted(found, key=lambda document: document["rank"]):
            rows[UUID(document["metadata"][name])].append(row(document))
        return rows

    return batch


def documents_by_id(
    statement: str, collection: Collection, row: Callable[[Document], R], unread: Sequence[str] = ()
) -> Batch[UUID, R]:
    """Batch function of documents by their _id."""
    stages: list[Document] = [{"$unset": list(unread)}] if unread else []

    async def batch(reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, R]:
        keys = {"_id": {"$in": [str(key) for key in ids]}}
        found = await reader.notes.aggregate(statement, collection, keys, stages)
        return {UUID(document["_id"]): row(document) for document in found}

    return batch


def key(value: str | None) -> UUID | None:
    """Row id of a document's text, or None."""
    return None if value is None else UUID(value)
