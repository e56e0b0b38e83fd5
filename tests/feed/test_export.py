"""The export: each change of a row as an event of Debezium's format, at least once, in order, whole, to a file."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from db.changes import changes
from db.errors import SettingsError, StoreError
from db.feed import Feed
from db.lease import lease
from db.settings import Settings, load
from db.sink import File, Message, sink_of
from db.stores import Stores
from tests.feed.charts import Chart
from tests.feed.test_crash import environ
from workers.embedded.child import Child
from workers.embedded.directory import python_program
from workers.sync.export import Export, export_to
from workers.sync.following import catch_up
from workers.sync.main import main as sync_main

INSERT = """INSERT INTO clinical.condition
    (id, facility_id, patient_id, clinical_status, code_system, code, code_display, sort_time)
VALUES ($1, $2, $3, 'active', 'http://snomed.info/sct', '44054006', 'Number 0', now())"""
NUMBER = "UPDATE clinical.condition SET code_display = 'Number ' || $2::int WHERE id = $1"
REMOVE = "DELETE FROM clinical.condition WHERE id = $1"
STUDY = """INSERT INTO imaging.imaging_study (id, facility_id, patient_id, status, sort_time)
VALUES ($1, $2, $3, 'available', now())"""
PROJECT = """INSERT INTO clinical.research_project (id, facility_id, name, aim, irb_approval, irb_expires, proposed_by)
VALUES ($1, $2, 'P', 'A', 'IRB 4', '1971-01-01', 'x')"""
DEFINED = {"jsonb", "numeric", "bytea", "date", "timestamp with time zone", "tstzrange"}
"""Types that feed.columns_of turns into Debezium's form."""
AS_JSON = {"text", "text[]", "uuid", "uuid[]", "boolean", "smallint", "integer", "bigint", "double precision"}
"""Types that JSON and Debezium write alike, and domains over them."""
TYPES = """
SELECT DISTINCT format_type(coalesce(nullif(y.typbasetype, 0), a.atttypid), NULL)
FROM pg_trigger AS t JOIN pg_attribute AS a ON a.attrelid = t.tgrelid JOIN pg_type AS y ON y.oid = a.atttypid
WHERE t.tgname = 'audit_insert' AND a.attnum > 0 AND NOT a.attisdropped"""


@pytest_asyncio.fixture
async def chart(stores: Stores, alone: Settings) -> Chart:
    """A chart of one test."""
    return await Chart(stores, alone).register()


@pytest_asyncio.fixture
async def export(stores: Stores, tmp_path: Path) -> Export:
    """An export to this test's directory, which begins here."""
    await stores.clinical.worker_fetch("DELETE FROM feed.consumer WHERE name LIKE 'export%'")
    made = export_to(tmp_path.as_uri(), stores.clinical)
    await catch_up(made)
    return made


def lines(folder: Path, name: str = "clinical") -> list[dict[str, Any]]:
    """What was exported, in order; each line must be whole."""
    found = [*sorted(folder.glob(f"{name}-*.ndjson")), folder / f"{name}.ndjson"]
    text = b"".join(path.read_bytes() for path in found)
    assert text[-1:] in (b"", b"\n")
    return [json.loads(line) for line in text.splitlines()]


def of_row(exported: Sequence[dict[str, Any]], row: UUID) -> list[dict[str, Any]]:
    """Envelopes about one row."""
    return [line["value"] for line in exported if line["key"] == {"id": str(row)}]


