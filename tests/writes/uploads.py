"""A hospital of its own for tests of uploads: two facilities, their patients, an archive, and files to send."""

from __future__ import annotations

import importlib
import io
import urllib.request
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.error import HTTPError
from uuid import UUID, uuid4

from db.archive import Archive
from db.postgres import Postgres
from db.settings import Settings
from db.stores import FacilityName, Stores
from tests.apart import apart
from tests.asking import Answer, Graph

pydicom: Any = importlib.import_module("pydicom")

PATIENT = """/* insert_patient */
WITH facility AS (
    INSERT INTO clinical.facility (id, code, name) VALUES ($1::uuid, $3::text, 'Test') ON CONFLICT DO NOTHING
), patient AS (
    INSERT INTO clinical.patient (id, gender) VALUES ($2::uuid, 'other')
)
INSERT INTO clinical.registration (facility_id, patient_id, mrn) VALUES ($1::uuid, $2::uuid, $4::text)"""

UPLOAD = "upload { id version state reason sizeBytes study { id } }"
BEGIN = f"""
mutation ($input: BeginImagingUploadInput!) {{
  beginImagingUpload(input: $input) {{
    {UPLOAD} parts {{ number firstByte sizeBytes contentType url }} userErrors {{ code field message version }}
  }}
}}"""
RENEW = BEGIN.replace("BeginImagingUpload", "RenewImagingUpload").replace("beginImagingUpload", "renewImagingUpload")
COMPLETE = f"""
mutation ($input: CompleteImagingUploadInput!) {{
  completeImagingUpload(input: $input) {{ {UPLOAD} userErrors {{ code field message version }} }}
}}"""
STUDY = """
query ($id: ID!) {
  node(id: $id) { ... on ImagingStudy {
    uid status started modality numberOfSeries numberOfInstances restoreState patient { id }
    series { uid modality numberOfInstances instances { uid number sizeBytes storageClass presignedUrl } }
  } }
}"""
ASK = f"query ($id: ID!) {{ upload: imagingUpload(id: $id) {{ {UPLOAD.removeprefix('upload {')} }}"


@dataclass(frozen=True, slots=True)
class Person:
    """A patient of one of the facilities, by place, with the number by which files must name them."""

    id: UUID
    facility: int
    mrn: str

    @property
    def global_id(self) -> str:
        """Id in the graph."""
        return f"Patient/{self.id}"


@dataclass(frozen=True, slots=True)
class Hospital:
    """The graph over stores of these tests alone."""

    graph: Graph
    settings: Settings
    archive: Archive
    imaging: Postgres
    clinical: Postgres

    async def person(self, facility: int = 0) -> Person:
        """A new patient."""
        at, id = self.graph.facilities[facility], uuid4()
        person = Person(id, facility, f"M-{id.hex[:10]}")
        await self.clinical.worker_fetch(PATIENT, at.id, id, at.code, person.mrn)
        return person

    async def begun(self, person: Person, size: int, **more: Any) -> dict[str, Any]:
        """The payload of an upload that a physician has begun."""
        asked = {"idempotencyKey": str(uuid4()), "patientId": person.global_id, "sizeBytes": size, **more}
        answer = await self.graph.ask(BEGIN, facility=person.facility, input=asked)
        return payload(answer, "beginImagingUpload")

    async def arrived(self, person: Person, content: bytes, **more: Any) -> dict[str, Any]:
        """An upload whose bytes have been sent, to be completed."""
        begun = await self.begun(person, len(content), **more)
        for part in begun["parts"]:
            assert put(part["url"], part_of(part, content), part["contentType"]) == 200
        return begun["upload"]

    async def complete(self, upload: Mapping[str, Any], facility: int = 0, **more: Any) -> Answer:
        """The answer to an upload's completion."""
        asked = {"idempotencyKey": str(uuid4()), "id": upload["id"], "version": upload["version"], **more}
        return await self.graph.ask(COMPLETE, facility=facility, input=asked)

    async def uploaded(self, person: Person, content: bytes, **more: Any) -> dict[str, Any]:
        """An upload that has been sent and completed, as it is then."""
        answer = await self.complete(await self.arrived(person, content, **more), person.facility)
        return payload(answer, "completeImagingUpload")["upload"]

    async def asked(self, id: str, facility: int = 0) -> dict[str, Any] | None:
        """The upload of an id as a physician reads it."""
        answer = await self.graph.ask(ASK, facility=facility, id=id)
        assert not answer.errors
        return answer.data["upload"]

    async def keys(self, facility: int = 0) -> list[str]:
        """Keys of all objects of a facility, without their prefix."""
        prefix = f"imaging/{self.graph.facilities[facility].id}/"
        page, more = await self.archive.worker_list("")
        assert not more
        return [one.key.removeprefix(prefix) for one in page if one.key.startswith(prefix)]


