"""What the header of a DICOM file says of the instance in it (DICOM PS3.3, PS3.10).

The file is a stranger's: whatever pydicom makes of it, the answer is a header or none. pydicom is imported when the
first file is read, so that the API starts without it.
"""

from __future__ import annotations

import asyncio
import io
import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

DEFLATED = "1.2.840.10008.1.2.1.99"
"""Transfer syntax whose data set is compressed as a whole: a small file may inflate to gigabytes, so it is not read."""
LAST_GROUP = 0x0020
"""Group of the last elements that are read: those of the pixels come far behind it."""
TEXT_MAX = 64
"""Characters of a text of one line (VR LO)."""
NUMBER_MAX = 2**31 - 1
FIRST_TIME = datetime(1, 1, 1, tzinfo=UTC)

_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*", re.ASCII)
_MODALITY = re.compile(r"[A-Z0-9]{2,16}", re.ASCII)
_DATE = re.compile(r"\d{8}", re.ASCII)
_TIME = re.compile(r"(\d{6})(\.\d{1,6})?", re.ASCII)
_OFFSET = re.compile(r"([+-]\d\d)(\d\d)", re.ASCII)


class _Unreadable(Exception):
    """These bytes are no DICOM file that is read here."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says; None where it says nothing, or nothing well-formed."""

    study_uid: str | None
    series_uid: str | None
    instance_uid: str | None
    sop_class: str | None
    modality: str | None
    patient_id: str | None
    issuer: str | None
    """Issuer of the patient id (0010,0021)."""
    started: str | None
    """FHIR dateTime of the study: with a time of day only where the file has the offset from UTC that FHIR wants."""
    sort_time: datetime
    accession_number: str | None
    description: str | None
    series_number: int | None
    series_description: str | None
    number: int | None


async def header_of(raw: bytes) -> Header | None:
    """Header of a file of which these are the first bytes; None where it is not a DICOM file, or a deflated one."""
    try:
        return await asyncio.to_thread(_header, raw)
    except _Unreadable:
        return None


def _header(raw: bytes) -> Header:
    file = _read(raw)
    date, started = _started(file)
    return Header(
        study_uid=_uid(file, "StudyInstanceUID"),
        series_uid=_uid(file, "SeriesInstanceUID"),
        instance_uid=_uid(file, "SOPInstanceUID"),
        sop_class=_uid(file, "SOPClassUID"),
        modality=_matching(_MODALITY, _text(file, "Modality")),
        patient_id=_text(file, "PatientID"),
        issuer=_text(file, "IssuerOfPatientID"),
        started=started,
        sort_time=date or FIRST_TIME,
        accession_number=_line(file, "AccessionNumber"),
        description=_line(file, "StudyDescription"),
        series_number=_number(file, "SeriesNumber"),
        series_description=_line(file, "SeriesDescription"),
        number=_number(file, "InstanceNumber"),
    )


def _read(raw: bytes) -> Any:
    """The data set up to LAST_GROUP. Raises _Unreadable."""
    from pydicom import config
    from pydicom.filereader import read_dataset, read_partial, read_preamble

    # What is wrong with a value, pydicom would say with the value.
    config.settings.reading_validation_mode = config.IGNORE
    warnings.filterwarnings("ignore", module="pydicom")
    buffer = io.BytesIO(raw)
    try:
        read_preamble(buffer, force=False)
        meta = read_dataset(buffer, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        if meta.get("TransferSyntaxUID") == DEFLATED:
            raise _Unreadable
        buffer.seek(0)
        return read_partial(buffer, stop_when=lambda tag, vr, length: tag.group > LAST_GROUP)
    except Exception:
        raise _Unreadable from None


def _value(file: Any, keyword: str) -> Any:
    """A value of the data set; None where there is none that can be read."""
    try:
        return file.get(keyword)
    except Exception:  # decoded when it is asked for
        raise _Unreadable from None


def _text(file: Any, keyword: str) -> str | None:
    return str(_value(file, keyword) or "").replace("\x00", "").strip() or None


def _line(file: Any, keyword: str) -> str | None:
    return (_text(file, keyword) or "")[:TEXT_MAX] or None


def _matching(pattern: re.Pattern[str], text: str | None) -> str | None:
    return text if text and pattern.fullmatch(text) else None


def _uid(file: Any, keyword: str) -> str | None:
    return _matching(_UID, _text(file, keyword))


def _number(file: Any, keyword: str) -> int | None:
    text = _text(file, keyword) or ""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(NUMBER_MAX)) else None
    return number if number is not None and number <= NUMBER_MAX else None


def _started(file: Any) -> tuple[datetime | None, str | None]:
    """Instant and FHIR dateTime of the study's date, time and offset."""
    day = _matching(_DATE, _text(file, "StudyDate"))
    time = _TIME.fullmatch(_text(file, "StudyTime") or "")
    offset = _OFFSET.fullmatch(_text(file, "TimezoneOffsetFromUTC") or "")
    try:
        date = datetime.strptime(day or "", "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None, None
    if not (time and offset):
        return date, date.date().isoformat()
    try:
        instant = datetime.strptime(f"{day}{time[1]}{offset[0]}", "%Y%m%d%H%M%S%z")
    except ValueError:
        return date, date.date().isoformat()
    return instant, instant.isoformat()
