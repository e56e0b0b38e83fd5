"""Images of a release: the demo's DICOM objects from the archive into parquet, without who they are of."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
import polars as pl
import pytest
import pytest_asyncio
from pydicom import dcmread

from db.archive import Archive
from db.errors import InvalidArgument
from db.object_keys import facility_of
from db.release_files import file_key
from db.research_method import Method
from db.settings import Settings
from db.warehouse import Warehouse, release_table
from tests.apart import apart
from tests.bench import research_data
from tests.research.extractions import Network, approved
from workers.dicom import Visit, attach_demo_dicom

PATIENTS = 60
TABLES = ("patients", "encounters", "imaging")
VISITS = """
SELECT facility_id, patient_id, id, sort_time FROM clinical.encounter
WHERE label = '{}' AND status = 'finished' AND sort_time > now() - interval '9 years' ORDER BY id LIMIT 90"""
SECRETS = """
SELECT r.patient_id, r.mrn, n.family, replace(p.birth_date, '-', '')
FROM clinical.registration AS r JOIN clinical.patient AS p ON p.id = r.patient_id
JOIN clinical.patient_name AS n ON n.patient_id = p.id"""
OBJECTS = """
SELECT i.s3_key, t.patient_id, t.study_uid, s.series_uid, i.instance_uid, t.modality[1]
FROM imaging.imaging_instance AS i JOIN imaging.imaging_series AS s ON s.id = i.imaging_series_id
JOIN imaging.imaging_study AS t ON t.id = s.imaging_study_id
WHERE i.s3_key IS NOT NULL ORDER BY i.s3_key"""


@pytest_asyncio.fixture(scope="module")
async def net(configured: Settings) -> Network:
    """Generated patients, many of whom have a study, and a project that all facilities have approved."""
    own = await apart(configured, "images")
    await research_data.make(own.clinical_url, own.vitals_url, PATIENTS)
    made = await approved(own)
    await attach_demo_dicom(own, 7, [Visit(*row) for row in await made.fetch(VISITS)])
    return made


async def objects(net: Network, extraction: UUID | None = None) -> Sequence[tuple[Any, ...]]:
    """Key, patient, UIDs and modality of every object, or of those of an extraction's patients."""
    connection = await asyncpg.connect(net.settings.imaging_url)
    try:
        found = [tuple(row) for row in await connection.fetch(OBJECTS)]
    finally:
        await connection.close()
    if extraction is None:
        return found
    members = set(
        await net.fetch("SELECT facility_id, patient_id FROM vault.member WHERE extraction_id = $1", extraction)
    )
    return [row for row in found if (facility_of(row[0]), row[1]) in members]


async def files(net: Network, extraction: UUID) -> pl.DataFrame:
    """Rows of the table with the objects."""
    archive = Archive("archive", net.settings.archive_url, 30)
    try:
        keys = [key for key in await net.files(extraction) if key.startswith(file_key(extraction, "imaging", 0)[:-13])]
        return pl.concat([pl.read_parquet(io.BytesIO(await archive.worker_get(key) or b"")) for key in keys])
    finally:
        await archive.close()


def counted(report: Any) -> Mapping[str, Any]:
    """What a report says of the objects."""
    [table] = [table for table in report["tables"] if table["name"] == "imaging"]
    return table["columns"]["object"]


async def test_objects_leave_without_who_they_are_of(net: Network) -> None:
    extraction, ended = await net.made(Method.LIMITED, TABLES)
    assert (ended.state, ended.error) == ("PUBLISHED", None)
    rows, there = await files(net, extraction), await objects(net, extraction)
    known = await net.fetch(SECRETS)
    numbers = dict(await net.fetch("SELECT research_id, patient_id FROM vault.surrogate"))
    of_modality = Counter(row[5] for row in there)
    assert rows["modality"].unique().to_list() == ["CT"], (
        "of MR it is the brain, of US nobody says that no text is in it"
    )
    assert rows.height == of_modality["CT"] > 10
    assert counted(ended.report) == {
        "rule": "DICOM",
        "given": len(there),
        "kept": rows.height,
        "refused MAY_SHOW_FACE": of_modality["MR"],
        "refused MAY_SHOW_TEXT": of_modality["US"],
    }
    uids = {uid for row in there for uid in row[2:5]}
    for row in rows.rows(named=True):
        file = dcmread(io.BytesIO(row["object"]))
        assert file.PatientID == str(row["research_id"])
        assert f"{file.StudyDate[:4]}-{file.StudyDate[4:6]}-{file.StudyDate[6:]}" == row["started"][:10]
        assert not {file.StudyInstanceUID, file.SeriesInstanceUID, file.SOPInstanceUID} & uids
        [*secrets] = [text for who in known if who[0] == numbers[row["research_id"]] for text in who[1:]]
        assert len(secrets) >= 3
        assert not [text for text in secrets if text.encode() in row["object"]]
    places = rows.group_by("research_id", "study", "series").agg(
        pl.col("object").map_elements(lambda one: dcmread(io.BytesIO(one)).SeriesInstanceUID, pl.String).n_unique()
    )
    assert places["object"].max() == 1
    assert rows.select("research_id", "row_id").is_unique().all()
    warehouse = Warehouse("warehouse", net.settings.warehouse_url, 30)
    try:
        select = f"SELECT * FROM {release_table(extraction, 'imaging')} ORDER BY research_id, row_id"
        loaded = await warehouse.worker_execute(select)  # pyright: ignore[reportArgumentType]
        assert loaded == rows.drop("object").sort("research_id", "row_id").rows()
    finally:
        await warehouse.close()


