"""The archive: DICOM objects in S3 under `imaging/{facility_id}/{study}/{series}/{instance}.dcm`.

A caller reaches nothing outside the prefix of the own facility, and only where the policy shows URLs; and beside it the
files of releases that the warehouse shows (db/release_files.py). Processes use the `worker_…` methods: they see all.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError

from db.caller import Caller
from db.errors import Forbidden, StoreError, StoreUnavailable
from db.guard import Guard
from db.object_keys import PREFIX, facility_of, is_key_of
from db.policy import Phi, shows
from db.release_files import file_key
from db.seen import Seen

T = TypeVar("T")
Record = Callable[[str, str], None]
"""Takes the store and the name of each request that is sent."""
AskSees = Callable[[UUID], Awaitable[bool]]
"""Tells whether a caller sees a release."""

EXPIRES_MAX_S = 300
"""Seconds for which a presigned URL is good at most."""
READ_MAX = 8 * 1024 * 1024
"""Bytes of one range at most."""
CONNECTIONS_MAX = 64

TIERS = (("STANDARD_IA", 90), ("GLACIER", 365))
"""Storage classes that an object moves to, with its age in days; before them it is STANDARD."""
RESTORE_DAYS = 7
"""Days for which a restored object can be read."""
EXPIRE_DAYS = 3650
"""Age in days at which an object is deleted."""

RULES = {
    "Rules": [
        {
            "ID": "caregraph-imaging",
            "Status": "Enabled",
            "Filter": {"Prefix": PREFIX},
            "Transitions": [{"Days": days, "StorageClass": tier} for tier, days in TIERS],
            "Expiration": {"Days": EXPIRE_DAYS},
            # What the sweeper does sooner (workers/sweep.py), for where nobody runs it.
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
        }
    ]
}
"""The same as S3 takes it."""

# What servers answer to operations, or to storage classes, that they do not have.
_LACKING = {"NotImplemented", "MethodNotAllowed", "InvalidStorageClass", "UnsupportedOperation", "XNotImplemented"}

# What they answer to a restore that is under way, or of what can be read as it is.
_RESTORED = {"RestoreAlreadyInProgress", "InvalidObjectState"}


@dataclass(frozen=True, slots=True)
class Stored:
    """What the server says of an object."""

    size_bytes: int
    storage_class: str
    restore_state: str | None
    """'in-progress' or 'completed' where a restore was asked for."""
    restore_expires: datetime | None


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a list has it."""

    key: str
    modified: datetime
    storage_class: str


@dataclass(frozen=True, slots=True)
class Multipart:
    """An upload in parts that is under way at the server."""

    key: str
    id: str
    initiated: datetime


