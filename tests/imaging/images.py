"""Rows of images for the tests, callers to ask for them, and keys that no caller may reach."""

from __future__ import annotations

import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.error import HTTPError
from uuid import UUID, uuid4

from db.caller import Caller, Profile
from db.object_keys import instance_key
from db.postgres import Postgres
from tests.callers import caller_of

INSERT = """/* insert_images */
WITH study AS (
    INSERT INTO imaging.imaging_study (id, facility_id, patient_id, encounter_id, status, started, modality, sort_time)
    VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, 'available', to_char($5::timestamptz, 'YYYY-MM-DD'),
        ARRAY[$6::text], $5::timestamptz)
), series AS (
    INSERT INTO imaging.imaging_series (id, facility_id, imaging_study_id, number, modality)
    VALUES ($7::uuid, $2::uuid, $1::uuid, 1, $6::text)
)
INSERT INTO imaging.imaging_instance (id, facility_id, imaging_series_id, number, s3_key, storage_class, stored_at)
VALUES ($8::uuid, $2::uuid, $7::uuid, 1, $9::text, $10::text, $5::timestamptz)"""


@dataclass(frozen=True, slots=True)
class Images:
    """One study with one series of one instance, as written to the database."""

    facility_id: UUID
    patient_id: UUID
    encounter_id: UUID
    study_id: UUID
    series_id: UUID
    instance_id: UUID

    @property
    def key(self) -> str:
        """Key of the instance's object."""
        return instance_key(self.facility_id, self.study_id, self.series_id, self.instance_id)


def caller(facility_id: UUID, profile: Profile = Profile.CLINICIAN) -> Caller:
    """A caller of this facility."""
    return caller_of(profile, facility_id, "dr-test")


async def add_images(
    imaging: Postgres, facility_id: UUID, *, days_old: int = 1, modality: str = "CT", tier: str = "STANDARD"
) -> Images:
    """Writes a study of this age; its object is the caller's to store."""
    images = Images(facility_id, *(uuid4() for _ in range(5)))
    stored = datetime.now(UTC) - timedelta(days=days_old)
    await imaging.worker_fetch(
        INSERT,
        images.study_id,
        facility_id,
        images.patient_id,
        images.encounter_id,
        stored,
        modality,
        images.series_id,
        images.instance_id,
        images.key,
        tier,
    )
    return images


def get(url: str, **headers: str) -> tuple[int, bytes]:
    """Status and body of a GET."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, b""


def keys_outside(facility_id: UUID) -> Sequence[str]:
    """Keys that a caller of this facility must not reach, each a different trick."""
    own = f"imaging/{facility_id}"
    other = "imaging/00000000-0000-4000-8000-000000000000/study/series/instance.dcm"
    return [
        other,
        f"{own}/../{other.removeprefix('imaging/')}",
        f"{own}/%2e%2e/x.dcm",
        f"{own}//x.dcm",
        f"{own}/./x.dcm",
        f"{own}/x/..",
        f"{own}\\x.dcm",
        f"{own}/x.dcm\n",
        f"{own}/x.dcm?versionId=1",
        f"{own}-x/y.dcm",
        f"/{own}/x.dcm",
        f"{own.upper()}/X.dcm",
        own,
        f"{own}/",
        "",
    ]
