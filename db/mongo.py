"""The notes store: MongoDB through Motor, one caller at a time; the only file that knows the driver.

A session puts the caller's facility into the first stage of every read and the policy's mask behind it, so that what
comes after (filters, order, groups) sees the masked values, as SQL sees those of a masked view.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from bson.codec_options import CodecOptions, TypeCodec, TypeRegistry
from bson.decimal128 import Decimal128, create_decimal128_context
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import ReplaceOne, ReturnDocument, UpdateOne
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
)

from db.caller import Caller, Patients
from db.errors import Forbidden, StoreError, StoreTimeout, StoreUnavailable
from db.guard import Guard
from db.mongo_mask import mask
from db.note_signature import verdicts
from db.notes_schema import CLINICAL_NOTES, COLLECTIONS, COPIES, Collection
from db.policy import Form, Phi, View, shows, view_of
from db.scrub.scrubber import Unscrubbed
from db.seen import Seen
from db.visible import Document, visible

T = TypeVar("T")
Record = Callable[[str, str], None]
"""Takes the store and the name of each statement that is sent."""

AskPatients: TypeAlias = Callable[[], Awaitable[Patients]]
"""Asks the clinical database whose records the caller may see."""

STAGES = frozenset({"$group", "$limit", "$match", "$project", "$set", "$setWindowFields", "$sort", "$unset"})
"""Stages that callers may send: those that read nothing but what the stage before them passes on."""

CONNECT_TIMEOUT_S = 2.0
"""Seconds after which a server that does not answer counts as down."""

BUILD_TIMEOUT_S = 3600.0
"""Seconds that building the indexes of one collection may take; a store's deadline is for reads."""

BATCH = 100
"""Documents of one bulk write; with their index entries they fit into a store's deadline."""

MOVED = frozenset({"metadata.facility_id", "security"})
"""Fields that a worker may set on any document: where it is, and its labels. What is signed is not among them."""

_Change: TypeAlias = ReplaceOne[Document] | UpdateOne
_DUPLICATE = 11000
_EXISTS = 48
_NO_TEXT_INDEX = 67
_NOT_AUTHENTICATED = {13, 18}


class DecimalCodec(TypeCodec):
    """FHIR decimals keep their digits: Decimal in Python, Decimal128 in BSON."""

    @property
    def python_type(self) -> type[Decimal]:
        """What is encoded."""
        return Decimal

    @property
    def bson_type(self) -> type[Decimal128]:
        """What is decoded."""
        return Decimal128

    def transform_python(self, value: Decimal) -> Decimal128:
        """Digits beyond the 34 that Decimal128 has are rounded."""
        return Decimal128(create_decimal128_context().create_decimal(value))

    def transform_bson(self, value: Decimal128) -> Decimal:
        """The number with all its digits."""
        return value.to_decimal()


CODEC: CodecOptions[Document] = CodecOptions(tz_aware=True, type_registry=TypeRegistry([DecimalCodec()]))


