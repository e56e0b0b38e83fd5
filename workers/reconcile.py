"""`python -m workers reconcile [--mend]`: compares the copies with their sources, by count and digest.

Summaries by facility, series by facility and day. What differs is looked at again before it is told, since the copies
follow their sources while this runs. With --mend what differs still is made anew. Exit status 1 when something differs
and was not mended. Facilities, days and numbers are told, and nothing of a patient.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Protocol
from uuid import UUID

from db import settings
from db.errors import SettingsError
from db.lease import lease
from db.mongo import Document
from db.notes_schema import PATIENT_SUMMARIES
from db.stores import Stores
from loaders.chart_summary import Key, chart_summaries
from workers.sync.main import TIMEOUT_S
from workers.sync.series import NUMERIC, Series
from workers.sync.summaries import BATCH, REGISTRATIONS, Summaries, WorkerSources, content

LOOKS = 4
"""How often something must differ to be told: a copy is in step again within a second, where nothing is wrong."""
PAUSE_S = 1.0
"""Seconds between two looks."""

DAY = "(sort_time AT TIME ZONE 'UTC')::date"
ROW = "ROW(id, facility_id, patient_id, code, unit, status, value, comparator, extract(epoch FROM sort_time))::text"
SOURCE = f"""(
    SELECT r.id, r.facility_id, r.patient_id, t.code, coalesce(r.value_code, r.value_unit) AS unit, r.status,
        r.value_number AS value, r.value_comparator AS comparator, r.sort_time
    FROM clinical.lab_result AS r
    JOIN clinical.lab_test AS t ON t.id = r.lab_test_id
    WHERE t.code IS NOT NULL AND {NUMERIC}
) AS results"""
COPY = "(SELECT result_id AS id, s.* FROM vitals.lab_series AS s) AS results"

DAYS = f"""
SELECT facility_id, {DAY}, count(*), sha256(convert_to(string_agg({ROW}, E'\\n' ORDER BY id), 'UTF8'))
FROM {{}}
GROUP BY 1, 2"""
RESULTS = f"""
SELECT id, {ROW} FROM {{}} WHERE facility_id = $1::uuid AND {DAY} = $2::date"""
SOME_RESULTS = f"""
SELECT id, {ROW} FROM {{}} WHERE id = ANY($1::uuid[])"""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a copy: how many its source and it have, and the keys of those that differ."""

    copy: str
    facility_id: UUID
    day: date | None
    source: int
    copied: int
    differing: Collection[Any]

    def __str__(self) -> str:
        where = f"{self.copy} of {self.facility_id}" + (f" on {self.day}" if self.day else "")
        return f"{where}: {self.source} in the source, {self.copied} in the copy, {len(self.differing)} differ"


class Check(Protocol):
    """How one copy is compared and mended."""

    def parts(self) -> AsyncGenerator[Part]:
        """Every part that has or should have something. Raises StoreError."""
        ...

    async def differing(self, keys: Collection[Any]) -> Collection[Any]:
        """Those of these keys that differ now. Raises StoreError."""
        ...

    async def mend(self, keys: Collection[Any]) -> None:
        """Makes these anew. Raises StoreError."""
        ...


