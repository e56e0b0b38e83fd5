"""Patient summaries in MongoDB: the copy, and how a chart's summary is made anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from db import copies
from db.feed import Event, Feed
from db.lease import Lease
from db.mongo import Document
from db.notes_schema import CARE_PLANS, PATIENT_SUMMARIES
from db.postgres import Postgres
from db.stores import Stores
from loaders.chart_summary import COUNTS, Key, chart_summaries
from loaders.statement import Statement

BATCH = 200
"""Charts of one batch."""

TABLES = frozenset(
    {
        "allergy_intolerance",
        "care_plan",
        "condition",
        "encounter",
        "lab_result",
        "medication_request",
        "procedure",
        "registration",
        "vital_sign",
    }
)
"""What a summary is made of, as the events of the feeds name it."""

REGISTRATIONS = """/* summary_registrations */
SELECT facility_id, patient_id
FROM clinical.registration
WHERE (facility_id, patient_id) > ($1::uuid, $2::uuid)
ORDER BY facility_id, patient_id
LIMIT $3::int"""


class WorkerSources:
    """The sources of summaries, of every facility and unmasked."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def counts(self, facilities: Sequence[UUID], patients: Sequence[UUID]) -> Sequence[Any]:
        """See loaders.chart_summary.Sources."""
        return await self._stores.clinical.worker_fetch(COUNTS, facilities, patients)

    async def clinical(self, statement: Statement, *args: object) -> Sequence[Any]:
        """See loaders.chart_summary.Sources."""
        return await self._stores.clinical.worker_fetch(statement.sql, *args)

    async def vitals(self, statement: Statement, *args: object) -> Sequence[Any]:
        """See loaders.chart_summary.Sources."""
        return await self._stores.vitals.worker_fetch(statement.sql, *args)

    async def care_plans(self, patients: Sequence[UUID]) -> Sequence[Document]:
        """See loaders.chart_summary.Sources."""
        keys = {"metadata.patient_id": {"$in": [str(patient) for patient in patients]}, "status": "active"}
        return await self._stores.notes.worker_find(CARE_PLANS, keys)


class Summaries:
    """Consumer that makes a chart's summary anew when an event is about the chart; see workers.sync.following."""

    name = "summaries"

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._sources = WorkerSources(stores)
        self._clinical = Feed(stores.clinical)
        self.feeds: Sequence[Feed] = (self._clinical, Feed(stores.vitals))
        self.home: Postgres = stores.clinical
        self.written = 0
        self.unchanged = 0

    async def build(self, held: Lease) -> None:
        """See Consumer. Those that are there stay until they are replaced; what nobody is registered for goes."""
        began = await self._now()
        last: Key = (UUID(int=0), UUID(int=0))
        while keys := [(row[0], row[1]) for row in await held.fetch(REGISTRATIONS, *last, BATCH)]:
            last = keys[-1]
            await self.refresh(keys)
        await copies.remove_before(self._stores.notes, PATIENT_SUMMARIES, began)

    async def apply(self, held: Lease, events: Sequence[Event]) -> None:
        """See Consumer: each chart once, however many events are about it."""
        touched = (e for e in events if e.table in TABLES)
        await self.refresh(
            dict.fromkeys((e.facility_id, e.patient_id) for e in touched if e.facility_id and e.patient_id)
        )

    async def complete(self, held: Lease, as_of: datetime) -> None:
        """See Consumer."""
        await copies.complete(self._stores.notes, PATIENT_SUMMARIES, as_of)

    async def refresh(self, keys: Iterable[Key]) -> None:
        """Makes the summaries of these charts anew. Raises StoreError."""
        rest = iter(keys)
        while batch := list(islice(rest, BATCH)):
            as_of = await self._now()
            made = await chart_summaries(self._sources, batch)
            await copies.put(self._stores.notes, PATIENT_SUMMARIES, await self._aged(list(made.values())))
            gone = [f"{facility}/{patient}" for facility, patient in batch if (facility, patient) not in made]
            if gone:
                await copies.remove(self._stores.notes, PATIENT_SUMMARIES, gone, as_of)

    async def _aged(self, summaries: Sequence[Document]) -> list[Document]:
        """The summaries, each with the time of the stored one where nothing else has changed."""
        ids = [summary["_id"] for summary in summaries]
        found = await self._stores.notes.worker_find(PATIENT_SUMMARIES, {"_id": {"$in": ids}})
        stored = {one["_id"]: one for one in found}
        aged: list[Document] = []
        for summary in summaries:
            old = stored.get(summary["_id"])
            same = old is not None and content(old) == content(summary)
            self.unchanged += same
            self.written += not same
            aged.append(summary | {"updated": old["updated"]} if old is not None and same else summary)
        return aged

    async def _now(self) -> datetime:
        now = (await self._clinical.now()).as_of
        assert now is not None
        return now


def content(summary: Document) -> Document:
    """What a summary says, without when it was made."""
    return {name: value for name, value in summary.items() if name not in ("updated", "as_of")}