async def test_insert_update_and_delete_of_a_row(export: Export, chart: Chart, tmp_path: Path) -> None:
    row = await chart.condition()
    await chart.stores.clinical.worker_fetch(NUMBER, row, 7)
    await chart.stores.clinical.worker_fetch(REMOVE, row)
    await catch_up(export)
    made, changed, gone = of_row(lines(tmp_path), row)
    assert [one["op"] for one in (made, changed, gone)] == ["c", "u", "d"]
    assert (made["before"], gone["after"]) == (None, None)
    assert (made["after"], changed["after"]) == (changed["before"], gone["before"])
    assert changed["before"]["code_display"] == "A condition"
    assert changed["after"]["code_display"] == "Number 7"
    assert made["after"]["patient_id"] == str(chart.patient)
    source = changed["source"]
    assert (source["connector"], source["snapshot"], source["db"]) == ("postgresql", "false", "clinical")
    assert (source["schema"], source["table"]) == ("clinical", "condition")
    assert changed["transaction"] == {"id": str(source["txId"])}
    assert 0 <= changed["ts_ms"] - source["ts_ms"] < 600_000
    assert source["ts_us"] // 1000 == source["ts_ms"] == source["ts_ns"] // 1_000_000


async def test_values_have_debeziums_types(export: Export, chart: Chart, tmp_path: Path) -> None:
    row = await chart.result(7)
    await chart.stores.clinical.worker_fetch(
        'UPDATE clinical.lab_result SET value_number = 1.50, reference_range = \'[{"text": "é"}]\' WHERE id = $1', row
    )
    await catch_up(export)
    [line] = [one for one in lines(tmp_path) if one["value"]["op"] == "u"]
    assert line["key"] == {"id": str(row), "sort_time": "2020-01-02T00:00:00Z"}
    after = line["value"]["after"]
    assert after["value_number"] == "1.50", "decimal.handling.mode=string"
    assert json.loads(after["reference_range"]) == [{"text": "é"}], "io.debezium.data.Json"
    assert after["sort_time"] == "2020-01-02T00:00:00Z", "io.debezium.time.ZonedTimestamp"
    assert after["value_comparator"] is None


async def test_dates_are_days(export: Export, chart: Chart, tmp_path: Path) -> None:
    project = uuid4()
    await chart.stores.clinical.worker_fetch(PROJECT, project, chart.facility)
    await catch_up(export)
    [line] = of_row(lines(tmp_path), project)
    assert line["after"]["irb_expires"] == 365, "io.debezium.time.Date"


async def test_every_column_has_a_type_that_is_decided(alone: Settings) -> None:
    for url in (alone.clinical_url, alone.imaging_url):
        owner = await asyncpg.connect(url)
        found = {row[0] for row in await owner.fetch(TYPES)}
        await owner.close()
        assert found <= DEFINED | AS_JSON


async def test_transactions_that_overlap(export: Export, chart: Chart, alone: Settings, tmp_path: Path) -> None:
    """What commits later comes later, and changes of one row in their order, whatever began first."""
    late, early = await asyncpg.connect(alone.clinical_url), await asyncpg.connect(alone.clinical_url)
    first, second = uuid4(), uuid4()
    slow = late.transaction()
    await slow.start()
    await late.execute(INSERT, first, *chart.key)
    await early.execute(INSERT, second, *chart.key)
    await catch_up(export)
    assert (len(of_row(lines(tmp_path), first)), len(of_row(lines(tmp_path), second))) == (0, 1)
    await late.execute(NUMBER, first, 1)
    await slow.commit()
    await early.execute(NUMBER, first, 2)
    await late.close()
    await early.close()
    await catch_up(export)
    exported = lines(tmp_path)
    shown = [one["after"]["code_display"] for one in of_row(exported, first)]
    assert shown == ["Number 0", "Number 1", "Number 2"]
    assert exported.index(next(one for one in exported if one["key"] == {"id": str(second)})) < exported.index(
        next(one for one in exported if one["key"] == {"id": str(first)})
    )


async def test_a_row_that_gets_another_key_is_deleted_and_created(export: Export, chart: Chart, tmp_path: Path) -> None:
    old, new = await chart.condition(), uuid4()
    await chart.stores.clinical.worker_fetch("UPDATE clinical.condition SET id = $2 WHERE id = $1", old, new)
    await catch_up(export)
    assert [one["op"] for one in of_row(lines(tmp_path), old)] == ["c", "d"]
    assert [one["op"] for one in of_row(lines(tmp_path), new)] == ["c"]


