"""The scrubber: what is known of a patient goes with certainty; what else identifies is measured on labelled texts."""

from __future__ import annotations

import base64
import gzip
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from re import _parser  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage] - the public name is deprecated
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.scrub import patterns
from db.scrub.scrubber import CUT, TEXT_MAX, SeedsExceeded, Unscrubbed, scrub
from db.scrub.seeds import SEEDS_MAX, Seeds, seeded
from db.scrub.text import clean, folded
from db.scrub.words import words
from tests.masks.labelled import LABELLED, WORDS_KEPT

FHIR = Path(__file__).parents[3] / "shared" / "fhir"
PATIENT = UUID(int=7)
NOBODY = Seeds(PATIENT, [], [], [], [], None)
ANN = Seeds(
    PATIENT,
    ["José María O'Brien-Smith", "Annelise Kowalczyk", "Ed Wu"],
    ["999-12-3456", "MRN-00123"],
    ["+1 (617) 555-0134", "jose.obrien@example.org"],
    ["12 Main St", "West Springfield", "02139"],
    "1971-05-06",
)
TOKEN = re.compile(r"\[(?:NAME|DATE|ID|PHONE|EMAIL|URL|IP|ADDRESS|PLACE|90\+|REDACTED)\]")


@pytest.mark.parametrize(
    "written",
    [
        "José", "JOSÉ", "jose", "Jose's", "José’s", "O'Brien", "O’Brien", "OBrien", "O Brien", "obrien-smith",
        "Smith, José", "O'Brien-Smith, José María", "J.M.O.", "J. O.", "Jo\u00adsé", "Jo\u200bse", "Jose\u0301",
        "ＪＯＳＥ", "Kowalczyk", "KOWALCZYK", "Ed", "Wu", "999-12-3456", "999123456", "999 12 3456", "999.12.3456",
        "MRN00123", "mrn 00123", "617-555-0134", "(617) 555 0134", "6175550134", "+16175550134",
        "Jose.OBrien@Example.org", "12 Main St", "12 MAIN  ST", "West Springfield", "02139", "1971", "1971-05-06",
        "05/06/1971", "5/6/71", "May 6, 1971", "6 May 1971", "19710506", "6th of May",
    ],
)  # fmt: skip
def test_a_seed_goes_in_every_way_that_it_is_written(written: str) -> None:
    text = scrub(f"The patient {written} was seen; aspirin 100 mg was given to {written}.", ANN)
    assert TOKEN.search(text)
    rest = folded(text)
    assert folded(clean(written)) not in rest
    assert not re.search(r"jose|brien|smith|kowal|wu\b|\d{3,}(?! mg)|springfield|main", rest), text
    assert "aspirin 100 mg was given" in text


def test_what_is_not_seen_hides_nothing() -> None:
    """Zero-width spaces, soft hyphens and directions in the middle of a word that would else be kept."""
    known = Seeds(PATIENT, ["Willow"], [], [], [], None)
    for unseen in ("\u200b", "\u00ad", "\u2060", "\u202e", "\ufeff"):
        assert scrub(f"said will{unseen}ow softly", known) == "said [NAME] softly"


NAME = st.text(st.characters(categories=["Lu", "Ll"], max_codepoint=0x17F), min_size=2, max_size=14)


@settings(max_examples=200, deadline=None)
@given(
    names=st.lists(NAME, min_size=1, max_size=4),
    number=st.text("0123456789", min_size=6, max_size=12),
    before=st.text(max_size=60),
    after=st.text(max_size=60),
    style=st.sampled_from([str.upper, str.lower, str.title, str.swapcase]),
    form=st.sampled_from(["NFC", "NFD"]),
)
def test_no_seed_is_left_in_any_text(
    names: list[str], number: str, before: str, after: str, style: Any, form: Any
) -> None:
    seeds = Seeds(PATIENT, [" ".join(names)], [number], [], [], None)
    written = unicodedata.normalize(form, style(" ".join(names)))
    text = scrub(f"{before} {written} ({number}), {after}", seeds)
    assert seeded(seeds, folded(clean(text))) == [], text


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200))
def test_what_is_left_is_of_the_text(text: str) -> None:
    """Tokens apart nothing is made up: a scrubbed text holds characters of the text in their order."""
    left = iter(clean(text))
    assert all(char in left for char in TOKEN.sub("", scrub(text, NOBODY)))


def test_scrubbing_twice_changes_nothing() -> None:
    for text, _ in LABELLED:
        once = scrub(text, ANN)
        assert scrub(once, ANN) == once


