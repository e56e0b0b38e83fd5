"""Masked forms of PostgreSQL: ages by the calendar, no year that tells an age over 89, nothing beyond the form."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.settings import Settings
from db.stores import Stores

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30), min_size=1, max_size=40)
TODAY = datetime.now(UTC).date()

YEARS = "SELECT access.completed_years(birth, day) FROM unnest($1::text[], $2::text[]) AS given (birth, day)"
AGES = "SELECT access.age_in_years($1, $2, $3), access.age_band($1, $2, $3), access.mask_birth_year($1, $3)"
BANDS = """
SELECT access.age_band(birth, NULL, died), access.mask_birth_year(birth, died)
FROM unnest($1::text[], $2::text[]) AS given (birth, died)"""
DATES = """
SELECT v, access.mask_year(v), access.mask_instant(v::timestamptz), access.mask_order(v::timestamptz)
FROM unnest($1::text[]) AS given (v)"""
FORMS = """
SELECT v, access.mask_ssn(v), access.mask_last4(v), access.mask_initial(v), access.mask_initials(ARRAY[v])
FROM unnest($1::text[]) AS given (v)"""


@pytest_asyncio.fixture(scope="session")
async def masks(configured: Settings) -> AsyncIterator[Stores]:
    """Stores that hold the masks and no data."""
    stores = Stores(configured)
    yield stores
    await stores.close()


async def rows(stores: Stores, sql: str, *args: object) -> Sequence[Any]:
    """Rows of a statement over the masks alone."""
    named = "/* masks */ " + sql
    return await stores.clinical.worker_fetch(named, *args)  # pyright: ignore[reportArgumentType] - constants above


def age(born: date, day: date) -> int | None:
    """Rule of clinical.md: y2-y1-((m2,d2)<(m1,d1)); none before birth."""
    years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    return None if day < born else years


@FEW
@given(dates=st.lists(st.tuples(st.dates(), st.dates()), min_size=1, max_size=60))
async def test_ages_follow_the_calendar(masks: Stores, dates: list[tuple[date, date]]) -> None:
    found = await rows(masks, YEARS, [str(born) for born, _ in dates], [str(day) for _, day in dates])
    assert [row[0] for row in found] == [age(born, day) for born, day in dates]


@pytest.mark.parametrize(
    ("born", "day", "years"),
    [
        ("1930-06-15", "2020-06-14", 89), ("1930-06-15", "2020-06-15", 90), ("1930-06-15", "2020-06-16", 90),
        ("1931-06-15", "2020-06-14", 88), ("1931-06-15", "2020-06-15", 89),
        ("1932-02-29", "2022-02-28", 89), ("1932-02-29", "2022-03-01", 90), ("1932-02-29", "2024-02-29", 92),
        ("2019-12-31", "2020-01-01", 0), ("2020-01-01", "2020-01-01", 0), ("2020-01-02", "2020-01-01", None),
        ("1930", "2020-06-15", None), ("1930-06", "2020-06-15", None), ("1930-05", "2020-06-15", 90),
        ("1930-07", "2020-06-15", 89), ("1930-06-15", "2020", None), ("1930-06-15", "2020-07", 90),
        ("2149-01-01", "2020-06-15", None), (None, "2020-06-15", None), ("1930-06-15", None, None),
    ],
)  # fmt: skip
async def test_ages_at_their_boundaries(masks: Stores, born: str | None, day: str | None, years: int | None) -> None:
    assert [row[0] for row in await rows(masks, YEARS, [born], [day])] == [years]


async def test_ages_today_and_at_death(masks: Stores) -> None:
    years = [
        ((f"{TODAY.year - 90}-{TODAY:%m-%d}", False, None), ("90", "90+", None)),
        ((f"{TODAY.year - 89}-01-01", None, None), ("89", "85-89", str(TODAY.year - 89))),
        ((f"{TODAY.year - 43}-01-01", None, None), ("43", "40-44", str(TODAY.year - 43))),
        ((f"{TODAY:%Y-%m-%d}", None, None), ("0", "0-4", str(TODAY.year))),
        (("1900-01-01", True, "1991-05-06T12:00:00-05:00"), ("91", "90+", None)),
        (("1900-05-07", True, "1989-05-06"), ("88", "85-89", "1900")),
        (("1900-05-07", True, "1990-05-06"), ("89", "90+", None)),
        (("1900-01-01", True, None), (None, None, None)),
        (("1980-01-01", True, None), (None, None, "1980")),
        ((f"{TODAY.year + 1}-01-01", None, None), (None, None, None)),
        (("2149-01-01", None, None), (None, None, None)),
        ((None, None, None), (None, None, None)),
        (("1980", None, None), (None, f"{(TODAY.year - 1980) // 5 * 5}-{(TODAY.year - 1980) // 5 * 5 + 4}", "1980")),
    ]
    for given_, expected in years:
        assert [tuple(row) for row in await rows(masks, AGES, *given_)] == [expected], given_


@FEW
@given(lives=st.lists(st.tuples(st.dates(date(1800, 1, 1)), st.dates(date(1800, 1, 1))), min_size=1, max_size=60))
async def test_no_band_and_no_year_tells_an_age_over_89(masks: Stores, lives: list[tuple[date, date]]) -> None:
    """The band and the year of birth are judged together: of both the greatest age that may be meant is below 90."""
    found = await rows(masks, BANDS, [str(born) for born, _ in lives], [str(died) for _, died in lives])
    for (born, died), (band, year) in zip(lives, found, strict=True):
        at_most = died.year - born.year
        assert year == (str(born.year) if 0 <= at_most < 90 else None)
        if born > died:
            assert band is None
        elif at_most >= 90:
            assert band == "90+"
        else:
            low, high = map(int, band.split("-"))
            assert low % 5 == 0
            assert (high - low, low <= at_most <= high, high < 90) == (4, True, True)
            assert band not in (str(born), str(at_most))


@FEW
@given(dates=st.lists(st.dates(date(1800, 1, 1), date(2199, 12, 31)), min_size=1, max_size=40))
async def test_years_of_records_tell_no_age_over_89(masks: Stores, dates: list[date]) -> None:
    """A first event of 1931 tells an age as a birth in 1931 does; what orders lists keeps one instant for them."""
    last = datetime(TODAY.year - 90, 1, 1, tzinfo=UTC)
    written = [form for one in dates for form in (f"{one}", f"{one}T12:30:00Z")]
    for value, year, instant, order in await rows(masks, DATES, written):
        told = int(value[:4]) > TODAY.year - 90
        assert year == (value[:4] if told else None)
        assert year is None or re.fullmatch(r"\d{4}", year)
        assert instant == (datetime(int(value[:4]), 1, 1, tzinfo=UTC) if told else None)
        assert order == (instant or last)


@FEW
@given(texts=TEXTS)
async def test_texts_keep_what_the_form_allows(masks: Stores, texts: list[str]) -> None:
    """Of any text: four characters of a long one, a letter of a name; no form is the value itself."""
    for value, ssn, last4, initial, initials in await rows(masks, FORMS, texts):
        assert ssn == "***"
        assert last4 == ("***" + value[-4:] if len(value) > 7 else "***")
        assert initials == [initial]
        assert re.fullmatch(r"[^\W\d_]\.|\*\.", initial)
        assert initial[0] == "*" or value.strip().startswith(initial[0])
        assert value not in (ssn, last4, initial) or value in ("***", "*.")


@FEW
@given(digits=st.text("0123456789", min_size=9, max_size=9), dashed=st.booleans())
async def test_social_security_numbers_keep_four_digits(masks: Stores, digits: str, dashed: bool) -> None:
    value = f"{digits[:3]}-{digits[3:5]}-{digits[5:]}" if dashed else digits
    [(_, ssn, *_)] = await rows(masks, FORMS, [value])
    assert ssn == f"***-**-{digits[5:]}"
    assert not re.fullmatch(r"\d{3}-?\d{2}-?\d{4}", ssn)


@pytest.mark.parametrize("value", ["123-45-678", "123456789012", "12345678９", "1234567890", "", "abc-de-fghi"])
async def test_what_is_no_social_security_number_keeps_nothing(masks: Stores, value: str) -> None:
    assert [row[1] for row in await rows(masks, FORMS, [value])] == ["***"]


@pytest.mark.parametrize(
    ("name", "initial"),
    [
        ("Jane", "J."),
        (" Jane ", "J."),
        ("Élodie", "É."),
        ("J.", "*."),
        ("Yi", "*."),
        ("331", "*."),
        ("", "*."),
        ("-ab", "*."),
    ],
)
async def test_names_keep_their_initial(masks: Stores, name: str, initial: str) -> None:
    assert [row[3] for row in await rows(masks, FORMS, [name])] == [initial]


async def test_nothing_masked_stays_nothing(masks: Stores) -> None:
    [row] = await rows(masks, "SELECT access.mask_ssn(NULL), access.mask_initial(NULL), access.mask_initials(NULL), "
        "access.mask_year(NULL), access.mask_instant(NULL), access.mask_order(NULL)")  # fmt: skip
    assert list(row) == [None] * 6
