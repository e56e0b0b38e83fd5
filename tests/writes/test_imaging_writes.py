"""Uploads of DICOM objects and restores: what becomes of them, what is refused, and what a URL may do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from db.caller import Profile
from db.errors import Forbidden
from db.holdings import Holdings
from db.object_keys import incoming_key, quarantine_key
from db.seen import Seen
from db.settings import Settings
from tests.callers import caller_of
from tests.imaging.images import get
from tests.writes.uploads import (
    BEGIN,
    COMPLETE,
    RENEW,
    Hospital,
    Person,
    dicom,
    hospital,
    payload,
    put,
    refusal,
    study_of,
    uids,
)

RECORDED = (
    "SELECT actor, table_name, operation FROM audit.change WHERE after ->> 'patient_id' = $1 ORDER BY occurred_at"
)
FED = "SELECT table_name, operation FROM feed.event WHERE patient_id = $1 ORDER BY seq"
AGE_UPLOAD = "/* age_upload */ UPDATE imaging.imaging_upload SET expires_at = now() WHERE id = $1::uuid"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(configured: Settings) -> AsyncIterator[Hospital]:
    """A hospital whose archive is the embedded one."""
    async with hospital(configured) as made:
        yield made


async def test_an_upload_becomes_part_of_its_study(here: Hospital) -> None:
    person, (study_uid, series_uid, uid) = await here.person(), uids()
    content = dicom(person, uids_=(study_uid, series_uid, uid))
    upload = await here.uploaded(person, content)
    assert (upload["state"], upload["reason"], upload["sizeBytes"]) == ("completed", None, len(content))
    study = await study_of(here, upload)
    url = study["series"][0]["instances"][0].pop("presignedUrl")
    assert study == {
        "uid": study_uid,
        "status": "available",
        "started": "2004-01-19T07:27:30-05:00",
        "modality": ["CT"],
        "numberOfSeries": 1,
        "numberOfInstances": 1,
        "restoreState": None,
        "patient": {"id": person.global_id},
        "series": [
            {
                "uid": series_uid,
                "modality": "CT",
                "numberOfInstances": 1,
                "instances": [{"uid": uid, "number": 1, "sizeBytes": len(content), "storageClass": "STANDARD"}],
            }
        ],
    }
    assert get(url) == (200, content)
    id = upload["id"].removeprefix("ImagingUpload/")
    assert not [key for key in await here.keys() if id in key]


async def test_it_takes_these_statements_and_requests(here: Hospital) -> None:
    person = await here.person()
    content = dicom(person)
    asked = {"idempotencyKey": "k", "patientId": person.global_id, "sizeBytes": len(content)}
    begun = await here.graph.ask(BEGIN, input=asked)
    assert begun.statements == Counter(
        {
            ("clinical", "patients_of_caller"): 1,
            ("clinical", "patient_by_id"): 1,
            ("clinical", "facility_by_id"): 1,
            ("imaging", "claim_idempotency_key"): 1,
            ("imaging", "begin_imaging_upload"): 1,
            ("imaging", "keep_outcome"): 1,
            ("imaging", "imaging_upload_by_id"): 1,
        }
    )
    one = payload(begun, "beginImagingUpload")
    assert put(one["parts"][0]["url"], content, one["parts"][0]["contentType"]) == 200
    completed = await here.complete(one["upload"])
    assert {name: count for (store, name), count in completed.statements.items() if store == "archive"} == {
        "head_object": 4,
        "copy_object": 2,
        "read_range": 1,
        "delete_object": 2,
    }
    assert {name for store, name in completed.statements if store == "imaging"} == {
        *("claim_idempotency_key", "imaging_upload_for_update", "mark_upload_completing", "keep_outcome"),
        *("lease_imaging_upload", "place_of_instance", "keep_imaging_upload", "imaging_upload_by_id"),
        "imaging_study_by_id",
    }
    assert max(count for (store, _), count in completed.statements.items() if store == "imaging") == 1


async def test_instances_extend_their_series_and_study(here: Hospital) -> None:
    person, (study_uid, series_uid, *instances) = await here.person(), uids(4)
    other_series, third = uids(2)
    first = await here.uploaded(person, dicom(person, uids_=(study_uid, series_uid, instances[0])))
    second = await here.uploaded(person, dicom(person, uids_=(study_uid, series_uid, instances[1])))
    mr = await here.uploaded(person, dicom(person, "MR_small.dcm", (study_uid, other_series, third)))
    assert first["study"] == second["study"] == mr["study"]
    study = await study_of(here, mr)
    assert (study["numberOfSeries"], study["numberOfInstances"], study["modality"]) == (2, 3, ["CT", "MR"])
    assert {one["uid"]: one["numberOfInstances"] for one in study["series"]} == {series_uid: 2, other_series: 1}


async def test_many_at_once_make_one_study(here: Hospital) -> None:
    person, (study_uid, series_uid, *instances) = await here.person(), uids(8)
    files = [dicom(person, uids_=(study_uid, series_uid, one)) for one in instances]
    made = await asyncio.gather(*(here.uploaded(person, file) for file in files))
    assert [one["state"] for one in made] == ["completed"] * 6
    study = await study_of(here, made[0])
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (1, 6)


async def test_the_same_instance_again_is_the_same_and_another_content_is_not(here: Hospital) -> None:
    person, chosen = await here.person(), uids()
    content = dicom(person, uids_=chosen)
    first, again = await here.uploaded(person, content), await here.uploaded(person, content)
    assert again["study"] == first["study"]
    other = await here.uploaded(person, dicom(person, uids_=chosen, PatientName="Other^Pixels"))
    assert (other["state"], other["reason"]) == ("quarantined", "UID_TAKEN")
    study = await study_of(here, first)
    assert study["numberOfInstances"] == 1
    assert get(study["series"][0]["instances"][0]["presignedUrl"]) == (200, content)


FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "another patient's number": ("PATIENT_MISMATCH", {"PatientID": "M-nobody"}),
    "no patient": ("PATIENT_MISMATCH", {"PatientID": None}),
    "a part of the number": ("PATIENT_MISMATCH", {"PatientID": "M-"}),
    "another issuer": ("PATIENT_MISMATCH", {"IssuerOfPatientID": "ELSEWHERE"}),
    "no study": ("UID_MISSING", {"StudyInstanceUID": None}),
    "no series": ("UID_MISSING", {"SeriesInstanceUID": None}),
    "a study that is no UID": ("UID_MISSING", {"StudyInstanceUID": "1." + "2" * 70}),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_a_file_says_wrong_keeps_it_in_quarantine(here: Hospital, fault: str) -> None:
    person, (reason, elements) = await here.person(), FAULTS[fault]
    await is_quarantined(here, dicom(person, **elements), person, reason)


async def test_the_facility_as_issuer_is_right(here: Hospital) -> None:
    person = await here.person()
    assert (await here.uploaded(person, dicom(person, IssuerOfPatientID="U0")))["state"] == "completed"


async def test_what_is_no_dicom_file_stays_in_quarantine(here: Hospital) -> None:
    person = await here.person()
    await is_quarantined(here, b"%PDF-1.7 " + bytes(300), person, "NOT_DICOM")
    deflated = dicom(person, transfer_syntax="1.2.840.10008.1.2.1.99")
    await is_quarantined(here, deflated, person, "NOT_DICOM")


async def test_a_digest_is_compared(here: Hospital) -> None:
    person = await here.person()
    await is_quarantined(here, dicom(person), person, "DIGEST_MISMATCH", sha256="0" * 64)


async def test_a_size_that_the_server_let_pass_is_compared(here: Hospital) -> None:
    person, content = await here.person(), b"x" * 200
    begun = await here.begun(person, 100)
    id = begun["upload"]["id"].removeprefix("ImagingUpload/")
    facility_id = here.graph.facilities[0].id
    await here.archive.worker_put(incoming_key(facility_id, id), content)
    answer = await here.complete(begun["upload"])
    assert payload(answer, "completeImagingUpload")["upload"]["reason"] == "SIZE_MISMATCH"


@pytest.mark.parametrize("same", ["study", "series", "instance"])
async def test_a_uid_of_another_patients_study_is_taken(here: Hospital, same: str) -> None:
    theirs, ours, taken = await here.person(), await here.person(), uids()
    await here.uploaded(theirs, dicom(theirs, uids_=taken))
    place = ("study", "series", "instance").index(same)
    chosen = [uid if n != place else taken[n] for n, uid in enumerate(uids())]
    await is_quarantined(here, dicom(ours, uids_=chosen), ours, "UID_TAKEN")


async def is_quarantined(here: Hospital, content: bytes, person: Person, reason: str, **more: Any) -> None:
    """Uploads a file, which must go into quarantine and nowhere else."""
    upload = await here.uploaded(person, content, **more)
    assert (upload["state"], upload["reason"], upload["study"]) == ("quarantined", reason, None)
    assert await here.asked(upload["id"]) == upload
    id = upload["id"].removeprefix("ImagingUpload/")
    assert [key for key in await here.keys() if id in key] == [f"quarantine/{id}.dcm"]
    found = await here.archive.read(quarantine_key(here.graph.facilities[0].id, id), 0, len(content))
    assert found == content
    mine = f'{{ imagingStudies(patient: "{person.global_id}") {{ nodes {{ id }} }} }}'
    assert (await here.graph.ask(mine)).data["imagingStudies"]["nodes"] == []


async def test_a_url_writes_one_object_of_one_size_and_nothing_else(here: Hospital) -> None:
    person = await here.person()
    content = dicom(person)
    begun, other = await here.begun(person, len(content)), await here.begun(person, len(content))
    [part] = begun["parts"]
    url, type = str(part["url"]), part["contentType"]
    elsewhere = urlunsplit(urlsplit(url)._replace(path=urlsplit(str(other["parts"][0]["url"])).path))
    assert put(elsewhere, content, type) == 403
    assert put(url, content + b"x", type) == 403
    assert put(url, content, "text/html") == 403
    assert put(url.replace("X-Amz-Expires=300", "X-Amz-Expires=3000"), content, type) == 403
    assert get(url)[0] == 403
    bucket = urlsplit(here.settings.archive_url).path.strip("/")
    stolen = f"/{bucket}/imaging/{here.graph.facilities[1].id}/x.dcm"
    signed = "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host;x-amz-copy-source, Signature=x"
    assert put(url, content, type, x_amz_copy_source=stolen) == 501
    assert put(url, content, type, x_amz_copy_source=stolen, Authorization=signed) == 501
    assert put(url, content, type) == 200


async def test_an_expired_url_is_refused(here: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    person = await here.person()
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime.now(UTC) - timedelta(seconds=301))
    [part] = (await here.begun(person, 5))["parts"]
    monkeypatch.undo()
    assert put(part["url"], b"12345", part["contentType"]) == 403


async def test_urls_are_renewed_until_the_upload_ends(here: Hospital) -> None:
    person = await here.person()
    upload = await here.arrived(person, dicom(person))
    asked = {"idempotencyKey": str(uuid4()), "id": upload["id"]}
    renewed = payload(await here.graph.ask(RENEW, input=asked), "renewImagingUpload")
    assert renewed["upload"] == upload
    assert len(renewed["parts"]) == 1
    await here.complete(upload)
    replayed = payload(await here.graph.ask(RENEW, input=asked), "renewImagingUpload")
    assert (replayed["upload"]["state"], replayed["parts"]) == ("completed", None)
    late = await here.graph.ask(RENEW, input={**asked, "idempotencyKey": str(uuid4())})
    assert refusal(late, "renewImagingUpload")["code"] == "NOT_ALLOWED_NOW"


async def test_a_key_gets_one_answer(here: Hospital) -> None:
    person = await here.person()
    content = dicom(person)
    asked = {"idempotencyKey": str(uuid4()), "patientId": person.global_id, "sizeBytes": len(content)}
    first = payload(await here.graph.ask(BEGIN, input=asked), "beginImagingUpload")
    again = payload(await here.graph.ask(BEGIN, input=asked), "beginImagingUpload")
    assert again["upload"] == first["upload"]
    other = await here.graph.ask(BEGIN, input={**asked, "sizeBytes": 7})
    assert refusal(other, "beginImagingUpload")["code"] == "IDEMPOTENCY_CONFLICT"
    put(first["parts"][0]["url"], content, first["parts"][0]["contentType"])
    key = str(uuid4())
    answers = await asyncio.gather(*(here.complete(first["upload"], idempotencyKey=key) for _ in range(4)))
    assert [payload(one, "completeImagingUpload")["upload"]["id"] for one in answers] == [first["upload"]["id"]] * 4
    last = await here.complete(first["upload"], idempotencyKey=key)
    assert payload(last, "completeImagingUpload")["upload"]["state"] == "completed"


async def test_what_can_not_be_completed(here: Hospital) -> None:
    person = await here.person()
    content = dicom(person)
    empty = await here.begun(person, len(content))
    assert refusal(await here.complete(empty["upload"]), "completeImagingUpload")["code"] == "NOT_ALLOWED_NOW"
    upload = await here.arrived(person, content)
    stale = refusal(await here.complete({**upload, "version": 7}), "completeImagingUpload")
    assert (stale["code"], stale["version"]) == ("CONFLICT", 1)
    await here.imaging.worker_fetch(AGE_UPLOAD, upload["id"].removeprefix("ImagingUpload/"))
    late = await here.asked(upload["id"])
    assert late is not None
    assert refusal(await here.complete(late), "completeImagingUpload")["code"] == "NOT_ALLOWED_NOW"


@pytest.mark.parametrize(
    ("field", "value"),
    [("sizeBytes", 0), ("sizeBytes", 1.5), ("sizeBytes", 5 * 1024**3 + 1), ("sha256", "A" * 64), ("sha256", "a")],
)
async def test_malformed_input_is_refused_by_name(here: Hospital, field: str, value: object) -> None:
    person = await here.person()
    asked = {"idempotencyKey": str(uuid4()), "patientId": person.global_id, "sizeBytes": 5, field: value}
    error = refusal(await here.graph.ask(BEGIN, input=asked), "beginImagingUpload")
    assert (error["code"], error["field"]) == ("INVALID", [field])


async def test_another_facilitys_patient_and_upload_do_not_exist(here: Hospital) -> None:
    person = await here.person()
    there = {"idempotencyKey": str(uuid4()), "patientId": person.global_id, "sizeBytes": 5}
    unknown = {**there, "idempotencyKey": str(uuid4()), "patientId": f"Patient/{uuid4()}"}
    answers = [await here.graph.ask(BEGIN, facility=1, input=asked) for asked in (there, unknown)]
    assert refusal(answers[0], "beginImagingUpload") == refusal(answers[1], "beginImagingUpload")
    upload = await here.arrived(person, dicom(person))
    nothing = {**upload, "id": f"ImagingUpload/{uuid4()}"}
    tried = [await here.complete(one, facility=1) for one in (upload, nothing)]
    assert [refusal(one, "completeImagingUpload")["code"] for one in tried] == ["NOT_FOUND"] * 2
    assert tried[0].data == tried[1].data
    assert await here.asked(upload["id"], facility=1) is None
    colleague = caller_of(Profile.CLINICIAN, here.graph.facilities[0].id, "a colleague")
    asked = {"idempotencyKey": str(uuid4()), "id": upload["id"], "version": 1}
    answer = await here.graph.ask_as(colleague, COMPLETE, input=asked)
    assert refusal(answer, "completeImagingUpload")["code"] == "NOT_FOUND"
    renewed = await here.graph.ask_as(colleague, RENEW, input={"idempotencyKey": "k2", "id": upload["id"]})
    assert refusal(renewed, "renewImagingUpload")["code"] == "NOT_FOUND"
    assert renewed.data["renewImagingUpload"]["parts"] is None


async def test_who_may_not_write_is_refused_before_anything_is_asked(here: Hospital) -> None:
    person = await here.person()
    asked = {"idempotencyKey": str(uuid4()), "patientId": person.global_id, "sizeBytes": 5}
    for profile in (Profile.NURSE, Profile.CDS, Profile.ANALYST, Profile.REGISTRAR, Profile.PRIVACY_OFFICER):
        answer = await here.graph.ask(BEGIN, profile, input=asked)
        assert answer.codes == [Forbidden().code]
        assert not answer.statements


async def test_an_encounter_must_be_the_patients(here: Hospital) -> None:
    person = await here.person()
    answer = await here.graph.ask(
        BEGIN,
        input={
            "idempotencyKey": str(uuid4()),
            "patientId": person.global_id,
            "encounterId": f"Encounter/{uuid4()}",
            "sizeBytes": 5,
        },
    )
    error = refusal(answer, "beginImagingUpload")
    assert (error["code"], error["field"]) == ("NOT_FOUND", ["encounterId"])


async def test_a_write_is_recorded_with_its_actor_and_fed(here: Hospital) -> None:
    person = await here.person()
    await here.uploaded(person, dicom(person))
    owner = await asyncpg.connect(here.settings.imaging_url)
    try:
        recorded = [tuple(row) for row in await owner.fetch(RECORDED, str(person.id))]
        fed = [tuple(row) for row in await owner.fetch(FED, person.id)]
    finally:
        await owner.close()
    written = [
        ("imaging_upload", "INSERT"),
        ("imaging_upload", "UPDATE"),  # completing
        ("imaging_upload", "UPDATE"),  # leased
        ("imaging_study", "INSERT"),
        ("imaging_study", "UPDATE"),  # counted
        ("imaging_upload", "UPDATE"),  # completed
    ]
    assert recorded == [("test-clinician", *one) for one in written]
    assert fed == written


async def test_urls_are_counted_for_the_audit(here: Hospital) -> None:
    seen, facility_id = Seen(), here.graph.facilities[0].id
    holdings = Holdings(here.archive, facility_id, seen=seen)
    key = incoming_key(facility_id, uuid4())
    await holdings.put_url(key, 1)
    await holdings.part_url(key, "upload", 1, 1)
    assert seen.new_urls() == 2
    with pytest.raises(Forbidden):
        await holdings.put_url(incoming_key(uuid4(), uuid4()), 1)
    with pytest.raises(Forbidden):
        await holdings.copy(incoming_key(uuid4(), uuid4()), key)