@asynccontextmanager
async def hospital(configured: Settings, archive_url: str | None = None) -> AsyncGenerator[Hospital]:
    """A hospital on databases of its own; `archive_url` for another archive than the embedded one."""
    own = await apart(configured, f"uploads{uuid4().hex[:8]}")
    if archive_url:
        own = replace(own, archive_url=archive_url)
    stores = Stores(own)
    await stores.archive.worker_ensure_bucket()
    places = [FacilityName(uuid4(), f"U{number}", "Test") for number in range(2)]
    try:
        yield Hospital(Graph(own, stores, places), own, stores.archive, stores.imaging, stores.clinical)
    finally:
        await stores.close()


def payload(answer: Answer, name: str) -> dict[str, Any]:
    """The payload of a write that was made."""
    assert not answer.errors
    assert answer.data[name]["userErrors"] == []
    return answer.data[name]


def refusal(answer: Answer, name: str) -> dict[str, Any]:
    """The one user error of a write that was not made."""
    assert not answer.errors
    [error] = answer.data[name]["userErrors"]
    return error


def part_of(part: Mapping[str, Any], content: bytes) -> bytes:
    """The bytes of a part."""
    first = int(part["firstByte"])
    return content[first : first + int(part["sizeBytes"])]


def put(url: str, content: bytes, content_type: str | None = None, **headers: str) -> int:
    """Status of a PUT."""
    request = urllib.request.Request(url, content, method="PUT")
    request.add_header("Content-Type", content_type or "")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except HTTPError as error:
        with error:
            return error.code


def uids(count: int = 3) -> Sequence[str]:
    """New DICOM UIDs."""
    return [f"2.25.{uuid4().int}" for _ in range(count)]


def dicom(
    person: Person,
    source: str = "CT_small.dcm",
    uids_: Sequence[str] | None = None,
    transfer_syntax: str | None = None,
    **elements: Any,
) -> bytes:
    """A real file with the patient's number in it; an element that is None is taken out."""
    file = pydicom.dcmread(pydicom.data.get_testdata_file(source, download=False))
    study, series, instance = uids_ or uids()
    file.PatientID = person.mrn
    file.StudyInstanceUID, file.SeriesInstanceUID, file.SOPInstanceUID = study, series, instance
    file.file_meta.MediaStorageSOPInstanceUID = instance
    if transfer_syntax:
        file.file_meta.TransferSyntaxUID = transfer_syntax
    for name, value in elements.items():
        if value is None:
            delattr(file, name)
        else:
            setattr(file, name, value)
    buffer = io.BytesIO()
    file.save_as(buffer)
    return buffer.getvalue()


async def study_of(hospital: Hospital, upload: dict[str, Any]) -> dict[str, Any]:
    """The study that an upload became part of, as a physician reads it."""
    assert upload["study"] is not None, upload["reason"]
    answer = await hospital.graph.ask(STUDY, id=upload["study"]["id"])
    assert not answer.errors
    return answer.data["node"]
