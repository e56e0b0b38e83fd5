"""DICOM objects of a release: nothing of the original identifies in any byte, the pixels are as they were, and what may
show a text is refused. The files are those of pydicom's wheel."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pydicom.data
import pytest
from pydicom import Dataset, Sequence, dcmread
from pydicom.datadict import DicomDictionary, keyword_for_tag  # pyright: ignore[reportPrivateImportUsage]
from pydicom.encaps import encapsulate, generate_frames
from pydicom.multival import MultiValue
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID

from workers.research.dicom import TEXTS, Reason, Refused, Subject, Uids, deidentified

FILES = Path(pydicom.data.__file__).parent / "test_files"
SECRET = "Zebedee"
IDENTIFYING = frozenset(
    """PatientID AccessionNumber InstitutionName InstitutionAddress StationName DeviceSerialNumber StudyID
    InstitutionalDepartmentName PatientAddress PatientTelephoneNumbers OtherPatientIDs IssuerOfPatientID DetectorID
    RequestedProcedureID PerformedProcedureStepID SourceApplicationEntityTitle""".split()
)
LENGTH_MIN = 4
"""Characters of the shortest value that is looked for: shorter ones stand in any file by chance."""


def subject(shift_days: int | None = None, uids: Uids | None = None) -> Subject:
    return Subject(4611686018427387904, uids or Uids("seed"), shift_days)


def read(content: bytes) -> Any:
    return dcmread(io.BytesIO(content))


@cache
def source(name: str) -> bytes:
    return next(FILES.rglob(name)).read_bytes()


@cache
def given(name: str) -> bytes:
    """A file of the wheel that says that it shows no face."""
    return changed(name, lambda _: None)


def changed(name: str | Path, change: Callable[[Any], None]) -> bytes:
    """The same after a change of its data set."""
    file = read(source(name) if isinstance(name, str) else name.read_bytes())
    file.BodyPartExamined = "CHEST"
    change(file)
    buffer = io.BytesIO()
    file.save_as(buffer)
    return buffer.getvalue()


def set_to(**values: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        for keyword, value in values.items():
            setattr(file, keyword, value)

    return change


def refused(content: bytes) -> Reason | None:
    try:
        deidentified(content, subject())
    except Refused as refusal:
        return refusal.reason
    return None


def identifying(file: Any) -> Iterator[str]:
    """Values of names, days, UIDs and the like, private ones too, wherever in a data set."""
    for element in [*file.file_meta, *file.iterall()]:
        values = element.value if isinstance(element.value, MultiValue | list) else [element.value]
        for value in map(str, values):
            if element.VR == "UI" and UID(value).name == value:
                yield value
            elif element.VR in ("DA", "DT"):
                yield value[:8]
            elif element.VR == "PN" or element.keyword in IDENTIFYING:
                yield from (part for part in re.split(r"[\^=]", value) if part)
            elif element.tag.is_private and element.VR in ("LO", "SH", "LT", "ST", "UT"):
                yield value


def written(value: str) -> Iterator[bytes]:
    for encoding in ("latin-1", "utf-8", "utf-16-le", "utf-16-be"):
        for one in (value, value.upper(), value.lower()):
            yield one.encode(encoding, "ignore")


def holds(content: bytes, value: str) -> bool:
    return any(one in content for one in written(value) if one)


@pytest.fixture(scope="module", params=[None, 37], ids=["dates removed", "dates shifted"])
def released(request: pytest.FixtureRequest) -> dict[str, tuple[Any, bytes]]:
    """Data set and result of every file that is not refused once it says that no text is burned in."""
    found: dict[str, tuple[Any, bytes]] = {}
    for path in sorted(FILES.rglob("*")):
        with suppress(Exception):  # pydicom's wheel has broken files, and some that are none
            content = changed(path, set_to(BurnedInAnnotation="NO"))
            with suppress(Refused):
                found[str(path)] = read(content), deidentified(content, subject(request.param))
    return found


def test_no_identifying_value_is_in_any_byte(released: dict[str, tuple[Any, bytes]]) -> None:
    looked_for = 0
    for name, (before, result) in released.items():
        rest = re.sub(rb"2\.25\.\d+", b"", result.replace(read(result).PixelData, b""))  # without random digits
        kept = [str(element.value) for element in before.iterall() if element.keyword in {"ImageType", *TEXTS}]
        technical = " ".join([PYDICOM_IMPLEMENTATION_UID, "Anonymized", *kept])
        values = {one for one in identifying(before) if len(one) >= LENGTH_MIN and one not in technical}
        looked_for += len(values)
        assert not [value for value in values if holds(rest, value)], name
    assert len(released) > 80
    assert looked_for > 1000


def test_pixels_stay_bit_for_bit_and_the_rest_says_what_was_done(released: dict[str, tuple[Any, bytes]]) -> None:
    for name, (before, result) in released.items():
        after = read(result)
        assert after.PixelData == before.PixelData, name
        assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
        assert (after.Rows, after.Columns, after.BitsStored) == (before.Rows, before.Columns, before.BitsStored)
        assert after.PatientID == "4611686018427387904"
        assert (after.PatientName, after.PatientIdentityRemoved) == ("", "YES")
        assert after.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID != before.SOPInstanceUID
        assert result[:128] == bytes(128)
        groups = {element.tag.group for element in after.iterall()}
        assert not [group for group in groups if group % 2 or group & 0xFF00 in (0x5000, 0x6000)]


def test_as_they_are_most_files_are_refused() -> None:
    reasons = Counter(refused(path.read_bytes()) for path in FILES.rglob("*") if path.is_file())
    assert reasons[Reason.MAY_SHOW_FACE] > 40
    assert reasons[Reason.MAY_SHOW_TEXT] > 80
    assert reasons[Reason.NO_PICTURE] > 15
    assert reasons[Reason.UNREADABLE] > 10


def test_dates_are_shifted_by_days_or_removed() -> None:
    content = given("CT_small.dcm")
    shifted, removed = read(deidentified(content, subject(-20))), read(deidentified(content, subject()))
    assert (read(content).StudyDate, shifted.StudyDate, shifted.SeriesDate) == ("20040119", "20031230", "19970410")
    assert [code.CodeValue for code in shifted.DeidentificationMethodCodeSequence] == ["113100", "113107"]
    assert (shifted.LongitudinalTemporalInformationModified, shifted.StudyTime) == ("MODIFIED", "")
    assert (removed.LongitudinalTemporalInformationModified, removed.StudyDate) == ("REMOVED", "")
    assert shifted.PatientBirthDate == removed.PatientBirthDate == ""


def test_uids_are_random_and_the_same_within_a_release() -> None:
    names = ("17106", "17136", "17166")
    uids = Uids("seed")
    files = [read(deidentified(given(name), subject(uids=uids))) for name in names]
    before = [read(given(name)) for name in names]
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        pairs = {(old[keyword].value, new[keyword].value) for old, new in zip(before, files, strict=True)}
        assert len({old for old, _ in pairs}) == len({new for _, new in pairs}) == len(pairs)
    again = read(deidentified(given("17106"), subject(uids=Uids("seed"))))
    other = read(deidentified(given("17106"), subject(uids=Uids("another"))))
    assert again.StudyInstanceUID == files[0].StudyInstanceUID != other.StudyInstanceUID
    assert other.SOPClassUID == before[0].SOPClassUID


def test_what_refers_to_another_object_still_does() -> None:
    uids = Uids("seed")
    before, after = read(given("examples_overlay.dcm")), None
    after = read(deidentified(given("examples_overlay.dcm"), subject(uids=uids)))
    old, new = (file.ReferencedImageSequence[0].ReferencedSOPInstanceUID for file in (before, after))
    assert uids.known[old] == new != old


def secretive() -> Dataset:
    """A data set with the secret in every text attribute of the standard, and in private ones."""
    data = Dataset()
    for tag, (vr, *_) in DicomDictionary.items():
        if vr in ("PN", "LT", "ST", "UT", "UC", "UR", "AE", "LO", "SH") and keyword_for_tag(tag) not in TEXTS:
            if tag >> 16 > 0x0006:
                data.add_new(tag, vr, SECRET)
    data.add_new(0x00090010, "LO", SECRET)
    data.add_new(0x00091001, "LO", SECRET)
    data.add_new(0x60003000, "OW", SECRET.encode() + b"!")
    data.add_new(0x50003000, "OW", SECRET.encode() + b"!")
    data.add_new(0x00420011, "OB", SECRET.encode() + b"!")
    data.add_new(0x04000120, "OB", SECRET.encode() + b"!")
    data.add_new(0x00100022, "CS", SECRET.upper())
    data.add_new(0x00091002, "UN", SECRET.encode() + b"!")
    data.add_new(0x00089999, "UN", SECRET.encode() + b"!")
    data.add_new(0x7FE00010, "OW", SECRET.encode() + b"!")
    return data


def test_no_attribute_carries_a_text_out_however_deep() -> None:
    def plant(file: Any) -> None:
        pixels = file.PixelData
        file.update(secretive())
        file.PixelData = pixels
        inner = secretive()
        inner.SourceImageSequence = Sequence([secretive()])
        file.SharedFunctionalGroupsSequence = Sequence([inner])
        file.preamble = SECRET.encode() * 18 + b"XX"
        file.file_meta.SourceApplicationEntityTitle = SECRET
        file.file_meta.PrivateInformationCreatorUID, file.file_meta.PrivateInformation = "1.2.3", SECRET.encode() + b"!"

    source = changed("CT_small.dcm", plant)
    assert source.count(SECRET.encode()) > 1000
    result = deidentified(source, subject(3))
    assert not holds(result, SECRET)
    assert read(result).SharedFunctionalGroupsSequence[0].SourceImageSequence


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, Reason.BURNED_IN_ANNOTATION),
        ({"BurnedInAnnotation": "PERHAPS"}, Reason.BURNED_IN_ANNOTATION),
        ({"RecognizableVisualFeatures": "YES", "BurnedInAnnotation": "NO"}, Reason.RECOGNIZABLE_FEATURES),
        ({"Modality": "US"}, Reason.MAY_SHOW_TEXT),
        ({"Modality": "XA"}, Reason.MAY_SHOW_TEXT),
        ({"Modality": "OT"}, Reason.MAY_SHOW_TEXT),
        ({"Modality": ""}, Reason.MAY_SHOW_TEXT),
        ({"ConversionType": "WSD"}, Reason.MAY_SHOW_TEXT),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, Reason.MAY_SHOW_TEXT),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, Reason.MAY_SHOW_TEXT),
        ({"PhotometricInterpretation": "RGB"}, Reason.MAY_SHOW_TEXT),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, Reason.NO_PICTURE),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"}, Reason.NO_PICTURE),
        ({"SOPClassUID": "1.2.3.4", "BurnedInAnnotation": "NO"}, Reason.NO_PICTURE),
        ({"PixelData": b"\0" * 32766}, Reason.UNREADABLE),
        ({"PixelData": b"\0" * 32768 + SECRET.encode() + b"!"}, Reason.HIDDEN_TEXT),
        ({"PixelData": b"\0" * 32770}, None),
        ({"BurnedInAnnotation": "NO", "Modality": "US"}, None),
        ({"BodyPartExamined": "HEAD"}, Reason.MAY_SHOW_FACE),
        ({"BodyPartExamined": "CHESTNECK"}, Reason.MAY_SHOW_FACE),
        ({"BodyPartExamined": ""}, Reason.MAY_SHOW_FACE),
        ({"BodyPartExamined": "ABDOMEN "}, None),
        ({}, None),
    ],
)
def test_what_may_show_who_it_is_of_is_refused(values: dict[str, Any], reason: Reason | None) -> None:
    assert refused(changed("CT_small.dcm", set_to(**values))) is reason


def test_what_is_no_object_or_has_no_pixels_is_refused() -> None:
    no_pixels = changed("CT_small.dcm", lambda file: file.pop("PixelData"))
    for content in (b"", b"DICM", bytes(2000), given("MR_truncated.dcm"), source("image_dfl.dcm"), no_pixels):
        assert refused(content) is Reason.UNREADABLE
    assert all(refused(given("CT_small.dcm")[:size]) for size in range(0, 30000, 500))


COMMENT = b"\xff\xfe" + (2 + len(SECRET)).to_bytes(2, "big") + SECRET.encode()
STREAM_COMMENT = b"\xff\x64" + (4 + len(SECRET)).to_bytes(2, "big") + b"\0\1" + SECRET.encode()
EXIF = b"\xff\xe1" + (8 + len(SECRET)).to_bytes(2, "big") + b"Exif\0\0" + SECRET.encode()


@pytest.mark.parametrize(
    ("name", "hide"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", lambda frame: frame[:2] + COMMENT + frame[2:]),
        ("SC_rgb_jpeg_dcmtk.dcm", lambda frame: frame[:2] + EXIF + frame[2:]),
        ("SC_rgb_jpeg_dcmtk.dcm", lambda frame: frame + SECRET.encode()),
        ("MR_small_jpeg_ls_lossless.dcm", lambda frame: frame[:2] + COMMENT + frame[2:]),
        ("MR_small_jp2klossless.dcm", lambda frame: frame.replace(b"\xff\x90", STREAM_COMMENT + b"\xff\x90", 1)),
        ("MR_small_jp2klossless.dcm", lambda frame: frame.replace(b"version 2.0", b"John Smith!", 1)),
    ],
)
def test_a_comment_in_a_compressed_picture_is_found(name: str, hide: Callable[[bytes], bytes]) -> None:
    def change(file: Any, hide: Callable[[bytes], bytes] = bytes) -> None:
        file.BurnedInAnnotation = "NO"
        frames = [hide(frame) for frame in generate_frames(file.PixelData, number_of_frames=1)]
        assert len(frames) == 1
        file.PixelData = encapsulate(frames)

    assert refused(changed(name, change)) is None
    assert refused(changed(name, lambda file: change(file, hide))) is Reason.HIDDEN_TEXT


def test_a_refusal_says_nothing_of_the_object(caplog: pytest.LogCaptureFixture) -> None:
    def spoil(file: Any) -> None:
        file.add_new(0x00280010, "LO", SECRET)  # Rows, of which pydicom says what it cannot read

    source = changed("CT_small.dcm", spoil)
    for valid in (b"ISO_IR 100", b"20040119", b"CompressedSamples"):
        assert valid in source
        source = source.replace(valid, SECRET.encode().ljust(len(valid)))
    caplog.clear()
    with pytest.raises(Refused) as refusal:
        deidentified(source, subject(1))
    assert str(refusal.value) == refusal.value.reason.value == "UNREADABLE"
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__
    assert SECRET not in caplog.text
