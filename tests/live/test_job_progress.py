"""Progress of restores: told when it goes on, to who may see the chart, and of the study that was asked about alone."""

from __future__ import annotations

from contextlib import aclosing
from uuid import UUID, uuid4

from tests.asking import Graph
from tests.live.client import listening
from tests.people import People

PROGRESS = "subscription ($id: ID!) { jobProgress(id: $id) { id status done total cursor } }"
STUDY = """
INSERT INTO imaging.imaging_study (id, facility_id, patient_id, status, sort_time)
VALUES ($1, $2, $3, 'available', now())"""
SERIES = "INSERT INTO imaging.imaging_series (id, facility_id, imaging_study_id) VALUES ($1, $2, $3)"
INSTANCE = """
INSERT INTO imaging.imaging_instance (id, facility_id, imaging_series_id, s3_key, storage_class, restore_state,
    stored_at)
VALUES ($1::uuid, $2::uuid, $3, 'imaging/' || $2::uuid || '/' || $1::uuid || '.dcm', 'GLACIER', 'in-progress', now())"""
RESTORED = """
UPDATE imaging.imaging_instance SET restore_state = 'completed', restore_expires = now() + interval '1 day'
WHERE id = $1"""


async def archived(graph: Graph) -> tuple[UUID, list[UUID]]:
    """A study of a new patient, whose two objects are being restored."""
    here, imaging = graph.facilities[0].id, graph.stores.imaging
    patient, study, series = await People(graph.stores).patient(here), uuid4(), uuid4()
    await imaging.worker_fetch(STUDY, study, here, patient)
    await imaging.worker_fetch(SERIES, series, here, study)
    instances = [uuid4(), uuid4()]
    for instance in instances:
        await imaging.worker_fetch(INSTANCE, instance, here, series)
    return study, instances


async def test_each_object_that_can_be_read_is_progress(graph: Graph) -> None:
    (study, instances), (_, others) = await archived(graph), await archived(graph)
    async with listening(graph, graph.caller(), PROGRESS, id=f"ImagingStudy/{study}") as client:
        await graph.stores.imaging.worker_fetch(RESTORED, instances[0])
        message = (await client.next()).data["jobProgress"]
        assert (message["id"], message["status"], message["done"], message["total"]) == (
            f"ImagingStudy/{study}", "RUNNING", 1, 2,
        )  # fmt: skip
        await graph.stores.imaging.worker_fetch(RESTORED, others[0])
        assert await client.silent()
        await graph.stores.imaging.worker_fetch(RESTORED, instances[1])
        assert (await client.next()).data["jobProgress"]["status"] == "DONE"


async def test_another_facilitys_study_is_like_none(graph: Graph) -> None:
    study, _ = await archived(graph)
    answers: list[object] = []
    for id in (study, uuid4()):
        caller = graph.caller(facility=1)
        async with aclosing(graph.subscribe_as(caller, PROGRESS, id=f"ImagingStudy/{id}")) as messages:
            answers.append((await anext(messages)).errors)
    assert answers[0] == answers[1]
