"""Uploads of DICOM objects, from the first byte to a study's row, and restores (FHIR R4 ImagingStudy, DICOM PS3.3).

An object goes from where its client writes it into quarantine, is read there, and from there to its place: what is read
is what is kept. Each step can be taken again, so that whoever comes after a crash goes on where it stopped: the client
with the same key, or workers/sweep.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeAlias
from uuid import UUID, uuid4, uuid5

from db.holdings import PART_BYTES, Held, Holdings
from db.object_keys import incoming_key, instance_key, quarantine_key
from db.transaction import Transaction
from loaders.dicom import Header, header_of
from loaders.encounter import encounter_by_id
from loaders.facility import facility_by_id
from loaders.patient import OPEN, patient_by_id
from loaders.reader import Reader
from loaders.write import Code, Refusal, check_version, not_found

UPLOAD_HOURS = 24
"""Hours in which an upload must be completed."""
LEASE = timedelta(minutes=10)
"""How long whoever completes an upload is left alone: longer than a URL that writes its object is good."""

BEGIN_UPLOAD = """/* begin_imaging_upload */
INSERT INTO imaging.imaging_upload (id, facility_id, patient_id, encounter_id, subject, size_bytes, sha256,
    multipart_id, expires_at)
SELECT $1::uuid, c.facility_id, $2::uuid, $3::uuid, c.subject, $4::bigint, $5::text, $6::text, $7::timestamptz
FROM access.context() AS c"""

UPLOAD_FOR_UPDATE = """/* imaging_upload_for_update */
SELECT size_bytes, multipart_id, state, expires_at, version
FROM imaging.imaging_upload
WHERE id = $1::uuid
FOR UPDATE"""

MARK_COMPLETING = """/* mark_upload_completing */
UPDATE imaging.imaging_upload SET state = 'completing', leased_until = '-infinity' WHERE id = $1::uuid"""

LEASE_UPLOAD = """/* lease_imaging_upload */
UPDATE imaging.imaging_upload SET leased_until = $3::timestamptz
WHERE id = $1::uuid AND state = 'completing' AND leased_until < $2::timestamptz
RETURNING id, facility_id, patient_id, size_bytes, sha256, multipart_id"""

PLACE_OF_INSTANCE = """/* place_of_instance */
SELECT taken, ids, s3_key FROM imaging.place_of($1::uuid, $2::uuid, $3::text[])"""

KEEP_UPLOAD = """/* keep_imaging_upload */
SELECT imaging.keep_upload($1::uuid, $2::uuid[], $3::text, $4::text[], $5::jsonb)"""

QUARANTINE_UPLOAD = """/* quarantine_imaging_upload */
UPDATE imaging.imaging_upload SET state = 'quarantined', reason = $2::text, leased_until = NULL
WHERE id = $1::uuid AND state = 'completing'"""

EXPIRE_UPLOAD = """/* expire_imaging_upload */
UPDATE imaging.imaging_upload SET state = 'expired', leased_until = NULL
WHERE id = $1::uuid AND state IN ('begun', 'completing')"""

STUDY_IS_THERE = """/* study_is_there */
SELECT id FROM imaging.imaging_study WHERE id = $1::uuid"""

MARK_RESTORING = """/* mark_restoring */
UPDATE imaging.imaging_instance AS i SET restore_state = 'in-progress', restore_expires = NULL
FROM imaging.imaging_series AS s
WHERE s.imaging_study_id = $1::uuid AND i.imaging_series_id = s.id AND i.storage_class IN ('GLACIER', 'DEEP_ARCHIVE')
    AND (i.restore_state IS NULL OR i.restore_expires <= clock_timestamp())