async def test_made_again_a_release_is_the_same_and_another_tells_nothing_of_it(net: Network) -> None:
    dataset = await net.dataset(Method.LIMITED, TABLES)
    first, second = [await net.extraction(dataset, version, 2, seed=42) for version in (1, 2)]
    other = await net.extraction(dataset, 3, 2, seed=43)
    await net.work()
    assert (await net.ended(first)).sha256 == (await net.ended(second)).sha256
    uids = [
        {dcmread(io.BytesIO(one)).SOPInstanceUID for one in (await files(net, made))["object"]}
        for made in (first, other)
    ]
    assert not uids[0] & uids[1]


async def test_days_in_a_file_move_with_those_of_its_patient(net: Network) -> None:
    kept, moved = [await net.made(Method.LIMITED, TABLES, shift_dates=shift) for shift in (False, True)]
    assert kept[1].state == moved[1].state == "PUBLISHED"
    shifts = dict(await net.fetch("SELECT research_id, shift_days FROM vault.surrogate"))
    place = ("research_id", "study", "series", "instance")
    both = (await files(net, kept[0])).join(await files(net, moved[0]), on=place)
    assert both.height > 10
    for row in both.rows(named=True):
        days = [date.fromisoformat(dcmread(io.BytesIO(row[name])).StudyDate) for name in ("object", "object_right")]
        assert (days[1] - days[0]).days == shifts[row["research_id"]] != 0
        assert days == [date.fromisoformat(row[name][:10]) for name in ("started", "started_right")]


async def test_a_name_in_a_file_keeps_the_release_from_everybody(net: Network) -> None:
    """In an attribute that the profile keeps, where somebody has written it nevertheless."""
    extraction, _ = await net.made(Method.LIMITED, TABLES)
    key, patient = next((row[0], row[1]) for row in await objects(net, extraction) if row[5] == "CT")
    [name] = {row[2] for row in await net.fetch(SECRETS) if row[0] == patient}
    archive = Archive("archive", net.settings.archive_url, 30)
    try:
        before = await archive.worker_get(key)
        assert before
        file = dcmread(io.BytesIO(before))
        file.Manufacturer = name
        buffer = io.BytesIO()
        file.save_as(buffer)
        await archive.worker_put(key, buffer.getvalue())
        extraction, ended = await net.made(Method.LIMITED, TABLES)
        await archive.worker_put(key, before)
    finally:
        await archive.close()
    assert ended.state == "QUARANTINED"
    report: Any = ended.report
    assert {(one["table"], one["column"], one["kind"]) for one in report["found"]} == {
        ("imaging", "object_code", "NAME")
    }
    assert await net.files(extraction) == []


async def test_an_object_that_is_gone_is_left_out(net: Network) -> None:
    extraction, _ = await net.made(Method.LIMITED, TABLES)
    key = next(row[0] for row in await objects(net, extraction) if row[5] == "CT")
    archive = Archive("archive", net.settings.archive_url, 30)
    try:
        before = await archive.worker_get(key)
        assert before
        await archive.worker_delete(key)
        _, ended = await net.made(Method.LIMITED, TABLES)
        await archive.worker_put(key, before)
    finally:
        await archive.close()
    assert ended.state == "PUBLISHED"
    assert counted(ended.report)["refused MISSING"] == 1


async def test_of_a_facility_that_withdraws_no_image_is_read(net: Network) -> None:
    facility = facility_of((await objects(net))[0][0])
    await net.fetch(
        "UPDATE clinical.research_facility SET revoked_at = now(), revoked_by = 'o' WHERE facility_id = $1", facility
    )
    try:
        extraction, ended = await net.made(Method.LIMITED, TABLES)
    finally:
        await net.fetch("UPDATE clinical.research_facility SET revoked_at = NULL, revoked_by = NULL")
    read = await objects(net, extraction)
    assert facility not in {facility_of(row[0]) for row in read}
    assert counted(ended.report)["given"] == len(read) > 0


@pytest.mark.parametrize("table", ["imaging_study", "imaging_series", "imaging_instance"])
async def test_the_login_of_extractions_sees_images_of_facilities_that_are_named(net: Network, table: str) -> None:
    sql = f"SELECT DISTINCT facility_id FROM imaging.{table}"
    facility = facility_of((await objects(net))[0][0])
    url, setting = net.settings.imaging_url, "app.research_facilities"
    assert await net.seen(url, setting, "", sql) == []
    assert await net.seen(url, setting, facility, sql) == [(facility,)]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await net.seen(url, setting, facility, f"DELETE FROM imaging.{table}")


async def test_safe_harbor_has_no_images(net: Network) -> None:
    with pytest.raises(InvalidArgument, match="imaging"):
        await net.dataset(Method.SAFE_HARBOR, TABLES)
