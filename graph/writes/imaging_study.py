"""Mutations of imaging."""

from __future__ import annotations

import strawberry

import resolvers.imaging_study
import resolvers.writes.imaging_study
from db.policy import Phi
from graph.field import field, given
from graph.imaging_study import ImagingStudy, ImagingUpload
from graph.write import Payload, UpdateInput, WriteInput, mutation, write_input

UNSET = strawberry.UNSET


@write_input("What an upload of a DICOM object is begun with")
class BeginImagingUploadInput(WriteInput):
    """One object (SOP instance) of a patient."""

    patient_id: strawberry.ID = given("Global id of the patient", phi=None)
    encounter_id: strawberry.ID | None = given(
        "Global id of the encounter in which the study was made; for the first object of a study",
        phi=None,
        default=UNSET,
    )
    size_bytes: float = given("Size of the object in bytes, from 1 to 5 GiB", phi=None)
    sha256: str | None = given(
        "SHA-256 of the object, hexadecimal in lower case; it is compared with what arrives",
        phi=Phi.OTHER_IDENTIFIER,
        default=UNSET,
    )


@write_input("What URLs of an upload are renewed with")
class RenewImagingUploadInput(WriteInput):
    """An upload that has not been completed."""

    id: strawberry.ID = given("Global id of the upload", phi=None)


@write_input("What an upload is completed with, once all of it is sent")
class CompleteImagingUploadInput(UpdateInput):
    """An upload of which all has been sent."""


@write_input("What a restore is asked for with")
class RequestImagingRestoreInput(WriteInput):
    """A study of which objects are archived."""

    study_id: strawberry.ID = given("Global id of the study", phi=None)


@strawberry.type(description="A part of an object that is to be sent with PUT")
class ImagingUploadPart:
    """Served from resolvers.writes.imaging_study.Part."""

    number: int = field("Number of the part, from 1", phi=None)
    first_byte: float = field("Place of the part's first byte in the object, from 0", phi=None)
    size_bytes: float = field("Size of the part in bytes; its Content-Length must say just this", phi=None)
    content_type: str | None = field("Content-Type that must be sent with it; null where none must", phi=None)
    url: str | None = field("URL that takes this part, for 300 seconds", phi=Phi.URL)


@strawberry.type(description="What beginning or renewing an upload came to")
class ImagingUploadUrlsPayload(Payload):
    """Served from Written."""

    upload: ImagingUpload | None = field("Upload as it is now", phi=None, batch=resolvers.imaging_study.written_upload)
    parts: list[ImagingUploadPart] | None = field(
        "What is to be sent: the whole object up to 64 MiB, else parts of 64 MiB; null once the upload has ended",
        phi=Phi.URL,
        batch=resolvers.writes.imaging_study.parts,
        weight=80,
    )


@strawberry.type(description="What completing an upload came to")
class ImagingUploadPayload(Payload):
    """Served from Written."""

    upload: ImagingUpload | None = field(
        "Upload as it is now: completed, quarantined with a reason, or still completing where it is large",
        phi=None,
        batch=resolvers.imaging_study.written_upload,
    )


@strawberry.type(description="What a request about a study came to")
class ImagingStudyPayload(Payload):
    """Served from Written."""

    study: ImagingStudy | None = field("Study as it is now", phi=None, batch=resolvers.imaging_study.written)


@strawberry.type
class ImagingStudyMutations:
    """Roots of mutations of imaging."""

    begin_imaging_upload: ImagingUploadUrlsPayload | None = mutation(
        "Begins the upload of a DICOM object into a patient's chart: its bytes go to URLs of the archive",
        BeginImagingUploadInput,
        resolvers.writes.imaging_study.begin,
    )
    renew_imaging_upload: ImagingUploadUrlsPayload | None = mutation(
        "Makes the URLs of an upload anew, with a key of its own",
        RenewImagingUploadInput,
        resolvers.writes.imaging_study.renew,
    )
    complete_imaging_upload: ImagingUploadPayload | None = mutation(
        "Completes an upload: the object is read and becomes part of its study, or goes into quarantine with a reason",
        CompleteImagingUploadInput,
        resolvers.writes.imaging_study.complete,
    )
    request_imaging_restore: ImagingStudyPayload | None = mutation(
        "Asks for a study's archived objects back from cold storage; see restoreState of the study and its instances",
        RequestImagingRestoreInput,
        resolvers.writes.imaging_study.restore,
    )
