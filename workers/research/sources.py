"""The stores of an extraction, each with time enough for it, and parquet in the archive."""

from __future__ import annotations

import asyncio
import io
from uuid import UUID

import polars as pl

from db.archive import Archive
from db.errors import StoreUnavailable
from db.mongo import Mongo
from db.postgres import Postgres
from db.release_files import CONTENT_TYPE, checked, release_prefix, staged_prefix
from db.research import Research
from db.settings import Settings
from db.warehouse import Warehouse
from db.warehouse_release import Releases
from workers.research.job import Jobs
from workers.research.reading import Rate

TIMEOUT_S = 1800.0
"""Seconds that one statement of an extraction may take, waiting for its rate included."""
CONNECTIONS = 4
"""Connections of one worker to each database."""
CATCH_UP_S = 0.2
"""Seconds between two looks at how far a replica is."""
HAS_POSITION = """/* replica_has_position */
SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= $1::text::pg_lsn"""


class Sources:
    """What a worker reads and writes, opened when first used."""

    def __init__(self, settings: Settings, rate: Rate) -> None:
        primary = _postgres("clinical", settings.clinical_url, settings)
        replica = _postgres("research", settings.research_url, settings)
        vitals = _postgres("vitals", settings.vitals_url, settings)
        imaging = _postgres("imaging", settings.imaging_url, settings)
        self.rate = rate
        self.jobs = Jobs(Research(primary))
        self.clinical, self.vitals, self.imaging = Research(replica), Research(vitals), Research(imaging)
        self.notes = Mongo("notes", settings.notes_url, TIMEOUT_S)
        self.archive = Archive("archive", settings.archive_url, TIMEOUT_S)
        self.warehouse = Warehouse("warehouse", settings.warehouse_url, TIMEOUT_S)
        self.releases = Releases(self.warehouse)
        self._all = (primary, replica, vitals, imaging, self.notes, self.archive, self.warehouse)

    async def close(self) -> None:
        """Closes every store."""
        await asyncio.gather(*(store.close() for store in self._all))

    async def caught_up(self, position: str) -> None:
        """Returns when what research reads is as far as the primary was at a place of its log. Raises StoreTimeout."""
        async with asyncio.timeout(TIMEOUT_S):
            while not await self._has(position):  # noqa: ASYNC110 - nobody rings when a replica has caught up
                await asyncio.sleep(CATCH_UP_S)

    async def _has(self, position: str) -> bool:
        async with self.clinical.facilities(()) as reading:
            return bool((await reading.fetch(HAS_POSITION, position))[0][0])

    async def clear(self, id: UUID) -> None:
        """Deletes what an extraction that is over has staged, and then its files unless they are registered.

        Raises StoreError; where that is the warehouse's, what was staged is gone.
        """
        await self._delete(staged_prefix(id))
        if not await self.releases.is_registered(id):
            await self._delete(release_prefix(id))

    async def _delete(self, prefix: str) -> None:
        more, after = True, ""
        while more:
            page, more = await self.archive.worker_list(after, prefix=prefix)
            for listed in page:
                await self.archive.worker_delete(listed.key)
                after = listed.key

    async def put(self, key: str, frame: pl.DataFrame) -> bytes:
        """Stores a frame as parquet, and gives its bytes; a file of the same key is replaced. Raises StoreError."""
        content = await asyncio.to_thread(_parquet, frame)
        await self.archive.worker_put(key, content, CONTENT_TYPE)
        return content

    async def get(self, key: str) -> pl.DataFrame:
        """The frame of a key that has been put. Raises StoreError."""
        return pl.read_parquet(io.BytesIO(await self.content(key)))

    async def content(self, key: str) -> bytes:
        """The bytes of a key that has been put. Raises StoreError."""
        content = await self.archive.worker_get(key)
        if content is None:
            raise StoreUnavailable(self.archive.name)
        return content


def _parquet(frame: pl.DataFrame) -> bytes:
    written = io.BytesIO()
    frame.write_parquet(written, compression="zstd", compression_level=3, statistics=False)
    return written.getvalue()


def _postgres(name: str, url: str, settings: Settings) -> Postgres:
    return Postgres(name, url, settings.secret, TIMEOUT_S, CONNECTIONS, settings.pooler)


def staged_key(extraction_id: UUID, table: str, partition: int) -> str:
    """Object of the archive with a table's rows of a partition before values of few patients are withheld."""
    return f"{staged_prefix(extraction_id)}{checked(table)}/{partition:05}.parquet"
