"""Texts of a release: without the identifiers of their patient, without dates and ages over 89; the scan agrees."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.policy import Phi
from db.research_method import Method
from db.scrub.seeds import SEEDS_MAX
from workers.research.scan import Identifiers, scan
from workers.research.text import Scrubbed, scrubbed

SCHEMA = {"research_id": pl.Int64, "kind": pl.String, "value": pl.String}
ANN, BOB = 4611686018427387904, 2
KNOWN: Sequence[tuple[int, Phi, str]] = [
    (ANN, Phi.NAME, "Will Kowalczyk"),
    (ANN, Phi.MEDICAL_RECORD_NUMBER, "MRN-00123"),
    (ANN, Phi.SSN, "999-12-3456"),
    (ANN, Phi.PHONE, "+1 (617) 555-0134"),
    (ANN, Phi.EMAIL, "will.k@example.org"),
    (ANN, Phi.GEOGRAPHY, "West Springfield"),
    (ANN, Phi.DATE, "1971-05-06"),
    (BOB, Phi.NAME, "Hand Steady"),
]


def identifiers(*rows: tuple[int, Phi, str]) -> pl.DataFrame:
    return pl.DataFrame([(one, kind.value, value) for one, kind, value in rows], SCHEMA, orient="row")


def notes(*texts: tuple[int, str | None, Sequence[str]]) -> pl.DataFrame:
    schema = {"research_id": pl.Int64, "text": pl.String, "authors": pl.List(pl.String)}
    return pl.DataFrame([(*one[:2], list(one[2])) for one in texts], schema, orient="row").with_row_index("number")


def one(text: str, *authors: str, shifted: bool = False, research_id: int = ANN) -> str:
    made = scrubbed(notes((research_id, text, authors)), identifiers(*KNOWN), shifted=shifted)
    return made.notes["text"][0]


@pytest.mark.parametrize("shifted", [False, True])
def test_a_text_loses_what_is_known_of_its_patient(shifted: bool) -> None:
    text = (
        "will walks with a steady hand; kowalczyk, mrn00123, 999 12 3456, 617.555.0134, Will.K@example.org, "
        "west springfield, born 1971. Aspirin 100 mg."
    )
    assert one(text, shifted=shifted) == (
        "[NAME] walks with a steady hand; [NAME], [ID], [ID], [PHONE], [PHONE], [ADDRESS], born [DATE]. Aspirin 100 mg."
    )


def test_each_text_is_searched_for_its_own_patient() -> None:
    assert one("will walks with a steady hand", research_id=BOB) == "will walks with a [NAME]"
    assert one("will walks with a steady hand", research_id=ANN) == "[NAME] walks with a steady hand"


def test_authors_are_known_too() -> None:
    assert one("a steady hand") == "a steady hand"
    assert one("a steady hand", "Grace Hand") == "a steady [NAME]"


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(
    ("written", "token"),
    [
        ("2020-03-01", "[DATE]"), ("03/14/2021", "[DATE]"), ("3/14", "[DATE]"), ("March 9", "[DATE]"),
        ("12-Feb-2020", "[DATE]"), ("6 May 2020", "[DATE]"), ("2019-06", "[DATE]"), ("Tuesday", "[DATE]"),
        ("2020-11-03T14:22:00-05:00", "[DATE]"), ("92 y/o", "[90+] y/o"), ("aged 97", "aged [90+]"),
        ("103-year-old", "[90+]-year-old"), ("ninety-two", "[90+]"),
    ],
)  # fmt: skip
def test_dates_and_ages_over_89_leave_every_text(written: str, token: str, shifted: bool) -> None:
    assert one(f"seen: {written}, calm", shifted=shifted) == f"seen: {token}, calm"
    assert one("89 y/o, calm", shifted=shifted) == "89 y/o, calm"


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("ill since 2015.", "ill since [DATE]."),
        ("in 2015-2016, and 2018", "in [DATE]-[DATE], and [DATE]"),
        ("drank 2000 ml, 1950 mg, 2100 kcal", "drank 2000 ml, 1950 mg, 2100 kcal"),
        ("platelets 250000, 1.2015", "platelets 250000, 1.2015"),
    ],
)
def test_years_leave_a_text_where_dates_are_shifted(text: str, shifted: str) -> None:
    assert one(text) == text
    assert one(text, shifted=True) == shifted


def test_a_text_of_whom_nothing_or_too_much_is_known_is_withheld() -> None:
    many = [(3, Phi.NAME, f"Name{number}") for number in range(SEEDS_MAX + 1)]
    given_notes = notes((ANN, "calm", ()), (3, "calm", ()), (4, "calm", ()), (ANN, None, ()))
    made = scrubbed(given_notes, identifiers(*KNOWN, *many), shifted=False)
    assert made.notes["text"].to_list() == ["calm", None, None, None]
    assert made.withheld == 2


def test_notes_keep_their_order_and_tokens_are_counted() -> None:
    given_notes = notes((ANN, "will and will, 2020-03-01", ()), (BOB, "calm", ("Grace Park",)), (ANN, "Will", ()))
    made = scrubbed(given_notes, identifiers(*KNOWN), shifted=False)
    assert made == Scrubbed(made.notes, {"NAME": 3, "DATE": 1}, 0)
    assert made.notes.columns == ["number", "research_id", "text"]
    assert made.notes["number"].to_list() == [0, 1, 2]
    assert scrubbed(given_notes.clear(), identifiers(), shifted=True).notes.is_empty()


NAME = st.text(st.characters(categories=["Lu", "Ll"], max_codepoint=0x17F), min_size=2, max_size=12)
SAID = st.lists(st.sampled_from(["calm", "walks", "aspirin", "100 mg", "[NAME]", "(", "2 of 3", "\n"]), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(NAME, min_size=1, max_size=3),
    number=st.text("0123456789", min_size=6, max_size=11),
    day=st.dates(),
    before=SAID,
    after=SAID,
)
def test_the_scan_finds_nothing_in_a_scrubbed_text(
    names: list[str], number: str, day: object, before: list[str], after: list[str]
) -> None:
    known = identifiers(
        (ANN, Phi.NAME, " ".join(names)), (ANN, Phi.MEDICAL_RECORD_NUMBER, number), (ANN, Phi.DATE, str(day))
    )
    text = " ".join([*before, *names, number, str(day), f"{names[0]}-{number}", *after])
    given_notes = notes((ANN, text, ()))
    assert scan("notes", given_notes.drop("authors"), Identifiers(known), Method.LIMITED, frozenset())
    made = scrubbed(given_notes, known, shifted=True).notes
    assert scan("notes", made, Identifiers(known), Method.LIMITED, frozenset()) == []