def test_labelled_texts_lose_what_identifies(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a single seed: names of strangers, and all that a source's record of the patient does not have."""
    missed = [(label, text) for text, labels in LABELLED for label in labels if label in scrub(text, NOBODY)]
    total = sum(len(labels) for _, labels in LABELLED)
    kept = [(word, text) for text, listed in WORDS_KEPT for word in listed if word not in scrub(text, NOBODY)]
    wanted = sum(len(listed) for _, listed in WORDS_KEPT)
    with capsys.disabled():
        recall, keep = 1 - len(missed) / total, 1 - len(kept) / wanted
        print(
            f"\nscrubber: recall {recall:.3f} of {total} labels, "
            f"kept {keep:.3f} of {wanted} clinical words; missed {[label for label, _ in missed]}"
        )
    assert len(missed) <= total * 0.05, missed
    assert len(kept) <= wanted * 0.1, kept


def notes_of_bundles() -> Iterator[tuple[Seeds, str]]:
    """Seeds and text of every note in the sample bundles."""
    for path in sorted(FHIR.glob("*/*.json.gz")):
        with gzip.open(path) as file:
            resources: list[Any] = [entry["resource"] for entry in json.load(file)["entry"]]
        for patient in (one for one in resources if one["resourceType"] == "Patient"):
            names = [" ".join([*name.get("given", []), name.get("family", "")]) for name in patient["name"]]
            places = [
                part for one in patient["address"] for part in [*one.get("line", []), one.get("city", "")] if part
            ]
            numbers = [one["value"] for one in patient["identifier"]]
            phones = [one["value"] for one in patient.get("telecom", [])]
            seeds = Seeds(PATIENT, names, numbers, phones, places, patient["birthDate"])
            for one in resources:
                for part in (*(c["attachment"] for c in one.get("content", ())), *one.get("presentedForm", ())):
                    if "data" in part:
                        yield seeds, base64.b64decode(part["data"]).decode()


@pytest.mark.skipif(not FHIR.exists(), reason="the sample bundles are not here")
def test_sample_bundles_lose_names_dates_and_ages(capsys: pytest.CaptureFixture[str]) -> None:
    notes, named = 0, 0
    date, old = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"\b(?:9\d|1[0-4]\d) (?:year|month)-old")
    for seeds, text in notes_of_bundles():
        scrubbed = scrub(text, seeds)
        notes, named = notes + 1, named + bool(seeded(seeds, folded(clean(text))))
        assert seeded(seeds, folded(scrubbed)) == []
        assert not date.search(scrubbed)
        assert not old.search(scrubbed.replace("month-old", "")), scrubbed
    with capsys.disabled():
        print(
            f"\nscrubber: {notes} notes of the sample bundles, {named} with an identifier of their patient, none after"
        )
    assert named > notes // 2


def test_a_text_is_bounded() -> None:
    text = scrub("aspirin " * TEXT_MAX, NOBODY)
    assert text.endswith(CUT)
    assert len(text) <= TEXT_MAX + len(CUT)
    assert scrub("a" * (TEXT_MAX - 1) + " Kowalczykowna", NOBODY).endswith(CUT), "no name is cut in two"
    with pytest.raises(SeedsExceeded):
        scrub("a", Seeds(PATIENT, ["Ann"] * (SEEDS_MAX + 1), [], [], [], None))


def repeats(parsed: Any) -> Iterator[int]:
    """Largest number of times that each repetition of a parsed pattern is taken."""
    for code, argument in parsed:
        name = str(code)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            yield int(argument[1])
            yield from repeats(argument[2])
        elif name == "SUBPATTERN":
            yield from repeats(argument[-1])
        elif name == "BRANCH":
            for branch in argument[1]:
                yield from repeats(branch)
        elif name in ("ASSERT", "ASSERT_NOT"):
            yield from repeats(argument[1])


def test_every_pattern_is_bounded() -> None:
    """An unbounded repetition that is tried at each place takes the square of a text's length: no clock is needed."""
    for token, pattern in [*patterns.SMALL, *patterns.CAPITALS, ("year", patterns.YEAR_ALONE)]:
        assert max(repeats(_parser.parse(pattern.pattern)), default=0) <= 2000, (token, pattern.pattern)


def test_the_lists_are_those_of_the_pinned_package() -> None:
    lists = words()
    assert len(lists.safe) > 190_000
    assert len(lists.names) > 200_000
    assert {"hypertension", "metoprolol", "patient"} <= lists.safe
    assert {"shaniqua", "kowalczyk", "john"} <= lists.names - lists.safe


def test_authors_and_amendments_are_scrubbed_as_well() -> None:
    document: dict[str, Any] = {
        "text": "will hand it over; calm.", "author": [{"display": "Will Hand"}], "signatures": [],
        "sections": [{"title": "Note of Zzyzx", "code": {"text": "Zzyzx"}, "text": "calm"}],
        "amendments": [{"time": "2020-01-01", "author": "Qwx Vbn", "reason": "Vbn was wrong", "text": "not calm"}],
    }  # fmt: skip
    scrubbed = Unscrubbed(UUID(int=1), PATIENT, document).scrubbed(NOBODY)
    assert scrubbed == {
        "text": "[NAME] it over; calm.",
        "sections": [{"title": "Note of [NAME]", "code": None, "text": "calm"}],
        "amendments": [{"time": "2020-01-01", "author": None, "reason": "[NAME] was wrong", "text": "not calm"}],
    }
