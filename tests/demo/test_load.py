"""The small network in all stores: who is there, what can be read, and that a second load changes nothing."""

from __future__ import annotations

import importlib
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any, LiteralString, cast

import pytest_asyncio

from db.archive import Archive
from db.notes_schema import CARE_PLANS, CLINICAL_NOTES, GOALS, PATIENT_SUMMARIES
from db.postgres import Postgres
from db.settings import Settings
from db.stores import Stores
from tests.conftest import MINUTES, POPULATION
from workers.demo import load
from workers.network.facilities import FACILITIES
from workers.summarize import summarize

pydicom: Any = importlib.import_module("pydicom")

IDS = [facility.id for facility in FACILITIES]
COLLECTIONS = (CLINICAL_NOTES, CARE_PLANS, GOALS, PATIENT_SUMMARIES)

INPATIENTS = """/* inpatients */
SELECT e.facility_id, e.id, e.patient_id, d.physical_type
FROM clinical.encounter AS e
JOIN clinical.department AS d ON d.id = e.department_id
WHERE e.facility_id = ANY($1::uuid[]) AND e.status = 'in-progress' AND e.end_time IS NULL AND e.class_code = 'IMP'"""

SHARED_PATIENTS = """/* shared_patients */
SELECT patient_id FROM clinical.registration WHERE facility_id = ANY($1::uuid[])
GROUP BY patient_id HAVING count(*) > 1"""

DOUBLE_BOOKINGS = """/* double_bookings */
SELECT a.id FROM clinical.appointment AS a
JOIN clinical.appointment AS b ON b.provider_id = a.provider_id AND b.id > a.id
    AND b.sort_time < a.end_time AND a.sort_time < b.end_time
WHERE a.facility_id = ANY($1::uuid[])"""

OBJECTS = """/* objects */
SELECT i.s3_key, i.size_bytes, i.instance_uid, s.modality
FROM imaging.imaging_instance AS i
JOIN imaging.imaging_series AS s ON s.facility_id = i.facility_id AND s.id = i.imaging_series_id
WHERE i.facility_id = ANY($1::uuid[]) ORDER BY i.id"""

WITHOUT_OBJECT = """/* without_object */
SELECT count(*) FROM imaging.imaging_instance WHERE facility_id = ANY($1::uuid[]) AND s3_key IS NULL"""

TABLES = """/* tables */
SELECT c.relname FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relname <> 'demo_load' AND has_table_privilege(c.oid, 'SELECT')
ORDER BY c.relname"""

FORGET = "/* forget */ DELETE FROM clinical.demo_load"
UNRESOLVED = """/* unresolved */
SELECT u.resource_type, u.element FROM clinical.unresolved_reference AS u
JOIN clinical.encounter AS e ON e.id = u.resource_id
WHERE e.facility_id = ANY($1::uuid[])"""
TREATING = """/* treating */
SELECT t.facility_id, p.provider_id, count(DISTINCT t.patient_id) AS treated,
    (SELECT count(*) FROM clinical.registration AS r WHERE r.facility_id = t.facility_id) AS registered
FROM clinical.care_team AS t
JOIN clinical.care_team_participant AS p ON p.care_team_id = t.id
WHERE t.facility_id = ANY($1::uuid[]) AND t.status = 'active' AND p.provider_id IS NOT NULL
GROUP BY t.facility_id, p.provider_id"""
LABELLED = """/* labelled */
SELECT facility_id, unnest(label) AS label FROM clinical.condition WHERE facility_id = ANY($1::uuid[])
INTERSECT SELECT facility_id, unnest(label) FROM clinical.medication_request"""
EXCHANGED = """/* exchanged */
SELECT c.facility_id FROM clinical.consent_rule AS c
JOIN clinical.encounter AS e ON e.patient_id = c.patient_id AND e.facility_id::text = ANY(c.recipients)
WHERE c.facility_id = ANY($1::uuid[]) AND c.type = 'permit' AND e.end_time IS NULL AND e.status = 'in-progress'"""
DENIED = """/* denied */
SELECT facility_id FROM clinical.consent_rule
WHERE facility_id = ANY($1::uuid[]) AND type = 'deny' AND (recipients IS NOT NULL OR labels IS NOT NULL)
GROUP BY facility_id HAVING count(recipients) > 0 AND count(labels) > 0"""
DATASETS = "SELECT id FROM stored_dataset"

FILLED = frozenset(
    "allergy_intolerance appointment care_team care_team_participant condition consent department diagnostic_report "
    "encounter facility immunization lab_result lab_test medication medication_administration medication_request "
    "observation patient patient_identifier patient_name procedure provider registration vital_sign vital_sign_hourly "
    "vital_sign_daily imaging_study imaging_series imaging_instance".split()
)
"""Tables that a clinician would miss."""


@pytest_asyncio.fixture
async def stores(network: Settings) -> AsyncIterator[Stores]:
    """The stores that hold the network."""
    opened = Stores(network)
    yield opened
    await opened.close()


async def content(stores: Stores) -> dict[str, Any]:
    """Number of rows and a hash of them by table, and every document, of the network's facilities."""
    found: dict[str, Any] = {}
    for database in (stores.clinical, stores.imaging, stores.vitals):
        for row in await database.worker_fetch(TABLES, database.name):
            found[row[0]] = await rows(database, row[0])
    for collection in COLLECTIONS:
        documents = await stores.notes.worker_find(collection, of_network())
        found[collection.name] = {document["_id"]: {**document, "as_of": None} for document in documents}
    return found


