"""Demo images: real pixels that a caller reads back through a presigned URL, under the study's own identity."""

from __future__ import annotations

import hashlib
import importlib
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.archive import Archive
from db.postgres import Postgres
from db.settings import Settings
from tests.imaging.images import caller, get
from workers.dicom import Visit, attach_demo_dicom

pydicom: Any = importlib.import_module("pydicom")

OBJECTS = """/* objects */
SELECT t.study_uid, s.series_uid, i.instance_uid, i.s3_key, i.size_bytes, i.sop_class, t.number_of_series,
    t.number_of_instances, s.number_of_instances, t.started::text, t.accession_number
FROM imaging.imaging_study AS t
JOIN imaging.imaging_series AS s ON s.imaging_study_id = t.id
JOIN imaging.imaging_instance AS i ON i.imaging_series_id = s.id
WHERE t.facility_id = $1::uuid
ORDER BY i.id"""

PATIENT = """/* insert_patient */
WITH facility AS (INSERT INTO clinical.facility (id, code, name) VALUES ($1::uuid, $3::text, 'Test') RETURNING id),
patient AS (
    INSERT INTO clinical.patient (id, birth_date, gender) VALUES ($2::uuid, '1950-02-03', 'female') RETURNING id
), named AS (
    INSERT INTO clinical.patient_name (patient_id, position, family, given)
    SELECT id, 0, 'Muñoz', ARRAY['Ana', 'Luz'] FROM patient
)
INSERT INTO clinical.registration (facility_id, patient_id, mrn)
SELECT facility.id, patient.id, 'MRN-1' FROM facility, patient"""

STUDY = """/* insert_study */
INSERT INTO imaging.imaging_study (id, facility_id, patient_id, status, study_uid, started, modality, sort_time)
VALUES ($1::uuid, $2::uuid, $3::uuid, 'available', '1.2.840.99999999.1.7', $4::text, ARRAY[$5::text],
    $6::timestamptz)"""


def visits(facility_id: UUID, count: int) -> list[Visit]:
    """Visits of as many patients, some minutes apart, at a fixed time."""
    start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return [
        Visit(facility_id, UUID(int=n), UUID(int=1000 + n), start + timedelta(minutes=n)) for n in range(1, count + 1)
    ]


async def objects(imaging: Postgres, facility_id: UUID) -> Sequence[Mapping[str, Any]]:
    """Every instance of a facility with what its study and series say."""
    return [dict(row) for row in await imaging.worker_fetch(OBJECTS, facility_id)]


async def content(archive: Archive, facility_id: UUID, key: str) -> bytes:
    """Object of a key as a clinician's browser gets it."""
    url = await archive.session(caller(facility_id), lambda *_: None).presigned_get(key, 60)
    assert url is not None
    status, raw = get(url)
    assert status == 200
    return raw


async def test_pixels_come_back_with_the_studys_identity(
    own: Settings, imaging: Postgres, archive: Archive, facility_id: UUID
) -> None:
    stored = await attach_demo_dicom(own, 7, visits(facility_id, 6))
    found = await objects(imaging, facility_id)
    assert stored >= len(found) >= 6
    for one in found:
        raw = await content(archive, facility_id, one["s3_key"])
        file = pydicom.dcmread(io.BytesIO(raw))
        assert file.pixel_array.size > 0
        assert file.pixel_array.max() > file.pixel_array.min()
        assert len(raw) == one["size_bytes"]
        assert file.StudyInstanceUID == one["study_uid"]
        assert file.SeriesInstanceUID == one["series_uid"]
        assert file.SOPInstanceUID == file.file_meta.MediaStorageSOPInstanceUID == one["instance_uid"]
        assert file.SOPClassUID == one["sop_class"]
        assert file.AccessionNumber == one["accession_number"]
        assert f"{file.StudyDate[:4]}-{file.StudyDate[4:6]}-{file.StudyDate[6:]}" == one["started"][:10]
        assert file.StudyTime == one["started"][11:19].replace(":", "")
        assert not [element for element in file if element.tag.is_private]


