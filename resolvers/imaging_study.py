"""Imaging studies, series, instances and their presigned URLs, for all parents of a level at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from loaders.imaging_study import (
    ImagingInstanceRow,
    ImagingStudyRow,
    ImagingUploadRow,
    imaging_instances_of_series,
    imaging_series_of_studies,
    imaging_studies_of_encounters,
    imaging_studies_of_facilities,
    imaging_studies_of_patients,
    imaging_study_by_id,
    imaging_upload_by_id,
    restore_states_of_studies,
)
from resolvers.arguments import page_size, resource_id
from resolvers.connection import Slice, link, listing, one_of, relation
from resolvers.context import Context

STATUS = one_of("registered", "available", "cancelled", "entered-in-error", "unknown")
"""FHIR R4 imagingstudy-status."""

MODALITY = one_of(
    *(
        "AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT"
        " IVUS KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF"
        " RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG"
        " US VA XA XAPROTOCOL XC"
    ).split()
)
"""DICOM modalities: PS3.3 C.7.3.1.1.1."""

PARTS_MAX = 1000
"""Series of a study, or instances of a series, in one list at most."""

EXPIRES_MAX_S = 300
"""Seconds for which a presigned URL is good at most."""

ROOT = "Query.imagingStudies"


def parts(argument: str, value: int) -> int:
    """Check of how many series of a study, or instances of a series, are wanted: by number, from the first."""
    return page_size(argument, value, PARTS_MAX)


of_patients = relation("Patient.imagingStudies", imaging_studies_of_patients, modality=MODALITY, status=STATUS)
of_encounters = relation("Encounter.imagingStudies", imaging_studies_of_encounters, modality=MODALITY, status=STATUS)
series = listing(imaging_series_of_studies, first=parts)
instances = listing(imaging_instances_of_series, first=parts)
restore_states = link(restore_states_of_studies, "id")
written = link(imaging_study_by_id, "id")
of_uploads = link(imaging_study_by_id, "imaging_study_id")
written_upload = link(imaging_upload_by_id, "id")
_of_caller = relation(ROOT, imaging_studies_of_facilities, "facility_id", modality=MODALITY, status=STATUS)
_of_patient = relation(ROOT, imaging_studies_of_patients, modality=MODALITY, status=STATUS)


@dataclass(frozen=True, slots=True)
class _Patient:
    """A patient of whom nothing but the id is needed."""

    id: UUID


async def one(context: Context, *, id: str) -> ImagingStudyRow | None:
    """The study of an id; None for what is not there."""
    [row] = await context.reader.load_many(imaging_study_by_id, [resource_id("id", id, "ImagingStudy")])
    return row


async def upload(context: Context, *, id: str) -> ImagingUploadRow | None:
    """The upload of an id; None for what is not there."""
    [row] = await context.reader.load_many(imaging_upload_by_id, [resource_id("id", id, "ImagingUpload")])
    return row


async def search(context: Context, *, patient: str | None, **arguments: Any) -> Slice[ImagingStudyRow]:
    """Page of the studies of the caller's facility, or of one patient there, newest first."""
    if patient is None:
        [page] = await _of_caller(context, [context.caller], **arguments)
    else:
        [page] = await _of_patient(context, [_Patient(resource_id("patient", patient, "Patient"))], **arguments)
    return page


async def presigned_urls(
    context: Context, parents: Sequence[ImagingInstanceRow], *, expires_in: int
) -> list[str | None]:
    """URL of each instance's object; None where nothing is stored, a restore is needed, or the policy hides URLs."""
    seconds = page_size("expiresIn", expires_in, EXPIRES_MAX_S)

    async def url(instance: ImagingInstanceRow) -> str | None:
        if instance.s3_key is None or instance.needs_restore:
            return None
        return await context.reader.archive.presigned_get(instance.s3_key, seconds)

    return await asyncio.gather(*map(url, parents))
