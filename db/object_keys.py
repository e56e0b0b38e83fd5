"""Keys of the archive's objects: each under its facility, made of row ids, because a UID would identify a patient.

`imaging/{facility}/{study}/{series}/{instance}.dcm` once an instance is kept; on its way there an object is at
`…/incoming/{upload}.dcm`, where its client's URL writes, and then at `…/quarantine/{upload}.dcm`.
"""

from __future__ import annotations

import re
from uuid import UUID

PREFIX = "imaging/"

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# One path for one object: no empty, `.` or `..` segment, no escape, no character that a server might rewrite.
_KEY = re.compile(rf"{PREFIX}({_UUID})((?:/[0-9A-Za-z][0-9A-Za-z._-]*)+)", re.ASCII)
_OF_UPLOAD = re.compile(rf"/(?:incoming|quarantine)/({_UUID})\.dcm", re.ASCII)


def facility_of(key: str) -> UUID | None:
    """Facility that a key is of; None where it is no key of ours."""
    match = _KEY.fullmatch(key)
    return UUID(match[1]) if match else None


def is_key_of(facility_id: UUID, key: str) -> bool:
    """Whether a key names an object of this facility, by one plain path."""
    return facility_of(key) == facility_id


def instance_key(facility_id: UUID, study_id: UUID, series_id: UUID, instance_id: UUID) -> str:
    """Key of an instance, of row ids: a UID would identify the patient in every log that a URL passes."""
    return f"{PREFIX}{facility_id}/{study_id}/{series_id}/{instance_id}.dcm"


def incoming_key(facility_id: UUID, upload_id: UUID) -> str:
    """Key that a client's URL writes to, and nothing else does."""
    return f"{PREFIX}{facility_id}/incoming/{upload_id}.dcm"


def quarantine_key(facility_id: UUID, upload_id: UUID) -> str:
    """Key of an upload's object that nobody is shown: while it is read, and after that where it was refused."""
    return f"{PREFIX}{facility_id}/quarantine/{upload_id}.dcm"


def orphan_key(key: str) -> str:
    """Key in quarantine of an object that no row names; it says where that was. Raises ValueError for another key."""
    match = _KEY.fullmatch(key)
    if not match:
        raise ValueError("This is no key of a facility's object.")
    return f"{PREFIX}{match[1]}/quarantine/orphans{match[2]}"


def upload_of(key: str) -> UUID | None:
    """Upload that an object on its way is of; None for any other object."""
    match = _KEY.fullmatch(key)
    of_upload = match and _OF_UPLOAD.fullmatch(match[2])
    return UUID(of_upload[1]) if of_upload else None


def is_quarantined(key: str) -> bool:
    """Whether an object is in quarantine."""
    match = _KEY.fullmatch(key)
    return match is not None and match[2].startswith("/quarantine/")
