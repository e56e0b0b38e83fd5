"""`python -m workers reconcile`: differences of a copy from its source are found, told without a patient, mended."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from db.errors import SettingsError
from db.notes_schema import PATIENT_SUMMARIES
from db.settings import Settings
from db.stores import Stores
from tests.feed.charts import (
    Chart,
    series_of_copy,
    series_of_source,
    summaries_of_copy,
    summaries_of_source,
    summary,
)
from workers import reconcile as worker
from workers.reconcile import reconcile
from workers.sync.following import rebuild
from workers.sync.series import Series
from workers.sync.summaries import Summaries


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody follows the feed: what differs does so at every look."""
    monkeypatch.setattr(worker, "PAUSE_S", 0.0)


@pytest_asyncio.fixture
async def charts(stores: Stores, alone: Settings) -> list[Chart]:
    """Three charts, whose copies are as they should be."""
    made = [await Chart(stores, alone).register() for _ in range(3)]
    for chart in made:
        await chart.condition()
        await chart.result(5)
    await rebuild(Summaries(stores))
    await rebuild(Series(stores))
    return made


async def test_copies_that_are_as_they_should_be_do_not_differ(alone: Settings, charts: list[Chart]) -> None:
    assert await reconcile(alone, mend=False) == []


async def damage_summaries(stores: Stores, charts: list[Chart]) -> None:
    """Takes one out, changes one, and leaves one of nobody."""
    copy = stores.notes.open(PATIENT_SUMMARIES)
    lost, changed, other = [f"{chart.facility}/{chart.patient}" for chart in charts]
    stale = {**(await summary(stores, charts[2].key)), "_id": f"{charts[2].facility}/{uuid4()}"}
    await copy.delete_one({"_id": lost})
    await copy.update_one({"_id": changed}, {"$set": {"active_conditions": []}})
    await copy.insert_one(stale)
    assert other in await summaries_of_copy(stores)


async def damage_series(stores: Stores, charts: list[Chart]) -> None:
    """The same of results."""
    fetch, keys = stores.vitals.worker_fetch, [chart.patient for chart in charts]
    await fetch("DELETE FROM vitals.lab_series WHERE patient_id = $1", keys[0])
    await fetch("UPDATE vitals.lab_series SET value = value + 1 WHERE patient_id = $1", keys[1])
    await fetch(
        "INSERT INTO vitals.lab_series SELECT gen_random_uuid(), facility_id, patient_id, code, unit, status, value, "
        "comparator, sort_time, as_of FROM vitals.lab_series WHERE patient_id = $1",
        keys[2],
    )


@pytest.mark.parametrize("name", ["summaries", "series"])
async def test_what_is_missing_altered_or_left_over_is_found_and_mended(
    stores: Stores, alone: Settings, charts: list[Chart], name: str
) -> None:
    await (damage_summaries if name == "summaries" else damage_series)(stores, charts)
    found = await reconcile(alone, mend=False)
    told: dict[UUID, tuple[str, int, int, int]] = {
        part.facility_id: (part.copy, part.source, part.copied, len(part.differing)) for part in found
    }
    assert told == {
        charts[0].facility: (name, 1, 0, 1),
        charts[1].facility: (name, 1, 1, 1),
        charts[2].facility: (name, 1, 2, 1),
    }
    assert not any(str(chart.patient) in str(part) for chart in charts for part in found)
    assert len(await reconcile(alone, mend=True)) == 3
    assert await reconcile(alone, mend=False) == []
    assert await summaries_of_copy(stores) == await summaries_of_source(stores)
    assert await series_of_copy(stores) == await series_of_source(stores)


async def test_what_a_second_look_finds_in_step_is_not_told(
    stores: Stores, alone: Settings, charts: list[Chart], monkeypatch: pytest.MonkeyPatch
) -> None:
    await charts[0].condition()

    async def catching_up(seconds: float) -> None:
        await Summaries(stores).refresh([charts[0].key])

    monkeypatch.setattr("workers.reconcile.asyncio.sleep", catching_up)
    assert await reconcile(alone, mend=False) == []


@pytest.mark.parametrize(("argv", "status"), [([], 1), (["--mend"], 0)])
def test_the_status_says_whether_something_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argv: list[str], status: int
) -> None:
    async def found(configured: object, *, mend: bool) -> list[worker.Part]:
        return [worker.Part("series", UUID(int=1), None, 2, 1, [UUID(int=2)])]

    monkeypatch.setattr(worker, "reconcile", found)
    monkeypatch.setattr("workers.reconcile.settings.load", lambda: None)
    assert worker.main(argv) == status
    assert str(UUID(int=2)) not in capsys.readouterr().out


def test_another_argument_is_refused() -> None:
    with pytest.raises(SettingsError):
        worker.main(["--all"])