class Mongo:
    """The notes database; nothing connects before the first use."""

    def __init__(self, name: str, url: str, timeout_s: float) -> None:
        self.name = name
        self.guard = Guard(name, timeout_s)
        self._url = url
        self._timeout_ms = int(timeout_s * 1000)
        self._client: AsyncIOMotorClient[Document] | None = None
        self._has_text: bool | None = None

    def session(self, caller: Caller, record: Record, patients: AskPatients, seen: Seen | None = None) -> MongoSession:
        """Reads of one caller, of the patients whose records the caller may see."""
        return MongoSession(self, caller, record, patients, seen or Seen())

    async def ready(self) -> None:
        """Returns when the server answers this login. Raises StoreError."""
        await self.run(lambda: self._database().list_collection_names())

    async def close(self) -> None:
        """Drops the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def ensure(self) -> None:
        """Creates what is missing of the collections, validators and indexes; doing it again changes nothing."""
        unhurried = Mongo(self.name, self._url, BUILD_TIMEOUT_S)
        try:
            for collection in (*COLLECTIONS, COPIES):
                await unhurried.run(lambda collection=collection: unhurried._ensure(collection))
        finally:
            await unhurried.close()
        self._has_text = None

    async def worker_upsert(self, collection: Collection, documents: Sequence[Document]) -> tuple[int, int]:
        """Writes whole documents by _id, of any facility: how many were written, how many were there just so.

        What a caller wrote stays as it is (Collection.replaceable). Raises StoreError when the validator refuses a
        document; those before and after it may have been written.
        """
        own = collection.replaceable
        changes = [ReplaceOne({"_id": one["_id"], **own}, one, upsert=True) for one in documents]
        return await self._worker_write(collection, changes)

    async def worker_set(self, collection: Collection, values: Mapping[str, Document]) -> tuple[int, int]:
        """Sets fields among MOVED of documents by _id, and nothing else of them; counts as worker_upsert."""
        if unknown := {path for one in values.values() for path in one} - MOVED:
            raise ValueError(f"{min(unknown)} is not for workers to set.")
        changes = [UpdateOne({"_id": key}, {"$set": one}) for key, one in values.items()]
        return await self._worker_write(collection, changes)

    async def _worker_write(self, collection: Collection, changes: Sequence[_Change]) -> tuple[int, int]:
        written = unchanged = 0
        rest = iter(changes)
        while batch := list(islice(rest, BATCH)):
            result = await self.run(lambda batch=batch: self._bulk(collection, batch))
            written += result["nModified"] + result["nUpserted"]
            unchanged += len(batch) - result["nModified"] - result["nUpserted"]
        return written, unchanged

    async def _bulk(self, collection: Collection, batch: Sequence[_Change]) -> Document:
        try:
            return (await self.open(collection).bulk_write(batch, ordered=False)).bulk_api_result
        except BulkWriteError as error:
            # A document that may not be replaced is not found, so that its id is taken.
            if any(one["code"] != _DUPLICATE for one in error.details["writeErrors"]):
                raise
            return dict(error.details)

    async def worker_delete(self, collection: Collection, ids: Sequence[str]) -> int:
        """Deletes documents by _id, of any facility, but not what a caller wrote: how many there were."""
        wanted = {"_id": {"$in": list(ids)}, **collection.replaceable}
        result = await self.run(lambda: self.open(collection).delete_many(wanted))
        return result.deleted_count

    async def add(self, collection: Collection, document: Document) -> Document:
        """The document of this _id: this one, or the one that has it already. See db/note_writing.py."""

        async def call() -> Document | None:
            try:
                await self.open(collection).insert_one(document)
            except DuplicateKeyError:
                return await self.open(collection).find_one({"_id": document["_id"]})
            return document

        found = await self.run(call)
        assert found is not None
        return found

    async def update(self, collection: Collection, wanted: Document, change: Document) -> Document | None:
        """The one document that matches, changed, in one atomic operation; None where none does."""
        after = ReturnDocument.AFTER
        return await self.run(lambda: self.open(collection).find_one_and_update(wanted, change, return_document=after))

    async def worker_count(self, collection: Collection, filter: Mapping[str, Any]) -> int:
        """Documents of any facility that match."""
        return await self.run(lambda: self.open(collection).count_documents(filter))

    async def worker_find(self, collection: Collection, filter: Mapping[str, Any]) -> list[Document]:
        """Documents of any facility that match, unmasked: for processes, never for a caller."""
        return await self.run(lambda: self.open(collection).find(filter).to_list(None))

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call under this store's guard, with the driver's failures as StoreError; their texts may hold values."""

        async def mapped() -> T:
            try:
                return await call()
            except (ExecutionTimeout, NetworkTimeout):
                raise StoreTimeout(self.name) from None
            except ConnectionFailure:
                raise StoreUnavailable(self.name) from None
            except OperationFailure as error:
                if error.code in _NOT_AUTHENTICATED:
                    raise StoreUnavailable(self.name) from None
                raise

        try:
            return await self.guard.run(mapped)
        except PyMongoError:
            raise StoreError(self.name, f"This store refused what it was sent: {self.name}.") from None

    async def aggregate(self, collection: Collection, pipeline: Sequence[Document]) -> list[Document]:
        """Documents of a pipeline as it stands, without a tenant; MongoSession is what makes it safe."""

        async def call() -> list[Document]:
            cursor = self.open(collection).aggregate(pipeline, maxTimeMS=self._timeout_ms)
            return await cursor.to_list(None)

        return await self.run(call)

    async def has_text(self) -> bool:
        """Whether the server has `$text` indexes; asked once."""
        if self._has_text is None:
            found = await self.run(lambda: self.open(CLINICAL_NOTES).index_information())
            self._has_text = "text" in found
        return self._has_text

    def open(self, collection: Collection) -> AsyncIOMotorCollection[Document]:
        """The driver's collection; for this file and the tests of it."""
        return self._database()[collection.name]

    def _database(self) -> AsyncIOMotorDatabase[Document]:
        if self._client is None:
            connect_ms = min(int(CONNECT_TIMEOUT_S * 1000), self._timeout_ms)
            self._client = AsyncIOMotorClient(
                self._url,
                serverSelectionTimeoutMS=connect_ms,
                connectTimeoutMS=connect_ms,
                socketTimeoutMS=self._timeout_ms,
            )
        return self._client.get_default_database(codec_options=CODEC)

    async def _ensure(self, collection: Collection) -> None:
        validator = {"$jsonSchema": collection.schema}
        try:
            await self._database().create_collection(collection.name, check_exists=False, validator=validator)
        except OperationFailure as error:
            if error.code != _EXISTS:
                raise
            await self._database().command("collMod", collection.name, validator=validator)
        for name, keys in collection.indexes.items():
            await self.open(collection).create_index(list(keys), name=name)
        for name, keys in collection.sparse_indexes.items():
            await self.open(collection).create_index(list(keys), name=name, sparse=True)
        if collection.text_index:
            try:
                await self.open(collection).create_index(list(collection.text_index), name="text")
            except OperationFailure as error:
                if error.code != _NO_TEXT_INDEX:
                    raise


