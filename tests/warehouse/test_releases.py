"""Releases of records in the warehouse: loaded the same twice, unseen until they are registered, never changed then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from db import warehouse_release
from db.caller import Profile
from db.errors import StoreError
from db.research_method import Method
from db.settings import Settings
from db.warehouse import Session, Warehouse, release_table
from db.warehouse_release import BINARY, Releases, views
from tests.warehouse.conftest import caller
from tests.warehouse.releases import COLUMNS, release_of, released, whole, written

DATASETS = "/* datasets */ SELECT id FROM research_dataset WHERE id = ?"
VERSIONS = "/* versions */ SELECT id FROM research_dataset_version WHERE id = ?"
ROWS = "/* rows */ SELECT * FROM release_rows ORDER BY research_id, row_id"
OPEN = "SELECT project_id, method FROM stored_project_open ORDER BY project_id, method"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def warehouse(configured: Settings) -> AsyncIterator[Warehouse]:
    """The warehouse."""
    opened = Warehouse("warehouse", configured.warehouse_url, 30)
    yield opened
    await opened.close()


@pytest.fixture
def releases(warehouse: Warehouse) -> Releases:
    """Its releases."""
    return Releases(warehouse)


def member(warehouse: Warehouse, *opened: str) -> Session:
    """What a member of projects that are open sees."""

    async def ask_open() -> Sequence[str]:
        return opened

    return warehouse.session(caller(), lambda store, statement: None, ask_open)


def of(project_id: UUID, method: Method = Method.SAFE_HARBOR) -> str:
    """A project that is open for a method, as PostgreSQL says it."""
    return f"{project_id} {method.value}"


async def stored(warehouse: Warehouse, release_id: UUID, table: str) -> Sequence[Any]:
    """All rows of a table, whoever may see them."""
    sql = f"SELECT * FROM {release_table(release_id, table)} ORDER BY research_id, row_id"
    return await warehouse.query(sql, (), again=False)


@pytest.mark.parametrize("name", COLUMNS)
async def test_loading_again_gives_the_same_table(
    warehouse: Warehouse, releases: Releases, tmp_path: Path, name: str
) -> None:
    release_id = uuid4()
    table, files = written(tmp_path, name)
    for _ in range(2):
        assert await releases.load(release_id, name, table.types, files) == table.row_count
        assert await stored(warehouse, release_id, name) == whole(name).rows()
    assert await releases.load(release_id, name, table.types, files[:1]) == table.files[0].rows
    assert len(await stored(warehouse, release_id, name)) == table.files[0].rows


async def test_many_files_are_copied_some_at_a_time(
    warehouse: Warehouse, releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse_release, "FILES_MAX", 2)
    release_id = uuid4()
    table, files = written(tmp_path, "lab_results")
    assert await releases.load(release_id, table.name, table.types, files) == table.row_count
    assert await stored(warehouse, release_id, table.name) == whole(table.name).rows()


async def test_a_release_is_seen_once_it_is_registered(
    warehouse: Warehouse, releases: Releases, tmp_path: Path
) -> None:
    project_id = uuid4()
    table, files = written(tmp_path, "patients")
    release = release_of(project_id, [table])
    await releases.load(release.id, table.name, table.types, files)
    session = member(warehouse, of(project_id))
    assert not await session.sees(release.id)
    assert await session.fetch(DATASETS, str(release.dataset_id)) == []
    assert await session.fetch_release(release.id, "patients", ROWS) == []
    await releases.register(release)
    assert await session.sees(release.id)
    assert await session.fetch_release(release.id, "patients", ROWS) == whole("patients").rows()


async def test_what_is_registered_does_not_change(warehouse: Warehouse, releases: Releases, tmp_path: Path) -> None:
    project_id = uuid4()
    release = await released(releases, tmp_path, project_id)
    others, files = written(tmp_path, "patients", salt=1)
    assert await releases.load(release.id, "patients", others.types, files) == whole("patients").height
    await releases.register(replace(release, sha256="1" * 64, title="Another"))
    with pytest.raises(ValueError, match="never changes"):
        await releases.drop(release.id, ["patients"])
    assert await stored(warehouse, release.id, "patients") == whole("patients").rows()
    [row] = await member(warehouse, of(project_id)).fetch(
        "/* registered */ SELECT d.title, v.sha256, v.row_count, v.tables FROM research_dataset AS d "
        "JOIN research_dataset_version AS v ON v.dataset_id = d.id WHERE v.id = ?",
        str(release.id),
    )
    assert row[:3] == (release.title, release.sha256, sum(whole(name).height for name in COLUMNS))


async def test_to_others_a_release_is_like_one_that_never_was(
    warehouse: Warehouse, releases: Releases, tmp_path: Path
) -> None:
    project_id = uuid4()
    release = await released(releases, tmp_path, project_id)
    assert await member(warehouse, of(uuid4()), of(project_id)).sees(release.id)
    nobody = warehouse.session(caller(), lambda store, statement: None)
    officer = warehouse.session(caller(Profile.PRIVACY_OFFICER), lambda store, statement: None)
    foreign = (of(uuid4()), of(project_id, Method.LIMITED), str(project_id), "")
    for session in (nobody, officer, member(warehouse), *(member(warehouse, one) for one in foreign)):
        assert not await session.sees(release.id)
        assert await session.fetch(VERSIONS, str(release.id)) == []
        assert await session.fetch(DATASETS, str(release.dataset_id)) == []
        assert await session.fetch_release(release.id, "patients", ROWS) == []


async def test_a_statement_names_no_table_behind(warehouse: Warehouse, releases: Releases, tmp_path: Path) -> None:
    project_id = uuid4()
    release = await released(releases, tmp_path, project_id)
    session = member(warehouse, of(project_id))
    for name in (release_table(release.id, "patients"), release_table(release.id, "patients").upper()):
        with pytest.raises(ValueError, match="VISIBLE"):
            await session.fetch(f"/* x */ SELECT * FROM {name}")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="VISIBLE"):
            await session.fetch_release(release.id, "patients", f"/* x */ SELECT * FROM {name}")  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        await session.fetch("/* x */ SELECT * FROM release_rows")


NAMES = ("x; DROP TABLE stored_dataset", 'a"b', "A", "", "a-b", "ä", "a" * 64, "a\n")


@pytest.mark.parametrize("name", NAMES)
async def test_names_are_plain(releases: Releases, name: str) -> None:
    keys = {"research_id": "NUMBER(19, 0)", "row_id": "NUMBER(19, 0)"}
    with pytest.raises(ValueError, match="named"):
        await releases.load(uuid4(), name, keys, [])
    with pytest.raises(ValueError, match="named"):
        await releases.load(uuid4(), "t", {**keys, name: "FLOAT"}, [])
    with pytest.raises(ValueError, match="columns"):
        await releases.load(uuid4(), "t", {**keys, "x": f"FLOAT, {name} FLOAT"}, [])
    with pytest.raises(ValueError, match="columns"):
        await releases.load(uuid4(), "t", {"research_id": "NUMBER(19, 0)"}, [])


async def test_what_nobody_will_see_is_dropped(warehouse: Warehouse, releases: Releases, tmp_path: Path) -> None:
    release_id = uuid4()
    table, files = written(tmp_path, "patients")
    await releases.load(release_id, table.name, table.types, files)
    for _ in range(2):
        await releases.drop(release_id, [table.name])
    with pytest.raises(StoreError):
        await stored(warehouse, release_id, table.name)


async def test_open_projects_are_those_that_were_told_last(warehouse: Warehouse, releases: Releases) -> None:
    one, other = sorted([uuid4(), uuid4()])
    first = {(one, Method.LIMITED), (one, Method.TRUSTED), (other, Method.TRUSTED)}
    for told in (first, first, {(one, Method.TRUSTED), (other, Method.LIMITED)}, set[tuple[UUID, Method]]()):
        await releases.set_open_projects(told)
        rows = await warehouse.worker_execute(OPEN)
        assert rows == sorted((str(project_id), method.value) for project_id, method in told)


def test_views_for_roles_are_secure_under_the_policy_and_tagged(tmp_path: Path) -> None:
    """Not run: the embedded warehouse has no policies and no tags."""
    release = release_of(uuid4(), [written(tmp_path, name)[0] for name in COLUMNS], method=Method.LIMITED)
    for table, view in zip(release.tables, views(release), strict=True):
        assert view.startswith(f"CREATE OR REPLACE SECURE VIEW release_{release.id.hex}_{table.name} ")
        assert " WITH ROW ACCESS POLICY open_project ON (project_id, method) AS SELECT " in view
        assert f"'{release.project_id}' AS project_id, 'LIMITED' AS method, t.* FROM stored_release_" in view
        for column in table.columns:
            kind = column.kind.value if column.kind else "NONE"
            tagged = f"\"{column.name.upper()}\" WITH TAG (phi_kind = '{kind}')"
            assert (tagged in view) is (column.type != BINARY)
