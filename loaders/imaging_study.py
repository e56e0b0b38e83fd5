"""Imaging studies, their series and instances, of the imaging database (FHIR R4 ImagingStudy)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from db.postgres import Session
from loaders.facts import ByIdBatch, ChildrenBatch, NewestBatch, by_id, newest_of_each
from loaders.reader import Reader
from loaders.statement import Columns, Statement

STUDY_COLUMNS = Columns(
    "imaging_study",
    """
    id, patient_id, encounter_id, study_uid, accession_number, status, started, modality, description, procedure,
    body_site, number_of_series, number_of_instances, sort_time
    """,
)
SERIES_COLUMNS = Columns(
    "imaging_series",
    "id, series_uid, number, modality, body_site, description, started, number_of_instances",
    computed="(SELECT t.patient_id FROM imaging_study AS t WHERE t.id = imaging_study_id) AS patient_id",
)
NEEDS_RESTORE = """coalesce(storage_class IN ('GLACIER', 'DEEP_ARCHIVE'), false)
        AND NOT coalesce(restore_state = 'completed' AND restore_expires > now(), false) AS needs_restore"""
PATIENT_OF_SERIES = """(
        SELECT t.patient_id FROM imaging_series AS s JOIN imaging_study AS t ON t.id = s.imaging_study_id
        WHERE s.id = imaging_series_id) AS patient_id"""
INSTANCE_COLUMNS = Columns(
    "imaging_instance",
    "id, instance_uid, sop_class, number, title, s3_key, size_bytes, storage_class, restore_state",
    computed=f"{NEEDS_RESTORE}, {PATIENT_OF_SERIES}",
)
UPLOAD_COLUMNS = Columns(
    "imaging_upload",
    "id, patient_id, encounter_id, size_bytes, multipart_id, state, reason, imaging_study_id, expires_at, version",
)

FILTER = """($7::text[] IS NULL OR modality && $7::text[])
      AND ($8::text[] IS NULL OR status = ANY($8::text[]))"""
IMAGING_STUDIES_OF_PATIENTS = newest_of_each("imaging_studies_of_patients", STUDY_COLUMNS, "patient_id", FILTER)
IMAGING_STUDIES_OF_ENCOUNTERS = newest_of_each("imaging_studies_of_encounters", STUDY_COLUMNS, "encounter_id", FILTER)
# CASE, because the planner would think that filters leave next to no rows of a facility, read them all, and sort.
IMAGING_STUDIES_OF_FACILITIES = newest_of_each(
    "imaging_studies_of_facilities", STUDY_COLUMNS, "facility_id", f"CASE WHEN {FILTER} THEN true END"
)
IMAGING_STUDY_BY_ID = by_id("imaging_study_by_id", STUDY_COLUMNS)
IMAGING_SERIES_BY_ID = by_id("imaging_series_by_id", SERIES_COLUMNS)
IMAGING_INSTANCE_BY_ID = by_id("imaging_instance_by_id", INSTANCE_COLUMNS)
IMAGING_UPLOAD_BY_ID = by_id("imaging_upload_by_id", UPLOAD_COLUMNS)

RESTORE_STATES_OF_STUDIES = """/* restore_states_of_studies */
SELECT t.id, t.patient_id, CASE
    WHEN bool_or(i.restore_state = 'in-progress') THEN 'in-progress'
    WHEN bool_and(coalesce(i.restore_state = 'completed' AND i.restore_expires > now(), false))
        FILTER (WHERE i.storage_class IN ('GLACIER', 'DEEP_ARCHIVE')) THEN 'completed' END
FROM imaging_study AS t
JOIN imaging_series AS s ON s.imaging_study_id = t.id
JOIN imaging_instance AS i ON i.imaging_series_id = s.id
WHERE t.id = ANY($1::uuid[])
GROUP BY t.id, t.patient_id"""


RESTORED_OBJECTS_OF_STUDIES = """/* restored_objects_of_studies */
SELECT t.id, t.patient_id, count(*) FILTER (WHERE i.restore_state = 'completed' AND i.restore_expires > now()), count(*)
FROM imaging_study AS t
JOIN imaging_series AS s ON s.imaging_study_id = t.id
JOIN imaging_instance AS i ON i.imaging_series_id = s.id
WHERE t.id = ANY($1::uuid[]) AND i.restore_state IS NOT NULL
GROUP BY t.id, t.patient_id"""


def first_of_each(name: LiteralString, columns: Columns, parent: LiteralString) -> Statement:
    """Statement for `_first`: $1 parent ids, $2 rows for each, in order of number."""
    return Statement(
        f"""/* {name} */
