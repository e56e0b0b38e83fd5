"""The stores of one process: opened at start, closed at the end; reads go through a session that names its caller."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from db.archive import Archive
from db.caller import Caller, Profile
from db.errors import Overloaded, StoreError
from db.feed import Feed
from db.live import Live
from db.mongo import Mongo
from db.places import Places
from db.postgres import Postgres
from db.research import Research
from db.settings import Settings
from db.warehouse import Warehouse

RESEARCH_CONNECTIONS = 2
"""Connections of one process for counts of cohorts: each may take seconds, and charts come first."""
RETRY_AFTER_S = 1
"""Seconds after which a request that found no place may ask again."""

FACILITIES = "SELECT id, code, name FROM clinical.facility ORDER BY code"


def _busiest(column: LiteralString) -> LiteralString:
    """Statement for what has most encounters of a facility ($1) under way, by the encounter's column."""
    return f"""
SELECT {column} FROM clinical.encounter WHERE facility_id = $1 AND {column} IS NOT NULL
GROUP BY {column} ORDER BY count(*) FILTER (WHERE status = 'in-progress') DESC, count(*) DESC, {column}
LIMIT 1"""


STAND_INS: Mapping[str, LiteralString] = {
    "provider": _busiest("provider_id"),
    "department": _busiest("department_id"),
    "patient": _busiest("patient_id"),
}
"""Whom a persona of the demo stands for, by the claim that says it: who has most encounters under way."""


@dataclass(frozen=True, slots=True)
class FacilityName:
    """A facility as the demo's persona picker and the token command name it."""

    id: UUID
    code: str
    name: str


@dataclass(frozen=True, slots=True)
class ConsumerLag:
    """How far a consumer of a database's feed is behind; see db.feed.Lag."""

    database: str
    consumer: str
    events: int
    seconds: float


class Stores:
    """Clinical, imaging and vitals (PostgreSQL), notes (MongoDB), archive (S3) and warehouse (Snowflake)."""

    def __init__(self, settings: Settings) -> None:
        self._timeout_s = timeout_s = settings.store_timeout_s
        self._in_flight: Counter[Profile] = Counter()
        self._in_flight_max = settings.in_flight_max
        self._places = Places(settings.connections_max)
        self.clinical = _postgres("clinical", settings.clinical_url, settings, settings.clinical_direct_url)
        self.imaging = _postgres("imaging", settings.imaging_url, settings)
        self.vitals = _postgres("vitals", settings.vitals_url, settings)
        self.research = Research(_for_research(settings))
        self.notes = Mongo("notes", settings.notes_url, timeout_s)
        self.archive = Archive("archive", settings.archive_url, timeout_s)
        self.warehouse = Warehouse("warehouse", settings.warehouse_url, timeout_s)
        self.live = Live((self.clinical, self.imaging, self.vitals))
        self._all = (self.clinical, self.imaging, self.vitals, self.notes, self.archive, self.warehouse)

    @property
    def under_way(self) -> int:
        """Requests of this process that have a place or wait for one."""
        return self._in_flight.total()

    @asynccontextmanager
    async def place(self, caller: Caller) -> AsyncGenerator[None]:
        """A place among the requests of this process: as many as there are connections to a database.

        A request holds one connection of each database that it reads; with more requests than connections, two could
        wait for each other's. However many others ask, places are left for clinical decision support, see db.places.
        Raises Overloaded when too many wait, or when no place gets free in time.
        """
        profile = caller.profile
        if self._in_flight[profile] >= self._in_flight_max:
            raise Overloaded("inFlightPerProfile", self._in_flight_max, RETRY_AFTER_S)
        self._in_flight[profile] += 1
        try:
            if not self._places.take(profile):
                await self._wait(profile)
            try:
                yield
            finally:
                self._places.give_back(profile)
        finally:
            self._in_flight[profile] -= 1

    async def _wait(self, profile: Profile) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._places.wait(profile)
        except TimeoutError:
            raise Overloaded("placesPerProfile", self._places.each, RETRY_AFTER_S) from None

    async def close(self) -> None:
        """Closes every store, even when one fails to."""
        await self.live.close()
        stores = (*self._all, self.research.postgres)
        await asyncio.gather(*(store.close() for store in stores), return_exceptions=True)

    async def ready(self) -> Mapping[str, str | None]:
        """Each store's name with None when it answers, or with the code of what is wrong."""

        async def state(store: Postgres | Mongo | Archive | Warehouse) -> str | None:
            try:
                await store.ready()
            except StoreError as error:
                return error.code
            return None

        states = await asyncio.gather(*(state(store) for store in self._all))
        return {store.name: code for store, code in zip(self._all, states, strict=True)}

    async def lags(self) -> Sequence[ConsumerLag]:
        """How far every consumer of every feed is behind, by database and name. Raises StoreError."""
        return [
            ConsumerLag(postgres.name, lag.consumer, lag.events, lag.seconds)
            for postgres in (self.clinical, self.imaging, self.vitals)
            for lag in await Feed(postgres).lag()
        ]

    async def facilities(self) -> Sequence[FacilityName]:
        """All facilities, as a worker sees them: for the demo's persona picker and the token command."""
        return [FacilityName(*row) for row in await self.clinical.worker_fetch(FACILITIES)]

    async def stand_in(self, claim: str, facility_id: UUID) -> UUID | None:
        """Provider, department or patient of a facility for whom a demo persona stands; None for nobody yet."""
        rows = await self.clinical.worker_fetch(STAND_INS[claim], facility_id)
        return rows[0][0] if rows else None


def _postgres(name: str, url: str, settings: Settings, direct_url: str | None = None) -> Postgres:
    timeout_s, connections_max, pooler = settings.store_timeout_s, settings.connections_max, settings.pooler
    return Postgres(name, url, settings.secret, timeout_s, connections_max, pooler, direct_url)


def _for_research(settings: Settings) -> Postgres:
    """A store of its own: a count that takes as long as a request may is none of the clinical database's failures."""
    secret, pooler = settings.secret, settings.pooler
    return Postgres(
        "research", settings.research_url, secret, settings.request_deadline_s, RESEARCH_CONNECTIONS, pooler
    )
