"""`python -m workers sweep`: objects of the archive without metadata, and metadata without objects; both are mended.

Uploads that died while they were completed are completed; those that nobody completed expire. Then the archive's list
and the table of instances are walked side by side, in the order of the keys, from where the last pass stopped.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from db import settings
from db.archive import Archive, Listed
from db.errors import StoreError
from db.holdings import Holdings
from db.object_keys import facility_of, incoming_key, is_quarantined, orphan_key, upload_of
from db.postgres import Postgres
from db.settings import Settings
from loaders.writes.imaging_study import EXPIRE_UPLOAD, UPLOAD_HOURS, Chart, finish, lease
from workers.lifecycle import FORGET_OBJECT

SETTLED = timedelta(hours=1)
"""Age below which an object is left alone: its row may be on its way."""
UPLOADS_MAX = 500
"""Uploads of each kind that one pass looks at."""
PAGES_MAX = 100
"""Pages of 1,000 objects that one pass walks through."""
TIMEOUT_S = 120.0
"""Seconds that one request to the archive may take: copies of objects of gigabytes."""
ROWS_MAX = 5000
"""Instances that are looked at beside one page of objects."""
CLEARED_MAX = 100
"""Instances that one pass clears: more of them at once no crash has left."""
END = "imaging0"
"""Key behind those of all objects: the character after a slash is a zero."""

COMPLETING_UPLOADS = """/* completing_uploads */
SELECT id FROM imaging.imaging_upload
WHERE state = 'completing' AND leased_until < $1::timestamptz
ORDER BY expires_at, id
LIMIT $2::int"""

EXPIRED_UPLOADS = """/* expired_uploads */
SELECT id, facility_id, multipart_id FROM imaging.imaging_upload
WHERE state = 'begun' AND expires_at < $1::timestamptz
ORDER BY expires_at, id
LIMIT $2::int"""

CHART_OF_UPLOAD = """/* chart_of_upload */
SELECT r.mrn, f.code
FROM clinical.facility AS f
LEFT JOIN clinical.registration AS r ON r.facility_id = f.id AND r.patient_id = $2::uuid
WHERE f.id = $1::uuid"""

STATES_OF_UPLOADS = """/* states_of_uploads */
SELECT id, state FROM imaging.imaging_upload WHERE id = ANY($1::uuid[])"""

CLEARED = "instances cleared, whose object is gone"

KEYS_BETWEEN = """/* keys_between */
SELECT s3_key, id, facility_id FROM imaging.imaging_instance
WHERE s3_key COLLATE "C" > $1::text AND s3_key COLLATE "C" <= $2::text AND stored_at < $3::timestamptz
ORDER BY s3_key COLLATE "C"
LIMIT $4::int"""

KEYS_KNOWN = """/* keys_known */
SELECT i.s3_key
FROM unnest($1::uuid[], $2::text[]) AS listed (facility_id, s3_key)
JOIN imaging.imaging_instance AS i ON i.facility_id = listed.facility_id AND i.s3_key = listed.s3_key"""

SWEEP_PLACE = """/* sweep_place */
SELECT after FROM imaging.sweep"""

KEEP_SWEEP_PLACE = """/* keep_sweep_place */
UPDATE imaging.sweep SET after = $1::text"""


@dataclass(frozen=True, slots=True)
class Sweeper:
    """One pass over uploads, objects and instances, at an instant; `done` counts what it did, in words without PHI."""

    archive: Archive
    imaging: Postgres
    clinical: Postgres
    now: datetime
    done: Counter[str]

    async def sweep(self) -> None:
        """The whole pass. Raises StoreError."""
        await self._complete()
        await self._expire()
        await self._abort()
        await self._walk()

    async def _complete(self) -> None:
        """Goes on with uploads that somebody stopped completing. One that fails again waits for the next pass."""
        for (id,) in await self.imaging.worker_fetch(COMPLETING_UPLOADS, self.now, UPLOADS_MAX):
            upload = await lease(self.imaging.worker_fetch, id, self.now)
            if upload is None:
                continue
            found = await self.clinical.worker_fetch(CHART_OF_UPLOAD, upload.facility_id, upload.patient_id)
            try:
                await finish(self.imaging.worker_fetch, self._holdings(upload.facility_id), upload, Chart(*found[0]))
            except StoreError:
                self.done["uploads could not be completed now"] += 1
            else:
                self.done["uploads completed, or put into quarantine"] += 1

    async def _expire(self) -> None:
        """Ends uploads that nobody completed in time."""
        for id, facility_id, multipart_id in await self.imaging.worker_fetch(EXPIRED_UPLOADS, self.now, UPLOADS_MAX):
            key = incoming_key(facility_id, id)
            # State first: from here on nobody completes it, whatever is still there.
            await self.imaging.worker_fetch(EXPIRE_UPLOAD, id)
            if multipart_id:
                await self._holdings(facility_id).abort_parts(key, multipart_id)
            await self._holdings(facility_id).delete(key)
            self.done["uploads expired"] += 1

    async def _abort(self) -> None:
        """Aborts uploads in parts that have outlived every upload of ours."""
        old = self.now - timedelta(hours=UPLOAD_HOURS) - SETTLED
        listed = [one for one in await self.archive.worker_multipart_uploads() if one.initiated < old]
        states = await self._states([one.key for one in listed])
        for one in listed:
            facility_id = facility_of(one.key)
            if facility_id and states.get(upload_of(one.key)) != "completing":
                await self._holdings(facility_id).abort_parts(one.key, one.id)
                self.done["uploads in parts aborted"] += 1

    async def _walk(self) -> None:
        """Looks at objects and instances, from where the last pass stopped; behind the last from the first again."""
        [(after,)] = await self.imaging.worker_fetch(SWEEP_PLACE)
        for _ in range(PAGES_MAX):
            page, more = await self.archive.worker_list(after)
            until = page[-1].key if page and more else END
            rows = await self.imaging.worker_fetch(KEYS_BETWEEN, after, until, self.now - SETTLED, ROWS_MAX)
            if len(rows) == ROWS_MAX:
                until, more = rows[-1][0], True
            await self._clear(rows, {one.key for one in page})
            await self._move([one for one in page if one.key <= until and one.modified < self.now - SETTLED])
            after = until if more else ""
            await self.imaging.worker_fetch(KEEP_SWEEP_PLACE, after)
            if not more:
                return

    async def _clear(self, rows: Sequence[Any], listed: Collection[str]) -> None:
        """Clears instances that name an object which is not there."""
        for key, id, facility_id in rows:
            if key in listed or await self._holdings(facility_id).held(key):
                continue
            if self.done[CLEARED] == CLEARED_MAX:
                self.done["pages with more instances whose object is gone: is this the right bucket?"] += 1
                return
            await self.imaging.worker_fetch(FORGET_OBJECT, id)
            self.done[CLEARED] += 1

    async def _move(self, page: Sequence[Listed]) -> None:
        """Moves objects that no row names into quarantine, and deletes what ended uploads have left."""
        at = {one.key: facility_id for one in page if (facility_id := facility_of(one.key))}
        known = await self._known(at)
        states = await self._states(list(at))
        for key, facility_id in at.items():
            state, holdings = states.get(upload_of(key)), self._holdings(facility_id)
            if key in known or state in ("begun", "completing") or (is_quarantined(key) and state != "completed"):
                continue
            if state:
                self.done["objects deleted that ended uploads had left"] += 1
            elif await holdings.copy(key, orphan_key(key)) and not await self._known({key: facility_id}):
                self.done["objects without metadata moved into quarantine"] += 1
            else:
                continue  # it went, or got its row, meanwhile
            await holdings.delete(key)

    async def _known(self, keys: Mapping[str, UUID]) -> set[str]:
        """Keys that an instance's row names."""
        return {key for (key,) in await self.imaging.worker_fetch(KEYS_KNOWN, list(keys.values()), list(keys))}

    async def _states(self, keys: Sequence[str]) -> dict[UUID | None, str]:
        """States of the uploads that keys are of, by id."""
        ids = [id for id in map(upload_of, keys) if id]
        return {id: state for id, state in await self.imaging.worker_fetch(STATES_OF_UPLOADS, ids)}

    def _holdings(self, facility_id: UUID) -> Holdings:
        return Holdings(self.archive, facility_id)


async def sweep(archive: Archive, imaging: Postgres, clinical: Postgres, now: datetime) -> list[str]:
    """One pass; lines that say what was done. Raises StoreError."""
    done: Counter[str] = Counter()
    await Sweeper(archive, imaging, clinical, now, done).sweep()
    return [f"{count} {what}" for what, count in sorted(done.items())] or ["nothing to mend"]


async def _run(configured: Settings) -> list[str]:
    archive = Archive("archive", configured.archive_url, TIMEOUT_S)
    imaging = Postgres("imaging", configured.imaging_url, configured.secret, configured.store_timeout_s)
    clinical = Postgres("clinical", configured.clinical_url, configured.secret, configured.store_timeout_s)
    try:
        return await sweep(archive, imaging, clinical, datetime.now(UTC))
    finally:
        await archive.close()
        await imaging.close()
        await clinical.close()


def main(argv: list[str]) -> int:
    """Entry point: one pass; run it every few minutes, so that large uploads are completed."""
    description = "Mends what uploads have left half done: objects without metadata, metadata without objects."
    argparse.ArgumentParser(prog="python -m workers sweep", description=description).parse_args(argv)
    for line in asyncio.run(_run(settings.load())):
        print(line, flush=True)
    return 0