RETURNING i.s3_key"""

Fetch: TypeAlias = Callable[..., Awaitable[Sequence[Any]]]
"""Rows of one statement with its parameters, committed at once: as a caller who writes, or as a worker."""


class Quarantined(Enum):
    """Why an object was not taken into its patient's chart: stable codes, as imaging_upload.reason has them."""

    NOT_DICOM = "NOT_DICOM"
    PATIENT_MISMATCH = "PATIENT_MISMATCH"
    UID_MISSING = "UID_MISSING"
    UID_TAKEN = "UID_TAKEN"
    SIZE_MISMATCH = "SIZE_MISMATCH"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What an upload is begun with; `sha256` is hexadecimal."""

    patient_id: UUID
    encounter_id: UUID | None
    size_bytes: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Leased:
    """An upload that the holder of its lease completes, in the order of LEASE_UPLOAD."""

    id: UUID
    facility_id: UUID
    patient_id: UUID
    size_bytes: int
    sha256: str | None
    multipart_id: str | None


@dataclass(frozen=True, slots=True)
class Chart:
    """What a file must say of its patient: the medical record number, and who issued it if the file says that."""

    mrn: str | None
    facility_code: str


async def chart_of(reader: Reader, patient_id: UUID) -> Chart | None:
    """What files of a patient must say; None for a patient who is not there, or whose chart is not open."""
    [patient] = await reader.load_many(patient_by_id, [patient_id])
    [facility] = await reader.load_many(facility_by_id, [reader.caller.facility_id])
    return Chart(patient.mrn, facility.code) if patient and facility and patient.standing == OPEN else None


async def begin_upload(reader: Reader, writing: Transaction, holdings: Holdings, new: NewUpload, now: datetime) -> UUID:
    """Begins an upload and gives its id. Raises Refusal."""
    if await chart_of(reader, new.patient_id) is None:
        raise not_found("patientId")
    [encounter] = await reader.load_many(encounter_by_id, [new.encounter_id])
    if new.encounter_id and (encounter is None or encounter.patient_id != new.patient_id):
        raise not_found("encounterId")
    id = uuid4()
    in_parts = new.size_bytes > PART_BYTES
    # First there, then here: parts that nobody knows of are aborted by the sweeper.
    multipart_id = await holdings.begin_parts(incoming_key(holdings.facility_id, id)) if in_parts else None
    expires = now + timedelta(hours=UPLOAD_HOURS)
    await writing.fetch(
        BEGIN_UPLOAD, id, new.patient_id, new.encounter_id, new.size_bytes, new.sha256, multipart_id, expires
    )
    return id


async def open_upload(writing: Transaction, id: UUID, now: datetime) -> Any:
    """The upload of an id, of the caller's, while it may be sent; nobody else changes it before the end.

    Raises Refusal for one that is not there, and for one that has been completed or has expired.
    """
    rows = await writing.fetch(UPLOAD_FOR_UPDATE, id)
    if not rows:
        raise not_found("id")
    if rows[0]["state"] != "begun" or rows[0]["expires_at"] <= now:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The upload has ended.")
    return rows[0]


async def renew_upload(writing: Transaction, id: UUID, now: datetime) -> UUID:
    """The id of an upload for which URLs may be made. Raises Refusal."""
    await open_upload(writing, id, now)
    return id


async def complete_upload(writing: Transaction, holdings: Holdings, id: UUID, version: int, now: datetime) -> UUID:
    """Notes that the client has sent all: from here on `finish` completes it. Raises Refusal where not all is there."""
    upload = await open_upload(writing, id, now)
    check_version(version, upload["version"])
    key = incoming_key(holdings.facility_id, id)
    if upload["multipart_id"]:
        arrived = await holdings.parts_bytes(key, upload["multipart_id"]) == upload["size_bytes"]
    else:
        arrived = await holdings.held(key) is not None
    if not arrived:
        raise Refusal(Code.NOT_ALLOWED_NOW, "id", "The object has not arrived, or not all of its parts.")
    await writing.fetch(MARK_COMPLETING, id)
    return id


async def lease(fetch: Fetch, id: UUID, now: datetime) -> Leased | None:
    """The upload for the caller of this function alone to finish; None where nothing is left, or somebody is at it."""
    rows = await fetch(LEASE_UPLOAD, id, now, now + LEASE)
    return Leased(*rows[0]) if rows else None


async def finish(fetch: Fetch, holdings: Holdings, upload: Leased, chart: Chart) -> None:
    """Completes an upload: its object becomes part of its study, or stays in quarantine with a reason.

    Raises StoreError; then what was done stays done, and the next one goes on.
    """
    incoming, held = incoming_key(upload.facility_id, upload.id), quarantine_key(upload.facility_id, upload.id)
    if upload.multipart_id and await holdings.parts_bytes(incoming, upload.multipart_id) == upload.size_bytes:
        await holdings.join_parts(incoming, upload.multipart_id)
    found = await holdings.held(held)
    if found is None and await holdings.copy(incoming, held):
        found = await holdings.held(held)
    if found is None:
        await fetch(EXPIRE_UPLOAD, upload.id)
        return
    header = await _examined(holdings, held, found, upload, chart)
    reason = await _kept(fetch, holdings, upload, found, header) if isinstance(header, Header) else header
    if reason:
        await fetch(QUARANTINE_UPLOAD, upload.id, reason.value)
    else:
        await holdings.delete(held)
    await holdings.delete(incoming)


async def _examined(holdings: Holdings, key: str, found: Held, upload: Leased, chart: Chart) -> Header | Quarantined:
    """Header of an object that is what was announced, of the right patient; or what is wrong."""
    if found.size_bytes != upload.size_bytes:
        return Quarantined.SIZE_MISMATCH
    if upload.sha256 and upload.sha256 != await holdings.sha256(key, found.size_bytes):
        return Quarantined.DIGEST_MISMATCH
    header = await header_of(await holdings.start(key, found.size_bytes))
    if header is None:
        return Quarantined.NOT_DICOM
    if not (header.study_uid and header.series_uid and header.instance_uid):
        return Quarantined.UID_MISSING
    if header.patient_id is None or header.patient_id != chart.mrn or header.issuer not in (None, chart.facility_code):
        return Quarantined.PATIENT_MISMATCH
    return header


async def _kept(fetch: Fetch, holdings: Holdings, upload: Leased, found: Held, header: Header) -> Quarantined | None:
    """Moves the object to its place and writes its rows; or why not.

    An instance that is there already stays as it is: with the same content this is it, with another its UID is taken.
    """
    facility_id, uids = upload.facility_id, [header.study_uid, header.series_uid, header.instance_uid]
    [(taken, known, key)] = await fetch(PLACE_OF_INSTANCE, facility_id, upload.patient_id, uids)
    if taken:
        return Quarantined.UID_TAKEN
    ids = [id or uuid5(facility_id, str(uid)) for id, uid in zip(known or [None] * 3, uids, strict=True)]
    key = key or instance_key(facility_id, *ids)
    there = await holdings.held(key)
    if there is None:
        await holdings.copy(quarantine_key(facility_id, upload.id), key)
    elif there != found:
        return Quarantined.UID_TAKEN
    said = asdict(header) | {"sort_time": header.sort_time.isoformat()}
    [(kept,)] = await fetch(KEEP_UPLOAD, upload.id, ids, key, uids, said)
    return None if kept else Quarantined.UID_TAKEN


async def request_restore(writing: Transaction, study_id: UUID) -> Sequence[str]:
    """Marks the archived objects of a study as being restored, and gives the keys of those that were not.

    Raises Refusal.
    """
    if not await writing.fetch(STUDY_IS_THERE, study_id):
        raise not_found("studyId")
    return [key for (key,) in await writing.fetch(MARK_RESTORING, study_id)]
