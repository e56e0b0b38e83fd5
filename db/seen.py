"""What a request has seen: whose records it read, and which releases of research, noted where each store's session
takes what the store answers.

A release counts as read once its tables, report or lineage (loaders/research_release.py) or rows (db/warehouse.py) came
back: who saw what is in it, or how it was made. That it is there, its number, moment and size, is seen by who lists
datasets, and does not count. Presigned files are noted apart: who has the URL reads them unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID


class Seen:
    """Patients by the facility whose records were read, and releases; grows while a request goes on."""

    def __init__(self) -> None:
        self.presigned = 0
        """URLs made that let their bearer fetch an object."""
        self._patients: dict[UUID, set[UUID]] = {}
        self._told: set[tuple[UUID, UUID]] = set()
        self._releases: set[UUID] = set()
        self._releases_told: set[UUID] = set()
        self._releases_presigned: set[UUID] = set()

    def add(self, facility_id: UUID, patients: Iterable[UUID | None]) -> None:
        """Notes patients of a facility; None stands for a row of nobody."""
        known = self._patients.setdefault(facility_id, set())
        known.update(patient for patient in patients if patient is not None)

    def rows(self, facility_id: UUID, rows: Sequence[Any]) -> None:
        """Notes the patients of rows of PostgreSQL that have a column patient_id, or patients for those of a list."""
        if rows and "patient_id" in rows[0].keys():
            self.add(facility_id, {row["patient_id"] for row in rows})
        if rows and "patients" in rows[0].keys():
            self.add(facility_id, {patient for row in rows for patient in row["patients"] or ()})

    def documents(self, facility_id: UUID, documents: Sequence[Mapping[str, Any]]) -> None:
        """Notes the patients of documents of MongoDB; those without metadata are counts of many."""
        found = [one["metadata"]["patient_id"] for one in documents if "metadata" in one]
        self.add(facility_id, {UUID(patient) for patient in found if patient is not None})

    def releases(self, ids: Iterable[UUID]) -> None:
        """Notes releases whose content was read."""
        self._releases.update(ids)

    def url(self, release_id: UUID | None = None) -> None:
        """Notes a URL that lets its bearer fetch an object: a file of this release, or one of the caller's facility."""
        self.presigned += 1
        if release_id is not None:
            self._releases_presigned.add(release_id)

    def news(self) -> Mapping[UUID, frozenset[UUID]]:
        """Patients by facility that no earlier call gave: what the next event has to tell."""
        found: dict[UUID, frozenset[UUID]] = {}
        for facility_id, patients in self._patients.items():
            fresh = frozenset(patient for patient in patients if (facility_id, patient) not in self._told)
            if fresh:
                found[facility_id] = fresh
            self._told.update((facility_id, patient) for patient in fresh)
        return found

    def of(self, facility_id: UUID) -> frozenset[UUID]:
        """Patients of a facility so far."""
        return frozenset(self._patients.get(facility_id, ()))

    def new_releases(self) -> frozenset[UUID]:
        """Releases read that no earlier call gave."""
        fresh = frozenset(self._releases - self._releases_told)
        self._releases_told |= fresh
        return fresh

    def new_releases_presigned(self) -> frozenset[UUID]:
        """Releases of whose files URLs were made since the last call."""
        made, self._releases_presigned = self._releases_presigned, set()
        return frozenset(made)

    def new_urls(self) -> int:
        """URLs made since the last call."""
        made, self.presigned = self.presigned, 0
        return made
