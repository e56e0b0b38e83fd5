"""Copies in the notes store: documents that give way to none but newer ones, and up to when a copy is complete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo import ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError

from db.mongo import BATCH, Document, Mongo
from db.notes_schema import COPIES, Collection

_DUPLICATE_KEY = 11000


async def put(mongo: Mongo, collection: Collection, documents: Sequence[Document]) -> None:
    """Writes whole documents by _id; one that is there with a later `as_of` stays. Raises StoreError."""
    for start in range(0, len(documents), BATCH):
        await _write(mongo, collection, [_replacement(one) for one in documents[start : start + BATCH]])


def _replacement(document: Document) -> ReplaceOne[Document]:
    # Where a newer one is there, it is not found, and the insert in its place fails.
    return ReplaceOne(_not_after(document["_id"], document["as_of"]), document, upsert=True)


def _not_after(key: str, as_of: datetime) -> Document:
    return {"_id": key, "as_of": {"$not": {"$gt": as_of}}}


async def remove(mongo: Mongo, collection: Collection, keys: Sequence[str], as_of: datetime) -> int:
    """Deletes those of these documents that are not later; how many there were. Raises StoreError."""
    stale = {"_id": {"$in": list(keys)}, "as_of": {"$not": {"$gt": as_of}}}
    return (await mongo.run(lambda: mongo.open(collection).delete_many(stale))).deleted_count


async def remove_before(mongo: Mongo, collection: Collection, as_of: datetime) -> int:
    """Deletes what was made before a rebuild began, which has made anew all that there is. Raises StoreError."""
    stale = {"as_of": {"$not": {"$gte": as_of}}}
    return (await mongo.run(lambda: mongo.open(collection).delete_many(stale))).deleted_count


async def complete(mongo: Mongo, collection: Collection, as_of: datetime) -> None:
    """Says that all that the sources had before then is in a copy. Raises StoreError."""
    told = UpdateOne({"_id": collection.name}, {"$max": {"as_of": as_of}}, upsert=True)
    await _write(mongo, COPIES, [told])


async def _write(mongo: Mongo, collection: Collection, requests: Sequence[Any]) -> None:
    async def call() -> None:
        try:
            await mongo.open(collection).bulk_write(requests, ordered=False)
        except BulkWriteError as error:
            if any(one["code"] != _DUPLICATE_KEY for one in error.details["writeErrors"]):
                raise

    await mongo.run(call)
