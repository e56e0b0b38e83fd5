"""Extractions from the request to the release: what is in it, what is not, and what interrupts them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import polars as pl
import pytest
import pytest_asyncio

from db.errors import StoreError
from db.release_files import CONTENT_TYPE, file_key
from db.research_method import Method
from db.settings import Settings
from db.warehouse import Warehouse, release_table
from tests.apart import apart
from tests.bench import research_data
from tests.research.extractions import EVERYTHING, FACILITIES, Ended, Network, approved
from workers.research.anonymity import k_anonymity
from workers.research.reading import Rate
from workers.research.sources import CONNECTIONS, Sources, staged_key
from workers.research.tables import TABLES

PATIENTS = 600
DEAD = "snowflake://u:p@127.0.0.1:1/db/schema?account=a&protocol=http"
K = 11
WHO = """
SELECT patient_id, research_id FROM vault.surrogate WHERE project_id = $1 AND research_id = ANY ($2::bigint[])"""
NAMES = ("gender", "race", "ethnicity", "deceased", "postal_code", "died", "born")
REGISTRY = """
SELECT gender, race, ethnicity, deceased, address -> 0 ->> 'postalCode', deceased_date_time, birth_date
FROM clinical.patient"""
REFUSE = """
INSERT INTO clinical.consent (id, facility_id, patient_id, status, category, provision, sort_time)
SELECT gen_random_uuid(), facility_id, patient_id, 'active', '[]',
    '{"type": "deny", "purpose": [{"code": "HRESCH"}]}', now()
FROM clinical.registration WHERE patient_id = $1"""
TABLES_READ = sorted({table.facts for table in TABLES.values()})
REFUSED = (
    "SELECT count(*) FROM clinical.consent_rule WHERE type = 'deny' AND (purposes IS NULL OR 'HRESCH' = ANY (purposes))"
)
KNOWN = """
SELECT 'mrn', mrn FROM clinical.registration
UNION SELECT kind, value FROM clinical.patient_identifier
UNION SELECT 'phone', one ->> 'value' FROM clinical.patient CROSS JOIN jsonb_array_elements(telecom) AS one
UNION SELECT 'birth', birth_date FROM clinical.patient WHERE length(birth_date) = 10
UNION SELECT 'id', id::text FROM clinical.patient
UNION SELECT 'encounter', id::text FROM clinical.encounter
UNION SELECT 'name', array_to_string(given, ' ') || ' ' || family FROM clinical.patient_name"""


@pytest_asyncio.fixture(scope="module")
async def net(configured: Settings) -> Network:
    """Generated patients, and a project that all facilities have approved."""
    own = await apart(configured, "extraction")
    await research_data.make(own.clinical_url, own.vitals_url, PATIENTS)
    return await approved(own)


@pytest_asyncio.fixture(scope="module")
async def released(net: Network) -> AsyncIterator[tuple[UUID, Ended, dict[str, pl.DataFrame]]]:
    """A release by Safe Harbor of everything, with its tables."""
    extraction, ended = await net.made(Method.SAFE_HARBOR)
    yield extraction, ended, {name: await net.table(extraction, name) for name in EVERYTHING}


async def test_a_release_is_published_with_its_report(
    net: Network, released: tuple[UUID, Ended, dict[str, pl.DataFrame]]
) -> None:
    extraction, ended, tables = released
    assert (ended.state, ended.error) == ("PUBLISHED", None)
    report: Any = ended.report
    assert report["passed"]
    assert report["failures"] == report["found"] == []
    assert report["k"] >= K
    assert report["l"] >= 2
    assert report["patients_out"] == tables["patients"].height <= report["patients_in"] <= PATIENTS
    warehouse = Warehouse("warehouse", net.settings.warehouse_url, 30)
    try:
        for table in report["tables"]:
            [(count,)] = await warehouse.worker_execute(
                f"SELECT COUNT(*) FROM {release_table(extraction, table['name'])}"  # pyright: ignore[reportArgumentType]
            )
            assert count == table["loaded"] == table["rows"] == tables[table["name"]].height > 0, table["name"]
    finally:
        await warehouse.close()
    assert await net.files(extraction) == sorted(file_key(extraction, name, 0) for name in EVERYTHING)


async def test_nobody_is_recognised_by_who_knows_the_registry(
    net: Network, released: tuple[UUID, Ended, dict[str, pl.DataFrame]]
) -> None:
    """An adversary who knows all that the registry does of somebody finds k rows that fit, or none."""
    patients = released[2]["patients"]
    known = [name for name in patients.columns if name not in ("research_id", "row_id")]
    assert k_anonymity(patients, known) >= K
    rows = patients.select(known).rows(named=True)
    today = date.today()
    for who in await net.fetch(REGISTRY):
        fitting = sum(fits(row, dict(zip(NAMES, who, strict=True)), today) for row in rows)
        assert fitting == 0 or fitting >= K


def fits(row: Mapping[str, Any], who: Mapping[str, Any], today: date) -> bool:
    """Whether a row may be somebody's: what it does not say fits everybody."""
    for name in ("gender", "race", "ethnicity", "deceased"):
        if row.get(name) is not None and row[name] != who[name]:
            return False
    if row.get("zip3") not in (None, "000") and row["zip3"][0] != (who["postal_code"] or " ")[0]:
        return False
    if row.get("death_year") is not None and str(row["death_year"]) != (who["died"] or "")[:4]:
        return False
    return row.get("age_band") is None or in_band(row["age_band"], who, today)


