"""Demo images: real DICOM files with pixels, from pydicom's wheel, for the instances of the imaging database.

Of pydicom's files only the pixels and what describes them are kept; everything else says what the study's rows say.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from random import Random
from typing import Any
from uuid import UUID, uuid5

from db.archive import EXPIRE_DAYS, Archive
from db.object_keys import instance_key
from db.postgres import Postgres
from db.settings import Settings

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""SOP class of a picture that no scanner of its modality made."""

SOURCES = {
    "CT": ("CT_small.dcm",),
    "MR": ("MR_small.dcm", "examples_overlay.dcm"),
    "US": ("examples_rgb_color.dcm", "examples_palette.dcm"),
    "RTDOSE": ("rtdose.dcm",),
}
"""Files of pydicom's wheel by modality; other modalities show the first one of CT as a secondary capture."""

PIXEL_ELEMENTS = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing", "SliceThickness",
    "ImageOrientationPatient", "ImagePositionPatient", "WindowCenter", "WindowWidth", "RescaleIntercept",
    "RescaleSlope",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "FrameIncrementPointer", "GridFrameOffsetVector", "DoseUnits", "DoseType",
    "DoseSummationType", "DoseGridScaling", "PixelData",
)  # fmt: skip
"""What is kept of a source file."""

_FHIR_INSTANT = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d))?")

STUDIES = (("CT", "CT of the chest"), ("MR", "MR of the brain"), ("US", "Ultrasound of the abdomen"))
"""Modality and description of studies that this worker makes."""

BODY_PARTS = {"chest": "CHEST", "brain": "BRAIN", "abdomen": "ABDOMEN"}
"""Body Part Examined (PS3.16 annex L) by the last word of a study's description."""

REGISTERED_PATIENTS = """/* registered_patients */
SELECT r.facility_id, p.id, r.mrn, p.birth_date::text, p.gender, n.family, n.given
FROM clinical.patient AS p
JOIN clinical.registration AS r ON r.patient_id = p.id
LEFT JOIN clinical.patient_name AS n ON n.patient_id = p.id AND n.position = 0
WHERE p.id = ANY($1::uuid[])"""

INSERT_STUDY = """/* insert_study */
INSERT INTO imaging.imaging_study (id, facility_id, patient_id, encounter_id, study_uid, accession_number, status,
    started, modality, description, sort_time)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::text, $6::text, 'available',
    $7::text, ARRAY[$8::text], $9::text, $10::timestamptz)
ON CONFLICT (id) DO NOTHING"""

STUDIES_WITHOUT_SERIES = """/* studies_without_series */
SELECT id, facility_id, modality, started::text
FROM imaging.imaging_study AS t
WHERE NOT EXISTS (
    SELECT FROM imaging.imaging_series AS s WHERE s.facility_id = t.facility_id AND s.imaging_study_id = t.id
)
ORDER BY id"""

INSERT_SERIES = """/* insert_series */
INSERT INTO imaging.imaging_series (id, facility_id, imaging_study_id, series_uid, number, modality, started)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text, $5::int, $6::text, $7::text)
ON CONFLICT (id) DO NOTHING"""

SERIES_WITHOUT_INSTANCES = """/* series_without_instances */
SELECT id, facility_id, imaging_study_id
FROM imaging.imaging_series AS s
WHERE NOT EXISTS (
    SELECT FROM imaging.imaging_instance AS i WHERE i.facility_id = s.facility_id AND i.imaging_series_id = s.id
)
ORDER BY id"""

INSERT_INSTANCE = """/* insert_instance */
INSERT INTO imaging.imaging_instance (id, facility_id, imaging_series_id, number)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::int)
ON CONFLICT (id) DO NOTHING"""

COUNT_PARTS = """/* count_parts */
WITH counted AS (
    UPDATE imaging.imaging_series AS s
    SET number_of_instances = (
        SELECT count(*) FROM imaging.imaging_instance AS i
        WHERE i.facility_id = s.facility_id AND i.imaging_series_id = s.id
    )
    WHERE id = ANY($1::uuid[])
    RETURNING imaging_study_id
)
UPDATE imaging.imaging_study AS t
SET number_of_series = (
        SELECT count(*) FROM imaging.imaging_series AS s
        WHERE s.facility_id = t.facility_id AND s.imaging_study_id = t.id
    ),
    number_of_instances = (
        SELECT count(*)
        FROM imaging.imaging_series AS s
        JOIN imaging.imaging_instance AS i ON i.facility_id = s.facility_id AND i.imaging_series_id = s.id
        WHERE s.facility_id = t.facility_id AND s.imaging_study_id = t.id
    )
WHERE id IN (SELECT imaging_study_id FROM counted)"""

