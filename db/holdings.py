"""A facility's objects in the archive, as they are written: URLs that write one object, copies, parts, digests.

For callers who may write (see `holdings_of`) and for workers; no other facility's key is taken.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from db.archive import EXPIRES_MAX_S, READ_MAX, Archive, Session
from db.errors import Forbidden
from db.object_keys import is_key_of
from db.seen import Seen

CONTENT_TYPE = "application/dicom"
"""Media type of a DICOM file (RFC 3240)."""
PART_BYTES = 64 * 1024 * 1024
"""Bytes of each part of an object but the last; what is no larger is sent whole."""
SIZE_MAX = 5 * 1024**3
"""Bytes of an object at most: what S3 copies in one request."""


@dataclass(frozen=True, slots=True)
class Held:
    """An object that is there: its size in bytes, and what tells its content from another (RFC 9110 8.8.3)."""

    size_bytes: int
    etag: str


class Holdings:
    """Objects of one facility. Every method raises Forbidden for a key of another one, and StoreError."""

    def __init__(
        self,
        archive: Archive,
        facility_id: UUID,
        record: Callable[[str, str], None] = lambda store, name: None,
        seen: Seen | None = None,
    ) -> None:
        self.facility_id = facility_id
        self._archive = archive
        self._record = record
        self._seen = seen or Seen()

    async def put_url(self, key: str, size_bytes: int) -> str:
        """URL that writes this object, of just this size and as DICOM, within EXPIRES_MAX_S seconds."""
        return await self._url("put_object", key, ContentLength=size_bytes, ContentType=CONTENT_TYPE)

    async def part_url(self, key: str, multipart_id: str, number: int, size_bytes: int) -> str:
        """The same of one part of an object, counted from 1."""
        return await self._url(
            "upload_part", key, UploadId=multipart_id, PartNumber=number, ContentLength=size_bytes
        )  # fmt: skip

    async def begin_parts(self, key: str) -> str:
        """Begins an object that is sent in parts; the server's id of the upload."""
        return (await self._call("create_multipart_upload", key, ContentType=CONTENT_TYPE))["UploadId"]

    async def parts_bytes(self, key: str, multipart_id: str) -> int:
        """Bytes of the parts that are there; 0 where the upload has been joined or aborted."""
        return sum(part["Size"] for part in await self._parts(key, multipart_id))

    async def join_parts(self, key: str, multipart_id: str) -> None:
        """Makes the object of the parts that are there; of none, nothing."""
        parts = [{"PartNumber": one["PartNumber"], "ETag": one["ETag"]} for one in await self._parts(key, multipart_id)]
        if parts:
            upload = {"UploadId": multipart_id, "MultipartUpload": {"Parts": parts}}
            await self._call("complete_multipart_upload", key, **upload)

    async def abort_parts(self, key: str, multipart_id: str) -> None:
        """Drops an upload in parts; one that is not there is no error."""
        await self._call("abort_multipart_upload", key, UploadId=multipart_id)

    async def held(self, key: str) -> Held | None:
        """What is at a key; None where nothing is."""
        answer = await self._call("head_object", key)
        return answer and Held(answer["ContentLength"], answer["ETag"])

    async def copy(self, source: str, target: str) -> bool:
        """Copies an object at the server; False where there is none at the source."""
        self._check(source)
        from_key = {"Bucket": self._archive.bucket, "Key": source}
        return await self._call("copy_object", target, CopySource=from_key) is not None

    async def delete(self, key: str) -> None:
        """Deletes an object; one that is not there is no error."""
        await self._call("delete_object", key)

    async def start(self, key: str, size_bytes: int) -> bytes:
        """The first bytes of an object, READ_MAX at most."""
        return await self._range(key, 0, min(size_bytes, READ_MAX))

    async def sha256(self, key: str, size_bytes: int) -> str:
        """Digest of an object in hexadecimal; no more than READ_MAX bytes of it are in memory at a time."""
        digest = hashlib.sha256()
        for start in range(0, size_bytes, READ_MAX):
            chunk = await self._range(key, start, min(start + READ_MAX, size_bytes))
            await asyncio.to_thread(digest.update, chunk)
        return digest.hexdigest()

    async def restore(self, key: str, days: int) -> bool:
        """Asks for a readable copy of an archived object for some days; False when the server has no restore."""
        self._check(key)
        self._record(self._archive.name, "restore_object")
        return await self._archive.restore(key, days)

    async def _range(self, key: str, start: int, end: int) -> bytes:
        self._check(key)
        self._record(self._archive.name, "read_range")
        return await self._archive.read(key, start, end) or b""

    async def _parts(self, key: str, multipart_id: str) -> list[dict[str, Any]]:
        return (await self._call("list_parts", key, UploadId=multipart_id) or {}).get("Parts", [])

    async def _url(self, operation: str, key: str, **arguments: Any) -> str:
        self._check(key)
        self._seen.url()
        return await self._archive.presign(operation, EXPIRES_MAX_S, Key=key, **arguments)

    async def _call(self, operation: str, key: str, **arguments: Any) -> Any:
        self._check(key)
        self._record(self._archive.name, operation)
        return await self._archive.call(operation, Key=key, **arguments)

    def _check(self, key: str) -> None:
        if not is_key_of(self.facility_id, key):
            raise Forbidden


def holdings_of(session: Session) -> Holdings:
    """The objects of a caller's facility. Raises Forbidden where the policy hides URLs."""
    if not session.shown:
        raise Forbidden
    return Holdings(session.archive, session.caller.facility_id, session.record, session.seen)