SELECT parents.id, parts.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    SELECT {{}}
    FROM {columns.table}
    WHERE {parent} = parents.id
    ORDER BY number, id
    LIMIT $2::int
) AS parts""",
        columns,
    )


IMAGING_SERIES_OF_STUDIES = first_of_each("imaging_series_of_studies", SERIES_COLUMNS, "imaging_study_id")
IMAGING_INSTANCES_OF_SERIES = first_of_each("imaging_instances_of_series", INSTANCE_COLUMNS, "imaging_series_id")


@dataclass(frozen=True, slots=True)
class ImagingStudyRow:
    """One row of `imaging_study`, in the order of STUDY_COLUMNS."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    study_uid: str | None
    accession_number: str | None
    status: str
    started: str | None
    modality: list[str] | None
    description: str | None
    procedure: list[dict[str, Any]] | None
    body_site: list[dict[str, Any]] | None
    number_of_series: int | None
    number_of_instances: int | None
    sort_time: datetime


@dataclass(frozen=True, slots=True)
class ImagingSeriesRow:
    """One row of `imaging_series`, in the order of SERIES_COLUMNS."""

    id: UUID
    series_uid: str | None
    number: int | None
    modality: str | None
    body_site: dict[str, Any] | None
    description: str | None
    started: str | None
    number_of_instances: int | None
    patient_id: UUID | None


@dataclass(frozen=True, slots=True)
class ImagingInstanceRow:
    """One row of `imaging_instance`, in the order of INSTANCE_COLUMNS."""

    id: UUID
    instance_uid: str | None
    sop_class: str | None
    number: int | None
    title: str | None
    s3_key: str | None
    size_bytes: int | None
    storage_class: str | None
    restore_state: str | None
    needs_restore: bool
    patient_id: UUID | None


@dataclass(frozen=True, slots=True)
class ImagingUploadRow:
    """One row of `imaging_upload`, in the order of UPLOAD_COLUMNS."""

    id: UUID
    patient_id: UUID
    encounter_id: UUID | None
    size_bytes: int
    multipart_id: str | None
    state: str
    reason: str | None
    imaging_study_id: UUID | None
    expires_at: datetime
    version: int


def imaging(reader: Reader) -> Session:
    """The imaging database."""
    return reader.imaging


imaging_studies_of_patients = NewestBatch(IMAGING_STUDIES_OF_PATIENTS, ImagingStudyRow, imaging)
imaging_studies_of_encounters = NewestBatch(IMAGING_STUDIES_OF_ENCOUNTERS, ImagingStudyRow, imaging)
imaging_studies_of_facilities = NewestBatch(IMAGING_STUDIES_OF_FACILITIES, ImagingStudyRow, imaging)
imaging_study_by_id = ByIdBatch(IMAGING_STUDY_BY_ID, ImagingStudyRow, imaging)
imaging_series_by_id = ByIdBatch(IMAGING_SERIES_BY_ID, ImagingSeriesRow, imaging)
imaging_instance_by_id = ByIdBatch(IMAGING_INSTANCE_BY_ID, ImagingInstanceRow, imaging)
imaging_series_of_studies = ChildrenBatch(IMAGING_SERIES_OF_STUDIES, ImagingSeriesRow, imaging)
imaging_instances_of_series = ChildrenBatch(IMAGING_INSTANCES_OF_SERIES, ImagingInstanceRow, imaging)
imaging_upload_by_id = ByIdBatch(IMAGING_UPLOAD_BY_ID, ImagingUploadRow, imaging)


async def restored_objects_of_studies(reader: Reader, study_ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, int]]:
    """How many archived objects of studies are restored, of how many that were asked for; none for what never was."""
    rows = await reader.imaging.fetch(RESTORED_OBJECTS_OF_STUDIES, list(study_ids))
    return {study_id: (done, total) for study_id, _, done, total in rows}


async def restore_states_of_studies(reader: Reader, study_ids: Sequence[UUID]) -> Mapping[UUID, str | None]:
    """Whether the archived objects of studies are being restored or can be read; None where neither is so of all."""
    rows = await reader.imaging.fetch(RESTORE_STATES_OF_STUDIES, list(study_ids))
    return {study_id: state for study_id, _, state in rows}