class SummaryCheck:
    """Summaries, walked in the order of their ids, a batch at a time."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def parts(self) -> AsyncGenerator[Part]:
        """See Check."""
        counts: defaultdict[UUID, list[int]] = defaultdict(lambda: [0, 0])
        wrong: defaultdict[UUID, list[Key]] = defaultdict(list)
        last: Key = (UUID(int=0), UUID(int=0))
        more = True
        while more:
            rows = await self._stores.clinical.worker_fetch(REGISTRATIONS, *last, BATCH)
            keys = [(row[0], row[1]) for row in rows]
            more = len(keys) == BATCH
            upto = {"$lte": _id(keys[-1])} if more else {}
            copied = await self._copied({"$gt": _id(last), **upto})
            made = await self._made(keys)
            for key in made.keys() | copied.keys():
                counts[key[0]][0] += key in made
                counts[key[0]][1] += key in copied
                if made.get(key) != copied.get(key):
                    wrong[key[0]].append(key)
            last = keys[-1] if more else last
        for facility_id, (source, copy) in sorted(counts.items()):
            yield Part("summaries", facility_id, None, source, copy, wrong[facility_id])

    async def differing(self, keys: Collection[Any]) -> Collection[Any]:
        """See Check."""
        found: list[Key] = []
        listed: list[Key] = list(keys)
        for start in range(0, len(listed), BATCH):
            some = listed[start : start + BATCH]
            made, copied = await self._made(some), await self._copied({"$in": [_id(key) for key in some]})
            found += [key for key in some if made.get(key) != copied.get(key)]
        return found

    async def mend(self, keys: Collection[Any]) -> None:
        """See Check."""
        await Summaries(self._stores).refresh(keys)

    async def _made(self, keys: Sequence[Key]) -> Mapping[Key, str]:
        made = await chart_summaries(WorkerSources(self._stores), keys)
        return {key: digest(one) for key, one in made.items()}

    async def _copied(self, ids: Mapping[str, Any]) -> Mapping[Key, str]:
        found = await self._stores.notes.worker_find(PATIENT_SUMMARIES, {"_id": ids})
        return {_key(one["_id"]): digest(one) for one in found}


def _id(key: Key) -> str:
    return f"{key[0]}/{key[1]}"


def _key(id: str) -> Key:
    facility_id, _, patient_id = id.partition("/")
    return UUID(facility_id), UUID(patient_id)


def digest(summary: Document) -> str:
    """SHA-256 of what a summary says."""
    return hashlib.sha256(json.dumps(content(summary), sort_keys=True, default=str).encode()).hexdigest()


class SeriesCheck:
    """Laboratory series, by digests that each database makes of a day; results one by one where those differ."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def parts(self) -> AsyncGenerator[Part]:
        """See Check."""
        made = await self._stores.clinical.worker_fetch("/* days_of_results */" + DAYS.format(SOURCE))
        copied = await self._stores.vitals.worker_fetch("/* days_of_series */" + DAYS.format(COPY))
        days = [{(row[0], row[1]): (row[2], row[3]) for row in rows} for rows in (made, copied)]
        for facility_id, day in sorted(days[0].keys() | days[1].keys()):
            source, copy = (one.get((facility_id, day), (0, b"")) for one in days)
            wrong = await self._wrong(RESULTS, facility_id, day) if source != copy else []
            yield Part("series", facility_id, day, source[0], copy[0], wrong)

    async def differing(self, keys: Collection[Any]) -> Collection[Any]:
        """See Check."""
        return await self._wrong(SOME_RESULTS, list(keys))

    async def mend(self, keys: Collection[Any]) -> None:
        """See Check."""
        async with lease(self._stores.vitals, "rebuild series") as held:
            await Series(self._stores).refresh(held, keys)

    async def _wrong(self, sql: Any, *args: object) -> Collection[UUID]:
        made = await self._stores.clinical.worker_fetch("/* results */" + sql.format(SOURCE), *args)
        copied = await self._stores.vitals.worker_fetch("/* series */" + sql.format(COPY), *args)
        ours, theirs = ({row[0]: row[1] for row in rows} for rows in (made, copied))
        return [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]


async def reconcile(configured: settings.Settings, *, mend: bool) -> Sequence[Part]:
    """Parts that differ, in so many looks; mended where that is asked for. Raises StoreError."""
    stores = Stores(replace(configured, store_timeout_s=TIMEOUT_S))
    found: list[Part] = []
    try:
        checks: list[Check] = [SummaryCheck(stores), SeriesCheck(stores)]
        for check in checks:
            wrong = [part async for part in check.parts() if part.differing]
            keys = await _still(check, [key for part in wrong for key in part.differing])
            left = [replace(part, differing=[key for key in part.differing if key in keys]) for part in wrong]
            found += [part for part in left if part.differing]
            if mend and keys:
                await check.mend(keys)
    finally:
        await stores.close()
    return found


async def _still(check: Check, keys: Collection[Any]) -> Collection[Any]:
    """Those of these keys that differ in every look."""
    for _ in range(LOOKS - 1):
        if keys:
            await asyncio.sleep(PAUSE_S)
            keys = set(await check.differing(keys))
    return keys


def main(argv: list[str]) -> int:
    """Entry point; 1 when something differs and was not mended."""
    if argv not in ([], ["--mend"]):
        raise SettingsError("reconcile takes no arguments but --mend.")
    mend = bool(argv)
    found = asyncio.run(reconcile(settings.load(), mend=mend))
    for part in found:
        print(f"{part}{', mended' if mend else ''}", flush=True)
    print(f"reconcile: {sum(len(part.differing) for part in found)} differ", flush=True)
    return int(bool(found) and not mend)
