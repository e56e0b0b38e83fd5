"""The consumers of the feed: what they copy, when, once for many events, from where they were, and one at a time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from db import copies
from db.errors import SettingsError, StoreUnavailable
from db.feed import Feed
from db.lease import lease
from db.notes_schema import COPIES, PATIENT_SUMMARIES
from db.settings import Settings
from db.stores import Stores
from tests.feed.charts import (
    CORRECT,
    HIV,
    LEAVE,
    RESOLVE,
    Chart,
    series_of_copy,
    series_of_source,
    summaries_of_copy,
    summaries_of_source,
    summary,
)
from workers.summarize import main as summarize_main
from workers.sync import following
from workers.sync.following import Bell, Consumer, catch_up, follow, rebuild
from workers.sync.main import main as sync_main
from workers.sync.retention import tidy
from workers.sync.rollup import Rollup
from workers.sync.series import Series
from workers.sync.summaries import Summaries


@pytest_asyncio.fixture
async def chart(stores: Stores, alone: Settings) -> Chart:
    """A new chart."""
    return await Chart(stores, alone).register()


async def test_a_summary_has_what_a_clinician_reads_first(stores: Stores, chart: Chart) -> None:
    await catch_up(Summaries(stores))
    await chart.condition()
    visits = [str(await chart.encounter()) for _ in range(2)]
    older, newer = await chart.result(5, hour=1), await chart.result(6, hour=2)
    await chart.reading(71)
    plan = await chart.plan()
    await catch_up(Summaries(stores))
    made = await summary(stores, chart.key)
    assert len(made["active_conditions"]) == 1
    assert sorted(entry["id"] for entry in made["last_encounters"]) == sorted(visits)
    assert [(entry["id"], entry["value"]["value"]) for entry in made["latest_results"]] == [(str(newer), 6)]
    assert str(older) not in str(made)
    assert [entry["value"]["value"] for entry in made["latest_vitals"]] == [71]
    assert [entry["id"] for entry in made["care_plans"]] == [plan]
    assert await summaries_of_copy(stores) == await summaries_of_source(stores)


async def test_what_ends_leaves_the_summary(stores: Stores, chart: Chart) -> None:
    condition, result = await chart.condition(), await chart.result(7)
    await catch_up(Summaries(stores))
    assert (await summary(stores, chart.key))["active_conditions"]
    await stores.clinical.worker_fetch(RESOLVE, condition)
    await stores.clinical.worker_fetch(CORRECT, result, "entered-in-error", 7)
    await catch_up(Summaries(stores))
    made = await summary(stores, chart.key)
    assert (made["active_conditions"], made["latest_results"]) == ([], [])
    await stores.clinical.worker_fetch(LEAVE, *chart.key)
    await catch_up(Summaries(stores))
    assert f"{chart.facility}/{chart.patient}" not in await summaries_of_copy(stores)


async def test_many_events_about_a_chart_make_its_summary_once(stores: Stores, chart: Chart) -> None:
    await catch_up(Summaries(stores))
    for _ in range(5):
        await chart.condition()
    consumer = Summaries(stores)
    await catch_up(consumer)
    assert (consumer.written, consumer.unchanged) == (1, 0)


async def test_an_older_computation_does_not_replace_a_newer_one(stores: Stores, chart: Chart) -> None:
    await chart.condition()
    await catch_up(Summaries(stores))
    newer = await summary(stores, chart.key)
    before = newer["as_of"] - timedelta(milliseconds=1)
    older = newer | {"active_conditions": [], "as_of": before}
    await copies.put(stores.notes, PATIENT_SUMMARIES, [older])
    await copies.remove(stores.notes, PATIENT_SUMMARIES, [newer["_id"]], before)
    assert await summary(stores, chart.key) == newer
    later = older | {"as_of": newer["as_of"] + timedelta(milliseconds=1)}
    await copies.put(stores.notes, PATIENT_SUMMARIES, [later])
    assert await summary(stores, chart.key) == later


async def test_a_quiet_copy_is_known_to_be_complete(stores: Stores) -> None:
    consumer = Summaries(stores)
    await catch_up(consumer)
    [before] = await stores.notes.worker_find(COPIES, {"_id": PATIENT_SUMMARIES.name})
    await catch_up(consumer)
    [after] = await stores.notes.worker_find(COPIES, {"_id": PATIENT_SUMMARIES.name})
    assert after["as_of"] > before["as_of"]


async def test_a_rebuild_puts_right_what_no_event_tells_of(stores: Stores, chart: Chart) -> None:
    await chart.condition()
    await catch_up(Summaries(stores))
    made = await summary(stores, chart.key)
    await copies.put(stores.notes, PATIENT_SUMMARIES, [made | {"_id": f"{chart.facility}/{uuid4()}"}])
    await copies.remove(stores.notes, PATIENT_SUMMARIES, [made["_id"]], made["as_of"])
    await rebuild(Summaries(stores))
    assert await summaries_of_copy(stores) == await summaries_of_source(stores)


async def test_series_have_what_results_say_now(stores: Stores, chart: Chart) -> None:
    kept, corrected, wrong = await chart.result(1, hour=1), await chart.result(2, hour=2), await chart.result(3, hour=3)
    await catch_up(Series(stores))
    await stores.clinical.worker_fetch(CORRECT, corrected, "corrected", 9)
    await stores.clinical.worker_fetch(CORRECT, wrong, "entered-in-error", 3)
    await catch_up(Series(stores))
    ours = {row[0]: (row[5], row[6]) for row in await series_of_copy(stores) if row[2] == chart.patient}
    assert ours == {kept: ("final", 1), corrected: ("corrected", 9)}
    assert await series_of_copy(stores) == await series_of_source(stores)


async def test_a_labelled_result_is_in_no_series(stores: Stores, chart: Chart) -> None:
    plain, labelled = await chart.result(1), await chart.result(2, HIV)
    await rebuild(Series(stores))
    await catch_up(Series(stores))
    copied = {row[0] for row in await series_of_copy(stores)}
    assert plain in copied
    assert labelled not in copied
    await stores.clinical.worker_fetch("UPDATE clinical.lab_result SET security = '{PSY}' WHERE id = $1", plain)
    await catch_up(Series(stores))
    assert plain not in {row[0] for row in await series_of_copy(stores)}


async def test_a_rebuild_of_series_takes_out_what_no_result_is_behind(stores: Stores, chart: Chart) -> None:
    await chart.result(4)
    await catch_up(Series(stores))
    await stores.vitals.worker_fetch("UPDATE vitals.lab_series SET result_id = gen_random_uuid(), value = 5")
    await rebuild(Series(stores))
    assert await series_of_copy(stores) == await series_of_source(stores)


async def test_readings_are_rolled_up_when_the_feed_tells_of_them(stores: Stores, chart: Chart) -> None:
    await catch_up(Rollup(stores))
    await chart.reading(80)
    await catch_up(Rollup(stores))
    [(count,)] = await stores.vitals.worker_fetch(
        "SELECT sum(count) FROM vitals.vital_sign_hourly WHERE patient_id = $1", chart.patient
    )
    assert count == 1


class Failing(Summaries):
    """Dies once, after it has written and before it has said so."""

    async def complete(self, held: Any, as_of: Any) -> None:
        raise asyncio.CancelledError

    async def apply(self, held: Any, events: Any) -> None:
        await super().apply(held, events)
        raise asyncio.CancelledError


async def test_what_was_not_acknowledged_is_done_again(stores: Stores, chart: Chart) -> None:
    await catch_up(Summaries(stores))
    await chart.condition()
    with pytest.raises(asyncio.CancelledError):
        await catch_up(Failing(stores))
    again = Summaries(stores)
    await catch_up(again)
    assert (again.written, again.unchanged) == (0, 1)


class Slow(Series):
    """Counts how many of its kind are at work."""

    at_work = 0
    most = 0

    async def complete(self, held: Any, as_of: Any) -> None:
        Slow.at_work += 1
        Slow.most = max(Slow.most, Slow.at_work)
        await asyncio.sleep(0.05)
        Slow.at_work -= 1


async def test_one_of_a_kind_works_and_another_takes_over(stores: Stores, alone: Settings) -> None:
    second, bell = Stores(alone), Bell()
    tasks = [asyncio.create_task(follow(Slow(one), bell)) for one in (stores, second)]
    for _ in range(20):
        bell.ring()
        await asyncio.sleep(0.05)
    assert Slow.most == 1
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    async with asyncio.timeout(10):
        await _until_held(stores, "feed series")
    tasks[1].cancel()
    await asyncio.wait(tasks)
    await second.close()


HELD = """SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objid::bigint = hashtextextended('lease ' || $1::text, 0) & 4294967295"""


async def _until_held(stores: Stores, name: str) -> None:
    """Returns once somebody else holds a lease."""
    while not (await stores.vitals.worker_fetch(HELD, name))[0][0]:  # noqa: ASYNC110 - another session holds it
        await asyncio.sleep(0.05)


async def test_who_lost_the_lease_writes_no_more(stores: Stores, alone: Settings) -> None:
    owner = await asyncpg.connect(alone.vitals_url)

    async def lose_it() -> None:
        async with lease(stores.vitals, "a test") as held:
            [(pid,)] = await held.fetch("SELECT pg_backend_pid()")
            await owner.execute("SELECT pg_terminate_backend($1)", pid)
            await held.fetch("SELECT 1")

    with pytest.raises(StoreUnavailable):
        await lose_it()
    await owner.close()


async def _until_copied(stores: Stores, chart: Chart) -> None:
    """Returns once the copy has a summary of a chart."""
    while f"{chart.facility}/{chart.patient}" not in await summaries_of_copy(stores):  # noqa: ASYNC110 - no word of it
        await asyncio.sleep(0.05)


async def test_a_follower_is_woken_by_a_commit(stores: Stores, chart: Chart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_S", 3600.0)
    await catch_up(Summaries(stores))
    bell = Bell()
    tasks = [asyncio.create_task(follow(Summaries(stores), bell)), asyncio.create_task(bell.hear(stores.clinical))]
    await asyncio.sleep(1)  # until it sleeps
    await chart.condition()
    async with asyncio.timeout(20):
        await _until_copied(stores, chart)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_keys_of_writes_are_forgotten_after_a_month(stores: Stores, alone: Settings) -> None:
    owner = await asyncpg.connect(alone.clinical_url)
    await owner.execute(
        "INSERT INTO access.idempotency_key (facility_id, subject, key, operation, input, claimed_at) "
        "SELECT gen_random_uuid(), 'test', n::text, 'o', sha256('x'), now() - n * interval '1 day' "
        "FROM unnest(ARRAY[1, 29, 31, 400]) AS n"
    )
    assert await tidy(stores.clinical) == (0, 2)
    assert await owner.fetchval("SELECT count(*) FROM access.idempotency_key WHERE subject = 'test'") == 2
    await owner.close()


async def test_lag_counts_what_was_not_acknowledged(stores: Stores, chart: Chart) -> None:
    await catch_up(Series(stores))
    lags = {lag.consumer: lag.events for lag in await Feed(stores.clinical).lag()}
    assert lags["series"] == 0
    await chart.condition()
    lags = {lag.consumer: lag.events for lag in await Feed(stores.clinical).lag()}
    assert lags["series"] == 1


def test_an_unknown_consumer_is_named() -> None:
    with pytest.raises(SettingsError, match="nobody"):
        sync_main(["nobody"])
    with pytest.raises(SettingsError):
        summarize_main(["x"])


def test_consumers_are_consumers(alone: Settings) -> None:
    stores = Stores(alone)
    made: list[Consumer] = [Summaries(stores), Series(stores), Rollup(stores)]
    assert len({one.name for one in made}) == 3