async def test_more_rows_than_one_page(
    export: Export, chart: Chart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sync.export.ROWS", 3)
    rows = [uuid4() for _ in range(10)]
    for start in (0, 2, 9):
        await chart.stores.clinical.worker_fetch(
            INSERT.replace("VALUES ($1, $2, $3,", "SELECT unnest($1::uuid[]), $2::uuid, $3::uuid,")[:-1],
            rows[start : {0: 2, 2: 9, 9: 10}[start]],
            *chart.key,
        )
    await catch_up(export)
    exported = [line for line in lines(tmp_path) if line["value"]["source"]["table"] == "condition"]
    assert {line["key"]["id"] for line in exported} == {str(row) for row in rows}
    places = [json.loads(line["value"]["source"]["sequence"]) for line in exported]
    assert len({tuple(place) for place in places}) == len(rows) == len(exported)


async def test_the_record_is_read_row_by_row(export: Export, alone: Settings) -> None:
    owner = await asyncpg.connect(alone.clinical_url)
    body: str = await owner.fetchval("SELECT prosrc FROM pg_proc WHERE oid = 'feed.changes(bigint[])'::regprocedure")
    plan = [row[0] for row in await owner.fetch(f"EXPLAIN {body.replace('sequences', 'ARRAY[1, 2]::bigint[]')}")]
    await owner.close()
    conditions = [line for line in plan if "Index Cond" in line and "occurred_at" in line]
    assert conditions
    assert all("row_key = k.key" in line for line in conditions)


async def test_images_have_an_export_of_their_own(stores: Stores, chart: Chart, tmp_path: Path) -> None:
    imaging = export_to(tmp_path.as_uri(), stores.imaging)
    await catch_up(imaging)
    await stores.imaging.worker_fetch(STUDY, row := uuid4(), *chart.key)
    await catch_up(imaging)
    [made] = of_row(lines(tmp_path, "imaging"), row)
    assert (made["op"], made["source"]["db"], made["source"]["table"]) == ("c", "imaging", "imaging_study")


async def test_its_lag_is_that_of_any_consumer(export: Export, chart: Chart) -> None:
    await chart.condition()
    feed = Feed(chart.stores.clinical)
    assert {one.consumer: one.events for one in await feed.lag()}["export-clinical"] > 0
    await catch_up(export)
    assert {one.consumer: one.events for one in await feed.lag()}["export-clinical"] == 0


async def test_who_lost_the_lease_writes_no_more(export: Export, chart: Chart, tmp_path: Path) -> None:
    place = await export.feeds[0].now()
    row = await chart.condition()
    events = (await export.feeds[0].read(place, 10)).events
    owner = await asyncpg.connect(chart.settings.clinical_url)
    async with lease(chart.stores.clinical, "a test of the export") as held:
        [(pid,)] = await held.fetch("SELECT pg_backend_pid()")
        await owner.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        with pytest.raises(StoreError):
            await export.apply(held, events)
    await owner.close()
    assert not of_row(lines(tmp_path), row)


async def test_a_change_that_is_recorded_no_more_is_not_passed_over(chart: Chart) -> None:
    place = await Feed(chart.stores.clinical).now()
    await chart.condition()
    [event] = (await Feed(chart.stores.clinical).read(place, 10)).events
    unknown = replace(event, row_keys=[*event.row_keys, str(uuid4())])
    assert len(await changes(chart.stores.clinical, [event])) == 1
    with pytest.raises(StoreError, match="lacks"):
        await changes(chart.stores.clinical, [unknown])


# --- The file --------------------------------------------------------------------------------------------------------


def told(number: int) -> Message:
    """A message."""
    return Message("a", b'{"id":%d}' % number, b"{}")


async def test_a_file_is_its_owners_and_gives_way_when_it_is_full(tmp_path: Path) -> None:
    file = File(tmp_path, "clinical", bytes_max=100)
    for number in range(12):
        await file.put([told(number)])
    assert [line["key"]["id"] for line in lines(tmp_path)] == list(range(12))
    found = list(tmp_path.iterdir())
    assert len(found) > 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o600}
    assert all(path.stat().st_size < 150 for path in found)


