"""What a caller may see of a collection's documents: of which patients, and with which sensitivity labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, TypeAlias

from db.caller import Caller, Patients
from db.notes_schema import Collection

Document: TypeAlias = dict[str, Any]


def visible(collection: Collection, caller: Caller, patients: Patients) -> list[Document]:
    """Stages of a pipeline that keep what the caller may see; [] where that is everything of the facility."""
    return [*_seen(collection, caller, patients), *_parts_seen(collection, caller, patients)]


def _seen(collection: Collection, caller: Caller, patients: Patients) -> list[Document]:
    """Stages that keep documents of patients whose records the caller may see, with labels that the caller may see."""
    stages: list[Document] = []
    path = "metadata.patient_id"
    if patients.reached is not None:
        stages.append({"$match": {path: {"$in": sorted(map(str, patients.reached))}}})
    if patients.denied:
        stages.append({"$match": {path: {"$nin": sorted(map(str, patients.denied))}}})
    if not collection.labelled:
        return stages
    usual = _cleared(caller.role.labels)
    if patients.clearance:
        usual = {**usual, path: {"$nin": sorted(map(str, patients.clearance))}}
    opened = [{**_cleared(labels), path: {"$in": listed}} for labels, listed in _clearances(patients)]
    return [*stages, {"$match": {"$or": [usual, *opened]}}]


def _clearances(patients: Patients) -> list[tuple[list[str], list[str]]]:
    """Labels that are not the role's, with the patients of whom the caller may see these."""
    groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for patient, labels in patients.clearance.items():
        groups[tuple(sorted(labels))].append(str(patient))
    return [(list(labels), sorted(listed)) for labels, listed in sorted(groups.items())]


def _parts_seen(collection: Collection, caller: Caller, patients: Patients) -> list[Document]:
    """Stages that drop what has labels of its own within a document, by the same rule; [] where nothing has."""
    shown: Any = sorted(caller.role.labels)
    if patients.clearance:
        is_of = "$metadata.patient_id"
        branches = [{"case": {"$in": [is_of, listed]}, "then": labels} for labels, listed in _clearances(patients)]
        shown = {"$switch": {"branches": branches, "default": shown}}
    kept: Document = {}
    is_seen = {"$setIsSubset": [{"$ifNull": ["$$entry.security", ["R"]]}, shown]}
    for name in collection.labelled_parts:
        kept[name] = {"$filter": {"input": f"${name}", "as": "entry", "cond": is_seen}}
    return [{"$set": kept}] if kept else []


def _cleared(labels: Iterable[str]) -> Document:
    """Condition of a document of which every label is among these; one that nobody labelled counts as R."""
    shown = sorted(labels)
    every: Document = {"security": {"$type": "array", "$not": {"$elemMatch": {"$nin": shown}}}}
    return every if "R" not in shown else {"$or": [every, {"security": None}]}
