"""What a column becomes: the tables of rules, shifted dates, places, numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import product
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.policy import Phi
from db.research_method import Method
from workers.research.dates import shifted
from workers.research.numbering import numbered
from workers.research.places import REFUSED, STATES, state, zip3, zip3_allowed, zip5
from workers.research.rules import APPROVABLE, Rule, Terms, Use, expression, rule_of

MIGRATION = Path(__file__).parents[2] / "db" / "migrations" / "access" / "0002_zip3.sql"
DATABASE = re.findall(r"\b\d{3}\b", MIGRATION.read_text(encoding="utf-8").split("btrim('")[1].split("'")[0])
TERMS = Terms(date(2026, 3, 1), 5, zip3_allowed(DATABASE, strict=False))
USES = (None, *Use)

DIRECT = (
    Phi.NAME, Phi.PHONE, Phi.FAX, Phi.EMAIL, Phi.SSN, Phi.MEDICAL_RECORD_NUMBER, Phi.HEALTH_PLAN_NUMBER,
    Phi.ACCOUNT_NUMBER, Phi.LICENSE_NUMBER, Phi.VEHICLE, Phi.DEVICE, Phi.URL, Phi.IP_ADDRESS, Phi.BIOMETRIC, Phi.PHOTO,
)  # fmt: skip
"""Of the 16 of 45 CFR 164.514(e)(2) all but (ii), the address without town, state and ZIP code, which is GEOGRAPHY."""


def column(made: pl.Expr, *values: str | None) -> list[str | None]:
    """Values of an expression over a column `value`, with a column `country` of nulls."""
    frame = pl.DataFrame({"value": values}, schema={"value": pl.String}).with_columns(country=pl.lit(None, pl.String))
    return frame.select(made.alias("made")).get_column("made").to_list()


@pytest.mark.parametrize("kind", [*DIRECT, Phi.OTHER_IDENTIFIER])
def test_direct_identifiers_are_exported_by_no_method(kind: Phi) -> None:
    for method, use, shift in product(Method, USES, (True, False)):
        for kinds in ([kind], [Phi.CLINICAL, kind], [kind, Phi.DATE], [kind, Phi.FREE_TEXT]):
            assert rule_of(kinds, method, use, shift=shift) is None
            everything = APPROVABLE - {kind}
            assert rule_of(kinds, method, use, shift=shift, approved=everything) is None


@pytest.mark.parametrize(
    ("kind", "use", "safe_harbor", "limited"),
    [
        (None, None, Rule.KEEP, Rule.KEEP),
        (Phi.CLINICAL, None, Rule.KEEP, Rule.KEEP),
        (None, Use.STATE, Rule.STATE, Rule.KEEP),
        (Phi.DATE, None, Rule.YEAR, Rule.KEEP),
        (Phi.DATE, Use.BIRTH, Rule.BIRTH_YEAR, Rule.KEEP),
        (Phi.DATE, Use.AGE, Rule.AGE_BAND, Rule.AGE),
        (Phi.DATE, Use.CITY, None, None),
        (Phi.GEOGRAPHY, None, None, None),
        (Phi.GEOGRAPHY, Use.CITY, None, Rule.KEEP),
        (Phi.GEOGRAPHY, Use.POSTAL_CODE, Rule.ZIP3, Rule.ZIP5),
        (Phi.FREE_TEXT, None, None, Rule.SCRUB),
        (Phi.CLINICAL, Use.BIRTH, None, None),
    ],
)
def test_rules_of_the_other_kinds(kind: Phi | None, use: Use | None, safe_harbor: Rule, limited: Rule) -> None:
    kinds = [kind] if kind else []
    assert rule_of(kinds, Method.SAFE_HARBOR, use, shift=True, approved=APPROVABLE) is safe_harbor
    assert rule_of(kinds, Method.LIMITED, use, approved=APPROVABLE) is limited
    assert rule_of(kinds, Method.TRUSTED, use) is limited
    moved = Rule.SHIFT if kind is Phi.DATE and limited is Rule.KEEP else limited
    assert rule_of(kinds, Method.LIMITED, use, shift=True) is moved
    assert rule_of(kinds, Method.TRUSTED, use, shift=True) is moved


def test_trusted_keeps_what_is_approved() -> None:
    assert rule_of([Phi.DATE], Method.TRUSTED, shift=True, approved=frozenset({Phi.DATE})) is Rule.KEEP
    assert rule_of([Phi.DATE], Method.TRUSTED, Use.AGE, approved=frozenset({Phi.DATE})) is Rule.AGE
    for kind in (Phi.GEOGRAPHY, Phi.MEDICAL_RECORD_NUMBER):
        assert rule_of([kind], Method.TRUSTED, approved=frozenset({kind})) is Rule.KEEP
        assert rule_of([kind], Method.LIMITED, approved=frozenset({kind})) is None
        assert rule_of([kind], Method.TRUSTED, approved=APPROVABLE - {kind}) is None
        assert rule_of([kind, Phi.NAME], Method.TRUSTED, approved=frozenset({kind})) is None
    for kind in set(Phi) - APPROVABLE:
        with pytest.raises(ValueError, match=f"No approval covers {kind.value}"):
            rule_of([Phi.DATE], Method.TRUSTED, approved=frozenset({kind}))


def test_a_release_is_one_select() -> None:
    rows = {
        "birth_date": ["1934-01-02", "1900-01-01", "2026-02-03", None],
        "lived_until": ["2026-03-01", "1991-05-06", "2026-03-01", "2026-03-01"],
        "admitted": ["2022-03-01T10:00:00-05:00", "1931-07-01", "2026-02-03", "2020"],
        "shift_days": [-60, 1, 365, None],
        "postal_code": ["02139-1234", "03601", "10115", None],
        "state": ["Massachusetts", "nh", "Berlin", "AE"],
        "country": ["US", None, "DE", "USA"],
        "code": ["4548-4", "4548-4", None, "4548-4"],
    }
    frame = pl.DataFrame(rows, schema_overrides={"shift_days": pl.Int32}).with_columns(age=pl.col("admitted"))
    columns = {
        "birth_date": (Rule.BIRTH_YEAR, [None, None, 2026, None]),
        "lived_until": (Rule.AGE_BAND, ["90+", "90+", "0-4", None]),
        "admitted": (Rule.YEAR, [2022, None, 2026, 2020]),
        "postal_code": (Rule.ZIP3, ["021", "000", "000", "000"]),
        "state": (Rule.STATE, ["MA", "NH", None, None]),
        "code": (Rule.KEEP, rows["code"]),
    }
    shown = frame.lazy().select([expression(rule, name, TERMS) for name, (rule, _) in columns.items()]).collect()
    assert shown.to_dict(as_series=False) == {name: values for name, (_, values) in columns.items()}
    columns = {
        "birth_date": (Rule.SHIFT, ["1933-11-03", "1900-01-02", "2027-02-03", None]),
        "lived_until": (Rule.AGE, [92, 91, 0, None]),
        "admitted": (Rule.SHIFT, ["2021-12-31T10:00:00-05:00", "1931-07-02", "2027-02-03", None]),
        "age": (Rule.AGE, [88, 31, 0, None]),
        "postal_code": (Rule.ZIP5, ["02139", "03601", "10115", None]),
    }
    shown = frame.lazy().select([expression(rule, name, TERMS) for name, (rule, _) in columns.items()]).collect()
    assert shown.to_dict(as_series=False) == {name: values for name, (_, values) in columns.items()}
    with pytest.raises(ValueError, match="one by one"):
        expression(Rule.SCRUB, "note", TERMS)


def first(text: str) -> date:
    """The first day that a FHIR date may mean."""
    return date.fromisoformat((text[:10] + "-01-01")[:10])


def moved(text: str, days: int) -> str:
    """The oracle of a shift."""
    return str(first(text) + timedelta(days=days))[: len(text)] + text[10:]


DAYS = st.dates(date(1902, 1, 1), date(2200, 1, 1)).map(str)
TIMES = st.sampled_from(["T00:00Z", "T23:59:59.999-05:00", "T10:11:12+10:00"])
TEXTS = st.one_of(
    DAYS, DAYS.map(lambda day: day[:7]), DAYS.map(lambda day: day[:4]), st.builds(str.__add__, DAYS, TIMES)
)
SHIFTS = st.integers(-365, 365).filter(bool)


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=20), days=SHIFTS)
def test_shifted_dates_keep_precision_time_intervals_and_order(texts: list[str], days: int) -> None:
    found = column(shifted(pl.col("value"), pl.lit(days, pl.Int32)), *texts)
    assert found == [moved(text, days) for text in texts]
    for (before, after), (other, other_after) in product(zip(texts, found, strict=True), repeat=2):
        assert after is not None
        assert other_after is not None
        precision = min(len(before), len(other), 10)
        if first(before) <= first(other):
            assert after[:precision] <= other_after[:precision]
        if len(before) > 10 and len(other) > 10:
            instants = [datetime.fromisoformat(text) for text in (before, other, after, other_after)]
            assert instants[1] - instants[0] == instants[3] - instants[2]
        elif precision == 10:
            told = [date.fromisoformat(text[:10]) for text in (before, other, after, other_after)]
            assert told[1] - told[0] == told[3] - told[2]


@pytest.mark.parametrize(
    ("text", "days", "result"),
    [
        ("9999-12-31", 1, None), ("9999-12-31", -1, "9999-12-30"), ("2024-02-29", 365, "2025-02-28"),
        ("2020", -1, "2019"), ("2020-02", 29, "2020-03"), ("2021-02-30", 1, None), ("soon", 1, None), (None, 1, None),
        ("2020-01-01", None, None),
    ],
)  # fmt: skip
def test_shifts_at_their_boundaries(text: str | None, days: int | None, result: str | None) -> None:
    assert column(shifted(pl.col("value"), pl.lit(days, pl.Int32)), text) == [result]


def test_the_vintages_are_those_of_the_database() -> None:
    refused = {vintage: set(prefixes.split()) for vintage, prefixes in REFUSED.items()}
    assert {vintage: len(prefixes) for vintage, prefixes in refused.items()} == {2020: 18, 2010: 14, 2000: 17}
    assert zip3_allowed(DATABASE, strict=False) == set(DATABASE)
    assert len(DATABASE) == 876
    assert refused[2020].isdisjoint(DATABASE)
    assert set(DATABASE) - zip3_allowed(DATABASE, strict=True) == {"063", "790", "830", "831", "890"}


@pytest.mark.parametrize(
    ("postal_code", "shown", "strict"),
    [
        ("02139", "021", "021"), ("02139-4307", "021", "021"), ("06390", "063", "000"), ("03601", "000", "000"),
        ("59101", "591", "591"), ("55601", "000", "000"), ("09123", "000", "000"), ("96201", "000", "000"),
        ("34002", "000", "000"), ("00012", "000", "000"), ("", "000", "000"), (None, "000", "000"),
        ("021", "000", "000"), ("2139", "000", "000"), (" 02139", "000", "000"), ("02139\n", "000", "000"),
        ("021390000", "000", "000"),
        ("K1A 0B1", "000", "000"), ("０２１３９", "000", "000"), ("Boston", "000", "000"),
    ],
)  # fmt: skip
def test_three_digits_of_a_zip_code(postal_code: str | None, shown: str, strict: str) -> None:
    for is_strict, expected in ((False, shown), (True, strict)):
        made = zip3(pl.col("value"), pl.col("country"), zip3_allowed(DATABASE, strict=is_strict))
        assert column(made, postal_code) == [expected]


@settings(max_examples=100, deadline=None)
@given(codes=st.lists(st.one_of(st.none(), st.text(max_size=8), st.from_regex(r"\d{5}(-\d{4})?", fullmatch=True))))
def test_no_zip_shows_more_than_its_prefix(codes: list[str | None]) -> None:
    shown = column(zip3(pl.col("value"), pl.col("country"), TERMS.prefixes), *codes)
    whole = [code if code and re.fullmatch(r"[0-9]{5}(-[0-9]{4})?", code) else None for code in codes]
    assert shown == [code[:3] if code and code[:3] in DATABASE else "000" for code in whole]
    assert column(zip5(pl.col("value")), *codes) == [code and code[:5] for code in whole]


@pytest.mark.parametrize("country", ["US", "usa ", "United States", None])
def test_states_are_two_letters_and_nothing_else(country: str | None) -> None:
    made = state(pl.col("value"), pl.lit(country, pl.String))
    names = ["MA", " massachusetts", "Puerto Rico", "DC", "AA", "AE", "AP", "Boston, MA", "Boston", "", None]
    assert column(made, *names) == ["MA", "MA", "PR", "DC", *[None] * 7]
    assert len(STATES) == len(set(STATES.values())) == 56


def test_places_of_other_countries_are_none() -> None:
    for country in ("DE", "CA", "Mexico", ""):
        abroad = pl.lit(country, pl.String)
        assert column(state(pl.col("value"), abroad), "MA") == [None]
        assert column(zip3(pl.col("value"), abroad, TERMS.prefixes), "10115") == ["000"]


def numbers(keys: Sequence[str | None], seed: int, first: int = 1) -> dict[str, int]:
    """Number of each key."""
    return dict(numbered(pl.DataFrame({"key": keys}, schema={"key": pl.String}), "key", seed, first).rows())


@settings(max_examples=100, deadline=None)
@given(
    keys=st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=30),
    seed=st.integers(0, 2**64 - 1),
    first=st.integers(1, 2**40),
    random=st.randoms(use_true_random=False),
)
def test_numbers_are_dense_repeatable_and_no_function_of_a_key(
    keys: list[str | None], seed: int, first: int, random: object
) -> None:
    found = numbers(keys, seed, first)
    distinct = {key for key in keys if key is not None}
    assert found.keys() == distinct
    assert sorted(found.values()) == list(range(first, first + len(distinct)))
    random.shuffle(keys)  # pyright: ignore[reportAttributeAccessIssue] - random.Random, as Hypothesis makes it
    assert numbers(keys, seed, first) == found
    renamed = numbers([None if key is None else f"z{key}" for key in keys], seed, first)
    assert renamed == {f"z{key}": number for key, number in found.items()}


def test_every_number_is_as_likely_for_every_key() -> None:
    keys = [f"{place:03}" for place in range(8)]
    counted = Counter(pair for seed in range(4000) for pair in numbers(keys, seed).items())
    assert len(counted) == 64
    assert all(400 < count < 600 for count in counted.values()), counted  # 500 expected, 4.8 standard deviations
