"""DICOM objects without who they are of: the Basic Application Level Confidentiality Profile of DICOM PS3.15 Annex E.

What the profile does with each attribute is the table E.1-1 of dicom-anonymizer. Its engine is not used: it passes over
nested sequences and keeps one mapping of UIDs for the life of the process. Beyond the profile, what the table does not
name is kept only where it is a number, a code, pixels or a technical text.

Pixels stay as they are, bit for bit. So an object is refused whose pixels show, or may show, a text or a face.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from random import Random
from typing import cast

from dicomanonymizer import simpledicomanonymizer as profile
from pydicom import Dataset, config, dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset, read_preamble
from pydicom.multival import MultiValue
from pydicom.pixels.utils import get_expected_length
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
    RTDoseStorage,
)

TABLE = "dicomfields_2026c"
"""Edition of table E.1-1."""
METHOD = f"DICOM PS3.15 {TABLE[-5:]} Basic Application Confidentiality Profile"
PROFILE, MODIFIED_DATES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
"""Codes of PS3.16, context group 7050."""

TEXTLESS = frozenset(["CT", "MR", "PT", "RTDOSE"])
"""Modalities whose own pictures have no text in them; those of all others do unless the object says that they don't."""
SHOT = re.compile(r"SCREEN|REPORT|DOSE.?INFO|PROTOCOL|POSDISP", re.IGNORECASE)
"""Values of Image Type (0008,0008) by which scanners call pictures of a screen."""

FACELESS = frozenset(
    """ABDOMEN ABDOMENPELVIS ADRENAL ANKLE AORTA APPENDIX ARM AXILLA BACK BILEDUCT BLADDER BREAST BRONCHUS BUTTOCK
    CALCANEUS CALF CHEST CHESTABDOMEN CHESTABDPELVIS CLAVICLE COCCYX COLON CORONARYARTERY DUODENUM ELBOW ESOPHAGUS
    EXTREMITY FEMUR FIBULA FINGER FOOT FOREARM GALLBLADDER HAND HEART HIP HUMERUS ILEUM ILIUM INTESTINE JEJUNUM KIDNEY
    KNEE LEG LIVER LOWERLIMB LSPINE LSSPINE LUMBARSPINE LUNG MEDIASTINUM OVARY PANCREAS PATELLA PELVIS PENIS PROSTATE
    RADIUS RECTUM RIB SACRUM SCAPULA SCROTUM SHOULDER SIJOINT SPLEEN STERNUM STOMACH TESTIS THIGH THORACICSPINE THORAX
    THUMB TIBIA TOE TSPINE ULNA UPPERLIMB URETER URETHRA URINARYTRACT UTERUS VAGINA WRIST""".split()
)
"""Values of Body Part Examined (0018,0015) that leave the face out (PS3.16 annex L)."""

