"""`python -m workers lifecycle`: storage tiers of the archive, and what the imaging database says of them.

A server with a lifecycle of its own gets the rules, and the database follows what the server did. For a server
without one, this worker does the same by age: tiers and restores are then states of the database only (the objects stay
readable at the server; the graph gives no URL until they are restored), and expired objects are deleted.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import UUID

from db import settings
from db.archive import EXPIRE_DAYS, RESTORE_DAYS, TIERS, Archive
from db.errors import InvalidId
from db.postgres import Postgres

BATCH = 1000
"""Objects that are looked at between two writes."""

TIER_OF_KEYS = """/* tier_of_keys */
UPDATE imaging.imaging_instance AS i
SET storage_class = seen.tier
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS seen (facility_id, s3_key, tier)
WHERE i.facility_id = seen.facility_id AND i.s3_key = seen.s3_key AND i.storage_class <> seen.tier
RETURNING i.id"""

TIER_BY_AGE = """/* tier_by_age */
UPDATE imaging.imaging_instance
SET storage_class = $1::text
WHERE id = ANY (ARRAY(
    SELECT id FROM imaging.imaging_instance
    WHERE storage_class = ANY($2::text[]) AND stored_at <= $3::timestamptz
    LIMIT $4::int
))
RETURNING id"""

RESTORES = """/* restores */
SELECT id, s3_key
FROM imaging.imaging_instance
WHERE restore_state = 'in-progress' AND id > $1::uuid
ORDER BY id
LIMIT $2::int"""

SET_RESTORED = """/* set_restored */
UPDATE imaging.imaging_instance SET restore_state = 'completed', restore_expires = $2::timestamptz
WHERE id = $1::uuid"""

END_RESTORES = """/* end_restores */
UPDATE imaging.imaging_instance SET restore_state = NULL, restore_expires = NULL
WHERE restore_state = 'completed' AND restore_expires <= $1::timestamptz
RETURNING id"""

EXPIRED = """/* expired */
SELECT id, s3_key
FROM imaging.imaging_instance
WHERE s3_key IS NOT NULL AND stored_at <= $3::timestamptz AND id > $1::uuid
ORDER BY id
LIMIT $2::int"""

FORGET_OBJECT = """/* forget_object */
UPDATE imaging.imaging_instance
SET s3_key = NULL, size_bytes = NULL, storage_class = NULL, restore_state = NULL, restore_expires = NULL,
    stored_at = NULL
WHERE id = $1::uuid"""

ARCHIVED_OF_STUDY = """/* archived_of_study */
SELECT i.id, i.s3_key
FROM imaging.imaging_series AS s
JOIN imaging.imaging_instance AS i ON i.facility_id = s.facility_id AND i.imaging_series_id = s.id
WHERE s.imaging_study_id = $1::uuid
  AND s.facility_id = (SELECT facility_id FROM imaging.imaging_study WHERE id = $1::uuid)
  AND i.storage_class IN ('GLACIER', 'DEEP_ARCHIVE') AND i.restore_state IS NULL"""

ASK_RESTORE = """/* ask_restore */
UPDATE imaging.imaging_instance SET restore_state = 'in-progress' WHERE id = $1::uuid"""


async def lifecycle(archive: Archive, imaging: Postgres, now: datetime) -> list[str]:
    """One pass; lines that say what was done and what the server can't do. Raises StoreError."""
    served = await archive.worker_apply_lifecycle()
    if served:
        lines = [f"lifecycle rules applied at the server ({_rules()})", await _follow(archive, imaging)]
    else:
        lines = ["the server has no lifecycle rules: tiers, restores and expiry are kept by this worker"]
        lines += [await _move(imaging, tier, now - timedelta(days=days)) for tier, days in reversed(TIERS)]
    lines.append(await _restored(archive, imaging, now, served))
    ended = await imaging.worker_fetch(END_RESTORES, now)
    lines.append(f"{len(ended)} restores ended")
    lines.append(await _expire(archive, imaging, now - timedelta(days=EXPIRE_DAYS), served))
    return lines