@pytest.mark.parametrize("torn", [b'{"key":{"id"', b"x" * 200_000])
async def test_a_torn_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    file = File(tmp_path, "clinical")
    path = tmp_path / "clinical.ndjson"
    path.write_bytes(torn)
    await file.put([told(1)])
    with path.open("ab") as open_file:
        open_file.write(torn)
    await file.put([told(2)])
    assert [line["key"]["id"] for line in lines(tmp_path)] == [1, 2]


def test_what_can_not_be_written_to_is_said_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "taken" / "clinical.ndjson").mkdir(parents=True)
    for place in (tmp_path / "file", tmp_path / "nowhere", tmp_path / "taken", Path("/proc/self")):
        with pytest.raises(SettingsError, match="CAREGRAPH_EXPORT_URL must name a directory"):
            sink_of(place.as_uri(), "clinical")


async def test_a_directory_that_goes_away_is_a_store_that_is_down(tmp_path: Path) -> None:
    file = File(tmp_path / "away", "clinical")
    with pytest.raises(StoreError):
        await file.put([told(1)])


@pytest.mark.parametrize(
    "url",
    ["/srv/x", "file://host/x", "file:x", "kafka://host/topic", "kafka://host:1/", "kafka://h:1/a b", "http://h:1/a"],
)
def test_a_url_of_another_kind_is_refused(alone: Settings, url: str) -> None:
    with pytest.raises(SettingsError, match="CAREGRAPH_EXPORT_URL"):
        load({**environ(alone), "CAREGRAPH_EXPORT_URL": url})


def test_without_a_url_there_is_no_export(stores: Stores, alone: Settings) -> None:
    assert load(environ(alone)).export_url is None
    with pytest.raises(SettingsError, match="not set"):
        export_to(None, stores.clinical)
    with pytest.raises(SettingsError, match="export-clinical"):
        sync_main(["--rebuild", "export-clinical"])


# --- Kill -9 ---------------------------------------------------------------------------------------------------------

ROUNDS = 40


def start(settings: Settings, folder: Path) -> Child:
    """A worker that exports."""
    program = python_program(
        "workers", "sync", "export-clinical", **environ(settings), CAREGRAPH_EXPORT_URL=folder.as_uri()
    )
    return Child(program, folder / "sync.pid", folder / "sync.log")


async def test_a_worker_that_is_killed_loses_and_tears_nothing(
    export: Export, chart: Chart, alone: Settings, tmp_path: Path
) -> None:
    rows = [await chart.condition() for _ in range(3)]
    worker = start(alone, tmp_path)
    try:
        for turn in range(ROUNDS):
            for row in rows:
                await chart.stores.clinical.worker_fetch(NUMBER, row, turn)
            if turn in (ROUNDS // 3, 2 * ROUNDS // 3):
                worker.kill()
                with (tmp_path / "clinical.ndjson").open("ab") as file:
                    file.write(b'{"key":{"id":"torn')
                worker = start(alone, tmp_path)
            await asyncio.sleep(0.05)
        async with asyncio.timeout(90):
            while any(len(set(_shown(tmp_path, row))) <= ROUNDS for row in rows):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.3)
    finally:
        worker.stop()
    for row in rows:
        once = list(dict.fromkeys(_shown(tmp_path, row)))
        assert once == ["A condition", *(f"Number {turn}" for turn in range(ROUNDS))]
    assert "Number" not in (tmp_path / "sync.log").read_text(), "no value in a log"


def _shown(folder: Path, row: UUID) -> list[str]:
    """What the row said, by whole lines."""
    text = (folder / "clinical.ndjson").read_bytes()
    exported = [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
    return [one["after"]["code_display"] for one in of_row(exported, row)]
