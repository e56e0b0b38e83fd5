"""Tiers, restores and expiry: at a server that has them (moto), and in the database for one that has not (nanio)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from db.archive import Archive
from db.errors import InvalidId
from db.postgres import Postgres
from db.settings import Settings
from tests.imaging.images import Images, add_images
from tests.imaging.moto import moto_server
from workers import lifecycle as worker
from workers.lifecycle import lifecycle, restore

STATE = """/* state */
SELECT storage_class, restore_state, restore_expires, s3_key FROM imaging.imaging_instance WHERE id = $1::uuid"""


@dataclass(frozen=True, slots=True)
class State:
    """What the database says of an instance's object."""

    storage_class: str | None
    restore_state: str | None
    restore_expires: datetime | None
    s3_key: str | None


async def state(imaging: Postgres, images: Images) -> State:
    """State of the instance of these images."""
    [row] = await imaging.worker_fetch(STATE, images.instance_id)
    return State(*row)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """URL of an S3 server with lifecycle, tiers and restore."""
    with moto_server("images") as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def tiered(moto: str) -> AsyncIterator[Archive]:
    """The archive at moto."""
    store = Archive("archive", moto, 5)
    await store.worker_ensure_bucket()
    yield store
    await store.close()


async def put(archive: Archive, images: Images, tier: str) -> None:
    """Stores the images' object in a tier of the server."""
    await archive.call("put_object", Key=images.key, Body=b"pixels", StorageClass=tier)


async def test_rules_reach_the_server(tiered: Archive, imaging: Postgres) -> None:
    lines = await lifecycle(tiered, imaging, datetime.now(UTC))
    assert lines[0].startswith("lifecycle rules applied at the server")
    answer: Any = await tiered.call("get_bucket_lifecycle_configuration")
    [rule] = answer["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["Filter"] == {"Prefix": "imaging/"}
    assert [(t["Days"], t["StorageClass"]) for t in rule["Transitions"]] == [(90, "STANDARD_IA"), (365, "GLACIER")]
    assert rule["Expiration"]["Days"] == 3650


async def test_database_follows_the_servers_tiers(tiered: Archive, imaging: Postgres, facility_id: UUID) -> None:
    moved, kept = await add_images(imaging, facility_id), await add_images(imaging, facility_id)
    await put(tiered, moved, "GLACIER")
    await put(tiered, kept, "STANDARD")
    await tiered.call("put_object", Key="imaging/not-a-facility/x.dcm", Body=b"")
    await lifecycle(tiered, imaging, datetime.now(UTC))
    assert (await state(imaging, moved)).storage_class == "GLACIER"
    assert (await state(imaging, kept)).storage_class == "STANDARD"


async def test_restore_at_the_server(tiered: Archive, imaging: Postgres, facility_id: UUID) -> None:
    images = await add_images(imaging, facility_id, tier="GLACIER")
    await put(tiered, images, "GLACIER")
    assert await restore(tiered, imaging, images.study_id) == ["1 objects asked for"]
    assert await restore(tiered, imaging, images.study_id) == ["0 objects asked for"]
    assert (await state(imaging, images)).restore_state == "in-progress"
    for _ in range(4):
        await lifecycle(tiered, imaging, datetime.now(UTC))
    restored = await state(imaging, images)
    head = await tiered.worker_head(images.key)
    assert head is not None
    assert restored.restore_state == "completed"
    assert restored.restore_expires == head.restore_expires
    assert restored.storage_class == head.storage_class == "GLACIER"


async def test_restore_under_way_is_left_so(tiered: Archive, imaging: Postgres, facility_id: UUID) -> None:
    images = await add_images(imaging, facility_id, tier="GLACIER")
    await put(tiered, images, "GLACIER")
    await restore(tiered, imaging, images.study_id)
    head = await tiered.worker_head(images.key)
    assert head is not None
    assert head.restore_state == "in-progress"


async def test_expired_at_the_server(tiered: Archive, imaging: Postgres, facility_id: UUID) -> None:
    deleted = await add_images(imaging, facility_id, days_old=3651)
    still_there = await add_images(imaging, facility_id, days_old=3651)
    await put(tiered, still_there, "GLACIER")
    await lifecycle(tiered, imaging, datetime.now(UTC))
    assert (await state(imaging, deleted)).s3_key is None
    assert (await state(imaging, still_there)).s3_key == still_there.key


@pytest.mark.parametrize(
    ("days_old", "tier"),
    [(89, "STANDARD"), (90, "STANDARD_IA"), (364, "STANDARD_IA"), (365, "GLACIER"), (3649, "GLACIER"), (3650, None)],
)
async def test_tiers_by_age(
    archive: Archive, imaging: Postgres, facility_id: UUID, days_old: int, tier: str | None
) -> None:
    images = await add_images(imaging, facility_id, days_old=days_old)
    await archive.worker_put(images.key, b"pixels")
    now = datetime.now(UTC)
    lines = await lifecycle(archive, imaging, now)
    assert lines[0] == "the server has no lifecycle rules: tiers, restores and expiry are kept by this worker"
    assert (await state(imaging, images)).storage_class == tier
    assert (await archive.worker_head(images.key) is None) == (tier is None)


async def test_restore_by_the_worker(archive: Archive, imaging: Postgres, facility_id: UUID) -> None:
    images = await add_images(imaging, facility_id, days_old=400, tier="GLACIER")
    other = await add_images(imaging, facility_id, days_old=400, tier="GLACIER")
    await archive.worker_put(images.key, b"pixels")
    lines = await restore(archive, imaging, images.study_id)
    assert lines == ["1 objects asked for", "the server has no restore: the next pass completes it in the database"]
    now = datetime.now(UTC)
    await lifecycle(archive, imaging, now)
    restored = await state(imaging, images)
    assert (restored.restore_state, restored.restore_expires) == ("completed", now + timedelta(days=7))
    assert (await state(imaging, other)).restore_state is None
    await lifecycle(archive, imaging, now + timedelta(days=7))
    assert (await state(imaging, images)).restore_state is None


def test_worker_from_the_command_line(
    own: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker.settings, "load", lambda: own)
    assert worker.main([]) == 0
    assert "the server has no lifecycle rules" in capsys.readouterr().out
    assert worker.main(["--restore", f"ImagingStudy/{uuid4()}"]) == 0
    assert capsys.readouterr().out.startswith("0 objects asked for\n")
    with pytest.raises(InvalidId):
        worker.main(["--restore", "ImagingStudy/x"])