def in_band(band: str, who: Mapping[str, Any], today: date) -> bool:
    """Whether somebody may be of an age, by the years alone: a year more or less."""
    if not who["born"]:
        return False
    until = int((who["died"] or str(today.year))[:4]) - int(who["born"][:4])
    low, _, high = band.rstrip("+").partition("-")
    return int(low) <= until and until - 1 <= (int(high) if high else 200)


async def test_no_identifier_of_anybody_is_in_any_cell(
    net: Network, released: tuple[UUID, Ended, dict[str, pl.DataFrame]]
) -> None:
    """Compared cell by cell with what the source knows: numbers, telephones, dates of birth, names, ids."""
    _, _, tables = released
    known = {str(value) for _, value in await net.fetch(KNOWN) if value}
    cells = {str(cell) for table in tables.values() for name in table.columns for cell in table[name].unique()}
    assert not cells & known
    assert not [cell for cell in cells if re.search(r"\d{4}-\d\d-\d\d|@|[0-9a-f]{8}-[0-9a-f]{4}-", cell)]
    numbers = {int(value) for value in known if value.isdigit()}
    for table in tables.values():
        assert not numbers & set(table["research_id"].to_list())


async def test_who_refuses_is_not_in_the_next_version(net: Network) -> None:
    tables = ("patients", "conditions")
    dataset = await net.dataset(Method.LIMITED, tables)
    first = await net.extraction(dataset)
    await net.work()
    before = await net.table(first, "patients")
    [(patient, number), *_] = await net.fetch(WHO, net.project, before["research_id"].to_list())
    await net.fetch(REFUSE, patient)
    second = await net.extraction(dataset, 2)
    await net.work()
    after = await net.table(second, "patients")
    assert number not in after["research_id"]
    assert number not in (await net.table(second, "conditions"))["research_id"]
    assert set(before["research_id"]) - {number} == set(after["research_id"]), "ids stay those of the project"
    holders = await net.fetch("SELECT extraction_id FROM vault.member WHERE patient_id = $1", patient)
    assert {row[0] for row in holders} >= {first}
    assert second not in {row[0] for row in holders}


async def test_an_identifier_in_a_record_keeps_a_release_from_everybody(net: Network) -> None:
    """A name where a code should be: whoever wrote it there, nobody gets to see it."""
    [(patient, name), *_] = await net.fetch(
        "SELECT patient_id, given[1] || ' ' || family FROM clinical.patient_name ORDER BY patient_id LIMIT 1"
    )
    changed = await net.fetch(
        "UPDATE clinical.lab_result SET specimen = $2 WHERE patient_id = $1 RETURNING id", patient, name
    )
    assert changed
    extraction, ended = await net.made(Method.LIMITED, ("patients", "lab_results"))
    await net.fetch("UPDATE clinical.lab_result SET specimen = NULL WHERE patient_id = $1", patient)
    assert ended.state == "QUARANTINED"
    report: Any = ended.report
    assert report["failures"] == ["IDENTIFIERS_FOUND"]
    assert {(one["table"], one["column"], one["kind"]) for one in report["found"]} == {
        ("lab_results", "specimen", "NAME")
    }
    assert name not in str(report)
    warehouse = Warehouse("warehouse", net.settings.warehouse_url, 30)
    try:
        left = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name ILIKE ?"
        assert await warehouse.worker_execute(left, f"stored_release_{extraction.hex}%") == [(0,)]
    finally:
        await warehouse.close()
    assert await net.files(extraction) == []


