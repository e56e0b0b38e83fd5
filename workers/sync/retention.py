"""What the feed and the writes leave behind goes when nobody needs it: days of events, and old idempotency keys."""

from __future__ import annotations

from datetime import timedelta

from db.feed import Feed
from db.postgres import Postgres

EVENTS_KEPT = timedelta(days=2)
"""How long events stay after the end of their day, for who was away; longer where a consumer is behind."""
KEYS_KEPT = timedelta(days=30)
"""How long a client may send a write again and get the same answer."""
KEYS_MAX = 1000
"""Keys of one transaction."""

FORGET_KEYS = """/* forget_idempotency_keys */
WITH gone AS (
    DELETE FROM access.idempotency_key AS k
    USING (
        SELECT facility_id, subject, key FROM access.idempotency_key
        WHERE claimed_at < clock_timestamp() - $1::interval
        ORDER BY claimed_at
        LIMIT $2::int
    ) AS old
    WHERE (k.facility_id, k.subject, k.key) = (old.facility_id, old.subject, old.key)
    RETURNING 1
)
SELECT count(*) FROM gone"""


async def tidy(postgres: Postgres) -> tuple[int, int]:
    """One pass over a database: days dropped, keys forgotten. Raises StoreError."""
    feed = Feed(postgres)
    await feed.prepare_days()
    dropped = await feed.drop_done(EVENTS_KEPT)
    forgotten = 0
    while count := (await postgres.worker_fetch(FORGET_KEYS, KEYS_KEPT, KEYS_MAX))[0][0]:
        forgotten += count
    return dropped, forgotten
