"""One batch of resources: look up what they refer to, map them to rows, write the rows, remember what still waits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from db.bulk import TABLES, Bulk, Key, exact_json
from workers.fhir import labels, memory
from workers.fhir.elements import Json, Unusable
from workers.fhir.link import Known, Link, Row
from workers.fhir.lookup import Item, known, location_facilities
from workers.fhir.note import CARE_PLANS, COLLECTIONS, GOALS, NOTES
from workers.fhir.notes import Notes
from workers.fhir.placement import place
from workers.fhir.references import Addresses
from workers.fhir.registry import facility
from workers.fhir.report import Report
from workers.fhir.waves import TEXT, TEXT_WAVE, WAVES, name_of

WAITING = {
    "patient": "kept until the patient is known",
    "encounter": "kept until the encounter is known",
    "facility": "kept until the facility is known",
    "practitioner": "kept until the practitioner is known",
}
"""Reasons of the report for resources that wait."""

BESIDE = frozenset({"resource_identifier", "observation_place", "medication_concept", "lab_test", "report_result"})
"""Tables whose changes do not make a resource count as written."""

COLLECTION_OF = {"DocumentReference": NOTES, "CarePlan": CARE_PLANS, "Goal": GOALS}

Name = tuple[str, UUID]
"""FHIR type and row id of a resource."""


@dataclass(slots=True)
class Batch:
    """The state of one batch on its way."""

    wave: int
    items: Sequence[Item]
    addresses: Addresses
    final: bool
    placed: list[Link] = field(default_factory=list[Link])
    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict[str, list[Row]](list))
    owners: dict[tuple[str, Key], Name] = field(default_factory=dict[tuple[str, Key], Name])
    waiting: dict[Name, tuple[Link, str]] = field(default_factory=dict[Name, tuple[Link, str]])
    skipped: dict[Name, str] = field(default_factory=dict[Name, str])
    changed: set[Name] = field(default_factory=set[Name])
    left: dict[UUID, tuple[UUID, Link]] = field(default_factory=dict[UUID, tuple[UUID, Link]])
    """Encounters that change their facility: the old one, and the link with the new one."""
    documents: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """(written, unchanged) of each collection."""

    def why_not(self, item: Item) -> str | None:
        """Why a resource was not written, or None when it was."""
        name = (item.type, item.id)
        return WAITING[self.waiting[name][1]] if name in self.waiting else self.skipped.get(name)


async def run(bulk: Bulk, notes: Notes, batch: Batch, fallback_id: UUID, *, single_facility: bool) -> None:
    """Writes a batch inside the open transactions; the batch then knows what became of each resource."""
    found = await known(bulk, batch.items, batch.addresses)
    await _plan(bulk, batch, found, fallback_id, single_facility=single_facility)
    await _write_facilities(bulk, batch, fallback_id)
    await _write_rows(bulk, batch)
    if batch.left:
        keys = list(batch.left)
        sources = [source for source, _ in batch.left.values()]
        targets = [cast(UUID, link.facility_id) for _, link in batch.left.values()]
        await memory.follow_encounters(bulk, keys, sources, targets)
        await notes.follow_encounters(dict(zip(keys, targets, strict=True)))
    if facts := [key for kind, key in batch.changed if kind in ("Encounter", "Condition")]:
        await notes.relabel(bulk, await labels.sensitive_patients(bulk, facts))
    for collection in COLLECTIONS:
        if documents := [row.values for row in batch.rows.get(collection, [])]:
            if collection == NOTES:
                kind = "DiagnosticReport" if batch.wave == TEXT_WAVE else "DocumentReference"
                documents = await notes.claim(bulk, kind, documents)
            await labels.label(bulk, documents)
            batch.documents[collection] = await notes.upsert(collection, documents)
    await _write_places(bulk, batch)
    await _remember(bulk, batch)


async def _plan(bulk: Bulk, batch: Batch, found: Known, fallback_id: UUID, *, single_facility: bool) -> None:
    places = [item for item in batch.items if item.type == "Location"]
    locations = await location_facilities(bulk, places) if places else {}
    for item in batch.items:
        security = labels.security(item.resource)
        link = Link(item.type, item.id, item.fhir_id, batch.addresses, found, fallback_id, security, single_facility)
        try:
            waits = place(item.resource, link, locations, final=batch.final)
            if waits:
                batch.waiting[item.type, item.id] = (link, waits)
                continue
            rows = WAVES[batch.wave][item.type](item.resource, link)
        except Unusable as error:
            batch.skipped[item.type, item.id] = str(error)
            continue
        batch.placed.append(link)
        before = found.facilities.get((item.type, item.id)) if item.type == "Encounter" else None
        if before and before != link.facility_id:
            batch.left[item.id] = (before, link)
        for row in rows:
            batch.rows[row.table].append(row)
            if row.table in TABLES and row.table not in BESIDE:
                key = tuple(row.values[column] for column in TABLES[row.table].key)
                batch.owners[row.table, key] = (item.type, item.id)


async def _write_facilities(bulk: Bulk, batch: Batch, fallback_id: UUID) -> None:
    """Facilities that resources only refer to, so that foreign keys hold."""
    stubs = {key: stub for link in batch.placed for key, stub in link.stubs.items()}
    named = [facility(key, name).values for key, (name, _) in stubs.items()]
    if named:
        await bulk.upsert("facility", named)
    identified: list[Json] = [
        {"resource_type": target.type, "system": target.system, "value": target.value, "resource_id": key}
        for key, (_, target) in stubs.items()
        if target.value
    ]
    if identified:
        await bulk.upsert("resource_identifier", identified)
    if any(link.facility_id == fallback_id for link in batch.placed):
        await memory.ensure_fallback(bulk, fallback_id)


async def _write_rows(bulk: Bulk, batch: Batch) -> None:
    if "observation_place" in batch.rows:
        await memory.leave_places(bulk, batch.rows["observation_place"])
    for table in TABLES:
        rows = batch.rows.get(table)
        if not rows:
            continue
        written = await bulk.upsert(table, [row.values for row in rows])
        for key in written.changed:
            if owner := batch.owners.get((table, key)):
                batch.changed.add(owner)
        for key, constraint in written.refused.items():
            if owner := batch.owners.get((table, key)):
                batch.skipped[owner] = f"the database refuses it: {constraint}"
    if linked := batch.rows.get("report_result"):
        await bulk.fetch("clinical", memory.LINK_RESULTS, [row.values["result_id"] for row in linked])
    if facilities := batch.rows.get("facility"):
        ids, codes = ([row.values[column] for row in facilities] for column in ("id", "code"))
        await bulk.fetch("clinical", memory.NAME_FACILITIES, ids, codes)
    if roles := batch.rows.get("practitioner_role"):
        await bulk.fetch("clinical", memory.ROLES, [row.values["id"] for row in roles])


async def _write_places(bulk: Bulk, batch: Batch) -> None:
    """Registers patients and gives providers roles where something happened."""
    refused = batch.skipped.keys()
    links = [link for link in batch.placed if (link.resource_type, link.id) not in refused and link.facility_id]
    pairs = {(cast(UUID, link.facility_id), link.patient_id) for link in links if link.patient_id}
    sources = [row.values for row in batch.rows.get("patient_source", [])]
    pairs |= {(source["facility_id"], source["patient_id"]) for source in sources if source["facility_id"]}
    if sources:
        pairs |= await memory.registrations(bulk, [source["patient_id"] for source in sources])
    await memory.register(bulk, pairs)
    await memory.act(bulk, {(cast(UUID, link.facility_id), row) for link in links for row in link.providers})


async def _remember(bulk: Bulk, batch: Batch) -> None:
    """Keeps whole what waits, and what was written without everything it refers to; forgets what no longer waits."""
    resources = {(item.type, item.id): item for item in batch.items}
    incomplete = {(link.resource_type, link.id): (link, "reference") for link in batch.placed if link.unresolved}
    kept = incomplete | batch.waiting
    names = [(name_of(batch.wave, kind), key) for kind, key in resources]
    await bulk.fetch("clinical", memory.FORGET_REFERENCES, [name for name, _ in names], [key for _, key in names])
    gone = [(name_of(batch.wave, kind), key) for kind, key in resources if (kind, key) not in kept]
    await bulk.fetch("clinical", memory.FORGET_DEFERRED, [name for name, _ in gone], [key for _, key in gone])
    if kept:
        await bulk.upsert("deferred_resource", [_deferred(batch, resources[name], *kept[name]) for name in kept])
    unresolved = [row for link, _ in kept.values() for row in _unresolved(batch, link)]
    if unresolved:
        await bulk.upsert("unresolved_reference", unresolved)


def _deferred(batch: Batch, item: Item, link: Link, waits: str) -> Json:
    resource = cast(Json, absolute(item.resource, batch.addresses, link)) | {"id": item.fhir_id}
    return {
        "resource_type": name_of(batch.wave, item.type),
        "resource_id": item.id,
        "waits_for": waits,
        "written": waits == "reference",
        "resource": exact_json(resource).decode(),
    }


def _unresolved(batch: Batch, link: Link) -> Iterable[Json]:
    for element, target in link.unresolved:
        yield {
            "resource_type": name_of(batch.wave, link.resource_type),
            "resource_id": link.id,
            "element": element,
            "reference": target.text,
            "target_type": target.type,
            "target_id": target.id,
            "system": target.system,
            "value": target.value,
        }


def absolute(value: Any, addresses: Addresses, link: Link) -> Any:
    """A resource whose references hold outside of its file: fullUrls of entries become `Type/id`."""
    if isinstance(value, list):
        return [absolute(item, addresses, link) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    given = cast(Json, value)
    copy: Json = {key: absolute(item, addresses, link) for key, item in given.items()}
    if isinstance(given.get("reference"), str) and (entry := addresses.entry(given["reference"])):
        copy["reference"] = f"{entry[0]}/{entry[1]}"
    return copy


def count(batch: Batch, items: Sequence[Item], report: Report) -> None:
    """Adds what became of these items to a report."""
    if batch.wave == TEXT_WAVE:
        written, unchanged = batch.documents.get(NOTES, (0, 0))
        report.add_documents(TEXT, written, unchanged)
        return
    left = {kind: batch.documents.get(collection, (0, 0))[0] for kind, collection in COLLECTION_OF.items()}
    for item in items:
        written = (item.type, item.id) in batch.changed
        if left.get(item.type, 0) > 0:
            left[item.type] -= 1
            written = True
        report.of(item.type).add(batch.why_not(item), written=written)
