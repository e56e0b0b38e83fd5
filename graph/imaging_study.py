"""ImagingStudy, its series and its instances (FHIR R4 ImagingStudy)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

from db.policy import Phi
from graph.datatype import CodeableConcept, Coding, FhirDateTime
from graph.field import PAGE, PERIOD, STATUS, arg, field
from graph.node import Node, node_id, row_version, served_from
from loaders.element import Element, GlobalId
from loaders.imaging_study import ImagingInstanceRow, ImagingSeriesRow, ImagingStudyRow
from resolvers import encounter, imaging_study, patient

if TYPE_CHECKING:
    from graph.encounter import Encounter
    from graph.patient import Patient

IMAGING = (
    *PAGE,
    *PERIOD,
    arg("modality", list[str] | None, "DICOM modalities (CT, MR, …) of which one must match", phi=Phi.CLINICAL),
    STATUS,
)
"""Arguments of every list of studies."""
IMAGING_SEARCH = (arg("patient", str | None, "Global id of the patient whose studies are wanted", phi=None), *IMAGING)
"""Arguments of the root imagingStudies."""
PARTS = (arg("first", int, "Number of entries at most, from 1 to 1000", phi=None, default=100),)
EXPIRES = (arg("expires_in", int, "Seconds for which the URL is good, from 1 to 300", phi=None, default=60),)


@strawberry.type(description="One DICOM object of a series, kept in the archive")
@served_from(ImagingInstanceRow)
class ImagingInstance(Node):
    """Served from ImagingInstanceRow."""

    id: strawberry.ID = node_id("ImagingInstance")
    uid: str | None = field("DICOM SOP instance UID", phi=Phi.OTHER_IDENTIFIER, value=Element("instance_uid"))
    sop_class: str | None = field("DICOM SOP class UID of the instance", phi=Phi.CLINICAL)
    number: int | None = field("Number of the instance in its series", phi=None)
    title: str | None = field("Title of the instance", phi=Phi.FREE_TEXT)
    size_bytes: float | None = field("Size of the stored object in bytes", phi=None)
    storage_class: str | None = field(
        "Storage tier of the object (STANDARD, STANDARD_IA, GLACIER, …); null when no object is stored", phi=None
    )
    restore_state: str | None = field("State of the restore that was asked for: in-progress or completed", phi=None)
    needs_restore: bool | None = field("Whether the object must be restored before it can be read", phi=None)
    presigned_url: str | None = field(
        "Short-lived URL that reads the object; null when none is stored or a restore is needed",
        phi=Phi.URL,
        batch=imaging_study.presigned_urls,
        args=EXPIRES,
        weight=10,
    )


@strawberry.type(description="A series of one modality within an imaging study")
@served_from(ImagingSeriesRow)
class ImagingSeries(Node):
    """Served from ImagingSeriesRow."""

    id: strawberry.ID = node_id("ImagingSeries")
    uid: str | None = field("DICOM series instance UID", phi=Phi.OTHER_IDENTIFIER, value=Element("series_uid"))
    number: int | None = field("Number of the series in its study", phi=None)
    modality: str | None = field("DICOM modality of the series", phi=Phi.CLINICAL)
    body_site: Coding | None = field("Body part that the series shows", phi=Phi.CLINICAL)
    description: str | None = field("Description of the series", phi=Phi.FREE_TEXT)
    started: FhirDateTime | None = field("Start of the series", phi=Phi.DATE)
    number_of_instances: int | None = field("Number of instances that the series has in all", phi=None)
    instances: list[ImagingInstance] | None = field(
        "Instances of the series, by number", phi=None, batch=imaging_study.instances, args=PARTS, size=50
    )


@strawberry.type(description="A set of images of a patient, made for one purpose (FHIR R4 ImagingStudy)")
@served_from(ImagingStudyRow)
class ImagingStudy(Node):
    """Served from ImagingStudyRow."""

    id: strawberry.ID = node_id("ImagingStudy")
    uid: str | None = field("DICOM study instance UID", phi=Phi.OTHER_IDENTIFIER, value=Element("study_uid"))
    accession_number: str | None = field("Accession number of the study", phi=Phi.OTHER_IDENTIFIER)
    status: str | None = field("Status of the study: registered, available, cancelled, …", phi=None)
    started: FhirDateTime | None = field("Start of the study", phi=Phi.DATE)
    modality: list[str] | None = field("DICOM modalities of the series of the study", phi=Phi.CLINICAL)
    description: str | None = field("Description of the study", phi=Phi.FREE_TEXT)
    procedure_code: list[CodeableConcept] | None = field(
        "Procedures that the study performed", phi=Phi.CLINICAL, value=Element("procedure")
    )
    body_site: list[Coding] | None = field("Body parts that the series of the study show", phi=Phi.CLINICAL)
    number_of_series: int | None = field("Number of series that the study has in all", phi=None)
    number_of_instances: int | None = field("Number of instances that the study has in all", phi=None)
    patient: Annotated[Patient, strawberry.lazy("graph.patient")] | None = field(
        "Patient of the study", phi=None, batch=patient.of_facts
    )
    encounter: Annotated[Encounter, strawberry.lazy("graph.encounter")] | None = field(
        "Encounter that the study was made in", phi=None, batch=encounter.of_facts
    )
    restore_state: str | None = field(
        "State of the restore of the study's archived objects: in-progress, or completed once all can be read",
        phi=None,
        batch=imaging_study.restore_states,
    )
    series: list[ImagingSeries] | None = field(
        "Series of the study, by number", phi=None, batch=imaging_study.series, args=PARTS, size=5
    )


@strawberry.type(description="A DICOM object on its way into the archive")
class ImagingUpload:
    """Served from ImagingUploadRow."""

    id: strawberry.ID = field("Global id of the upload", phi=None, value=GlobalId("ImagingUpload"))
    version: int = row_version()
    state: str = field(
        "State of the upload: begun, completing (all is sent and is being read), completed, quarantined or expired",
        phi=None,
    )
    reason: str | None = field(
        "Why the object is in quarantine: NOT_DICOM (or a deflated one), PATIENT_MISMATCH, UID_MISSING, UID_TAKEN (by "
        "another patient's study, another parent or another content), SIZE_MISMATCH or DIGEST_MISMATCH",
        phi=None,
    )
    size_bytes: float = field("Size of the object in bytes, as it was announced", phi=None)
    expires_at: FhirDateTime = field(
        "Until when the upload can be completed",
        phi=None,
        value=lambda row: row.expires_at.isoformat(timespec="seconds"),
    )
    study: ImagingStudy | None = field("Study that the object became part of", phi=None, batch=imaging_study.of_uploads)
