"""Imaging through the graph: tenancy, batching, arguments, masks, restores, and a dead archive beside living rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
import strawberry
from strawberry.schema.config import StrawberryConfig

from db.archive import Archive
from db.caller import Profile
from db.errors import ArgumentError, StoreError
from db.postgres import Postgres
from db.settings import Settings
from db.stores import Stores
from graph.connection import Connection
from graph.datatype import SCALARS
from graph.field import field
from graph.imaging_study import IMAGING_SEARCH, ImagingStudy
from loaders.element import take
from loaders.imaging_study import imaging_instance_by_id, imaging_series_by_id, imaging_study_by_id
from loaders.reader import Reader
from resolvers import imaging_study
from resolvers.context import Context
from tests.imaging.images import Images, add_images, caller, get
from workers.embedded.stores import Stores as Embedded

TREE = """
query Tree($first: Int = 50, $after: String, $patient: String, $modality: [String!]) {
  imagingStudies(first: $first, after: $after, patient: $patient, modality: $modality) {
    nodes {
      id uid started modality status
      series { id number instances { id number storageClass restoreState needsRestore presignedUrl(expiresIn: 30) } }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""
KEY = b"k" * 32
ARGUMENTS: Mapping[str, Any] = {
    "first": 20,
    "after": None,
    "start": None,
    "end": None,
    "modality": None,
    "status": None,
}


@strawberry.type
class Query:
    """The root under test."""

    imaging_studies: Connection[ImagingStudy] | None = field(
        "Imaging studies of the facility", phi=None, root=imaging_study.search, args=IMAGING_SEARCH
    )


SCHEMA = strawberry.Schema(query=Query, config=StrawberryConfig(default_resolver=take, scalar_map=SCALARS))


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request gave: data, errors of ours by path, and what it sent to each store."""

    data: Any
    errors: Mapping[str, Exception | None]
    sent: Counter[tuple[str, str]]

    @property
    def studies(self) -> list[Any]:
        """Studies of the page."""
        return self.data["imagingStudies"]["nodes"]

    @property
    def instances(self) -> list[Any]:
        """Instances of all studies of the page."""
        return [one for study in self.studies for series in study["series"] for one in series["instances"]]


class Asker:
    """Asks as a caller of a facility, each time in a request of its own."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores

    def reader(self, facility_id: UUID, profile: Profile = Profile.CLINICIAN) -> Reader:
        """Reader of one request."""
        return Reader(self.stores, caller(facility_id, profile))

    async def ask(
        self, facility_id: UUID, query: str = TREE, profile: Profile = Profile.CLINICIAN, **variables: Any
    ) -> Answer:
        """Answer to a query."""
        reader = self.reader(facility_id, profile)
        try:
            result: Any = await SCHEMA.execute(query, variables, Context(reader, KEY))
        finally:
            await reader.close()
        errors = {".".join(map(str, error.path)): error.original_error for error in result.errors or ()}
        return Answer(result.data, errors, reader.statements)


@pytest_asyncio.fixture
async def asker(own: Settings) -> AsyncIterator[Asker]:
    """Asks the embedded stores."""
    stores = Stores(own)
    yield Asker(stores)
    await stores.close()


async def add_stored(imaging: Postgres, archive: Archive, facility_id: UUID, **arguments: Any) -> Images:
    """Images whose object is in the archive."""
    images = await add_images(imaging, facility_id, **arguments)
    await archive.worker_put(images.key, b"pixels")
    return images


async def test_tree(asker: Asker, imaging: Postgres, archive: Archive, facility_id: UUID) -> None:
    images = await add_stored(imaging, archive, facility_id)
    answer = await asker.ask(facility_id)
    assert answer.errors == {}
    [study] = answer.studies
    assert study["id"] == f"ImagingStudy/{images.study_id}"
    assert study["modality"] == ["CT"]
    assert study["series"][0]["id"] == f"ImagingSeries/{images.series_id}"
    [instance] = answer.instances
    assert instance["id"] == f"ImagingInstance/{images.instance_id}"
    assert (instance["storageClass"], instance["needsRestore"]) == ("STANDARD", False)
    assert get(instance["presignedUrl"]) == (200, b"pixels")


async def test_another_facility_sees_nothing(asker: Asker, imaging: Postgres, facility_id: UUID) -> None:
    images = await add_images(imaging, facility_id)
    other = uuid4()
    assert (await asker.ask(other)).studies == []
    assert (await asker.ask(other, patient=f"Patient/{images.patient_id}")).studies == []
    reader = asker.reader(other)
    context = Context(reader, KEY)
    assert await imaging_study.one(context, id=f"ImagingStudy/{images.study_id}") is None
    assert await imaging_study_by_id(reader, [images.study_id]) == {}
    assert await imaging_series_by_id(reader, [images.series_id]) == {}
    assert await imaging_instance_by_id(reader, [images.instance_id]) == {}
    [page] = await imaging_study.of_encounters(context, [_Parent(images.encounter_id)], **ARGUMENTS)
    assert page.rows == []
    await reader.close()


async def test_found_by_id(asker: Asker, imaging: Postgres, facility_id: UUID) -> None:
    images = await add_images(imaging, facility_id)
    reader = asker.reader(facility_id)
    study = await imaging_study.one(Context(reader, KEY), id=f"ImagingStudy/{images.study_id}")
    assert study is not None
    assert study.patient_id == images.patient_id
    assert (await imaging_series_by_id(reader, [images.series_id]))[images.series_id].number == 1
    assert (await imaging_instance_by_id(reader, [images.instance_id]))[images.instance_id].s3_key == images.key
    await reader.close()


async def test_same_statements_for_1_and_25_studies(
    asker: Asker, imaging: Postgres, archive: Archive, facility_id: UUID
) -> None:
    await add_stored(imaging, archive, facility_id)
    one = await asker.ask(facility_id)
    for _ in range(24):
        await add_stored(imaging, archive, facility_id)
    many = await asker.ask(facility_id)
    assert (len(one.instances), len(many.instances)) == (1, 25)
    assert all(instance["presignedUrl"] for instance in many.instances)
    assert one.sent == many.sent
    assert one.sent == Counter(
        {
            ("clinical", "patients_of_caller"): 1,
            ("imaging", "imaging_studies_of_facilities"): 1,
            ("imaging", "imaging_series_of_studies"): 1,
            ("imaging", "imaging_instances_of_series"): 1,
            ("archive", "head_bucket"): 1,
        }
    )


@pytest.mark.parametrize(("relation", "key"), [("of_patients", "patient_id"), ("of_encounters", "encounter_id")])
async def test_same_statements_for_1_and_25_parents(
    asker: Asker, imaging: Postgres, facility_id: UUID, relation: str, key: str
) -> None:
    written = [await add_images(imaging, facility_id) for _ in range(25)]
    sent: list[Counter[tuple[str, str]]] = []
    for some in (written[:1], written):
        reader = asker.reader(facility_id)
        parents = [_Parent(getattr(images, key)) for images in some]
        pages = await getattr(imaging_study, relation)(Context(reader, KEY), parents, **ARGUMENTS)
        assert [page.rows[0].id for page in pages] == [images.study_id for images in some]
        sent.append(reader.statements)
        await reader.close()
    assert sent[0] == sent[1]
    assert sent[0].total() == 2, "whose records the caller may see, and the studies"


async def test_pages_and_filters(asker: Asker, imaging: Postgres, facility_id: UUID) -> None:
    written = [await add_images(imaging, facility_id, days_old=age) for age in range(5)]
    magnetic = await add_images(imaging, facility_id, days_old=9, modality="MR")
    ids, after = [], None
    while True:
        answer = await asker.ask(facility_id, first=2, after=after, modality=["CT"])
        ids += [study["id"] for study in answer.studies]
        info = answer.data["imagingStudies"]["pageInfo"]
        after = info["endCursor"]
        if not info["hasNextPage"]:
            break
    assert ids == [f"ImagingStudy/{images.study_id}" for images in written]
    [found] = (await asker.ask(facility_id, modality=["MR", "XA"])).studies
    assert found["id"] == f"ImagingStudy/{magnetic.study_id}"
    [found] = (await asker.ask(facility_id, patient=f"Patient/{written[3].patient_id}")).studies
    assert found["id"] == ids[3]


async def test_period(asker: Asker, imaging: Postgres, facility_id: UUID) -> None:
    for age in (10, 20, 30):
        await add_images(imaging, facility_id, days_old=age)
    now = datetime.now(UTC)
    since, until = ((now - timedelta(days=days)).date().isoformat() for days in (25, 15))
    answer = await asker.ask(
        facility_id, f'{{ imagingStudies(from: "{since}", to: "{until}") {{ nodes {{ started }} }} }}'
    )
    assert answer.studies == [{"started": (now - timedelta(days=20)).date().isoformat()}]


@pytest.mark.parametrize("tier", ["GLACIER", "DEEP_ARCHIVE"])
async def test_archived_object_needs_a_restore(
    asker: Asker, imaging: Postgres, archive: Archive, facility_id: UUID, tier: str
) -> None:
    images = await add_stored(imaging, archive, facility_id, tier=tier)

    async def seen(state: str | None, hours: int) -> tuple[bool, bool]:
        expires = datetime.now(UTC) + timedelta(hours=hours) if state == "completed" else None
        await imaging.worker_fetch(
            "/* set */ UPDATE imaging.imaging_instance SET restore_state = $2, restore_expires = $3 WHERE id = $1",
            images.instance_id,
            state,
            expires,
        )
        [instance] = (await asker.ask(facility_id)).instances
        assert (instance["storageClass"], instance["restoreState"]) == (tier, state)
        return instance["needsRestore"], instance["presignedUrl"] is not None

    assert await seen(None, 0) == (True, False)
    assert await seen("in-progress", 0) == (True, False)
    assert await seen("completed", 1) == (False, True)
    assert await seen("completed", -1) == (True, False)


async def test_instance_without_object(asker: Asker, imaging: Postgres, facility_id: UUID) -> None:
    images = await add_images(imaging, facility_id)
    forget = "/* forget */ UPDATE imaging.imaging_instance SET s3_key = NULL, storage_class = NULL, stored_at = NULL "
    await imaging.worker_fetch(forget + "WHERE id = $1", images.instance_id)
    answer = await asker.ask(facility_id)
    [instance] = answer.instances
    assert (instance["storageClass"], instance["needsRestore"], instance["presignedUrl"]) == (None, False, None)
    assert ("archive", "head_bucket") not in answer.sent


async def test_analyst_sees_the_year_and_no_url(
    asker: Asker, imaging: Postgres, archive: Archive, facility_id: UUID
) -> None:
    await add_stored(imaging, archive, facility_id)
    answer = await asker.ask(facility_id, profile=Profile.ANALYST)
    [study] = answer.studies
    [instance] = answer.instances
    assert (study["uid"], len(study["started"]), study["modality"]) == (None, 4, ["CT"])
    assert (instance["presignedUrl"], instance["storageClass"]) == (None, "STANDARD")
    assert ("archive", "head_bucket") not in answer.sent


@pytest.mark.parametrize(
    ("arguments", "parts", "url", "named"),
    [
        ("first: 0", "", "", "first"),
        ("first: 101", "", "", "first"),
        ('after: "x"', "", "", "after"),
        ('patient: "x"', "", "", "patient"),
        ('patient: "Encounter/00000000-0000-4000-8000-000000000000"', "", "", "patient"),
        ('modality: ["CAT"]', "", "", "modality"),
        ("modality: []", "", "", "modality"),
        ('status: ["open"]', "", "", "status"),
        ('from: "yesterday"', "", "", "from"),
        ('from: "2026", to: "2024"', "", "", "to"),
        ("", "(first: 0)", "", "first"),
        ("", "(first: 1001)", "", "first"),
        ("", "", "(expiresIn: 0)", "expiresIn"),
        ("", "", "(expiresIn: -1)", "expiresIn"),
        ("", "", "(expiresIn: 301)", "expiresIn"),
    ],
)
async def test_bad_argument_is_named(
    asker: Asker, imaging: Postgres, facility_id: UUID, arguments: str, parts: str, url: str, named: str
) -> None:
    await add_images(imaging, facility_id)
    listed = f"({arguments})" if arguments else ""
    query = f"{{ imagingStudies{listed} {{ nodes {{ series{parts} {{ instances {{ presignedUrl{url} }} }} }} }} }}"
    answer = await asker.ask(facility_id, query)
    [error] = answer.errors.values()
    assert isinstance(error, ArgumentError)
    assert error.argument == named


async def test_dead_archive_costs_its_own_field(
    embedded: Embedded, asker: Asker, imaging: Postgres, archive: Archive, facility_id: UUID
) -> None:
    await add_stored(imaging, archive, facility_id)
    embedded.stop("archive")
    try:
        answer = await asker.ask(facility_id)
    finally:
        embedded.start("archive")
    [error] = answer.errors.values()
    assert isinstance(error, StoreError)
    assert error.code == "STORE_UNAVAILABLE"
    [instance] = answer.instances
    assert (instance["presignedUrl"], instance["storageClass"]) == (None, "STANDARD")


async def test_dead_database_costs_its_own_field(embedded: Embedded, asker: Asker, facility_id: UUID) -> None:
    embedded.stop("imaging")
    try:
        answer = await asker.ask(facility_id)
    finally:
        embedded.start("imaging")
    assert answer.data == {"imagingStudies": None}
    [error] = answer.errors.values()
    assert isinstance(error, StoreError)


@dataclass(frozen=True, slots=True)
class _Parent:
    """A row with an id."""

    id: UUID
