"""Migrations: applied once, checksummed, safe to run concurrently; and constraints that hold for any writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from db import migrate as migrations
from db.errors import SettingsError
from db.settings import Settings

APPLIED = "SELECT name, count(*) FROM caregraph_migration GROUP BY name"


@pytest_asyncio.fixture
async def fresh(configured: Settings) -> AsyncGenerator[Settings]:
    """Settings whose clinical and imaging databases are new and empty, on the server of the real ones."""
    names = [f"fresh_{uuid4().hex[:8]}" for _ in range(2)]
    owner = await asyncpg.connect(configured.clinical_url)
    urls = [urlunsplit(urlsplit(configured.clinical_url)._replace(path=f"/{name}")) for name in names]
    for name in names:
        await owner.execute(f"CREATE DATABASE {name}")
    yield replace(configured, clinical_url=urls[0], imaging_url=urls[1])
    for name in names:
        await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await owner.close()


async def test_many_migrators_apply_each_file_once(fresh: Settings) -> None:
    runs = [migrations.migrate("clinical", fresh.clinical_url, fresh.secret) for _ in range(4)]
    runs += [migrations.migrate("imaging", fresh.imaging_url, fresh.secret) for _ in range(2)]
    applied = [name for done in await asyncio.gather(*runs) for name in done]
    clinical = [name for name in applied if name.startswith("clinical/")]
    assert len(clinical) == len(set(clinical)) == len(list((migrations.MIGRATIONS / "clinical").glob("*.sql")))
    connection = await asyncpg.connect(fresh.clinical_url)
    counts = await connection.fetch(APPLIED)
    await connection.close()
    assert {row["count"] for row in counts} == {1}


async def test_a_second_run_applies_nothing(fresh: Settings) -> None:
    assert await migrations.migrate("imaging", fresh.imaging_url, fresh.secret)
    assert await migrations.migrate("imaging", fresh.imaging_url, fresh.secret) == []


async def test_a_changed_file_is_refused_by_name(
    fresh: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "migrations"
    for path in [*migrations.files("imaging")]:
        copy = folder / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(migrations, "MIGRATIONS", folder)  # the same code over files that the test may change
    await migrations.migrate("imaging", fresh.imaging_url, fresh.secret)
    changed = next((folder / "imaging").glob("*.sql"))
    changed.write_text(changed.read_text() + "\n-- changed\n")
    with pytest.raises(SettingsError, match=changed.name):
        await migrations.migrate("imaging", fresh.imaging_url, fresh.secret)


async def test_a_column_without_a_declared_kind_is_refused(fresh: Settings) -> None:
    await migrations.migrate("imaging", fresh.imaging_url, fresh.secret)
    connection = await asyncpg.connect(fresh.imaging_url)
    await connection.execute("ALTER TABLE imaging.imaging_study ADD COLUMN undeclared text")
    await connection.close()
    with pytest.raises(SettingsError, match=r"imaging_study\.undeclared"):
        await migrations.migrate("imaging", fresh.imaging_url, fresh.secret)


async def test_a_provider_is_never_booked_twice(network: Settings) -> None:
    connection = await asyncpg.connect(network.clinical_url)
    copy = """
        INSERT INTO clinical.appointment (id, facility_id, patient_id, provider_id, status, start_date_time,
            end_date_time, sort_time, end_time)
        SELECT gen_random_uuid(), facility_id, patient_id, provider_id, $1, start_date_time, end_date_time,
            sort_time, end_time
        FROM clinical.appointment WHERE provider_id IS NOT NULL AND status = 'booked' LIMIT 1
    """
    transaction = connection.transaction()
    await transaction.start()
    assert await connection.execute(copy, "cancelled") == "INSERT 0 1"
    with pytest.raises(asyncpg.ExclusionViolationError):
        await connection.execute(copy, "booked")
    await transaction.rollback()
    await connection.close()
