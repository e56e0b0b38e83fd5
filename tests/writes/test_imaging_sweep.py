"""The sweeper: whatever step an upload dies at, and whatever is lost on one side, both sides agree afterwards."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

import workers.sweep
from db.archive import Archive, Listed
from db.holdings import Holdings
from db.object_keys import incoming_key, instance_key
from db.settings import Settings
from loaders.writes.imaging_study import Chart, Fetch, Leased, finish, lease
from tests.writes.uploads import Hospital, Person, dicom, hospital, payload, put, study_of
from workers.sweep import sweep

Step = Callable[..., Awaitable[Any]]
LATER = timedelta(hours=2)
"""After every lease, and after every object has settled; before an upload expires."""
TOMORROW = timedelta(hours=26)
KEYS_OF_STUDY = """/* keys_of_study */
SELECT i.s3_key, i.id FROM imaging.imaging_instance AS i
JOIN imaging.imaging_series AS s ON s.id = i.imaging_series_id WHERE s.imaging_study_id = $1::uuid"""
ROWS = """/* rows_of_patient */
SELECT count(*) FROM imaging.imaging_instance AS i
JOIN imaging.imaging_series AS s ON s.id = i.imaging_series_id
JOIN imaging.imaging_study AS t ON t.id = s.imaging_study_id WHERE t.patient_id = $1::uuid AND i.s3_key IS NOT NULL"""
FROM_THE_START = """/* from_the_start */ UPDATE imaging.sweep SET after = ''"""


class Killed(Exception):
    """The process is no more."""


class Steps:
    """Statements and requests that are let through before everything dies."""

    def __init__(self, left: int) -> None:
        self.left = left

    def dying(self, step: Step) -> Step:
        """The same step, while there are any left."""

        async def taken(*args: Any, **arguments: Any) -> Any:
            if not self.left:
                raise Killed
            self.left -= 1
            return await step(*args, **arguments)

        return taken

    async def finish(self, fetch: Fetch, holdings: Holdings, upload: Leased, chart: Chart) -> None:
        """As loaders.writes.imaging_study.finish."""
        for name in ("held", "copy", "delete", "start", "parts_bytes", "join_parts"):
            setattr(holdings, name, self.dying(getattr(holdings, name)))
        await finish(self.dying(fetch), holdings, upload, chart)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(configured: Settings) -> AsyncIterator[Hospital]:
    """A hospital whose archive is the embedded one."""
    async with hospital(configured) as made:
        yield made


@pytest_asyncio.fixture(autouse=True)
async def start(here: Hospital) -> None:
    """Each pass walks from the first key."""
    await here.imaging.worker_fetch(FROM_THE_START)


async def swept(here: Hospital, after: timedelta = LATER) -> list[str]:
    """What a pass says that it did, so long after now; nothing of anybody."""
    lines = await sweep(here.archive, here.imaging, here.clinical, datetime.now(UTC) + after)
    assert not re.search(r"M-|[0-9a-f]{8}-|imaging/", " ".join(lines))
    return lines


async def died(
    here: Hospital, person: Person, content: bytes, step: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, bool]:
    """Id of an upload whose completion died after so many steps, and whether it did."""
    steps = Steps(step)
    upload = await here.arrived(person, content)
    with monkeypatch.context() as patched:
        patched.setattr("resolvers.writes.imaging_study.finish", steps.finish)
        answer = await here.complete(upload)
    return upload["id"], bool(answer.errors)


async def left_over(here: Hospital, upload: str) -> list[str]:
    """Keys of the objects of an upload that are not at an instance's place."""
    return [key for key in await here.keys() if upload.removeprefix("ImagingUpload/") in key]