class Archive:
    """One bucket; its client is opened when first used."""

    def __init__(self, name: str, url: str, timeout_s: float) -> None:
        """`url`: http(s)://access_key:secret_key@host:port/bucket?region=…"""
        self.name = name
        self.guard = Guard(name, timeout_s, CONNECTIONS_MAX)
        self._url = urlsplit(url)
        self.bucket = self._url.path.strip("/")
        self._opening = asyncio.Lock()
        self._closing = AsyncExitStack()
        self._client: Any = None

    def session(
        self, caller: Caller, record: Record, seen: Seen | None = None, ask_sees: AskSees | None = None
    ) -> Session:
        """One caller's view of the archive; nothing is sent before its first read. No release without `ask_sees`."""
        return Session(self, caller, record, seen or Seen(), ask_sees)

    async def ready(self) -> None:
        """Returns when the server answers for the bucket. Raises StoreError."""
        if await self.call("head_bucket") is None:
            raise StoreUnavailable(self.name)

    async def close(self) -> None:
        """Closes the client's connections."""
        self._client = None
        await self._closing.aclose()

    async def call(self, operation: str, **arguments: Any) -> Any:
        """Answer of one S3 operation on the bucket, None where there is no such object. Raises StoreError."""
        return await self.run(lambda client: getattr(client, operation)(Bucket=self.bucket, **arguments))

    async def run(self, use: Callable[[Any], Awaitable[T]]) -> T | None:
        """What `use` makes of the client, under the guard; None where there is no such object. Raises StoreError."""

        async def mapped() -> T | None:
            try:
                return await use(await self.client())
            except ClientError as error:
                if _status(error) == 404 and _code(error) != "NoSuchBucket":
                    return None
                raise StoreUnavailable(self.name) from None
            except (BotoCoreError, OSError):
                raise StoreUnavailable(self.name) from None

        return await self.guard.run(mapped)

    async def presign(self, operation: str, expires_s: int, **arguments: Any) -> str:
        """Signed URL of one request for an operation with these arguments; made here, without asking the server."""
        client = await self.client()
        parameters = {"Bucket": self.bucket, **arguments}
        return await client.generate_presigned_url(operation, Params=parameters, ExpiresIn=expires_s)

    async def read(self, key: str, start: int, end: int) -> bytes | None:
        """Bytes from `start` up to and without `end`, fewer at the object's end; None where there is no such object."""

        async def ranged(client: Any) -> bytes:
            try:
                return await self._range(client, key, start, end)
            except ClientError as error:
                if _status(error) not in (400, 416):
                    raise
            # S3 refuses a range that starts behind the end (416); nanio also one that only ends there (400).
            size = (await client.head_object(Bucket=self.bucket, Key=key))["ContentLength"]
            return await self._range(client, key, start, size) if start < size else b""

        return await self.run(ranged)

    async def _range(self, client: Any, key: str, start: int, end: int) -> bytes:
        return await self._content(client, Key=key, Range=f"bytes={start}-{end - 1}")

    async def _content(self, client: Any, **arguments: str) -> bytes:
        answer = await client.get_object(Bucket=self.bucket, **arguments)
        async with answer["Body"] as body:
            return await body.read()

    async def worker_put(self, key: str, content: bytes, content_type: str = "application/dicom") -> None:
        """Stores an object; an object of the same key is replaced."""
        await self.call("put_object", Key=key, Body=content, ContentType=content_type)

    async def worker_get(self, key: str) -> bytes | None:
        """An object, whole; None when there is none."""
        return await self.run(lambda client: self._content(client, Key=key))

    async def worker_head(self, key: str) -> Stored | None:
        """What the server says of an object; None when there is none."""
        answer = await self.call("head_object", Key=key)
        if answer is None:
            return None
        state, expires = _restore(answer.get("Restore", ""))
        return Stored(answer["ContentLength"], answer.get("StorageClass", "STANDARD"), state, expires)

    async def worker_delete(self, key: str) -> None:
        """Deletes an object; one that is not there is no error."""
        await self.call("delete_object", Key=key)

    async def worker_tiers(self) -> AsyncIterator[Mapping[str, str]]:
        """Storage class of every object of a facility by its key, a page of up to 1,000 at a time."""
        more, after = True, ""
        while more:
            page, more = await self.worker_list(after)
            yield {one.key: one.storage_class for one in page if facility_of(one.key)}
            after = page[-1].key if page else after

    async def worker_list(self, after: str, at_most: int = 1000, prefix: str = PREFIX) -> tuple[Sequence[Listed], bool]:
        """Objects whose keys come after this one, by the bytes of their keys; and whether there are more."""
        page = await self.call("list_objects_v2", Prefix=prefix, StartAfter=after or prefix, MaxKeys=at_most)
        listed = [
            Listed(one["Key"], one["LastModified"], one.get("StorageClass", "STANDARD"))
            for one in (page or {}).get("Contents", ())
        ]
        return listed, bool(page and page.get("IsTruncated"))

    async def worker_multipart_uploads(self) -> Sequence[Multipart]:
        """Uploads in parts that nobody has completed or aborted, up to 1,000."""
        page = await self.call("list_multipart_uploads", Prefix=PREFIX) or {}
        return [Multipart(one["Key"], one["UploadId"], one["Initiated"]) for one in page.get("Uploads", ())]

    async def worker_ensure_bucket(self) -> None:
        """Makes the bucket where there is none."""
        if await self.run(lambda client: _bucket_exists(client, self.bucket)):
            return
        region = self._region()
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        await self.call("create_bucket", **where)

    async def worker_apply_lifecycle(self) -> bool:
        """Gives the server the lifecycle RULES; False when it has no lifecycle of its own."""
        return await self._has("put_bucket_lifecycle_configuration", LifecycleConfiguration=RULES)

    async def restore(self, key: str, days: int) -> bool:
        """Asks for a readable copy of an archived object for some days; False when the server has no restore.

        An object that was asked for already, or that is not archived any more, is left as it is.
        """
        return await self._has("restore_object", _RESTORED, Key=key, RestoreRequest={"Days": days})

    async def _has(self, operation: str, done: Collection[str] = (), **arguments: Any) -> bool:
        """Whether the server has an operation; `done` are codes that say that there is nothing left to do."""

        async def asked(client: Any) -> bool:
            try:
                await getattr(client, operation)(Bucket=self.bucket, **arguments)
            except ClientError as error:
                if _status(error) == 501 or _code(error) in _LACKING:
                    return False
                if _code(error) not in done:
                    raise
            return True

        return await self.run(asked) is not False

    async def client(self) -> Any:
        """The driver's client, opened once."""
        async with self._opening:
            if self._client is None:
                opened = await asyncio.to_thread(self._opened)
                self._client = await self._closing.enter_async_context(opened)
            return self._client

    def _opened(self) -> Any:
        """A client to enter. Its driver takes a fifth of a second to import: in a thread, so that others are served."""
        import aioboto3
        from botocore.config import Config

        port = f":{self._url.port}" if self._url.port else ""
        return aioboto3.Session().client(
            "s3",
            endpoint_url=f"{self._url.scheme}://{self._url.hostname}{port}",
            region_name=self._region(),
            aws_access_key_id=unquote(self._url.username or ""),
            aws_secret_access_key=unquote(self._url.password or ""),
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=self.guard.timeout_s,
                read_timeout=self.guard.timeout_s,
                retries={"total_max_attempts": 2, "mode": "standard"},
                max_pool_connections=CONNECTIONS_MAX,
                # Servers beside Amazon's do not all take checksums in trailers.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def _region(self) -> str:
        return parse_qs(self._url.query).get("region", ["us-east-1"])[0]


class Session:
    """One caller's reads, inside the caller's facility."""

    def __init__(self, archive: Archive, caller: Caller, record: Record, seen: Seen, ask_sees: AskSees | None) -> None:
        self._ask_sees = ask_sees
        self.archive = archive
        self.caller = caller
        self.record = record
        self.seen = seen
        self._asking = asyncio.Lock()
        self._answers = False
        self._failed: StoreError | None = None

    async def presigned_get(self, key: str, expires_s: int) -> str | None:
        """URL that reads an object for up to EXPIRES_MAX_S seconds; None where the policy hides URLs.

        The URL is made without the server, but whether the server answers is asked once for each request, so that
        nobody is sent to a dead store. Raises Forbidden for another facility's key, StoreError for a dead store.
        """
        _check_expiry(expires_s)
        self._check(key)
        if not self.shown:
            return None
        return await self._presigned(key, expires_s)

    async def presigned_release(
        self, release_id: UUID, files: Sequence[tuple[str, int]], expires_s: int
    ) -> Sequence[str | None]:
        """URLs that read files (table, partition) of a release for up to EXPIRES_MAX_S seconds.

        None where the warehouse does not show the release to the caller. What is in it is not PHI of the kind URL: the
        release is what the project may have. Raises StoreError.
        """
        _check_expiry(expires_s)
        if self._ask_sees is None or not await self._ask_sees(release_id):
            return [None] * len(files)
        return [await self._presigned(file_key(release_id, *file), expires_s, release_id) for file in files]

    async def _presigned(self, key: str, expires_s: int, release_id: UUID | None = None) -> str:
        await self._answering()
        self.seen.url(release_id)
        return await self.archive.presign("get_object", expires_s, Key=key)

    async def read_range(self, key: str, start: int, end: int) -> bytes | None:
        """Bytes from `start` up to and without `end` of an object, fewer at its end; None when there is no object.

        Raises Forbidden for another facility's key and where the policy hides URLs, StoreError.
        """
        if not 0 <= start < end <= start + READ_MAX:
            raise ValueError(f"A range has 1 to {READ_MAX} bytes.")
        self._check(key)
        if not self.shown:
            raise Forbidden
        self.record(self.archive.name, "read_range")
        return await self.archive.read(key, start, end)

    @property
    def shown(self) -> bool:
        """Whether the policy shows URLs to the caller, and with them objects."""
        return shows(self.caller, Phi.URL)

    def _check(self, key: str) -> None:
        if not is_key_of(self.caller.facility_id, key):
            raise Forbidden

    async def _answering(self) -> None:
        async with self._asking:
            if self._failed:
                raise self._failed
            if self._answers:
                return
            self.record(self.archive.name, "head_bucket")
            try:
                await self.archive.ready()
            except StoreError as error:
                self._failed = error
                raise
            self._answers = True


def _check_expiry(expires_s: int) -> None:
    if not 1 <= expires_s <= EXPIRES_MAX_S:
        raise ValueError(f"A presigned URL is good for 1 to {EXPIRES_MAX_S} seconds.")


async def _bucket_exists(client: Any, bucket: str) -> bool:
    try:
        await client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if _status(error) == 404:
            return False
        raise
    return True


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _restore(header: str) -> tuple[str | None, datetime | None]:
    """State and expiry of `x-amz-restore`: ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"."""
    if not header:
        return None, None
    expires = re.search(r'expiry-date="([^"]+)"', header)
    if 'ongoing-request="true"' in header or not expires:
        return "in-progress", None
    return "completed", parsedate_to_datetime(expires[1])