async def test_a_killed_worker_s_extraction_goes_on_with_the_same_result(net: Network) -> None:
    """Partitions that were made stay, the one under way is made anew; the digest is that of an undisturbed run."""
    dataset = await net.dataset(Method.SAFE_HARBOR, ("patients", "conditions", "lab_results"))
    undisturbed = await net.extraction(dataset, 1, 6, seed=42)
    await net.work()
    disturbed = await net.extraction(dataset, 2, 6, seed=42)
    worker = await net.worker()
    await net.until(disturbed, "partitions_done BETWEEN 1 AND 4")
    worker.kill()
    await worker.wait()
    [(state, _, done, _, _, _)] = await net.fetch(
        "SELECT state, stage, partitions_done, report, sha256, error FROM clinical.research_extraction WHERE id = $1",
        disturbed,
    )
    assert state == "RUNNING"
    assert 1 <= done < 6
    kept = await net.fetch(
        "SELECT partition, finished_at FROM clinical.research_partition WHERE extraction_id = $1", disturbed
    )
    others = [await net.worker(), await net.worker()]
    await net.until(disturbed, "state NOT IN ('QUEUED', 'RUNNING')")
    for one in others:
        one.terminate()
    assert [await one.wait() for one in others] == [0, 0]
    ended = await net.ended(disturbed)
    assert ended.state == "PUBLISHED"
    assert ended.sha256 == (await net.ended(undisturbed)).sha256
    now = await net.fetch(
        "SELECT partition, finished_at FROM clinical.research_partition WHERE extraction_id = $1", disturbed
    )
    assert set(kept) <= set(now)
    assert len(now) == 6


async def test_of_partitions_that_end_together_one_is_the_last(net: Network) -> None:
    """Whose job finishes the extraction: with none it would run for ever."""
    dataset = await net.dataset(Method.LIMITED, ("patients",))
    sources = Sources(net.settings, Rate(None))
    try:
        for round in range(8):
            extraction = await net.extraction(dataset, round + 1, CONNECTIONS)
            job = await sources.jobs.job(extraction)
            last = await asyncio.gather(*(sources.jobs.keep(job, n, {"rows": n}) for n in range(CONNECTIONS)))
            assert sorted(last) == [False] * (CONNECTIONS - 1) + [True]
            assert await sources.jobs.keep(job, 0, {"rows": 100}), "made again it is still there, and still all are"
            done = "SELECT partitions_done, rows_done FROM clinical.research_extraction WHERE id = $1"
            assert await net.fetch(done, extraction) == [(CONNECTIONS, sum(range(CONNECTIONS)))]
            await net.fetch("UPDATE clinical.research_extraction SET state = 'CANCELLED' WHERE id = $1", extraction)
    finally:
        await sources.close()


async def test_how_much_there_is_to_do_is_known_before(net: Network) -> None:
    await net.fetch("ANALYZE clinical.patient, clinical.encounter, clinical.lab_result")
    extraction, _ = await net.made(Method.LIMITED, ("patients", "encounters", "lab_results"))
    sql = "SELECT rows_estimate, rows_done FROM clinical.research_extraction WHERE id = $1"
    [(estimate, done)] = await net.fetch(sql, extraction)
    assert done * 0.8 < estimate < done * 1.25


async def test_a_cancelled_extraction_ends_and_is_seen_by_nobody(net: Network) -> None:
    extraction = await net.extraction(await net.dataset(Method.SAFE_HARBOR, ("patients", "lab_results")), 1, 4)
    worker = await net.worker(mb_per_s=1)
    await net.until(extraction, "stage = 'EXTRACT'")
    await net.fetch("UPDATE clinical.research_extraction SET cancelled_by = 'ana' WHERE id = $1", extraction)
    await net.until(extraction, "state NOT IN ('QUEUED', 'RUNNING')")
    worker.terminate()
    await worker.wait()
    assert (await net.ended(extraction)).state == "CANCELLED"
    await net.work()  # what the worker left in the queue
    assert await net.files(extraction) == []


async def test_a_cancel_that_comes_late_leaves_a_release_s_files(net: Network) -> None:
    """Beside a job that has just registered the release another one may find the extraction over, and tidy."""
    extraction, ended = await net.made(Method.LIMITED, ("patients",))
    assert ended.state == "PUBLISHED"
    files = await net.files(extraction)
    await cleared(net.settings, extraction)
    assert await net.files(extraction) == files != []


async def test_what_is_staged_goes_though_the_warehouse_is_down(net: Network) -> None:
    extraction = uuid4()
    kept = file_key(extraction, "patients", 0)
    with pytest.raises(StoreError):
        await cleared(replace(net.settings, warehouse_url=DEAD), extraction, kept)
    assert await net.files(extraction) == [kept]
    await cleared(net.settings, extraction)
    assert await net.files(extraction) == []


