"""The store's contract: who sees what, what an error says, and what happens when the warehouse is away."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from db.caller import Profile
from db.errors import SettingsError, StoreError, StoreTimeout, StoreUnavailable
from db.settings import Settings
from db.warehouse import Warehouse, migrate_warehouse
from tests.warehouse.conftest import caller
from tests.warehouse.network import FACILITIES
from workers.embedded.stores import Stores as Embedded

DATASET = "00000000-0000-0000-0000-0000000000d1"
CELLS = "/* cells */ SELECT facility_id, ordinal FROM research_aggregate WHERE dataset_id = ? ORDER BY ordinal"
DATASETS = "/* datasets */ SELECT id FROM research_dataset WHERE id = ?"
COLUMNS: Any = {
    "dataset_id": "VARCHAR",
    "version": "NUMBER(9, 0)",
    "ordinal": "NUMBER(18, 0)",
    "facility_id": "VARCHAR",
    "measure": "VARCHAR",
    "code_display": "VARCHAR",
}
RELEASED = "2000-01-01T00:00:00+00:00"
TRICKY = 'O\'Brien "x" \\ ? :1 é – 漢\n; DROP TABLE stored_dataset'


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def warehouse(configured: Settings) -> AsyncIterator[Warehouse]:
    """A warehouse with a dataset: a cell of the network and one of each facility; version 2 is not registered."""
    opened = Warehouse("warehouse", configured.warehouse_url, 5)
    await opened.worker_execute(
        "INSERT INTO stored_dataset SELECT ?, 'd', 't', 'd', 'HRESCH', 'm', 11, CAST(? AS TIMESTAMP_TZ), NULL",
        DATASET,
        RELEASED,
    )
    for profile in ("analyst", "privacy_officer"):
        await opened.worker_execute("INSERT INTO stored_dataset_profile VALUES (?, ?)", DATASET, profile)
    await opened.worker_execute(
        "INSERT INTO stored_dataset_version SELECT ?, ?, 1, CAST(? AS TIMESTAMP_TZ), '', 4, 0, '', NULL, NULL, NULL",
        DATASET,
        DATASET,
        RELEASED,
    )
    places = [None, *(str(key) for key, _ in FACILITIES)]
    rows = [
        (DATASET, version, 10 * version + place, facility, "population", TRICKY)
        for version in (1, 2)
        for place, facility in enumerate(places)
    ]
    await opened.worker_load("stored_aggregate", COLUMNS, rows)
    yield opened
    await opened.close()


def unrecorded(store: str, statement: str) -> None:
    """Where statements are recorded that no test counts."""


async def test_a_caller_sees_the_cells_of_the_network_and_of_its_own_facility(warehouse: Warehouse) -> None:
    for place, (facility, _) in enumerate(FACILITIES):
        session = warehouse.session(caller(facility=place), unrecorded)
        assert await session.fetch(CELLS, DATASET) == [(None, 10), (str(facility), 11 + place)]


async def test_a_profile_sees_the_datasets_that_are_mapped_to_it(warehouse: Warehouse) -> None:
    seen = {
        profile: (
            len(await warehouse.session(caller(profile), unrecorded).fetch(DATASETS, DATASET)),
            len(await warehouse.session(caller(profile), unrecorded).fetch(CELLS, DATASET)),
        )
        for profile in Profile
    }
    nothing = dict.fromkeys(Profile, (0, 0))
    assert seen == nothing | {Profile.ANALYST: (1, 2), Profile.PRIVACY_OFFICER: (1, 0)}


async def test_a_statement_of_a_caller_is_named_recorded_and_kept_from_the_tables_behind(warehouse: Warehouse) -> None:
    counted = Counter[tuple[str, str]]()

    def record(store: str, statement: str) -> None:
        counted[store, statement] += 1

    session = warehouse.session(caller(), record)
    await session.fetch(DATASETS, DATASET)
    assert counted == {("warehouse", "datasets"): 1}
    with pytest.raises(ValueError, match="VISIBLE"):
        await session.fetch("/* x */ SELECT 1 FROM Stored_Aggregate")
    with pytest.raises(ValueError, match="name"):
        await session.fetch("SELECT 1")


async def test_values_are_parameters(warehouse: Warehouse) -> None:
    assert await warehouse.worker_execute("SELECT ?, ?, ?", TRICKY, 7, None) == [(TRICKY, 7, None)]
    stored = await warehouse.worker_execute(
        "SELECT DISTINCT code_display FROM stored_aggregate WHERE dataset_id = ?", DATASET
    )
    assert stored == [(TRICKY,)]


async def test_a_refused_statement_is_an_error_without_its_values(warehouse: Warehouse) -> None:
    with pytest.raises(StoreError) as caught:
        await warehouse.worker_execute("SELECT ? FROM nowhere WHERE secret_name = ?", "secret", "value")
    assert caught.value.code == "STORE_UNAVAILABLE"
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_many_reads_share_the_few_connections(warehouse: Warehouse) -> None:
    session = warehouse.session(caller(), unrecorded)
    answers = await asyncio.gather(*(session.fetch(CELLS, DATASET) for _ in range(24)))
    assert all(answer == answers[0] and len(answer) == 2 for answer in answers)


async def test_migrations_run_once_and_a_changed_one_is_refused(configured: Settings, warehouse: Warehouse) -> None:
    await warehouse.ready()
    assert await migrate_warehouse(configured) == []
    recorded = await warehouse.worker_execute("SELECT name, sha256 FROM caregraph_migration")
    assert [name for name, _ in recorded] == ["0001_research.sql", "0003_releases.sql"]
    change = "UPDATE caregraph_migration SET sha256 = ?"
    await warehouse.worker_execute(change, "0" * 64)
    with pytest.raises(SettingsError, match=r"0001_research\.sql"):
        await migrate_warehouse(configured)
    await warehouse.worker_execute(change, recorded[0][1])


async def test_an_unmigrated_warehouse_is_not_ready(configured: Settings) -> None:
    empty = Warehouse("warehouse", configured.warehouse_url.replace("/RESEARCH?", "/ELSEWHERE?"), 5)
    with pytest.raises(StoreError):
        await empty.ready()
    await empty.close()


async def test_a_stopped_warehouse_is_unavailable_and_a_restarted_one_has_kept_everything(
    running: Embedded, warehouse: Warehouse
) -> None:
    session = warehouse.session(caller(), unrecorded)
    before = await session.fetch(CELLS, DATASET)
    running.kill("warehouse")
    try:
        for _ in range(4):  # the last one meets the open breaker
            async with asyncio.timeout(warehouse.guard.timeout_s + 2):
                with pytest.raises(StoreUnavailable):
                    await session.fetch(CELLS, DATASET)
    finally:
        running.start("warehouse")
    await asyncio.sleep(2.1)  # the breaker's pause
    assert await session.fetch(CELLS, DATASET) == before


async def test_a_connection_of_before_a_restart_costs_no_read(running: Embedded, warehouse: Warehouse) -> None:
    session = warehouse.session(caller(), unrecorded)
    before = await session.fetch(CELLS, DATASET)
    running.stop("warehouse")
    running.start("warehouse")
    assert await session.fetch(CELLS, DATASET) == before


async def test_a_hanging_warehouse_is_given_up_at_the_deadline(running: Embedded, configured: Settings) -> None:
    hanging = Warehouse("warehouse", configured.warehouse_url, 1)
    session = hanging.session(caller(), unrecorded)
    await session.fetch(DATASETS, DATASET)
    os.kill(running.pid("warehouse"), signal.SIGSTOP)
    try:
        async with asyncio.timeout(4):
            with pytest.raises(StoreTimeout):
                await session.fetch(DATASETS, DATASET)
    finally:
        os.kill(running.pid("warehouse"), signal.SIGCONT)
    assert await session.fetch(DATASETS, DATASET) == [(DATASET,)]
    await hanging.close()