# Older ones have expired (see workers.lifecycle), and a study without a time has no age.
INSTANCES_WITHOUT_OBJECT = """/* instances_without_object */
SELECT i.id, i.facility_id, s.id, t.id, t.patient_id, t.study_uid, s.series_uid, i.instance_uid, t.accession_number,
    t.started::text, coalesce(s.modality, t.modality[1], 'OT'), t.description, s.number, i.number,
    least(t.sort_time, now())
FROM imaging.imaging_instance AS i
JOIN imaging.imaging_series AS s ON s.facility_id = i.facility_id AND s.id = i.imaging_series_id
JOIN imaging.imaging_study AS t ON t.facility_id = s.facility_id AND t.id = s.imaging_study_id
WHERE i.s3_key IS NULL AND t.sort_time > now() - make_interval(days => $1::int)
ORDER BY i.id"""

SET_OBJECT = """/* set_object */
WITH study AS (
    UPDATE imaging.imaging_study SET study_uid = $2::text WHERE id = $1::uuid AND study_uid IS NULL
), series AS (
    UPDATE imaging.imaging_series SET series_uid = $4::text WHERE id = $3::uuid AND series_uid IS NULL
)
UPDATE imaging.imaging_instance
SET instance_uid = $6::text, sop_class = coalesce(sop_class, $7::text), s3_key = $8::text, size_bytes = $9::bigint,
    storage_class = 'STANDARD', stored_at = $10::timestamptz
WHERE id = $5::uuid"""


@dataclass(frozen=True, slots=True)
class Visit:
    """An encounter that gets a study of its own."""

    facility_id: UUID
    patient_id: UUID
    encounter_id: UUID
    started: datetime


@dataclass(frozen=True, slots=True)
class _Patient:
    """Who a file is of, as registered at the study's facility."""

    facility_id: UUID
    id: UUID
    mrn: str
    birth_date: str | None
    gender: str | None
    family: str | None
    given: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class _Instance:
    """One instance that has no object yet, with what its file says; in the order of INSTANCES_WITHOUT_OBJECT."""

    id: UUID
    facility_id: UUID
    series_id: UUID
    study_id: UUID
    patient_id: UUID
    study_uid: str | None
    series_uid: str | None
    instance_uid: str | None
    accession_number: str | None
    started: str | None
    modality: str
    description: str | None
    series_number: int | None
    number: int | None
    stored_at: datetime


async def attach_demo_dicom(configured: Settings, seed: int, visits: Sequence[Visit] = ()) -> int:
    """Gives every study of the last ten years an object for each of its instances; number of objects stored.

    `visits` get a study first. A study without series or instances gets some. The same seed makes the same rows and
    files; what is there already is left alone. Raises StoreError.
    """
    clinical = Postgres("clinical", configured.clinical_url, configured.secret, configured.store_timeout_s)
    imaging = Postgres("imaging", configured.imaging_url, configured.secret, configured.store_timeout_s)
    archive = Archive("archive", configured.archive_url, configured.store_timeout_s)
    try:
        await archive.worker_ensure_bucket()
        for visit in visits:
            await _add_study(imaging, seed, visit)
        await _add_parts(imaging, seed)
        return await _store_objects(clinical, imaging, archive)
    finally:
        await archive.close()
        await imaging.close()
        await clinical.close()


async def _add_study(imaging: Postgres, seed: int, visit: Visit) -> None:
    study_id = uuid5(visit.encounter_id, f"demo study {seed}")
    modality, description = Random(str(study_id)).choice(STUDIES)  # noqa: S311 - a demo's choice, not a secret
    started = visit.started.isoformat(timespec="seconds")
    accession = f"A{study_id.int % 10**9:09d}"
    ids = (study_id, visit.facility_id, visit.patient_id, visit.encounter_id)
    await imaging.worker_fetch(
        INSERT_STUDY, *ids, _uid(study_id), accession, started, modality, description, visit.started
    )


