"""The scan of a release: what is planted is found, in every spelling and kind of column; a clean table is clean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from db.disclosure import THRESHOLD
from db.policy import Phi
from db.research_method import Method
from workers.research.scan import Finding, Identifiers, scan

SCHEMA = {"research_id": pl.Int64, "kind": pl.String, "value": pl.String}
ANN: Sequence[tuple[Phi, str]] = [
    (Phi.NAME, "José María O'Brien-Smith"),
    (Phi.NAME, "Annelise White"),
    (Phi.MEDICAL_RECORD_NUMBER, "MRN-00123456"),
    (Phi.SSN, "999-12-3456"),
    (Phi.PHONE, "+1 (617) 555-0134"),
    (Phi.EMAIL, "jose.obrien@example.org"),
    (Phi.OTHER_IDENTIFIER, "0b6d1f3e-6c3c-4d0e-9a53-1f8f1d0c7c11"),
    (Phi.ACCOUNT_NUMBER, "77881"),
    (Phi.GEOGRAPHY, "12 Main St"),
    (Phi.GEOGRAPHY, "West Springfield"),
    (Phi.GEOGRAPHY, "02139"),
    (Phi.DATE, "1971-05-06"),
]
OTHERS: Sequence[tuple[Phi, str]] = [(Phi.NAME, "Grace Young"), (Phi.MEDICAL_RECORD_NUMBER, "7654321")]
PATIENTS, HERS = 40, 1001
"""Patients of a table, and the research id of the one who is known as ANN; the others are all known as OTHERS."""


def known(rows: Mapping[int, Sequence[tuple[Phi, str]]]) -> Identifiers:
    listed = [(research_id, kind.value, value) for research_id, values in rows.items() for kind, value in values]
    return Identifiers(pl.DataFrame(listed, SCHEMA, orient="row"))


ALL = known({HERS: ANN} | {HERS + place: OTHERS for place in range(1, PATIENTS)})


def table(column: str, value: object, *, research_id: int = HERS) -> pl.DataFrame:
    """A row for each patient with harmless facts, and one more with a value in a column."""
    rows = [
        {"research_id": HERS + place, "encounter_id": 123456, "system": "http://loinc.org", "code": f"{place}000-8"}
        | {"value_unit": "mg/dL", "value": 100.5 + place, "specimen": f"Blood of vein {place}", "count": place}
        for place in range(PATIENTS)
    ]
    planted = {**rows[0], "research_id": research_id, column: value}
    frame = pl.DataFrame(rows)
    if column not in rows[0] or type(rows[0][column]) is not type(value):
        frame = frame.with_columns(pl.lit(None).alias(column))
    return pl.concat([frame, pl.DataFrame([planted])], how="diagonal_relaxed")


def found(
    column: str, value: object, method: Method = Method.SAFE_HARBOR, *approved: Phi, research_id: int = HERS
) -> set[Phi]:
    rows = table(column, value, research_id=research_id).select("research_id", column).unique()
    findings = scan("labs", rows, ALL, method, frozenset(approved))
    assert {one.column for one in findings} <= {column}
    assert {one.rows for one in findings} <= {1}
    return {one.kind for one in findings}


def test_a_clean_table_is_clean() -> None:
    for method in Method:
        assert scan("labs", table("specimen", "Blood of vein"), ALL, method, frozenset()) == []
        assert scan("labs", table("specimen", None).clear(), ALL, method, frozenset()) == []


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("José", Phi.NAME), ("JOSE", Phi.NAME), ("maría", Phi.NAME), ("seen by O’Brien!", Phi.NAME),
        ("Smith, José María", Phi.NAME), ("obriensmith", Phi.NAME), ("O'Brien-Smith José", Phi.NAME),
        ("JoséOBrienSmith", Phi.NAME), ("Jo\u200bse", Phi.NAME), ("Annelise", Phi.NAME), ("White coat", Phi.NAME),
        ("mrn 00123456", Phi.MEDICAL_RECORD_NUMBER), ("123456", Phi.MEDICAL_RECORD_NUMBER),
        ("00123456", Phi.MEDICAL_RECORD_NUMBER), ("x00123456y", Phi.MEDICAL_RECORD_NUMBER),
        ("999-12-3456", Phi.SSN), ("999 12 3456", Phi.SSN), ("999123456", Phi.SSN), ("no 9991 23456.", Phi.SSN),
        ("617.555.0134", Phi.PHONE), ("6175550134", Phi.PHONE), ("(617) 555 0134", Phi.PHONE),
        ("Jose.OBrien@Example.org", Phi.EMAIL), ("0B6D1F3E6C3C4D0E9A531F8F1D0C7C11", Phi.OTHER_IDENTIFIER),
        ("77881", Phi.ACCOUNT_NUMBER), ("lives at 12 MAIN  ST", Phi.GEOGRAPHY), ("West Springfield", Phi.GEOGRAPHY),
        ("zip 02139", Phi.GEOGRAPHY), ("1971-05-06", Phi.DATE), ("19710506", Phi.DATE), ("05/06/1971", Phi.DATE),
        ("May 6, 1971", Phi.DATE), ("6th of May 1971", Phi.DATE), ("6-May-1971", Phi.DATE), ("5/6/71", Phi.DATE),
    ],
)  # fmt: skip
def test_an_identifier_of_the_patient_is_found_in_every_spelling(written: str, kind: Phi) -> None:
    assert kind in found("specimen", f"{written} x", Method.LIMITED)
    assert kind in found("specimen", f"x {written}")


@pytest.mark.parametrize("column", ["code", "system", "value_unit", "other_code"])
@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("Annelise", Phi.NAME), ("O'Brien-Smith", Phi.NAME), ("see Annelise White", Phi.NAME), ("19710506", Phi.DATE),
        ("loinc/00123456", Phi.MEDICAL_RECORD_NUMBER), ("999123456", Phi.SSN), ("77881", Phi.ACCOUNT_NUMBER),
        ("jose.obrien@example.org", Phi.EMAIL), ("12 Main St", Phi.GEOGRAPHY), ("2020-03", Phi.DATE),
    ],
)  # fmt: skip
def test_an_identifier_of_the_patient_is_found_in_a_column_of_codes(column: str, written: str, kind: Phi) -> None:
    assert kind in found(column, written)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (123456, Phi.MEDICAL_RECORD_NUMBER), (-123456, Phi.MEDICAL_RECORD_NUMBER),
        (123456.0, Phi.MEDICAL_RECORD_NUMBER), (999123456, Phi.SSN), (6175550134, Phi.PHONE), (19710506, Phi.DATE),
        (date(2020, 1, 1), Phi.DATE), (datetime(1971, 5, 6), Phi.DATE), (time(12), Phi.DATE),
    ],
)  # fmt: skip
def test_an_identifier_is_found_among_numbers_and_dates(value: object, kind: Phi) -> None:
    assert found("count" if isinstance(value, int) else "value", value) == {kind}
    assert found("new_column", value) == {kind}


def test_the_numbers_of_the_release_are_none() -> None:
    rows = pl.DataFrame({"research_id": [HERS], "encounter_id": [123456]})
    assert scan("labs", rows, ALL, Method.SAFE_HARBOR, frozenset()) == []
    assert found("encounter_id", "123456") == {Phi.MEDICAL_RECORD_NUMBER}


@pytest.mark.parametrize(
    ("written", "kinds"),
    [
        ("Annelise White", {Phi.NAME}), ("White, Annelise", {Phi.NAME}), ("jose obrien smith", {Phi.NAME}),
        ("jose.obrien@example.org", {Phi.EMAIL}), ("12 Main St", {Phi.GEOGRAPHY}), ("999123456", {Phi.SSN}),
        ("00123456", {Phi.MEDICAL_RECORD_NUMBER}), ("6175550134", {Phi.PHONE}),
        ("White", set()), ("West Springfield", set()), ("77881 x", set()), ("annelise white blood", {Phi.NAME}),
        ("annelisewhite", set()), ("12 3456", set()), ("O'Brien-Smith José", {Phi.NAME}),
        ("O'Brien-Smith, José María", {Phi.NAME}),
    ],
)  # fmt: skip
def test_in_rows_of_others_counts_what_tells_by_itself(written: str, kinds: set[Phi]) -> None:
    assert found("specimen", written, research_id=HERS + 1) == kinds


@pytest.mark.parametrize("written", ["999123456", "00123456", "6175550134", "77881", "White"])
def test_a_code_of_another_patient_may_look_like_a_number(written: str) -> None:
    assert found("code", written, research_id=HERS + 1) == set()
    if written.isdigit():
        assert found("count", int(written), research_id=HERS + 1) == set()


def test_a_code_may_have_a_word_of_the_patient_in_it() -> None:
    assert found("code", "WHITE-8") == found("code", "77881/2") == found("system", "urn:west-springfield") == set()


def test_particles_of_names_are_no_names_and_digits_at_their_end_no_part_of_them() -> None:
    ana = known({1: [(Phi.NAME, "Ana774 de la Cruz12")]})
    rows = pl.DataFrame({"research_id": [1] * 4, "specimen": ["de la x", "Ana x", "cruz", "ana774 x"]})
    assert scan("labs", rows, ana, Method.SAFE_HARBOR, frozenset()) == [Finding("labs", "specimen", Phi.NAME, 3)]


def test_what_stands_in_two_cells_is_not_read_as_one() -> None:
    rows = pl.DataFrame({"research_id": [HERS + 1] * 2, "specimen": ["Annelise", "White"]})
    assert scan("labs", rows, ALL, Method.SAFE_HARBOR, frozenset()) == []


@pytest.mark.parametrize("written", ["White", "White blood cells", "123456"])
def test_what_enough_strangers_have_too_is_no_identifier(written: str) -> None:
    for column, strangers in (("specimen", THRESHOLD - 1), ("specimen", THRESHOLD), ("code", THRESHOLD)):
        rows = pl.DataFrame({"research_id": range(HERS, HERS + strangers + 1), column: [written] * (strangers + 1)})
        findings = scan("labs", pl.concat([rows] * 2), ALL, Method.SAFE_HARBOR, frozenset())
        assert bool(findings) is (strangers < THRESHOLD)


def test_a_column_of_names_is_found_whoever_shares_them() -> None:
    """Those who have the name are no strangers to it."""
    people = known({research_id: [(Phi.NAME, "Mary Cook")] for research_id in range(50)})
    rows = pl.DataFrame({"research_id": range(50), "display": ["Cook"] * 50})
    assert scan("labs", rows, people, Method.LIMITED, frozenset()) == [Finding("labs", "display", Phi.NAME, 50)]


def test_a_whole_name_counts_however_many_have_it() -> None:
    rows = pl.DataFrame({"research_id": range(HERS, HERS + 30), "specimen": ["Annelise White"] * 30})
    assert scan("labs", rows, ALL, Method.LIMITED, frozenset()) == [Finding("labs", "specimen", Phi.NAME, 30)]


def test_a_limited_data_set_may_have_dates_towns_and_postal_codes_as_whole_cells() -> None:
    for value in ("2020-03", "2020-03-01", "2020-03-01T10:12:30.5+01:00", "1971-05-06", "West Springfield", "02139"):
        assert found("specimen", value, Method.LIMITED) == found("specimen", value, Method.TRUSTED) == set()
        assert found("specimen", value) & {Phi.DATE, Phi.GEOGRAPHY}
        assert found("specimen", f"see {value}", Method.LIMITED)
    assert found("zip5", "62704", Method.LIMITED) == set()
    assert found("value", date(1971, 5, 6), Method.LIMITED) == set()
    assert found("count", 19710506, Method.LIMITED) == {Phi.DATE}
    for method in Method:
        assert found("specimen", "12 Main St", method, Phi.GEOGRAPHY) == {Phi.GEOGRAPHY}


def test_a_town_that_is_called_like_the_patient_is_a_town() -> None:
    jackson = known({1: [(Phi.NAME, "James Jackson"), (Phi.GEOGRAPHY, "Jackson")]})
    rows = pl.DataFrame({"research_id": [1], "city": ["Jackson"]})
    assert scan("patients", rows, jackson, Method.LIMITED, frozenset()) == []
    assert {one.kind for one in scan("patients", rows, jackson, Method.SAFE_HARBOR, frozenset())} == {
        Phi.NAME,
        Phi.GEOGRAPHY,
    }


def test_what_an_irb_approved_may_be_a_whole_cell_under_trusted_alone() -> None:
    number, approved = "MRN-00123456", Phi.MEDICAL_RECORD_NUMBER
    assert found("mrn", number, Method.TRUSTED, approved) == found("mrn", "x", Method.TRUSTED) == set()
    for given_number, method, kinds in (
        (number, Method.TRUSTED, ()),
        (number, Method.LIMITED, (approved,)),
        (number, Method.SAFE_HARBOR, (approved,)),
    ):
        assert found("mrn", given_number, method, *kinds) == {approved}
    assert Phi.SSN in found("mrn", "999-12-3456", Method.TRUSTED, approved)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("078-05-1120", Phi.SSN), ("(415) 555-2671", Phi.PHONE), ("+48 22 555 0123", Phi.PHONE),
        ("a.b@c.org", Phi.EMAIL), ("https://portal.example/p", Phi.URL), ("www.example.org", Phi.URL),
        ("192.168.4.17", Phi.IP_ADDRESS), ("MRN: 4483920", Phi.MEDICAL_RECORD_NUMBER),
        ("Acct # 992210", Phi.ACCOUNT_NUMBER), ("license no. S5147", Phi.LICENSE_NUMBER),
        ("serial PJN4482211", Phi.DEVICE), ("(01)00643169007222(17)160712", Phi.DEVICE),
        ("1HGBH41JXMN109186", Phi.VEHICLE), ("2.25.3297", Phi.OTHER_IDENTIFIER),
        ("0B6D1F3E-6C3C-4D0E-9A53-1F8F1D0C7C12", Phi.OTHER_IDENTIFIER), ("62704-1234", Phi.GEOGRAPHY),
        ("IL 62704", Phi.GEOGRAPHY), ("62704", Phi.GEOGRAPHY),
        ("2020-03-01", Phi.DATE), ("2020-03-01T10:00:00Z", Phi.DATE), ("2020-03", Phi.DATE), ("3/14/2021", Phi.DATE),
        ("14.03.2021", Phi.DATE), ("March 2021", Phi.DATE), ("on Sept. 3, 2021", Phi.DATE),
    ],
)  # fmt: skip
def test_what_identifies_by_its_form_is_found(text: str, kind: Phi) -> None:
    assert found("specimen", text, research_id=HERS + 2) == {kind}


@pytest.mark.parametrize(
    "code",
    ["8480-6", "E11.9", "00002-3227-30", "260385009", "73211009", "1049221", "10*3/uL", "mL/min/{1.73_m2}", "1.1.1.27",
     "http://loinc.org", "urn:oid:2.16.840.1.113883.6.96", "https://www.nlm.nih.gov/research/umls/rxnorm", "99213",
     "urn:oid:1.2.840.10008.2.16.4", "J1100", "0DTJ4ZZ", "C0011849", "410.71", "LA6576-8"],
)  # fmt: skip
def test_codes_units_and_code_systems_are_no_identifiers(code: str) -> None:
    assert found("code", code) == found("system", code) == set()


WORD = st.text(st.characters(categories=["Lu", "Ll"], max_codepoint=0x17F), min_size=3, max_size=12)
DIGITS = st.text("0123456789", min_size=7, max_size=12).filter(lambda number: number[0] != "0")


@settings(max_examples=40, deadline=None)
@example(names=["Ed", "Wu"], number="4711081", noise="", style=str.upper, column="specimen", place=1)
@given(
    names=st.lists(WORD, min_size=2, max_size=3),
    number=DIGITS,
    noise=st.text(st.characters(categories=["P", "S", "Z", "Cc"], max_codepoint=0x2FFF), min_size=1, max_size=5),
    style=st.sampled_from([str.upper, str.lower, str.title, str]),
    column=st.sampled_from(["code", "specimen", "value_unit", "count", "new"]),
    place=st.integers(0, PATIENTS - 1),
)
def test_whatever_is_planted_is_found(
    names: list[str], number: str, noise: str, style: Any, column: str, place: int
) -> None:
    mine = known({HERS + place: [(Phi.NAME, " ".join(names)), (Phi.ACCOUNT_NUMBER, number)]})

    def kinds(value: object) -> set[Phi]:
        rows = table(column, value, research_id=HERS + place).select("research_id", column)
        findings = scan("labs", rows, mine, Method.SAFE_HARBOR, frozenset())
        return {one.kind for one in findings if one.column == column}

    if column == "count":
        assert Phi.ACCOUNT_NUMBER in kinds(int(number))
    else:
        assert Phi.NAME in kinds(noise + style(" ".join(names)) + noise)
        assert Phi.ACCOUNT_NUMBER in kinds(f"{noise} {number} {noise}")


@settings(max_examples=20, deadline=None)
@given(
    people=st.lists(st.tuples(WORD, WORD, DIGITS), min_size=1, max_size=PATIENTS - 1),
    words=st.lists(st.sampled_from(["serum", "plasma", "of", "in", "blood", "venous"]), min_size=1, max_size=6),
)
def test_what_is_no_identifier_is_not_found(people: list[tuple[str, str, str]], words: list[str]) -> None:
    """Names of six consonants and more at the end are none of the words."""
    rows = {
        HERS + place: [(Phi.NAME, f"{given}qxzq {family}qxzq"), (Phi.SSN, number)]
        for place, (given, family, number) in enumerate(people)
    }
    for method in Method:
        table_ = table("specimen", " ".join(words)).select("research_id", "specimen")
        assert scan("labs", table_, known(rows), method, frozenset()) == []


def test_tokens_of_the_scrubber_are_no_names() -> None:
    place = known({1: [(Phi.NAME, "Ip Place"), (Phi.NAME, "Will Date")]})
    rows = pl.DataFrame({"research_id": [1], "text": ["[NAME] was in [PLACE] on [DATE] from [IP]"]})
    assert scan("notes", rows, place, Method.LIMITED, frozenset()) == []
    told = rows.with_columns(text=pl.lit("was in Place"))
    assert scan("notes", told, place, Method.LIMITED, frozenset()) == [Finding("notes", "text", Phi.NAME, 1)]


def test_rows_are_counted_and_long_tables_cut() -> None:
    texts = [f"{'blood ' * 40000}{place}" for place in range(30)]
    rows = pl.DataFrame({"research_id": [HERS] * 30, "text": [*texts[:28], *(["it was Annelise " + "blood " * 9] * 2)]})
    findings = scan("notes", rows, ALL, Method.LIMITED, frozenset())
    assert findings == [Finding("notes", "text", Phi.NAME, 2)]


def test_a_column_that_cannot_be_searched_is_refused() -> None:
    for values in ([b"x"], [["x"]], [{"a": "x"}]):
        with pytest.raises(TypeError, match="No scan"):
            scan("labs", pl.DataFrame({"research_id": [1], "new": values}), ALL, Method.LIMITED, frozenset())
    categories = pl.DataFrame({"research_id": [HERS], "new": ["Annelise"]}, schema_overrides={"new": pl.Categorical})
    assert scan("labs", categories, ALL, Method.LIMITED, frozenset()) == [Finding("labs", "new", Phi.NAME, 1)]
