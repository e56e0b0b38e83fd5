"""Ages by the calendar, and years that tell none over 89: against an oracle, record by record, and an adversary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.research.ages import (
    age_band,
    birth_year,
    calendar_age,
    calendar_ages,
    lived_until,
    year_of,
)
from workers.research.rules import Rule, Terms, expression

RELEASE = date(2026, 3, 1)
MALFORMED = (
    "",
    "unknown",
    "2021-02-30",
    "2021-13",
    "2021-1-5",
    "21-01-05",
    "2021-01-05 10:00",
    "２０２１",
    "2021-00-00",
)


def evaluated(made: pl.Expr, **columns: Sequence[str | bool | None]) -> list[Any]:
    """Values of an expression over columns of texts and Booleans."""
    types = {name: pl.Boolean if name == "deceased" else pl.String for name in columns}
    return pl.DataFrame(columns, schema=types).select(made=made).get_column("made").to_list()


def days_of(text: str | None) -> list[date]:
    """Every day that a well-formed FHIR date may mean."""
    if text is None:
        return []
    day = date.fromisoformat((text + "-01-01")[:10])
    found: list[date] = []
    while str(day).startswith(text[:10]):
        found.append(day)
        day += timedelta(days=1)
    return found


def age(born: date, day: date) -> int:
    """Rule of clinical.md."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def ages(birth: str | None, on: str | None) -> set[int]:
    """All possible ages: no two days that one date may mean are more than a year apart."""
    days = days_of(on)
    return {
        age(born, max(day, born)) for born in days_of(birth) if days and born <= days[-1] for day in (days[0], days[-1])
    }


def band(birth: str | None, on: str | None, width: int) -> str | None:
    """The band in which all possible ages lie."""
    bands = {
        "90+" if years >= 90 else f"{years // width * width}-{years // width * width + width - 1}"
        for years in ages(birth, on)
    }
    return bands.pop() if len(bands) == 1 else None


@pytest.mark.parametrize(
    ("birth", "on", "years", "fives", "tens"),
    [
        ("1936-03-02", "2026-03-01", 89, "85-89", "80-89"),
        ("1936-03-01", "2026-03-01", 90, "90+", "90+"),
        ("1936-02-28", "2026-03-01", 90, "90+", "90+"),
        ("1936-02-29", "2026-02-28", 89, "85-89", "80-89"),
        ("1936-02-29", "2026-03-01", 90, "90+", "90+"),
        ("1936-02-29", "2024-02-28", 87, "85-89", "80-89"),
        ("1936-02-29", "2024-02-29", 88, "85-89", "80-89"),
        ("1900-01-01", "1991-05-06T12:00:00-05:00", 91, "90+", "90+"),
        ("1986-02-28", "2026-03-01", 40, "40-44", "40-49"),
        ("2026-03-01", "2026-03-01", 0, "0-4", "0-9"),
        ("2025-03-02", "2026-03-01", 0, "0-4", "0-9"),
        ("2026-03-02", "2026-03-01", None, None, None),
        ("2149-01-01", "2026-03-01", None, None, None),
        (None, "2026-03-01", None, None, None),
        ("1936-03-01", None, None, None, None),
        ("1936", "2026-03-01", None, None, None),
        ("1936-03", "2026-03-01", None, None, None),
        ("1936-02", "2026-03-01", 90, "90+", "90+"),
        ("1936-04", "2026-03-01", 89, "85-89", "80-89"),
        ("1935", "2026-03-01", None, "90+", "90+"),
        ("1953", "2026-03-01", None, "70-74", "70-79"),
        ("1951", "2026-03-01", None, None, "70-79"),
        ("2026", "2026-03-01", 0, "0-4", "0-9"),
        ("2026-04", "2026-03-01", None, None, None),
        ("1936-07-01", "2026", None, None, None),
        ("1953-07-01", "2026-07", 73, "70-74", "70-79"),
        ("1953-07-02", "2026-07", None, "70-74", "70-79"),
    ],
)
def test_ages_at_their_boundaries(birth: str, on: str, years: int | None, fives: str | None, tens: str | None) -> None:
    of, day = pl.col("birth"), pl.col("on")
    made = pl.concat_list(
        calendar_age(of, day).cast(pl.String), *(age_band(calendar_ages(of, day), width) for width in (5, 10))
    )
    assert evaluated(made, birth=[birth], on=[on]) == [[None if years is None else str(years), fives, tens]]
    assert (band(birth, on, 5), band(birth, on, 10)) == (fives, tens)


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_date_has_no_age_and_no_year(text: str) -> None:
    of, day = pl.col("birth"), pl.col("on")
    for birth, on in ((text, "2026-03-01"), ("1950-01-01", text)):
        assert evaluated(age_band(calendar_ages(of, day), 10), birth=[birth], on=[on]) == [None]
        assert evaluated(calendar_age(of, day), birth=[birth], on=[on]) == [None]
    assert evaluated(year_of(of, RELEASE), birth=[text]) == [None]