async def rows(database: Postgres, table: str) -> tuple[int, int]:
    """Number and hash of the rows of a table that belong to the network's facilities, or to none."""
    sql = f"""/* content */
        SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {database.name}.{table} AS t
        WHERE coalesce((to_jsonb(t) ->> 'facility_id')::uuid = ANY($1::uuid[]), true)"""
    return tuple((await database.worker_fetch(cast("LiteralString", sql), IDS))[0])


def of_network() -> dict[str, Any]:
    """Filter of the network's documents."""
    return {"metadata.facility_id": {"$in": [str(key) for key in IDS]}}


async def test_every_store_has_data(stores: Stores) -> None:
    found = await content(stores)
    assert {table for table in FILLED if not found[table][0]} == set()
    assert all(found[collection.name] for collection in COLLECTIONS)
    assert await stores.warehouse.worker_execute(DATASETS)


async def test_references_of_encounters_resolve(stores: Stores) -> None:
    assert not await stores.clinical.worker_fetch(UNRESOLVED, IDS)


async def test_each_facility_has_inpatients_on_its_wards(stores: Stores) -> None:
    found = await stores.clinical.worker_fetch(INPATIENTS, IDS)
    assert {row["facility_id"] for row in found} == set(IDS)
    assert {row["physical_type"] for row in found} == {"wa"}


async def test_each_inpatient_has_a_signed_and_amended_note(stores: Stores) -> None:
    stays = {str(row["id"]) for row in await stores.clinical.worker_fetch(INPATIENTS, IDS)}
    notes = await stores.notes.worker_find(CLINICAL_NOTES, of_network() | {"amendments.0": {"$exists": True}})
    assert {note["metadata"]["encounter_id"] for note in notes} == stays
    assert all(note["signatures"] and len(note["sections"]) > 1 for note in notes)


async def test_some_patients_are_registered_at_two_facilities(stores: Stores) -> None:
    assert await stores.clinical.worker_fetch(SHARED_PATIENTS, IDS)


async def test_some_providers_treat_some_patients(stores: Stores) -> None:
    found = await stores.clinical.worker_fetch(TREATING, IDS)
    few = {row["facility_id"] for row in found if 2 * row["treated"] < row["registered"]}
    assert few == set(IDS)


async def test_each_facility_has_sensitive_conditions_with_their_orders(stores: Stores) -> None:
    found = {tuple(row) for row in await stores.clinical.worker_fetch(LABELLED, IDS)}
    assert found >= {(key, label) for key in IDS for label in ("ETH", "HIV", "PSY")}
    notes = await stores.notes.worker_find(CLINICAL_NOTES, of_network() | {"security": "PSYTHPN"})
    assert {note["metadata"]["facility_id"] for note in notes} == {str(key) for key in IDS}


async def test_some_patients_exchange_and_some_deny(stores: Stores) -> None:
    exchanged = await stores.clinical.worker_fetch(EXCHANGED, IDS)
    assert {row["facility_id"] for row in exchanged} == set(IDS[:2])
    denied = await stores.clinical.worker_fetch(DENIED, IDS)
    assert {row["facility_id"] for row in denied} == set(IDS)


async def test_no_provider_is_booked_twice(stores: Stores) -> None:
    assert not await stores.clinical.worker_fetch(DOUBLE_BOOKINGS, IDS)


async def test_dicom_objects_are_readable(stores: Stores) -> None:
    objects = await stores.imaging.worker_fetch(OBJECTS, IDS)
    first_of_each = {row["modality"]: row for row in objects}
    assert (await stores.imaging.worker_fetch(WITHOUT_OBJECT, IDS))[0][0] == 0
    assert len(first_of_each) > 1
    for row in first_of_each.values():
        file = pydicom.dcmread(io.BytesIO(await read(stores.archive, row["s3_key"], row["size_bytes"])))
        assert file.SOPInstanceUID == row["instance_uid"]
        assert file.pixel_array.size == file.Rows * file.Columns * file.SamplesPerPixel * int(
            file.get("NumberOfFrames", 1)
        )


async def read(archive: Archive, key: str, size: int) -> bytes:
    """The whole object."""
    found = await archive.read(key, 0, size)
    assert found is not None
    return found


async def test_a_second_load_does_nothing(network: Settings) -> None:
    said: list[str] = []
    assert not await load(network, population=POPULATION, minutes=MINUTES, progress=said.append)
    assert said == []


async def test_an_interrupted_load_is_repeated_without_duplicates(network: Settings, stores: Stores) -> None:
    await summarize(network)  # a load does so for all patients, those of other tests too
    before = await content(stores)
    datasets: Sequence[Any] = await stores.warehouse.worker_execute(DATASETS)
    await stores.clinical.worker_fetch(FORGET)
    assert await load(network, population=POPULATION, minutes=MINUTES, progress=lambda line: None)
    after = await content(stores)
    assert {name for name in before if before[name] != after[name]} == set()
    assert await stores.warehouse.worker_execute(DATASETS) == datasets
    assert not (network.data / "demo").exists()