async def restore(archive: Archive, imaging: Postgres, study_id: UUID) -> list[str]:
    """Asks for the archived objects of a study; lines as of `lifecycle`, whose next pass sees when they are there."""
    archived = await imaging.worker_fetch(ARCHIVED_OF_STUDY, study_id)
    served = True
    for instance_id, key in archived:
        served = await archive.restore(key, RESTORE_DAYS) and served
        await imaging.worker_fetch(ASK_RESTORE, instance_id)
    lines = [f"{len(archived)} objects asked for"]
    return lines if served else [*lines, "the server has no restore: the next pass completes it in the database"]


async def _follow(archive: Archive, imaging: Postgres) -> str:
    """Takes over the tiers that the server lists."""
    moved = 0
    async for tiers in archive.worker_tiers():
        facilities = [UUID(key.split("/")[1]) for key in tiers]
        moved += len(await imaging.worker_fetch(TIER_OF_KEYS, facilities, list(tiers), list(tiers.values())))
    return f"{moved} objects have another tier at the server than before"


async def _move(imaging: Postgres, tier: str, stored_before: datetime) -> str:
    """Moves objects of the tiers before this one by age, in the database."""
    names = ["STANDARD", *(name for name, _ in TIERS)]
    earlier = names[: names.index(tier)]
    moved = 0
    while batch := await imaging.worker_fetch(TIER_BY_AGE, tier, earlier, stored_before, BATCH):
        moved += len(batch)
    return f"{moved} objects moved to {tier}"


async def _restored(archive: Archive, imaging: Postgres, now: datetime, served: bool) -> str:
    """Records which restores under way are complete: as the server says, or all where it has none."""
    completed = 0
    async for instance_id, key in _each(imaging, RESTORES):
        expires = now + timedelta(days=RESTORE_DAYS)
        if served:
            stored = await archive.worker_head(key)
            if stored and stored.restore_state is None:  # whoever asked for it could not ask the server
                await archive.restore(key, RESTORE_DAYS)
            if stored is None or stored.restore_expires is None:
                continue
            expires = stored.restore_expires
        await imaging.worker_fetch(SET_RESTORED, instance_id, expires)
        completed += 1
    return f"{completed} restores completed"


async def _expire(archive: Archive, imaging: Postgres, stored_before: datetime, served: bool) -> str:
    """Forgets expired objects: when the server has deleted them, or after deleting them itself."""
    gone = 0
    async for instance_id, key in _each(imaging, EXPIRED, stored_before):
        if not served:
            await archive.worker_delete(key)
        elif await archive.worker_head(key):
            continue
        await imaging.worker_fetch(FORGET_OBJECT, instance_id)
        gone += 1
    return f"{gone} objects expired"


async def _each(imaging: Postgres, sql: LiteralString, *args: object) -> AsyncIterator[tuple[UUID, str]]:
    """Id and key of every row of a statement that goes on after id $1, BATCH at a time."""
    last = UUID(int=0)
    while rows := await imaging.worker_fetch(sql, last, BATCH, *args):
        for row in rows:
            yield row[0], row[1]
        last = rows[-1][0]


def _rules() -> str:
    tiers = ", ".join(f"{tier} at {days} days" for tier, days in TIERS)
    return f"{tiers}, deleted at {EXPIRE_DAYS}"


async def _run(study: str | None) -> list[str]:
    configured = settings.load()
    archive = Archive("archive", configured.archive_url, configured.store_timeout_s)
    imaging = Postgres("imaging", configured.imaging_url, configured.secret, configured.store_timeout_s)
    try:
        await archive.worker_ensure_bucket()
        asked = await restore(archive, imaging, _study_id(study)) if study else []
        return asked + await lifecycle(archive, imaging, datetime.now(UTC))
    finally:
        await archive.close()
        await imaging.close()


def _study_id(study: str) -> UUID:
    try:
        return UUID(study.removeprefix("ImagingStudy/"))
    except ValueError:
        raise InvalidId("restore", "must be an id of ImagingStudy") from None


def main(argv: list[str]) -> int:
    """Entry point: one pass over everything, after asking for a study's objects where one is named."""
    parser = argparse.ArgumentParser(prog="python -m workers lifecycle", description="Storage tiers of the archive.")
    parser.add_argument("--restore", metavar="ImagingStudy/ID", help="study whose archived objects are wanted back")
    for line in asyncio.run(_run(parser.parse_args(argv).restore)):
        print(line, flush=True)
    return 0
