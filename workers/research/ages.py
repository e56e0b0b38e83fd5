"""Ages and years that Safe Harbor lets through, judged together and not one by one.

45 CFR 164.514(b)(2)(i)(C) removes all elements of dates except the year, "and all ages over 89 and all elements of
dates (including year) indicative of such age, except that such ages and elements may be aggregated into a single
category of age 90 or older". A row tells an age in several ways, and each is no more than a latest year of birth:

- a year of birth B:                     born in B
- a year Y of any event (or of death):   born in Y or before
- an age of at least `low` in a year Y:  born in Y - low or before

With a release in the year R, all that follows from a latest year of birth b is an age of at most R - b, and of several
statements the earliest b decides. So no statement with R - b > 89 is told, whoever the patient is, alive or not: the
death that would explain an old year may be missing from the columns of the release. Then nothing that is told gives an
age over 89 at any event, at death or at the release, in whatever combination: a first event of 1931 is gone as a birth
in 1931 is. The one statement of such an age is the patient's own band, "90+", at the end of life or at the release,
with no more exact one beside it. Years after R are not told either: nothing has happened in them.

A year of birth beside a band tells on which side of the release day the birthday lies, unless every day of that year
gives the same band: born in 1951 and 75 on January 3, 2026 is born on one of three days. `birth_year` withholds it.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import polars as pl

from workers.research.dates import first_day, last_day

LAST_BAND = 90
"""Age from which there is one category."""


class Ages(NamedTuple):
    """The least and the greatest age (completed years, Int32) that two dates allow; equal where both are days.

    Nobody is born where the greatest is negative, and nothing is known where it is null, whatever the least is.
    """

    youngest: pl.Expr
    oldest: pl.Expr


def lived_until(deceased: pl.Expr, died: pl.Expr, release: date) -> pl.Expr:
    """The FHIR date up to which somebody ages: that of death (Boolean, FHIR date), at most the release.

    Null for somebody who died nobody knows when.
    """
    day = first_day(died)
    return (
        pl.when(day <= release)
        .then(died)
        .when((day > release) | (died.is_null() & deceased.fill_null(value=False).not_()))
        .then(pl.lit(release.isoformat()))
    )


def calendar_ages(birth: pl.Expr, on: pl.Expr) -> Ages:
    """Bounds of the age on a date. Who was born on February 29 completes a year on March 1 where there is no such day.

    Of a partial date of birth the days after `on` are left out: who has a record is born.
    """
    youngest = (_in_order(first_day(on)) - _in_order(last_day(birth))) // _YEAR
    oldest = (_in_order(last_day(on)) - _in_order(first_day(birth))) // _YEAR
    return Ages(youngest.clip(lower_bound=0), oldest)


def calendar_age(birth: pl.Expr, on: pl.Expr) -> pl.Expr:
    """Completed years on a date; null where the precision of the dates leaves them open, and before birth."""
    youngest, oldest = calendar_ages(birth, on)
    return pl.when(youngest == oldest).then(oldest)


_YEAR = 1_00_00
"""What makes a year of the difference of two days as _in_order writes them: y2 - y1 - ((m2, d2) < (m1, d1))."""


def _in_order(day: pl.Expr) -> pl.Expr:
    """A day as the number yyyymmdd."""
    return day.dt.year() * _YEAR + day.dt.month().cast(pl.Int32) * 100 + day.dt.day()


def age_band(ages: Ages, width: int) -> pl.Expr:
    """The band of `width` years ("40-44") that all possible ages lie in, or "90+"; else null.

    Raises ValueError for a width that does not divide 90: one of its bands would straddle 89 and 90.
    """
    if width < 1 or LAST_BAND % width:
        raise ValueError(f"A band of {width} years straddles 89 and 90.")
    names = {low: f"{low}-{low + width - 1}" for low in range(0, LAST_BAND, width)} | {LAST_BAND: f"{LAST_BAND}+"}
    return _band_from(ages, width).replace_strict(names, default=None, return_dtype=pl.String)


def _band_from(ages: Ages, width: int) -> pl.Expr:
    """The age from which the band of all possible ages goes, null where they lie in several."""
    low, high = (each.clip(upper_bound=LAST_BAND) // width * width for each in ages)
    return pl.when(low == high).then(high)


def year_of(date_time: pl.Expr, release: date) -> pl.Expr:
    """The year (Int32) of a FHIR date, where no age over 89 follows from it by the end of the year of the release."""
    year = first_day(date_time).dt.year()
    return pl.when(year.is_between(release.year - LAST_BAND + 1, release.year)).then(year)


def birth_year(birth: pl.Expr, until: pl.Expr, release: date, width: int) -> pl.Expr:
    """The year of birth beside the band of `width` years as of `until`; 90 where the release has no band.

    Null where the year may not be told, for a birth after `until`, and where the year alone does not say the same band.
    """
    shown = _band_from(calendar_ages(birth, until), width)
    alone = _band_from(calendar_ages(birth.str.slice(0, 4), until), width)
    return pl.when(shown.eq_missing(alone)).then(year_of(birth, release))