async def test_an_upload_that_dies_at_any_step_is_completed(here: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(30):
        person = await here.person()
        content = dicom(person)
        id, dead = await died(here, person, content, step, monkeypatch)
        await swept(here)
        upload = await here.asked(id)
        assert upload is not None
        assert upload["state"] == "completed", step
        study = await study_of(here, upload)
        assert (study["numberOfSeries"], study["numberOfInstances"]) == (1, 1)
        assert [tuple(row) for row in await here.imaging.worker_fetch(ROWS, person.id)] == [(1,)]
        [(key, _)] = await here.imaging.worker_fetch(KEYS_OF_STUDY, upload["study"]["id"].partition("/")[2])
        assert await here.archive.read(key, 0, len(content)) == content
        assert await left_over(here, id) == []
        assert await swept(here) == ["nothing to mend"], step
        if not dead:
            assert step > 9
            return
    raise AssertionError("it never lived")


async def test_a_refused_one_that_dies_at_any_step_is_in_quarantine(
    here: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(30):
        person = await here.person()
        id, dead = await died(here, person, dicom(person, PatientID="M-other"), step, monkeypatch)
        await swept(here)
        upload = await here.asked(id)
        assert upload is not None
        assert (upload["state"], upload["reason"]) == ("quarantined", "PATIENT_MISMATCH"), step
        assert await left_over(here, id) == [f"quarantine/{id.removeprefix('ImagingUpload/')}.dcm"]
        assert await swept(here) == ["nothing to mend"], step
        if not dead:
            assert step > 4
            return
    raise AssertionError("it never lived")


async def test_a_client_goes_on_with_the_same_key(here: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    person = await here.person()
    upload = await here.arrived(person, dicom(person))
    key = str(uuid4())
    with monkeypatch.context() as patched:
        patched.setattr("resolvers.writes.imaging_study.lease", Steps(0).dying(finish))
        assert (await here.complete(upload, idempotencyKey=key)).errors
    again = payload(await here.complete(upload, idempotencyKey=key), "completeImagingUpload")
    assert again["upload"]["state"] == "completed"


async def test_who_has_the_lease_is_left_alone(here: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    person = await here.person()
    id, _ = await died(here, person, dicom(person), 2, monkeypatch)
    soon, key = datetime.now(UTC) + timedelta(minutes=9), UUID(id.removeprefix("ImagingUpload/"))
    assert await lease(here.imaging.worker_fetch, key, soon) is None
    assert await swept(here, timedelta(minutes=9)) == ["nothing to mend"]
    upload = await here.asked(id)
    assert upload is not None
    assert upload["state"] == "completing"
    await swept(here, timedelta(minutes=11))
    assert (await here.asked(id) or {})["state"] == "completed"


async def test_what_nobody_completes_expires_with_its_object(here: Hospital) -> None:
    person = await here.person()
    upload = await here.arrived(person, dicom(person))
    assert await swept(here) == ["nothing to mend"]
    assert len(await left_over(here, upload["id"])) == 1
    assert await swept(here, TOMORROW) == ["1 uploads expired"]
    assert (await here.asked(upload["id"]) or {})["state"] == "expired"
    assert await left_over(here, upload["id"]) == []


async def test_what_is_sent_after_the_end_is_deleted(here: Hospital) -> None:
    person = await here.person()
    content = dicom(person)
    begun = await here.begun(person, len(content))
    [part] = begun["parts"]
    put(part["url"], content, part["contentType"])
    await here.complete(begun["upload"])
    assert put(part["url"], content, part["contentType"]) == 200
    assert await swept(here) == ["1 objects deleted that ended uploads had left"]
    assert await left_over(here, begun["upload"]["id"]) == []


async def test_parts_that_nobody_joins_are_aborted(here: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loaders.writes.imaging_study.PART_BYTES", 10)
    facility_id = here.graph.facilities[0].id
    await here.begun(await here.person(), 25)
    await Holdings(here.archive, facility_id).begin_parts(incoming_key(facility_id, uuid4()))
    assert await swept(here) == ["nothing to mend"]
    assert await swept(here, TOMORROW) == ["1 uploads expired", "1 uploads in parts aborted"]
    assert await here.archive.worker_multipart_uploads() == []


async def test_an_object_without_metadata_goes_into_quarantine_once_it_has_settled(here: Hospital) -> None:
    facility_id, ids = here.graph.facilities[0].id, (uuid4(), uuid4(), uuid4())
    key = instance_key(facility_id, *ids)
    await here.archive.worker_put(key, b"pixels")
    assert await swept(here, timedelta(minutes=30)) == ["nothing to mend"]
    assert await swept(here) == ["1 objects without metadata moved into quarantine"]
    there = [one for one in await here.keys() if str(ids[2]) in one]
    assert there == [f"quarantine/orphans/{ids[0]}/{ids[1]}/{ids[2]}.dcm"]
    assert await here.archive.read(f"imaging/{facility_id}/{there[0]}", 0, 6) == b"pixels"
    assert await swept(here) == ["nothing to mend"]


async def lost(here: Hospital) -> tuple[dict[str, Any], UUID]:
    """An upload that was completed and its instance, whose object has gone."""
    person = await here.person()
    upload = await here.uploaded(person, dicom(person))
    [(key, id)] = await here.imaging.worker_fetch(KEYS_OF_STUDY, upload["study"]["id"].partition("/")[2])
    await here.archive.worker_delete(key)
    return upload, id


async def test_an_instance_without_object_is_cleared(here: Hospital) -> None:
    upload, _ = await lost(here)
    kept = await here.person()
    other = await here.uploaded(kept, dicom(kept))
    assert await swept(here, timedelta(minutes=30)) == ["nothing to mend"]
    assert await swept(here) == ["1 instances cleared, whose object is gone"]
    [instance] = (await study_of(here, upload))["series"][0]["instances"]
    assert (instance["storageClass"], instance["presignedUrl"]) == (None, None)
    assert (await study_of(here, other))["series"][0]["instances"][0]["storageClass"] == "STANDARD"


async def test_a_wrong_bucket_clears_little(here: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        await lost(here)
    monkeypatch.setattr(workers.sweep, "CLEARED_MAX", 2)
    assert await swept(here) == [
        "2 instances cleared, whose object is gone",
        "1 pages with more instances whose object is gone: is this the right bucket?",
    ]
    assert await swept(here) == ["1 instances cleared, whose object is gone"]


async def test_a_pass_is_bounded_and_the_next_one_goes_on(here: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Archive.worker_list

    async def two(archive: Archive, after: str) -> tuple[list[Listed], bool]:
        page, more = await listed(archive, after, 2)
        return list(page), more

    monkeypatch.setattr(Archive, "worker_list", two)
    monkeypatch.setattr(workers.sweep, "PAGES_MAX", 1)
    facility_id = here.graph.facilities[1].id
    for _ in range(4):
        await here.archive.worker_put(instance_key(facility_id, uuid4(), uuid4(), uuid4()), b"pixels")
    passes = [await swept(here) for _ in range(40)]
    moved = [int(lines[0].split()[0]) for lines in passes if "moved" in lines[0]]
    assert sum(moved) == 4
    assert max(moved) <= 2


def test_worker_from_the_command_line(
    here: Hospital, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers.sweep.settings, "load", lambda: here.settings)
    assert workers.sweep.main([]) == 0
    assert capsys.readouterr().out == "nothing to mend\n"
