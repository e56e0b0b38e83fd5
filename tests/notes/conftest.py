"""Fixtures: the notes store with a database of these tests alone, and readers of callers over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TypeAlias
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from db.caller import Profile
from db.mongo import Mongo
from db.settings import load
from db.stores import Stores
from loaders.reader import Reader
from tests.callers import OpenReader, caller_of
from workers.embedded.stores import Stores as Embedded

ReaderOf: TypeAlias = Callable[..., Reader]


@pytest_asyncio.fixture(scope="session")
async def stores(embedded: Embedded) -> AsyncIterator[Stores]:
    """Stores of which only the notes are ready."""
    settings = load({**embedded.env, "CAREGRAPH_DATA": str(embedded.directory.path)})
    stores = Stores(replace(settings, notes_url=settings.notes_url.replace("/caregraph?", "/notes_tests?")))
    await stores.notes.ensure()
    yield stores
    await stores.close()


@pytest.fixture
def notes(stores: Stores) -> Mongo:
    """The notes store."""
    return stores.notes


@pytest.fixture
def facility_id() -> UUID:
    """A facility of this test alone."""
    return uuid4()


@pytest.fixture
def reader(stores: Stores, facility_id: UUID) -> ReaderOf:
    """Reader of a caller, by profile, at the facility of the test or at another one."""

    def make(profile: Profile = Profile.CLINICIAN, facility: UUID | None = None) -> Reader:
        return OpenReader(stores, caller_of(profile, facility or facility_id))

    return make
