"""Mutations of imaging: uploads of DICOM objects, and restores of what was archived."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

from db.archive import RESTORE_DAYS
from db.errors import StoreError, StoreTimeout
from db.holdings import CONTENT_TYPE, PART_BYTES, SIZE_MAX, Holdings, holdings_of
from db.object_keys import incoming_key
from db.transaction import Transaction
from loaders.imaging_study import ImagingUploadRow, imaging_upload_by_id
from loaders.write import Written
from loaders.writes.imaging_study import (
    NewUpload,
    begin_upload,
    chart_of,
    complete_upload,
    finish,
    lease,
    renew_upload,
    request_restore,
)
from resolvers.context import Context
from resolvers.write import Given, Input, Prepared, write

RESTORES_AT_ONCE = 8
"""Objects that the archive is asked for at the same time."""
RESTORES_MAX = 200
"""Objects of a study that the archive is asked for by the request itself; workers/lifecycle.py asks for the others."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an object, counted from 1, and the URL that writes it; an object that is sent whole has one."""

    number: int
    first_byte: int
    size_bytes: int
    content_type: str | None
    url: str


async def begin(context: Context, input: Input) -> Written:
    """Begins an upload of one object."""

    def prepare(given: Given) -> Prepared:
        size = float(given.get("size_bytes"))
        if not size.is_integer() or not 1 <= size <= SIZE_MAX:
            raise given.invalid("size_bytes", f"must be a whole number from 1 to {SIZE_MAX}")
        digest = given.text("sha256", 64)
        if digest is not None and not _SHA256.fullmatch(digest):
            raise given.invalid("sha256", "must be 64 hexadecimal digits in lower case")
        new = NewUpload(
            patient_id=given.needed_id("patient_id", "Patient"),
            encounter_id=given.id("encounter_id", "Encounter"),
            size_bytes=int(size),
            sha256=digest,
        )
        holdings = holdings_of(context.reader.archive)
        return lambda writing: begin_upload(context.reader, writing, holdings, new, datetime.now(UTC))

    return await write(context, "beginImagingUpload", input, ["imaging_upload"], prepare, "imaging")


async def renew(context: Context, input: Input) -> Written:
    """Lets URLs of an upload be made anew."""

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("id", "ImagingUpload")
        return lambda writing: renew_upload(writing, id, datetime.now(UTC))

    return await write(context, "renewImagingUpload", input, ["imaging_upload"], prepare, "imaging")


async def complete(context: Context, input: Input) -> Written:
    """Completes an upload; what this request has no time for, the sweeper does."""
    tables = ["imaging_upload", "imaging_study", "imaging_series", "imaging_instance"]

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("id", "ImagingUpload")
        holdings = holdings_of(context.reader.archive)
        return lambda writing: complete_upload(writing, holdings, id, given.version, datetime.now(UTC))

    written = await write(context, "completeImagingUpload", input, tables, prepare, "imaging")
    if written.id is not None:
        await _finish(context, written.id)
    return written


async def _finish(context: Context, id: UUID) -> None:
    async def fetch(sql: LiteralString, *args: object) -> Sequence[Any]:
        async with context.reader.transaction("imaging") as writing:
            return await writing.fetch(sql, *args)

    leased = await lease(fetch, id, datetime.now(UTC))
    chart = leased and await chart_of(context.reader, leased.patient_id)
    if leased and chart:
        try:
            await finish(fetch, holdings_of(context.reader.archive), leased, chart)
        except StoreTimeout:
            return  # a large object takes longer than a request may


async def restore(context: Context, input: Input) -> Written:
    """Asks for the archived objects of a study."""
    asked: list[str] = []

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("study_id", "ImagingStudy")

        async def change(writing: Transaction) -> UUID:
            asked[:] = await request_restore(writing, id)
            return id

        return change

    written = await write(context, "requestImagingRestore", input, ["imaging_instance"], prepare, "imaging")
    if asked and not written.errors:
        await _ask(holdings_of(context.reader.archive), asked[:RESTORES_MAX])
    return written


async def _ask(holdings: Holdings, keys: Sequence[str]) -> None:
    """Asks the archive for objects. What it is not asked for now, it is by workers/lifecycle.py."""
    waiting = iter(keys)

    async def ask() -> None:
        for key in waiting:
            await holdings.restore(key, RESTORE_DAYS)

    try:
        await asyncio.gather(*(ask() for _ in range(RESTORES_AT_ONCE)))
    except StoreError:
        return


async def parts(context: Context, parents: Sequence[Written]) -> list[list[Part] | None]:
    """What is to be sent for each upload, with URLs; None where nothing may be sent any more."""
    uploads = await context.reader.load_many(imaging_upload_by_id, [parent.id for parent in parents])
    return [await _parts(context, upload) if upload else None for upload in uploads]


async def _parts(context: Context, upload: ImagingUploadRow) -> list[Part] | None:
    if upload.state != "begun" or upload.expires_at <= datetime.now(UTC):
        return None
    holdings = holdings_of(context.reader.archive)
    key = incoming_key(context.caller.facility_id, upload.id)
    if upload.multipart_id is None:
        url = await holdings.put_url(key, upload.size_bytes)
        return [Part(1, 0, upload.size_bytes, CONTENT_TYPE, url)]
    found: list[Part] = []
    for number, first in enumerate(range(0, upload.size_bytes, PART_BYTES), 1):
        size = min(PART_BYTES, upload.size_bytes - first)
        url = await holdings.part_url(key, upload.multipart_id, number, size)
        found.append(Part(number, first, size, None, url))
    return found
