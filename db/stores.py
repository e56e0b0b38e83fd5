"""The stores of one process: opened at start, closed at the end; reads go through a session that names its caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from db.archive import Archive
from db.caller import Caller, Profile
from db.errors import StoreError, StoreOverloaded
from db.mongo import Mongo
from db.postgres import POOL_MAX, Postgres
from db.settings import Settings
from db.warehouse import Warehouse

FACILITIES = "SELECT id, code, name FROM clinical.facility ORDER BY code"


@dataclass(frozen=True, slots=True)
class FacilityName:
    """A facility as the demo's persona picker and the token command name it."""

    id: UUID
    code: str
    name: str


class Stores:
    """Clinical, imaging and vitals (PostgreSQL), notes (MongoDB), archive (S3) and warehouse (Snowflake)."""

    def __init__(self, settings: Settings) -> None:
        self._timeout_s = timeout_s = settings.store_timeout_s
        self._places = {profile: asyncio.Semaphore(POOL_MAX) for profile in Profile}
        self.clinical = Postgres("clinical", settings.clinical_url, settings.secret, timeout_s)
        self.imaging = Postgres("imaging", settings.imaging_url, settings.secret, timeout_s)
        self.vitals = Postgres("vitals", settings.vitals_url, settings.secret, timeout_s)
        self.notes = Mongo("notes", settings.notes_url, timeout_s)
        self.archive = Archive("archive", settings.archive_url, timeout_s)
        self.warehouse = Warehouse("warehouse", settings.warehouse_url, timeout_s)
        self._all = (self.clinical, self.imaging, self.vitals, self.notes, self.archive, self.warehouse)

    @asynccontextmanager
    async def place(self, caller: Caller) -> AsyncGenerator[None]:
        """A place among the requests of a profile: as many as a pool has connections.

        A request holds one connection of each database that it reads; with more requests than connections, two could
        wait for each other's. Raises StoreOverloaded when no place gets free in time.
        """
        places = self._places[caller.profile]
        try:
            async with asyncio.timeout(self._timeout_s):
                await places.acquire()
        except TimeoutError:
            raise StoreOverloaded(self.clinical.name) from None
        try:
            yield
        finally:
            places.release()

    async def close(self) -> None:
        """Closes every store, even when one fails to."""
        await asyncio.gather(*(store.close() for store in self._all), return_exceptions=True)

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

    async def facilities(self) -> Sequence[FacilityName]:
        """All facilities, as a worker sees them: for the demo's persona picker and the token command."""
        return [FacilityName(*row) for row in await self.clinical.worker_fetch(FACILITIES)]