class MongoSession:
    """One caller's reads: inside the facility, in the forms of the policy."""

    def __init__(self, mongo: Mongo, caller: Caller, record: Record, patients: AskPatients, seen: Seen) -> None:
        self._mongo = mongo
        self._caller = caller
        self._record = record
        self._patients = patients
        self._seen = seen

    async def find(self, statement: str, collection: Collection, keys: Document) -> list[Document]:
        """Documents with these values of fields, in no order. Raises StoreError."""
        return await self.aggregate(statement, collection, keys)

    async def aggregate(
        self,
        statement: str,
        collection: Collection,
        keys: Document,
        stages: Sequence[Document] = (),
        *,
        words: str | None = None,
    ) -> list[Document]:
        """Documents that the stages make of those with the values `keys`. Raises StoreError.

        `keys` is what an index can find: conditions on fields, without operators of the top level. `words` is a hint
        for a server with a text index: documents without any of them are not read.
        """
        pipeline = self.pipeline(collection, keys, stages, await self._patients())
        if words is not None and self._shows(collection, "text") and await self._mongo.has_text():
            pipeline[0]["$match"]["$text"] = {"$search": words}
        return await self._found(statement, collection, pipeline)

    async def as_of(self, collection: Collection) -> datetime | None:
        """Up to when a copy has what its sources have; None where that is not known. Asked for before what it is about.

        Raises StoreError.
        """
        self._record(self._mongo.name, f"as_of_{collection.name}")
        found = await self._mongo.worker_find(COPIES, {"_id": collection.name})
        return found[0]["as_of"] if found else None

    async def unscrubbed(self, statement: str, collection: Collection, ids: Sequence[UUID]) -> list[Unscrubbed]:
        """Free text of these documents, for a caller who sees it scrubbed. Raises StoreError, Forbidden for others."""
        seen = view_of(self._caller)
        if seen.forms[Phi.FREE_TEXT] is not Form.SCRUB:
            raise Forbidden
        worded = replace(seen, forms={**seen.forms, Phi.FREE_TEXT: Form.SHOW})
        keys = {"_id": {"$in": [str(key) for key in ids]}}
        pipeline = self.pipeline(
            collection, keys, [{"$unset": ["search_terms", "versions"]}], await self._patients(), worded
        )
        found = await self._found(statement, collection, pipeline)
        return [Unscrubbed(UUID(one["_id"]), UUID(one["metadata"]["patient_id"]), one) for one in found]

    async def verified(self, statement: str, ids: Sequence[UUID]) -> Mapping[UUID, Sequence[bool | None]]:
        """Whether each signature of these notes holds, in their order. Raises StoreError.

        It is found out with what is stored, whatever the caller may see of that, and nothing else of it leaves here.
        """
        plain = replace(view_of(self._caller), forms=dict.fromkeys(Phi, Form.SHOW))
        keys = {"_id": {"$in": [str(key) for key in ids]}}
        pipeline = self.pipeline(CLINICAL_NOTES, keys, [{"$unset": "search_terms"}], await self._patients(), plain)
        return {UUID(one["_id"]): verdicts(one) for one in await self._found(statement, CLINICAL_NOTES, pipeline)}

    async def _found(self, statement: str, collection: Collection, pipeline: Sequence[Document]) -> list[Document]:
        self._record(self._mongo.name, statement)
        documents = await self._mongo.aggregate(collection, pipeline)
        self._seen.documents(self._caller.facility_id, documents)
        return documents

    def pipeline(
        self,
        collection: Collection,
        keys: Document,
        stages: Sequence[Document],
        patients: Patients,
        seen: View | None = None,
    ) -> list[Document]:
        """Pipeline that is sent: facility and keys, patients, labels, mask, keys on masked paths, then the stages."""
        if any(path.startswith(("$", "metadata.facility_id")) for path in keys):
            raise ValueError("Keys are conditions on fields other than the facility.")
        if unknown := {name for stage in stages for name in stage} - STAGES:
            raise ValueError(f"Stage {min(unknown)} is not for callers.")
        first = {path: value for path, value in keys.items() if self._shows(collection, path)}
        masked = {path: value for path, value in keys.items() if path not in first}
        return [
            {"$match": {"metadata.facility_id": str(self._caller.facility_id), **first}},
            *visible(collection, self._caller, patients),
            *mask(collection, seen or view_of(self._caller)),
            *([{"$match": masked}] if masked else []),
            *stages,
        ]

    def _shows(self, collection: Collection, path: str) -> bool:
        """Whether the caller sees the field of a path just as it is stored."""
        kind = collection.kinds[path.split(".")[0]]
        return kind is None or shows(self._caller, kind)
