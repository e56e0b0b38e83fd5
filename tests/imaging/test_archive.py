"""The archive as a caller reaches it: own facility only, signed, short-lived, in ranges, and honest when it is down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit, urlunsplit
from uuid import UUID, uuid4

import pytest

from db.archive import EXPIRES_MAX_S, READ_MAX, Archive
from db.caller import Profile
from db.errors import Forbidden, StoreUnavailable
from db.object_keys import is_key_of
from db.settings import Settings
from tests.imaging.images import caller, get, keys_outside
from workers.embedded.stores import Stores as Embedded

Recorder = Callable[[str, str], None]
CONTENT = bytes(range(256))


async def stored(archive: Archive, facility_id: UUID) -> str:
    """Key of an object of CONTENT that this facility has."""
    key = f"imaging/{facility_id}/study/series/{uuid4()}.dcm"
    await archive.worker_put(key, CONTENT)
    return key


async def test_presigned_url_reads_the_object(archive: Archive, facility_id: UUID, record: Recorder) -> None:
    key = await stored(archive, facility_id)
    url = await archive.session(caller(facility_id), record).presigned_get(key, 60)
    assert url is not None
    assert get(url) == (200, CONTENT)
    assert get(url, Range="bytes=16-31") == (206, CONTENT[16:32])
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["60"]


async def test_tampered_url_is_refused(archive: Archive, facility_id: UUID, record: Recorder) -> None:
    key, other = await stored(archive, facility_id), await stored(archive, uuid4())
    url = await archive.session(caller(facility_id), record).presigned_get(key, 60)
    assert url is not None
    parts = urlsplit(url)
    assert get(urlunsplit(parts._replace(path=f"/imagingtests/{other}")))[0] == 403
    assert get(url.replace("X-Amz-Expires=60", "X-Amz-Expires=300"))[0] == 403
    assert get(urlunsplit(parts._replace(query="")))[0] == 403


async def test_expired_url_is_refused(
    archive: Archive, facility_id: UUID, record: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await stored(archive, facility_id)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime.now(UTC) - timedelta(seconds=61))
    url = await archive.session(caller(facility_id), record).presigned_get(key, 60)
    assert url is not None
    assert get(url)[0] == 403


async def test_no_key_outside_the_facility(archive: Archive, facility_id: UUID, record: Recorder) -> None:
    session = archive.session(caller(facility_id), record)
    assert is_key_of(facility_id, f"imaging/{facility_id}/study/series/instance.dcm")
    for key in keys_outside(facility_id):
        with pytest.raises(Forbidden):
            await session.presigned_get(key, 60)
        with pytest.raises(Forbidden):
            await session.read_range(key, 0, 1)


async def test_another_facilitys_object_is_refused_by_its_key(archive: Archive, record: Recorder) -> None:
    key = await stored(archive, uuid4())
    with pytest.raises(Forbidden):
        await archive.session(caller(uuid4()), record).presigned_get(key, 60)


async def test_range_read(archive: Archive, facility_id: UUID, record: Recorder, sent: list[tuple[str, str]]) -> None:
    key = await stored(archive, facility_id)
    session = archive.session(caller(facility_id), record)
    assert await session.read_range(key, 10, 20) == CONTENT[10:20]
    assert await session.read_range(key, 250, 300) == CONTENT[250:]
    assert await session.read_range(key, 256, 300) == b""
    assert await session.read_range(f"{key}.missing", 0, 1) is None
    assert sent == [("archive", "read_range")] * 4


@pytest.mark.parametrize(("start", "end"), [(0, 0), (-1, 1), (5, 4), (0, READ_MAX + 1)])
async def test_range_is_bounded(archive: Archive, facility_id: UUID, record: Recorder, start: int, end: int) -> None:
    with pytest.raises(ValueError, match="range"):
        await archive.session(caller(facility_id), record).read_range("", start, end)


@pytest.mark.parametrize("seconds", [0, -1, EXPIRES_MAX_S + 1])
async def test_expiry_is_bounded(archive: Archive, facility_id: UUID, record: Recorder, seconds: int) -> None:
    with pytest.raises(ValueError, match="seconds"):
        await archive.session(caller(facility_id), record).presigned_get("", seconds)


async def test_policy_hides_urls(archive: Archive, facility_id: UUID, record: Recorder) -> None:
    key = await stored(archive, facility_id)
    session = archive.session(caller(facility_id, Profile.ANALYST), record)
    assert await session.presigned_get(key, 60) is None
    with pytest.raises(Forbidden):
        await session.read_range(key, 0, 1)


async def test_one_liveness_check_for_each_request(
    archive: Archive, facility_id: UUID, record: Recorder, sent: list[tuple[str, str]]
) -> None:
    session = archive.session(caller(facility_id), record)
    for number in range(5):
        await session.presigned_get(f"imaging/{facility_id}/{number}.dcm", 60)
    assert sent == [("archive", "head_bucket")]


async def test_stopped_archive_is_unavailable_and_comes_back(
    embedded: Embedded, own: Settings, archive: Archive, facility_id: UUID, record: Recorder
) -> None:
    key = await stored(archive, facility_id)
    embedded.stop("archive")
    try:
        session = archive.session(caller(facility_id), record)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await session.presigned_get(key, 60)
        with pytest.raises(StoreUnavailable):
            await session.read_range(key, 0, 1)
        with pytest.raises(StoreUnavailable):
            await archive.ready()
    finally:
        embedded.start("archive")
    again = Archive("archive", own.archive_url, 5)
    try:
        assert await again.session(caller(facility_id), record).read_range(key, 0, 4) == CONTENT[:4]
    finally:
        await again.close()


async def test_missing_bucket_is_not_ready_until_it_is_made(own: Settings) -> None:
    store = Archive("archive", own.archive_url.replace("/imagingtests?", f"/b-{uuid4()}?"), 5)
    try:
        with pytest.raises(StoreUnavailable):
            await store.ready()
        await store.worker_ensure_bucket()
        await store.worker_ensure_bucket()
        await store.ready()
    finally:
        await store.close()


async def test_wrong_secret_is_unavailable(own: Settings) -> None:
    parts = urlsplit(own.archive_url)
    wrong = parts._replace(netloc=f"caregraph:wrong@{parts.hostname}:{parts.port}")
    store = Archive("archive", urlunsplit(wrong), 5)
    try:
        with pytest.raises(StoreUnavailable):
            await store.ready()
    finally:
        await store.close()