async def _add_parts(imaging: Postgres, seed: int) -> None:
    """Series for studies without any, then instances for series without any; their numbers are counted anew."""
    for study_id, facility_id, modality, started in await imaging.worker_fetch(STUDIES_WITHOUT_SERIES):
        series_id = uuid5(study_id, f"series {seed}")
        ids = (series_id, facility_id, study_id)
        await imaging.worker_fetch(INSERT_SERIES, *ids, _uid(series_id), 1, (modality or ["OT"])[0], started)
    changed: list[UUID] = []
    for series_id, facility_id, _ in await imaging.worker_fetch(SERIES_WITHOUT_INSTANCES):
        for number in range(1, 2 + Random(f"{seed} {series_id}").randrange(3)):  # noqa: S311 - as above
            instance_id = uuid5(series_id, f"instance {seed} {number}")
            await imaging.worker_fetch(INSERT_INSTANCE, instance_id, facility_id, series_id, number)
        changed.append(series_id)
    await imaging.worker_fetch(COUNT_PARTS, changed)


async def _store_objects(clinical: Postgres, imaging: Postgres, archive: Archive) -> int:
    rows = await imaging.worker_fetch(INSTANCES_WITHOUT_OBJECT, EXPIRE_DAYS)
    wanted = [_Instance(*row) for row in rows]
    named = await clinical.worker_fetch(REGISTERED_PATIENTS, list({instance.patient_id for instance in wanted}))
    patients = {(patient.facility_id, patient.id): patient for patient in (_Patient(*row) for row in named)}
    for one in wanted:
        file = _dataset(one, patients.get((one.facility_id, one.patient_id)))
        content = _bytes(file)
        key = instance_key(one.facility_id, one.study_id, one.series_id, one.id)
        await archive.worker_put(key, content)
        uids = (one.study_id, file.StudyInstanceUID, one.series_id, file.SeriesInstanceUID, one.id, file.SOPInstanceUID)
        await imaging.worker_fetch(SET_OBJECT, *uids, str(file.SOPClassUID), key, len(content), one.stored_at)
    return len(wanted)


def _dataset(instance: _Instance, patient: _Patient | None) -> Any:
    """Pixels of a source file of the modality, with the study's own identity around them."""
    from pydicom.dataset import Dataset, FileMetaDataset

    name = Random(str(instance.series_id)).choice(SOURCES.get(instance.modality, SOURCES["CT"][:1]))  # noqa: S311 - as above
    source = _source(name)
    file = Dataset()
    for keyword in PIXEL_ELEMENTS:
        if keyword in source:
            file[keyword] = source[keyword]
    file.SOPClassUID = source.SOPClassUID if instance.modality in SOURCES else SECONDARY_CAPTURE
    file.SOPInstanceUID = instance.instance_uid or _uid(instance.id)
    file.StudyInstanceUID = instance.study_uid or _uid(instance.study_id)
    file.SeriesInstanceUID = instance.series_uid or _uid(instance.series_id)
    file.Modality = instance.modality
    file.StudyDate, file.StudyTime, file.TimezoneOffsetFromUTC = _moment(instance.started)
    file.AccessionNumber = (instance.accession_number or "")[:16]
    file.StudyDescription = (instance.description or "")[:64]
    file.BodyPartExamined = BODY_PARTS.get((instance.description or "").rpartition(" ")[2], "")
    file.SeriesNumber, file.InstanceNumber = instance.series_number or 1, instance.number or 1
    _identify(file, patient)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = source.file_meta.TransferSyntaxUID
    return file


def _identify(file: Any, patient: _Patient | None) -> None:
    file.PatientName = f"{patient.family or ''}^{' '.join(patient.given or ())}" if patient else ""
    file.PatientID = patient.mrn if patient else ""
    file.PatientBirthDate, *_ = _moment(patient.birth_date if patient else None)
    file.PatientSex = {"male": "M", "female": "F", "other": "O"}.get(patient.gender or "", "") if patient else ""
    file.SpecificCharacterSet = "ISO_IR 192"


@cache
def _source(name: str) -> Any:
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    path = get_testdata_file(name, download=False)
    if not isinstance(path, str):
        raise FileNotFoundError(name)
    return dcmread(path)


def _bytes(file: Any) -> bytes:
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _moment(started: str | None) -> tuple[str, str, str]:
    """DICOM date, time and offset of a FHIR dateTime; empty where it is not precise enough."""
    match = _FHIR_INSTANT.fullmatch(started or "")
    if not match:
        return "", "", ""
    year, month, day, hour, minute, second, offset = match.groups()
    if hour is None:
        return year + month + day, "", ""
    return year + month + day, hour + minute + (second or "00"), offset.replace("Z", "+0000").replace(":", "")


def _uid(key: UUID) -> str:
    """DICOM UID of a UUID (PS3.5 B.2)."""
    return f"2.25.{key.int}"
