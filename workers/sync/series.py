"""Laboratory results as series in the vitals database: numbers, of results without sensitivity label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

from db.feed import Event, Feed
from db.lease import Lease
from db.postgres import Postgres
from db.stores import Stores

BATCH = 2000
"""Results of one statement."""

# Labelled results stay where the consents are, which may open them to one caller and not to another.
NUMERIC = "r.value_number IS NOT NULL AND r.label = '{}' AND r.status NOT IN ('cancelled', 'entered-in-error')"

RESULTS = f"""/* series_results */
SELECT r.id, r.facility_id, r.patient_id, t.code, coalesce(r.value_code, r.value_unit), r.status, r.value_number,
    r.value_comparator, r.sort_time
FROM clinical.lab_result AS r
JOIN clinical.lab_test AS t ON t.id = r.lab_test_id
WHERE r.id = ANY($1::uuid[]) AND t.code IS NOT NULL AND {NUMERIC}"""

RESULT_IDS = """/* series_result_ids */
SELECT id, sort_time FROM clinical.lab_result
WHERE (sort_time, id) > ($1::timestamptz, $2::uuid)
ORDER BY sort_time, id
LIMIT $3::int"""

# In one statement: a reader sees a correction or what was there before, and never nothing.
REPLACE = """/* replace_lab_series */
WITH gone AS (
    DELETE FROM vitals.lab_series
    WHERE result_id = ANY($1::uuid[]) AND NOT result_id = ANY($2::uuid[]) AND as_of <= $11::timestamptz
)
INSERT INTO vitals.lab_series AS s
    (result_id, facility_id, patient_id, code, unit, status, value, comparator, sort_time, as_of)
SELECT *, $11::timestamptz
FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::numeric[], $9::text[],
    $10::timestamptz[])
ON CONFLICT (result_id) DO UPDATE
SET facility_id = excluded.facility_id, patient_id = excluded.patient_id, code = excluded.code, unit = excluded.unit,
    status = excluded.status, value = excluded.value, comparator = excluded.comparator,
    sort_time = excluded.sort_time, as_of = excluded.as_of
WHERE s.as_of <= excluded.as_of"""

SWEEP = """/* sweep_lab_series */
DELETE FROM vitals.lab_series WHERE as_of < $1::timestamptz"""

COMPLETE = """/* complete_lab_series */
INSERT INTO vitals.copy AS c (name, as_of) VALUES ('lab_series', $1::timestamptz)
ON CONFLICT (name) DO UPDATE SET as_of = greatest(c.as_of, excluded.as_of)"""


class Series:
    """Consumer that reads a result again when an event is about it; see workers.sync.following.

    The lease is of the vitals database and its connection writes, so that who lost the lease writes no more.
    """

    name = "series"

    def __init__(self, stores: Stores) -> None:
        self._clinical = stores.clinical
        self._feed = Feed(stores.clinical)
        self.feeds: Sequence[Feed] = (self._feed,)
        self.home: Postgres = stores.vitals

    async def build(self, held: Lease) -> None:
        """See Consumer."""
        began = (await self._feed.now()).as_of
        last = datetime.min.replace(tzinfo=UTC), UUID(int=0)
        while rows := await self._clinical.worker_fetch(RESULT_IDS, *last, BATCH):
            last = rows[-1]["sort_time"], rows[-1]["id"]
            await self.refresh(held, [row["id"] for row in rows])
        await held.fetch(SWEEP, began)

    async def apply(self, held: Lease, events: Sequence[Event]) -> None:
        """See Consumer."""
        keys = (key for event in events if event.table == "lab_result" for key in event.row_keys)
        await self.refresh(held, dict.fromkeys(UUID(key.split("/")[0]) for key in keys))

    async def complete(self, held: Lease, as_of: datetime) -> None:
        """See Consumer."""
        await held.fetch(COMPLETE, as_of)

    async def refresh(self, held: Lease, ids: Iterable[UUID]) -> None:
        """Makes the copy of these results what they are now. Raises StoreError."""
        rest = iter(ids)
        while batch := list(islice(rest, BATCH)):
            as_of = (await self._feed.now()).as_of
            rows = await self._clinical.worker_fetch(RESULTS, batch)
            columns = [[row[place] for row in rows] for place in range(9)]
            await held.fetch(REPLACE, batch, *columns, as_of)
