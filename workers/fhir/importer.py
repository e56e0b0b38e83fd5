"""The import itself: files one by one, each in waves of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from uuid import UUID

from db.bulk import Bulk, Refused
from workers.fhir import batch as batches
from workers.fhir import memory
from workers.fhir.batch import WAITING, Batch, Name
from workers.fhir.elements import Json, clean, string
from workers.fhir.ids import row_id
from workers.fhir.lookup import Item
from workers.fhir.notes import Notes
from workers.fhir.reader import BrokenFile, entries
from workers.fhir.references import Addresses
from workers.fhir.report import Report
from workers.fhir.waves import NOTES_FROM, TEXT_WAVE, WAVES, imported, names, reason

BATCH = 500
"""Resources that are looked up and written together."""

PATIENTS_MAX = 20_000
"""Patients whose homes are settled together."""


class Importer:
    """One import into one instance."""

    def __init__(self, bulk: Bulk, notes: Notes, fallback_id: UUID, *, single_facility: bool) -> None:
        self.report = Report()
        self._bulk = bulk
        self._notes = notes
        self._fallback_id = fallback_id
        self._single = single_facility
        self._patients: set[UUID] = set()
        self._moved: set[UUID] = set()
        self._left: set[tuple[UUID, UUID]] = set()
        self._pending: dict[Name, str] = {}

    async def file(self, path: Path, progress: Callable[[str], object]) -> None:
        """Imports one file whole, or not at all: then it is listed as broken. Raises StoreError."""
        counts, pending = Report(), dict(self._pending)
        try:
            addresses, present = self._index(path, counts)
            await self._waves(path, addresses, present, counts, progress)
        except (BrokenFile, Refused) as error:
            await self._bulk.rollback()
            self._pending = pending
            self.report.broken.append((path.name, error.message))
        else:
            self.report.files += 1
            self.report.add(counts)

    def _index(self, path: Path, counts: Report) -> tuple[Addresses, set[str]]:
        """Reads a file once: where its entries are found, and the types that it has. Raises BrokenFile."""
        addresses, present = Addresses(), set[str]()
        for full_url, resource in entries(path):
            kind: str = resource["resourceType"]
            found = counts.of(kind)
            found.read += 1
            if why := self._why_skipped(kind, full_url, resource):
                found.skipped[why] += 1
                continue
            present.add(kind)
            if full_url:
                addresses.add(full_url, kind, row_id(kind, _fhir_id(full_url, resource)))
        return addresses, present

    def _why_skipped(self, kind: str, full_url: str | None, resource: Json) -> str | None:
        if not imported(kind):
            return reason(kind)
        if self._single and kind == "Organization":
            return "--facility takes its place"
        return None if _fhir_id(full_url, resource) else "it has no id"

    def _items(self, path: Path, wave: Iterable[str]) -> Iterator[Item]:
        for full_url, resource in entries(path):
            kind: str = resource["resourceType"]
            if kind in wave and not self._why_skipped(kind, full_url, resource):
                fhir_id = _fhir_id(full_url, resource)
                yield Item(kind, row_id(kind, fhir_id), fhir_id, clean(resource))

    async def _waves(
        self, path: Path, addresses: Addresses, present: set[str], counts: Report, progress: Callable[[str], object]
    ) -> None:
        self._moved.clear()
        self._patients.clear()
        self._left.clear()
        for number, wave in enumerate(WAVES):
            if number == NOTES_FROM:
                await self._settle()
                await self._bulk.commit()
            here = sorted(present & wave.keys())
            done = 0
            resources = self._items(path, wave) if here else iter(())
            while read := list(islice(resources, BATCH)):
                batch = await self._run(number, read, addresses, final=False)
                batches.count(batch, read, counts)
                if number != TEXT_WAVE:
                    self._pending |= {name: WAITING[waits] for name, (_, waits) in batch.waiting.items()}
                done += len(read)
                progress(f"{', '.join(here)}: {done}")
        await self._bulk.commit()

    async def _run(self, number: int, read: list[Item], addresses: Addresses, *, final: bool) -> Batch:
        unique = {(item.type, item.id): item for item in read}
        batch = Batch(number, list(unique.values()), addresses, final)
        await batches.run(self._bulk, self._notes, batch, self._fallback_id, single_facility=self._single)
        self._patients |= {link.id for link in batch.placed if link.resource_type == "Patient"}
        self._moved |= {
            link.patient_id for link in batch.placed if link.patient_id and ("Encounter", link.id) in batch.changed
        }
        self._left |= {(source, link.patient_id) for source, link in batch.left.values() if link.patient_id}
        self._moved |= {key for kind, key in batch.changed if kind == "Patient"}
        if len(self._patients) + len(self._moved) > PATIENTS_MAX:
            await self._settle()
        return batch

    async def _settle(self) -> None:
        """Finds the homes of patients whose encounters changed, and a facility for those who have none."""
        patients = sorted(self._patients | self._moved)
        if patients:
            await memory.adopt(self._bulk, patients, self._fallback_id)
            await self._notes.settle_homes(await memory.settle_homes(self._bulk, sorted(self._moved)))
            fallback = {(self._fallback_id, patient) for patient in patients}
            await memory.leave(self._bulk, self._left if self._single else self._left | fallback)
        self._patients.clear()
        self._left.clear()
        self._moved.clear()

    async def finish(self) -> None:
        """Tries what waits once more; what only waits for an encounter is written without it. Raises StoreError."""
        for _ in range(2):  # the second time for encounters that are part of one that waited too
            for number in range(len(WAVES)):
                if number == NOTES_FROM:
                    await self._settle()
                await self._retry(number)
            await self._bulk.commit()

    async def _retry(self, number: int) -> None:
        last: Name = ("", UUID(int=0))
        while found := await self._bulk.fetch("clinical", memory.READY, names(number), *last, BATCH):
            last = (found[-1]["resource_type"], found[-1]["resource_id"])
            read: list[Item] = []
            for row in found:
                resource = memory.parsed(row["resource"])
                read.append(Item(resource["resourceType"], row["resource_id"], resource["id"], resource))
            batch = await self._run(number, read, Addresses(), final=True)
            counts = Report()
            for item in read:
                waited = self._pending.get((item.type, item.id))
                if waited and number != TEXT_WAVE and (item.type, item.id) not in batch.waiting:
                    del self._pending[item.type, item.id]
                    self.report.of(item.type).skipped[waited] -= 1
                    batches.count(batch, [item], counts)
            if number == TEXT_WAVE:
                batches.count(batch, read, counts)
            self.report.add(counts)


def _fhir_id(full_url: str | None, resource: Json) -> str:
    """The resource's id; of one without, as a transaction may have it, the UUID of its fullUrl; '' without either."""
    prefix, _, uuid = (full_url or "").rpartition(":")
    return string(resource.get("id")) or (uuid if prefix == "urn:uuid" else "")