@pytest.mark.parametrize("width", [0, -5, 4, 7, 20, 91])
def test_no_band_straddles_90(width: int) -> None:
    with pytest.raises(ValueError, match="straddles 89 and 90"):
        age_band(calendar_ages(pl.col("birth"), pl.col("on")), width)


@pytest.mark.parametrize(
    ("deceased", "died", "until"),
    [
        (None, None, "2026-03-01"),
        (False, None, "2026-03-01"),
        (True, None, None),
        (True, "2020-05-06T07:08:09Z", "2020-05-06T07:08:09Z"),
        (None, "2020-05", "2020-05"),
        (True, "2026-03-02", "2026-03-01"),
        (True, "2020-02-30", None),
        (False, "gone", None),
    ],
)
def test_the_day_up_to_which_somebody_ages(deceased: bool | None, died: str | None, until: str | None) -> None:
    made = lived_until(pl.col("deceased"), pl.col("died"), RELEASE)
    assert evaluated(made, deceased=[deceased], died=[died]) == [until]


@pytest.mark.parametrize(
    ("event", "year"),
    [
        ("1931-05-01", None), ("1936-12-31T23:59:59Z", None), ("1937-01-01T00:00:00Z", 1937), ("1937", 1937),
        ("2026-03-01", 2026), ("2026-12", 2026), ("2027-01-01", None), ("2149-06-01", None), (None, None),
    ],
)  # fmt: skip
def test_years_from_which_an_age_over_89_follows_go(event: str | None, year: int | None) -> None:
    assert evaluated(year_of(pl.col("event"), RELEASE), event=[event]) == [year]


@pytest.mark.parametrize(
    ("birth", "until", "width", "year"),
    [
        ("1936-12-31", "2026-03-01", 90, None),  # 89 today and 90 this year
        ("1937-01-01", "2026-03-01", 90, 1937),
        ("1937-01-01", "2026-03-01", 5, 1937),
        ("1951-02-01", "2026-03-01", 5, None),  # 75: born before March, where the other half of 1951 is 70-74
        ("1951-02-01", "2026-03-01", 10, 1951),
        ("1951-02-01", "2026-12-31", 5, 1951),
        ("1900-05-07", "1991-05-06", 10, None),
        ("1940-05-07", "1990-05-06", 10, None),
        ("1940-05-07", "1995-05-06", 10, 1940),
        ("1980", None, 5, 1980),
        ("1930", None, 5, None),
        ("2026-02-01", "2026-03-01", 5, 2026),
        ("2026-03-02", "2026-03-01", 5, None),
        ("2027-03-02", None, 5, None),
        (None, "2026-03-01", 5, None),
    ],
)
def test_the_year_of_birth_beside_a_band(birth: str, until: str, width: int, year: int | None) -> None:
    made = birth_year(pl.col("birth"), pl.col("until"), RELEASE, width)
    assert evaluated(made, birth=[birth], until=[until]) == [year]


@dataclass(frozen=True)
class Life:
    """A generated patient: FHIR dates, possibly wrong, partial or missing."""

    birth: str | None
    deceased: bool | None
    died: str | None
    events: list[str]


PRECISION = st.sampled_from((10, 10, 10, 7, 4))


@st.composite
def lives(draw: st.DrawFn, release: date) -> Life:
    """Patients of all ages, many about 90 at the release, at death or at an event."""
    near = st.integers(-400, 400).map(lambda days: release - timedelta(days=days))
    day = st.dates(date(1900, 1, 1), date(2030, 12, 31))
    born = draw(st.one_of(day, near.map(lambda day: day.replace(year=day.year - 90, day=min(day.day, 28)))))
    at_90 = st.integers(-3000, 3000).map(lambda days: born + timedelta(days=90 * 365 + days))
    event = st.one_of(day, near, at_90, st.integers(0, 400).map(lambda days: born + timedelta(days=days)))
    died = draw(st.one_of(st.none(), event))
    birth = draw(st.one_of(st.just(born), st.none()))
    return Life(
        birth and str(birth)[: draw(PRECISION)],
        draw(st.sampled_from((None, False, True))) if died is None else True,
        died and str(died)[: draw(PRECISION)],
        [str(each)[: draw(PRECISION)] for each in draw(st.lists(event, min_size=1, max_size=5))],
    )


