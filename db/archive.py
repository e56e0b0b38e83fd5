"""The archive: DICOM objects in S3 under `imaging/{facility_id}/{study}/{series}/{instance}.dcm`.

A caller reaches nothing outside the prefix of the own facility, and only where the policy shows URLs. Processes use the
`worker_…` methods, which see every facility.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
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
from db.policy import Phi, shows
from db.seen import Seen

T = TypeVar("T")
Record = Callable[[str, str], None]
"""Takes the store and the name of each request that is sent."""

EXPIRES_MAX_S = 300
"""Seconds for which a presigned URL is good at most."""
READ_MAX = 8 * 1024 * 1024
"""Bytes of one range at most."""
CONNECTIONS_MAX = 64
PREFIX = "imaging/"

TIERS = (("STANDARD_IA", 90), ("GLACIER", 365))
"""Storage classes that an object moves to, with its age in days; before them it is STANDARD."""
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
        }
    ]
}
"""The same as S3 takes it."""

# What servers answer to operations, or to storage classes, that they do not have.
_LACKING = {"NotImplemented", "MethodNotAllowed", "InvalidStorageClass", "UnsupportedOperation", "XNotImplemented"}

# One path for one object: no empty, `.` or `..` segment, no escape, no character that a server might rewrite.
_FACILITY = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_KEY = re.compile(rf"{PREFIX}({_FACILITY})(?:/[0-9A-Za-z][0-9A-Za-z._-]*)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Stored:
    """What the server says of an object."""

    size_bytes: int
    storage_class: str
    restore_state: str | None
    """'in-progress' or 'completed' where a restore was asked for."""
    restore_expires: datetime | None


class Archive:
    """One bucket; its client is opened when first used."""

    def __init__(self, name: str, url: str, timeout_s: float) -> None:
        """`url`: http(s)://access_key:secret_key@host:port/bucket?region=…"""
        self.name = name
        self.guard = Guard(name, timeout_s, CONNECTIONS_MAX)
        self._url = urlsplit(url)
        self._bucket = self._url.path.strip("/")
        self._opening = asyncio.Lock()
        self._closing = AsyncExitStack()
        self._client: Any = None

    def session(self, caller: Caller, record: Record, seen: Seen | None = None) -> Session:
        """One caller's view of the archive; nothing is sent before its first read."""
        return Session(self, caller, record, seen or Seen())

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
        return await self.run(lambda client: getattr(client, operation)(Bucket=self._bucket, **arguments))

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

    async def presign(self, key: str, expires_s: int) -> str:
        """Signed URL of a GET; made here, without asking the server."""
        client = await self.client()
        parameters = {"Bucket": self._bucket, "Key": key}
        return await client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=expires_s)

    async def read(self, key: str, start: int, end: int) -> bytes | None:
        """Bytes from `start` up to and without `end`, fewer at the object's end; None where there is no such object."""

        async def ranged(client: Any) -> bytes:
            try:
                return await self._range(client, key, start, end)
            except ClientError as error:
                if _status(error) not in (400, 416):
                    raise
            # S3 refuses a range that starts behind the end (416); nanio also one that only ends there (400).
            size = (await client.head_object(Bucket=self._bucket, Key=key))["ContentLength"]
            return await self._range(client, key, start, size) if start < size else b""

        return await self.run(ranged)

    async def _range(self, client: Any, key: str, start: int, end: int) -> bytes:
        answer = await client.get_object(Bucket=self._bucket, Key=key, Range=f"bytes={start}-{end - 1}")
        async with answer["Body"] as body:
            return await body.read()

    async def worker_put(self, key: str, content: bytes) -> None:
        """Stores an object; an object of the same key is replaced."""
        await self.call("put_object", Key=key, Body=content, ContentType="application/dicom")

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
        arguments: dict[str, str] = {"Prefix": PREFIX}
        while True:
            page = await self.call("list_objects_v2", **arguments)
            if page is None:
                return
            listed = page.get("Contents", ())
            yield {e["Key"]: e.get("StorageClass", "STANDARD") for e in listed if _KEY.fullmatch(e["Key"])}
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    async def worker_ensure_bucket(self) -> None:
        """Makes the bucket where there is none."""
        if await self.run(lambda client: _bucket_exists(client, self._bucket)):
            return
        region = self._region()
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        await self.call("create_bucket", **where)

    async def worker_apply_lifecycle(self) -> bool:
        """Gives the server the lifecycle RULES; False when it has no lifecycle of its own."""
        return await self._has("put_bucket_lifecycle_configuration", LifecycleConfiguration=RULES)

    async def worker_restore(self, key: str, days: int) -> bool:
        """Asks for a readable copy of an archived object for some days; False when the server has no restore."""
        return await self._has("restore_object", Key=key, RestoreRequest={"Days": days})

    async def _has(self, operation: str, **arguments: Any) -> bool:
        async def asked(client: Any) -> bool:
            try:
                await getattr(client, operation)(Bucket=self._bucket, **arguments)
            except ClientError as error:
                if _status(error) == 501 or _code(error) in _LACKING:
                    return False
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

    def __init__(self, archive: Archive, caller: Caller, record: Record, seen: Seen) -> None:
        self._archive = archive
        self._caller = caller
        self._record = record
        self._seen = seen
        self._asking = asyncio.Lock()
        self._answers = False
        self._failed: StoreError | None = None

    async def presigned_get(self, key: str, expires_s: int) -> str | None:
        """URL that reads an object for up to EXPIRES_MAX_S seconds; None where the policy hides URLs.

        The URL is made without the server, but whether the server answers is asked once for each request, so that
        nobody is sent to a dead store. Raises Forbidden for another facility's key, StoreError for a dead store.
        """
        if not 1 <= expires_s <= EXPIRES_MAX_S:
            raise ValueError(f"A presigned URL is good for 1 to {EXPIRES_MAX_S} seconds.")
        self._check(key)
        if not self._shown:
            return None
        await self._answering()
        self._seen.presigned += 1
        return await self._archive.presign(key, expires_s)

    async def read_range(self, key: str, start: int, end: int) -> bytes | None:
        """Bytes from `start` up to and without `end` of an object, fewer at its end; None when there is no object.

        Raises Forbidden for another facility's key and where the policy hides URLs, StoreError.
        """
        if not 0 <= start < end <= start + READ_MAX:
            raise ValueError(f"A range has 1 to {READ_MAX} bytes.")
        self._check(key)
        if not self._shown:
            raise Forbidden
        self._record(self._archive.name, "read_range")
        return await self._archive.read(key, start, end)

    @property
    def _shown(self) -> bool:
        return shows(self._caller, Phi.URL)

    def _check(self, key: str) -> None:
        if not is_key_of(self._caller.facility_id, key):
            raise Forbidden

    async def _answering(self) -> None:
        async with self._asking:
            if self._failed:
                raise self._failed
            if self._answers:
                return
            self._record(self._archive.name, "head_bucket")
            try:
                await self._archive.ready()
            except StoreError as error:
                self._failed = error
                raise
            self._answers = True


def is_key_of(facility_id: UUID, key: str) -> bool:
    """Whether a key names an object of this facility, by one plain path."""
    match = _KEY.fullmatch(key)
    return match is not None and match[1] == str(facility_id)


def instance_key(facility_id: UUID, study_id: UUID, series_id: UUID, instance_id: UUID) -> str:
    """Key of an instance, of row ids: a UID would identify the patient in every log that a URL passes."""
    return f"{PREFIX}{facility_id}/{study_id}/{series_id}/{instance_id}.dcm"


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
