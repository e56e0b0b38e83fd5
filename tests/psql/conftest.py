"""Fixtures of the psql tests: callers at facilities of the small network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import pytest_asyncio

from db.caller import Caller, Profile
from db.settings import Settings
from db.stores import FacilityName, Stores
from tests.callers import caller_of
from workers.network.facilities import FACILITIES


@pytest_asyncio.fixture(scope="session")
async def facilities(network: Settings) -> list[FacilityName]:
    """Facilities of the network, in its order."""
    stores = Stores(network)
    known = {facility.code: facility for facility in await stores.facilities()}
    await stores.close()
    return [known[facility.code] for facility in FACILITIES]


@pytest.fixture(scope="session")
def at(facilities: list[FacilityName]) -> Callable[[Profile, int], Caller]:
    """The usual caller of a profile at a facility, by place."""
    return lambda profile, place: caller_of(profile, facilities[place].id)