@st.composite
def releases(draw: st.DrawFn) -> tuple[date, int, list[Life]]:
    """A release day, a width of bands, patients."""
    release = draw(st.dates(date(2023, 1, 1), date(2028, 12, 31)))
    return release, draw(st.sampled_from((5, 10))), draw(st.lists(lives(release), min_size=1, max_size=12))


@dataclass(frozen=True)
class Shown:
    """What a Safe Harbor release shows of a patient: a band, years, and the year of each event."""

    birth_year: int | None
    band: str | None
    death_year: int | None
    events: list[int | None]


def released(release: date, width: int, people: Sequence[Life]) -> Iterator[Shown]:
    """The rules as a release applies them: one select for the patients, one for their events."""
    terms = Terms(release, width, frozenset())
    patients = pl.DataFrame(
        {
            "place": range(len(people)),
            "birth_date": [life.birth for life in people],
            "deceased": [life.deceased for life in people],
            "died": [life.died for life in people],
            "events": [life.events for life in people],
        },
        schema_overrides={"birth_date": pl.String, "deceased": pl.Boolean, "died": pl.String},
    ).with_columns(lived_until=lived_until(pl.col("deceased"), pl.col("died"), release))
    shown = patients.select(
        expression(Rule.BIRTH_YEAR, "birth_date", terms),
        expression(Rule.AGE_BAND, "lived_until", terms),
        expression(Rule.YEAR, "died", terms),
    )
    events = patients.explode("events", empty_as_null=True, keep_nulls=True).select(
        "place", expression(Rule.YEAR, "events", terms)
    )
    of_patients: list[list[int | None]] = [[] for _ in people]
    for place, event in events.rows():
        of_patients[place].append(event)
    for (year, band_shown, death), of_patient in zip(shown.rows(), of_patients, strict=True):
        yield Shown(year, band_shown, death, of_patient)


def latest_births(shown: Shown) -> Iterator[int]:
    """Latest year of birth that each statement but the patient's band allows."""
    yield from (year for year in (shown.birth_year, shown.death_year, *shown.events) if year is not None)


@settings(max_examples=80, deadline=None)
@given(made=releases())
def test_nothing_that_is_shown_gives_an_age_over_89(made: tuple[date, int, list[Life]]) -> None:
    """The adversary puts all statements on a patient together, and takes everybody for alive at the release."""
    release, width, people = made
    for life, shown in zip(people, released(release, width, people), strict=True):
        assert all(release.year - latest <= 89 for latest in latest_births(shown)), (life, shown)
        if shown.band == "90+":
            assert shown.birth_year is None
        elif shown.band:
            low, high = map(int, shown.band.split("-"))
            assert (high - low + 1, low % width, high <= 89) == (width, 0, True)


@settings(max_examples=80, deadline=None)
@given(made=releases())
def test_no_birthday_follows_from_the_day_of_the_release(made: tuple[date, int, list[Life]]) -> None:
    """Beside the band of somebody alive, every day of a year of birth that is shown is as possible as the others."""
    release, width, people = made
    for life, shown in zip(people, released(release, width, people), strict=True):
        if shown.birth_year is not None and shown.band is not None and life.died is None:
            assert band(str(shown.birth_year), str(release), width) == shown.band, (life, shown)


@settings(max_examples=80, deadline=None)
@given(made=releases())
def test_the_rules_are_those_of_the_oracle(made: tuple[date, int, list[Life]]) -> None:
    """Record by record: nothing is shown that is not true, and nothing withheld that may be shown."""
    release, width, people = made

    def year(text: str | None) -> int | None:
        return int(text[:4]) if text and release.year - 90 < int(text[:4]) <= release.year else None

    for life, shown in zip(people, released(release, width, people), strict=True):
        until = str(release) if life.died is None and not life.deceased else life.died
        if until and days_of(until)[0] > release:
            until = str(release)
        assert shown.band == band(life.birth, until, width), life
        alone = band(life.birth[:4], until, width) if life.birth else None
        assert shown.birth_year == (year(life.birth) if alone == shown.band else None), life
        assert shown.death_year == year(life.died)
        assert shown.events == [year(text) for text in life.events], life


@settings(max_examples=150, deadline=None)
@given(dates=st.lists(st.tuples(st.dates(), st.dates()), min_size=1, max_size=60))
def test_ages_follow_the_calendar(dates: list[tuple[date, date]]) -> None:
    found = evaluated(
        calendar_age(pl.col("birth"), pl.col("on")), birth=[str(a) for a, _ in dates], on=[str(b) for _, b in dates]
    )
    assert found == [age(born, day) if born <= day else None for born, day in dates]