PLAIN = frozenset([ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
STREAMS = frozenset([*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes])
"""Transfer syntaxes whose frames are streams of markers, in which a writer may leave comments."""
NOTE = re.compile(rb"\xff[\xe0-\xef\xfe](..)|\xff\x64(..)(?=\x00[\x00\x01])", re.DOTALL)
"""Marker and length of an application segment or comment: APPn and COM of JPEG, COM of JPEG 2000."""
KNOWN_NOTE = re.compile(
    rb"JFIF\x00.{9}|Adobe\x00.{5,7}|SPIFF\x00.{24}|\x00\x00\x00\x01\xff\xd8|\x00\x01(?:Kakadu-v?[\d.]{1,8}"
    rb"|Created by (?:GDCM/)?OpenJPEG version [\d.]{1,8}|Creator: JasPer Version [\d.]{1,9})",
    re.DOTALL,
)
"""What codecs write there of themselves."""
END = b"\xff\xd9"

TEXTS = frozenset(
    """AttenuationCorrectionMethod CodeMeaning CodeValue CodingSchemeDesignator CodingSchemeVersion ConvolutionKernel
    DimensionDescriptionLabel FilterType ImagedNucleus LUTExplanation Manufacturer ManufacturerModelName ModalityLUTType
    PulseSequenceName Radiopharmaceutical ReceiveCoilName ReconstructionMethod RescaleType ScatterCorrectionMethod
    SequenceName SoftwareVersions StackID TransmitCoilName WindowCenterWidthExplanation""".split()
)
"""Keywords of short texts (VR LO, SH) that say how a picture was made or which code it has."""
WORDS = frozenset(["AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"])
"""VRs of texts and days."""
NUMBERS = frozenset(["AT", "CS", "DS", "FD", "FL", "IS", "SL", "SQ", "SS", "SV", "UI", "UL", "US", "UV"])
"""VRs that are kept where the table does not name an attribute: numbers, codes, and what is looked into."""
BINARY_GROUPS = frozenset([0x0028, 0x7FE0])
"""Groups whose binary values are kept: lookup tables and pixels."""
PIXELS = 0x7FE00000
"""First tag of the group of pixels, the last one of a data set."""
LAYERS = frozenset([0x5000, 0x6000])
"""Repeating groups of curves and overlays."""
PERSON_GROUPS = frozenset([0x0000, 0x0010, 0x0032, 0x0038, 0x4008])
"""Groups of commands, patients, requests, visits and results: nothing is kept that the table does not name."""
SHIFTED = frozenset([0x00080020, 0x00080021, 0x00080022, 0x00080023, 0x0008002A])
"""Study, Series, Acquisition and Content Date, Acquisition DateTime: what is shifted by days, without time of day."""

Action = Callable[[Dataset, BaseTag], None]
RULES = cast("Mapping[tuple[int, int], Action]", profile.initialize_actions(TABLE))
EMPTIED = frozenset([profile.empty, profile.delete_or_empty])
LOOKED_INTO = frozenset([profile.keep, profile.replace_UID, profile.delete_or_empty_or_replace_UID])


class Reason(Enum):
    """Why an object is not released."""

    UNREADABLE = "UNREADABLE"
    """No DICOM file, or one whose pixels can't be judged."""
    NO_PICTURE = "NO_PICTURE"
    """A report, a document, a presentation state or the like: their content is text."""
    BURNED_IN_ANNOTATION = "BURNED_IN_ANNOTATION"
    RECOGNIZABLE_FEATURES = "RECOGNIZABLE_FEATURES"
    MAY_SHOW_TEXT = "MAY_SHOW_TEXT"
    """A kind of picture that usually has text in it, and it does not say that it has none."""
    HIDDEN_TEXT = "HIDDEN_TEXT"
    """Bytes among the pixels that are none, such as a comment in a JPEG stream."""
    MAY_SHOW_FACE = "MAY_SHOW_FACE"
    """A picture of the head, from which a face can be rebuilt, or of a part of the body that it does not name."""
    MISSING = "MISSING"
    """The archive does not have it."""
    ARCHIVED = "ARCHIVED"
    """In cold storage, and not restored."""
    TOO_LARGE = "TOO_LARGE"


class Refused(Exception):
    """An object is not released, for a reason that says nothing of whom it is."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Uids:
    """New UIDs: one for each old one, so that what refers to each other still does.

    The seed, as secret as the old UIDs, and the order in which those come decide, and nothing that is in them: made
    again from the same objects in the same order they are the same.
    """

    def __init__(self, seed: str) -> None:
        self.known: dict[str, str] = {}
        self._chances = Random(seed)  # noqa: S311 - numbers of nothing: they hide no more than the order of the objects

    def __getitem__(self, old: str) -> str:
        """UID of the release for one of the source; one that the standard registers stays."""
        if UID(old).name != old or not old:
            return old
        if old not in self.known:
            self.known[old] = f"2.25.{self._chances.getrandbits(128)}"
        return self.known[old]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who an object is of in a release."""

    research_id: int
    uids: Uids
    shift_days: int | None
    """Days by which dates are shifted; None removes them."""


def deidentified(source: bytes, subject: Subject) -> bytes:
    """A DICOM file (PS3.10) by the profile, its pixels as they were. Raises Refused."""
    _silence()
    try:
        file = _read(source)
        _judge(file)
        _judge_pixels(file)
        _clean(file, subject)
        _declare(file, subject)
        return _written(file)
    except Refused:
        raise
    except Exception:  # a stranger's file: whatever pydicom makes of it
        raise Refused(Reason.UNREADABLE) from None


def texts(made: bytes) -> Iterator[str]:
    """What an object of a release says in words and days (as FHIR writes them), in nested sequences too."""
    for element in dcmread(io.BytesIO(made), stop_before_pixels=True).iterall():
        if element.VR in WORDS:
            values = element.value if isinstance(element.value, MultiValue) else [element.value]
            for value in (str(one) for one in values if one):
                yield f"{value[:4]}-{value[4:6]}-{value[6:8]}" if element.VR in ("DA", "DT") else value


def _silence() -> None:
    """What is wrong with a value, pydicom would say with the value: for the whole process, as there may be threads."""
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").disabled = True


def _read(source: bytes) -> Dataset:
    """The data set, if its pixels can be judged by its transfer syntax; a deflated one may inflate to any size."""
    buffer = io.BytesIO(source)
    read_preamble(buffer, force=False)
    meta = read_dataset(buffer, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    if meta.TransferSyntaxUID not in PLAIN | STREAMS | {RLELossless}:
        raise Refused(Reason.UNREADABLE)
    return dcmread(io.BytesIO(source))


def _judge(file: Dataset) -> None:
    """Raises Refused for what is no picture, shows who it is of, or may."""
    sop_class = UID(file.get("SOPClassUID") or "")
    if "Image Storage" not in sop_class.name and sop_class != RTDoseStorage:
        raise Refused(Reason.NO_PICTURE)
    if file.get("RecognizableVisualFeatures") not in (None, "", "NO"):
        raise Refused(Reason.RECOGNIZABLE_FEATURES)
    burned_in = file.get("BurnedInAnnotation")
    if burned_in not in (None, "", "NO"):
        raise Refused(Reason.BURNED_IN_ANNOTATION)
    kinds = file.get("ImageType") or ""
    is_own = (
        file.get("Modality") in TEXTLESS
        and "Secondary Capture" not in sop_class.name
        and "ConversionType" not in file
        and str(file.get("PhotometricInterpretation")).startswith("MONOCHROME")
        and not SHOT.search("\\".join([kinds] if isinstance(kinds, str) else kinds))
    )
    if burned_in != "NO" and not is_own:
        raise Refused(Reason.MAY_SHOW_TEXT)
    if str(file.get("BodyPartExamined") or "").strip() not in FACELESS:
        raise Refused(Reason.MAY_SHOW_FACE)


def _judge_pixels(file: Dataset) -> None:
    """Raises Refused where there are no pixels, or something beside them."""
    found = [name for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if name in file]
    if len(found) != 1:
        raise Refused(Reason.UNREADABLE)
    pixels, syntax = file[found[0]].value, file.file_meta.TransferSyntaxUID
    if syntax in PLAIN:
        expected = get_expected_length(file)
        if len(pixels) < expected:
            raise Refused(Reason.UNREADABLE)
        if pixels[expected:].strip(b"\0"):
            raise Refused(Reason.HIDDEN_TEXT)
    elif syntax in STREAMS:
        for frame in generate_frames(pixels, number_of_frames=int(file.get("NumberOfFrames") or 1)):
            _judge_stream(frame)


def _judge_stream(frame: bytes) -> None:
    """Raises Refused for a stream with a comment that no codec writes of itself, or with bytes after its end."""
    for found in NOTE.finditer(frame):
        length = int.from_bytes(found[1] or found[2], "big") - 2
        if not KNOWN_NOTE.fullmatch(frame, found.end(), found.end() + length):
            raise Refused(Reason.HIDDEN_TEXT)
    if frame.find(END) + len(END) != len(frame.rstrip(b"\0\xff")):
        raise Refused(Reason.HIDDEN_TEXT)


def _clean(dataset: Dataset, subject: Subject) -> None:
    """Applies the profile to a data set and to all that are nested in it."""
    for tag in list(dataset.keys()):
        if tag.is_private or tag.group & 0xFF00 in LAYERS:
            del dataset[tag]
            continue
        element = dataset[tag]
        action = _action(element)
        if tag in SHIFTED and subject.shift_days is not None:
            element.value = _shifted(str(element.value or ""), subject.shift_days)
        elif action in EMPTIED:
            element.clear()
        elif action is profile.delete or (element.VR == "SQ" and action not in LOOKED_INTO):
            del dataset[tag]
        elif element.VR == "SQ":
            for item in element.value:
                _clean(item, subject)
                del item[PIXELS:]  # a picture within the picture, which nobody judged
        elif element.VR == "UI":
            _renew(element, subject.uids)
        elif action is not profile.keep:
            profile.replace_element(element)


def _action(element: DataElement) -> Action:
    """What the table says of an element; for what it does not name, whether it is kept."""
    tag = element.tag
    if rule := RULES.get((tag.group, tag.element)):
        return rule
    if tag.group in PERSON_GROUPS:
        return profile.delete
    is_kept = (
        element.VR in NUMBERS
        or (element.VR in ("LO", "SH") and element.keyword in TEXTS)
        or (element.VR.startswith("O") and tag.group in BINARY_GROUPS)
    )
    return profile.keep if is_kept else profile.delete


def _renew(element: DataElement, uids: Uids) -> None:
    value = element.value
    element.value = [uids[one] for one in value] if isinstance(value, MultiValue) else uids[str(value or "")]


def _shifted(value: str, days: int) -> str:
    """Day of a DA or DT, shifted; empty where it has none."""
    try:
        return (datetime.strptime(value[:8], "%Y%m%d") + timedelta(days)).date().isoformat().replace("-", "")
    except (ValueError, OverflowError):
        return ""


def _declare(file: Dataset, subject: Subject) -> None:
    """Says whom the object is of in the release and what was done to it (PS3.15 E.1.1)."""
    is_shifted = subject.shift_days is not None
    file.PatientID = str(subject.research_id)
    file.PatientName = ""
    file.PatientIdentityRemoved = "YES"
    file.DeidentificationMethod = METHOD
    file.DeidentificationMethodCodeSequence = Sequence(
        [_code(*one) for one in ([PROFILE, MODIFIED_DATES] if is_shifted else [PROFILE])]
    )
    file.LongitudinalTemporalInformationModified = "MODIFIED" if is_shifted else "REMOVED"


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _written(file: Dataset) -> bytes:
    """The file with an empty preamble and a meta header that names the object and its transfer syntax only."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = file.SOPClassUID
    meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    meta.TransferSyntaxUID = file.file_meta.TransferSyntaxUID
    file.file_meta, file.preamble = meta, bytes(128)
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
