"""A hospital network in stores of its own: what is counted over the network must not change under other tests."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from db.caller import Caller, Profile
from db.migrate import migrate
from db.settings import Settings, load
from db.warehouse import migrate_warehouse
from tests.callers import caller_of
from tests.warehouse.network import FACILITIES, PATIENTS, SEED, Person
from workers.embedded.stores import Stores as Embedded
from workers.embedded.stores import stores


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A warehouse and a clinical database."""
    absent = {"CAREGRAPH_NOTES_URL": "mongodb://127.0.0.1:1/x", "CAREGRAPH_ARCHIVE_URL": "http://a:b@127.0.0.1:1/x"}
    with stores(tmp_path_factory.mktemp("research"), absent) as embedded:
        yield embedded


@pytest_asyncio.fixture(scope="session")
async def configured(running: Embedded) -> Settings:
    """Settings of the running stores, migrated, with the patients of the network."""
    absent = {"CAREGRAPH_NOTES_URL": "mongodb://127.0.0.1:1/x", "CAREGRAPH_ARCHIVE_URL": "http://a:b@127.0.0.1:1/x"}
    settings = load({**running.env, **absent, "CAREGRAPH_DATA": str(running.directory.path)})
    await migrate("clinical", settings.clinical_url, settings.secret)
    await migrate_warehouse(settings)
    asyncpg: Any = importlib.import_module("asyncpg")
    connection = await asyncpg.connect(settings.clinical_url)
    try:
        await connection.execute("SET search_path = clinical, public")
        await connection.executemany("INSERT INTO facility (id, code, name) VALUES ($1, $2, $2)", FACILITIES)
        await connection.executemany(
            "INSERT INTO patient (id, gender, birth_date) VALUES ($1, $2, $3)", map(_row, PATIENTS)
        )
        for statement in SEED:
            await connection.execute(statement)
    finally:
        await connection.close()
    return settings


def _row(person: Person) -> tuple[UUID, str | None, str | None]:
    return person.id, person.gender, person.birth_date


def caller(profile: Profile = Profile.ANALYST, facility: int = 0) -> Caller:
    """A caller of a profile at one of the facilities."""
    return caller_of(profile, FACILITIES[facility][0])
