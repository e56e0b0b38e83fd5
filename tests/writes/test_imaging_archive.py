"""Uploads in parts, and restores: with the embedded archive, and with one that has all that Amazon's has (moto)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import pytest_asyncio

from db.archive import READ_MAX, Archive
from db.caller import Profile
from db.errors import Forbidden, StoreUnavailable
from db.holdings import Holdings
from db.settings import Settings
from tests.asking import Answer
from tests.imaging.images import get
from tests.imaging.moto import moto_server
from tests.writes.uploads import (
    STUDY,
    Hospital,
    Person,
    dicom,
    hospital,
    part_of,
    payload,
    put,
    refusal,
    study_of,
    uids,
)
from workers.lifecycle import lifecycle

ARCHIVE_STUDY = """/* archive_study */
UPDATE imaging.imaging_instance AS i SET storage_class = 'GLACIER' FROM imaging.imaging_series AS s
WHERE s.imaging_study_id = $1::uuid AND i.imaging_series_id = s.id RETURNING i.s3_key"""
RESTORE = """
mutation ($input: RequestImagingRestoreInput!) {
  requestImagingRestore(input: $input) {
    study { id restoreState series { instances { restoreState needsRestore } } }
    userErrors { code field message version }
  }
}"""
ASKED = {"restoreState": "in-progress", "needsRestore": True}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(configured: Settings) -> AsyncIterator[Hospital]:
    """A hospital whose archive is the embedded one."""
    async with hospital(configured) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def amazon(configured: Settings) -> AsyncIterator[Hospital]:
    """A hospital whose archive has all that Amazon's has."""
    with moto_server("uploads") as url:
        async with hospital(configured, url) as made:
            yield made


async def test_a_large_object_goes_in_parts(here: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    await goes_in_parts(here, monkeypatch)


async def test_and_where_the_archive_is_amazons(amazon: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    await goes_in_parts(amazon, monkeypatch)


async def goes_in_parts(at: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends an object of three parts, and completes it."""
    part_bytes = 5 << 20  # the least that Amazon takes
    for module in ("loaders", "resolvers"):
        monkeypatch.setattr(f"{module}.writes.imaging_study.PART_BYTES", part_bytes)
    ranges: list[int] = []
    read = Archive.read

    async def spied(archive: Archive, key: str, start: int, end: int) -> bytes | None:
        ranges.append(end - start)
        return await read(archive, key, start, end)

    monkeypatch.setattr(Archive, "read", spied)
    person = await at.person()
    content = dicom(person, PixelData=bytes(2 * part_bytes))
    digest = hashlib.sha256(content).hexdigest()
    begun = await at.begun(person, len(content), sha256=digest)
    assert len(await at.archive.worker_multipart_uploads()) == 1
    assert [part["number"] for part in begun["parts"]] == [1, 2, 3]
    assert sum(part["sizeBytes"] for part in begun["parts"]) == len(content)
    for part in begun["parts"][:2]:
        assert put(part["url"], part_of(part, content)) == 200
    early = await at.complete(begun["upload"])
    assert refusal(early, "completeImagingUpload")["code"] == "NOT_ALLOWED_NOW"
    assert put(begun["parts"][2]["url"], content[2 * part_bytes :]) == 200
    answer = await at.complete(begun["upload"])
    upload = payload(answer, "completeImagingUpload")["upload"]
    assert (upload["state"], upload["reason"]) == ("completed", None)
    assert max(ranges) <= READ_MAX
    study = await study_of(at, upload)
    assert get(study["series"][0]["instances"][0]["presignedUrl"]) == (200, content)
    assert await at.archive.worker_multipart_uploads() == []


async def archived(at: Hospital, person: Person) -> tuple[str, list[str]]:
    """Global id of a study of two instances that are in cold storage, and their keys."""
    study_uid, series_uid, one, two = uids(4)
    await at.uploaded(person, dicom(person, uids_=(study_uid, series_uid, one)))
    upload = await at.uploaded(person, dicom(person, uids_=(study_uid, series_uid, two)))
    id = upload["study"]["id"]
    keys = [key for (key,) in await at.imaging.worker_fetch(ARCHIVE_STUDY, id.removeprefix("ImagingStudy/"))]
    for key in keys if "uploads?" in at.settings.archive_url else ():
        await at.archive.call("put_object", Key=key, Body=b"pixels", StorageClass="GLACIER")
    return id, keys


async def restore(at: Hospital, study: str, facility: int = 0) -> Answer:
    """The answer to a request for a study's archived objects."""
    return await at.graph.ask(RESTORE, facility=facility, input={"idempotencyKey": str(uuid4()), "studyId": study})


async def state_of(at: Hospital, study: str) -> str | None:
    """What the graph says of a study's restore."""
    return (await at.graph.ask(STUDY, id=study)).data["node"]["restoreState"]


async def test_a_restore_is_asked_for_once_and_watched(amazon: Hospital) -> None:
    study, keys = await archived(amazon, await amazon.person())
    assert await state_of(amazon, study) is None
    first = await restore(amazon, study)
    made = payload(first, "requestImagingRestore")["study"]
    assert made == {"id": study, "restoreState": "in-progress", "series": [{"instances": [ASKED, ASKED]}]}
    assert first.statements["archive", "restore_object"] == 2
    again = await restore(amazon, study)
    assert again.data == first.data
    assert again.statements["archive", "restore_object"] == 0
    for _ in range(4):
        await lifecycle(amazon.archive, amazon.imaging, datetime.now(UTC))
    assert await state_of(amazon, study) == "completed"
    heads = [await amazon.archive.worker_head(key) for key in keys]
    assert [head and head.restore_state for head in heads] == ["completed"] * 2
    assert await restore(amazon, study) is not None
    assert await state_of(amazon, study) == "completed"


async def test_what_the_archive_could_not_be_asked_the_worker_asks(
    amazon: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = await archived(amazon, await amazon.person())

    async def dead(holdings: Holdings, key: str, days: int) -> bool:
        raise StoreUnavailable("archive")

    with monkeypatch.context() as patched:
        patched.setattr(Holdings, "restore", dead)
        answer = await restore(amazon, study)
    assert payload(answer, "requestImagingRestore")["study"]["restoreState"] == "in-progress"
    for _ in range(4):
        await lifecycle(amazon.archive, amazon.imaging, datetime.now(UTC))
    assert await state_of(amazon, study) == "completed"


async def test_a_server_without_restore_has_it_in_the_database(here: Hospital) -> None:
    study, _ = await archived(here, await here.person())
    answer = await restore(here, study)
    assert payload(answer, "requestImagingRestore")["study"]["restoreState"] == "in-progress"
    await lifecycle(here.archive, here.imaging, datetime.now(UTC))
    assert await state_of(here, study) == "completed"


async def test_another_facilitys_study_can_not_be_restored(here: Hospital) -> None:
    study, _ = await archived(here, await here.person())
    answers = [await restore(here, one, facility=1) for one in (study, f"ImagingStudy/{uuid4()}")]
    assert [refusal(one, "requestImagingRestore")["code"] for one in answers] == ["NOT_FOUND"] * 2
    assert answers[0].data == answers[1].data
    assert await state_of(here, study) is None
    nurse = await here.graph.ask(RESTORE, Profile.NURSE, input={"idempotencyKey": "k", "studyId": study})
    assert nurse.codes == [Forbidden().code]