async def test_numbers_are_those_of_the_rows(own: Settings, imaging: Postgres, facility_id: UUID) -> None:
    await attach_demo_dicom(own, 7, visits(facility_id, 3))
    found = await objects(imaging, facility_id)
    for one in found:
        of_series = [other for other in found if other["series_uid"] == one["series_uid"]]
        assert one["number_of_series"] == 1
        assert one["number_of_instances"] == len(of_series)


async def test_again_changes_nothing(own: Settings, imaging: Postgres, archive: Archive, facility_id: UUID) -> None:
    await attach_demo_dicom(own, 7, visits(facility_id, 3))
    first = await objects(imaging, facility_id)
    assert await attach_demo_dicom(own, 7, visits(facility_id, 3)) == 0
    assert await objects(imaging, facility_id) == first


async def test_the_same_seed_makes_the_same_files(own: Settings, imaging: Postgres, archive: Archive) -> None:
    async def made() -> list[str]:
        facility_id = uuid4()
        await attach_demo_dicom(own, 11, visits(facility_id, 3))
        found = await objects(imaging, facility_id)
        keys = [(one["instance_uid"], await content(archive, facility_id, one["s3_key"])) for one in found]
        await imaging.worker_fetch("/* forget */ DELETE FROM imaging.imaging_study WHERE facility_id = $1", facility_id)
        return [f"{uid} {hashlib.sha256(raw).hexdigest()}" for uid, raw in keys]

    first = await made()
    assert first
    assert await made() == first


async def test_imported_study_keeps_its_uid_and_gets_its_patient(
    own: Settings, imaging: Postgres, archive: Archive, facility_id: UUID
) -> None:
    clinical = Postgres("clinical", own.clinical_url, own.secret, 5)
    patient_id = uuid4()
    await clinical.worker_fetch(PATIENT, facility_id, patient_id, f"T-{facility_id.hex[:8].upper()}")
    await clinical.close()
    started = "2026-03-04T05:06:07.5-05:00"
    await imaging.worker_fetch(STUDY, uuid4(), facility_id, patient_id, started, "DX", datetime.fromisoformat(started))
    await attach_demo_dicom(own, 7)
    found = await objects(imaging, facility_id)
    file = pydicom.dcmread(io.BytesIO(await content(archive, facility_id, found[0]["s3_key"])))
    assert file.StudyInstanceUID == "1.2.840.99999999.1.7"
    assert (file.Modality, file.SOPClassUID) == ("DX", "1.2.840.10008.5.1.4.1.1.7")
    assert (str(file.PatientName), file.PatientID) == ("Muñoz^Ana Luz", "MRN-1")
    assert (file.PatientBirthDate, file.PatientSex) == ("19500203", "F")
    assert (file.StudyDate, file.StudyTime, file.TimezoneOffsetFromUTC) == ("20260304", "050607", "-0500")


@pytest.mark.parametrize(("started", "date"), [("2026-03-04", "20260304"), ("2026-03", "")])
async def test_partial_dates_stay_partial(
    own: Settings, imaging: Postgres, archive: Archive, facility_id: UUID, started: str, date: str
) -> None:
    sort_time = datetime(2026, 3, 4, tzinfo=UTC)
    await imaging.worker_fetch(STUDY, uuid4(), facility_id, uuid4(), started, "MR", sort_time)
    await attach_demo_dicom(own, 7)
    found = await objects(imaging, facility_id)
    file = pydicom.dcmread(io.BytesIO(await content(archive, facility_id, found[0]["s3_key"])))
    assert (file.StudyDate, file.StudyTime) == (date, "")


async def test_expired_studies_get_no_object(own: Settings, imaging: Postgres, facility_id: UUID) -> None:
    sort_time = datetime.now(UTC) - timedelta(days=3651)
    await imaging.worker_fetch(STUDY, uuid4(), facility_id, uuid4(), "2010", "MR", sort_time)
    await attach_demo_dicom(own, 7)
    assert {one["s3_key"] for one in await objects(imaging, facility_id)} == {None}