async def cleared(settings: Settings, extraction: UUID, *keys: str) -> None:
    """Tidies after an extraction that left something staged, and files of these keys. Raises StoreError."""
    sources = Sources(settings, Rate(None))
    try:
        for key in (staged_key(extraction, "patients", 0), *keys):
            await sources.archive.worker_put(key, b"left", CONTENT_TYPE)
        await sources.clear(extraction)
    finally:
        await sources.close()


@pytest.mark.parametrize("table", [*TABLES_READ, "patient", "patient_name", "patient_identifier", "registration"])
async def test_the_login_of_extractions_sees_what_its_project_may_have(net: Network, table: str) -> None:
    """Of itself, and for a project that is none, nothing; nothing of who refuses; and it can change nothing."""
    sql = f"SELECT count(*) FROM clinical.{table}"
    [(everything,)] = await net.fetch(sql)
    [(refused,)] = await net.fetch(REFUSED)
    url, setting = net.settings.clinical_url, "app.research_project"
    [(seen,)] = await net.seen(url, setting, net.project, sql)
    assert 0 < seen < everything
    assert refused > 0
    for nobody in ("", uuid4()):
        assert await net.seen(url, setting, nobody, sql) == [(0,)]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await net.seen(url, setting, net.project, f"DELETE FROM clinical.{table}")


async def test_the_login_of_extractions_sees_vital_signs_of_facilities_that_are_named(net: Network) -> None:
    sql = "SELECT DISTINCT facility_id FROM vitals.vital_sign"
    facilities = [row[0] for row in await net.fetch(FACILITIES)]
    url, setting = net.settings.vitals_url, "app.research_facilities"
    assert await net.seen(url, setting, "", sql) == []
    assert await net.seen(url, setting, facilities[1], sql) == [(facilities[1],)]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await net.seen(url, setting, facilities[1], "DELETE FROM vitals.vital_sign")


async def test_a_project_that_is_revoked_reads_nothing(net: Network) -> None:
    extraction = await net.extraction(await net.dataset(Method.SAFE_HARBOR))
    await net.fetch("UPDATE clinical.research_project SET status = 'REVOKED', revoked_by = 'otto', revoked_at = now()")
    try:
        await net.work()
        assert (await net.ended(extraction)) == Ended("FAILED", None, None, "NOT_APPROVED")
    finally:
        await net.fetch(
            "UPDATE clinical.research_project SET status = 'APPROVED', revoked_by = NULL, revoked_at = NULL"
        )


async def test_a_facility_that_withdraws_is_not_read(net: Network) -> None:
    [(facility,), *others] = await net.fetch(FACILITIES)
    await net.fetch(
        "UPDATE clinical.research_facility SET revoked_at = now(), revoked_by = 'otto' WHERE facility_id <> $1",
        facility,
    )
    try:
        extraction, ended = await net.made(Method.LIMITED, ("patients", "encounters"))
        assert ended.state == "PUBLISHED"
        rows = await net.fetch("SELECT DISTINCT facility_id FROM vault.member WHERE extraction_id = $1", extraction)
        assert rows == [(facility,)]
        assert others
    finally:
        await net.fetch("UPDATE clinical.research_facility SET revoked_at = NULL, revoked_by = NULL")


async def test_shifted_dates_keep_the_distances_of_a_patient_s_days(net: Network) -> None:
    tables = ("patients", "encounters")
    kept, shifted = [(await net.made(Method.LIMITED, tables, shift_dates=shift))[0] for shift in (False, True)]
    both = [await net.table(one, "encounters") for one in (kept, shifted)]
    days = [
        frame.select("research_id", pl.col("period_start").str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False))
        .drop_nulls()
        .sort("research_id", "period_start")
        for frame in both
    ]
    moved = days[0].with_columns(days[1]["period_start"].alias("moved"))
    difference = (pl.col("moved") - pl.col("period_start")).dt.total_days()
    shifts = moved.group_by("research_id").agg(difference.n_unique().alias("shifts"), difference.first().alias("by"))
    assert shifts["shifts"].max() == 1
    assert 0 not in shifts["by"]
    assert shifts["by"].n_unique() > 50


async def test_too_few_patients_are_no_dataset(net: Network) -> None:
    asked = await net.dataset(Method.SAFE_HARBOR, condition=("http://snomed.info/sct|no-such-code",))
    extraction = await net.extraction(asked)
    await net.work()
    assert (await net.ended(extraction)) == Ended("FAILED", None, None, "TOO_FEW_PATIENTS")
