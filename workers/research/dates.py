"""FHIR dates as Polars expressions: text of the domain access.fhir_date_time, an instant or a date of less precision.

A dateTime counts as the day that is written in it, whatever its offset. What is no such text, or no day of the
calendar, is null everywhere.
"""

from __future__ import annotations

import polars as pl

FHIR_DATE_TIME = (
    r"^[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:[0-9]{2}))?)?)?$"
)
"""As the domain has it, in ASCII digits only."""

DAY_LENGTH = len("2020-02-29")


def first_day(date: pl.Expr) -> pl.Expr:
    """The first day (Date) that a FHIR date may mean."""
    return _completed(date, "-01-01")


def last_day(date: pl.Expr) -> pl.Expr:
    """The last day (Date) that a FHIR date may mean."""
    is_month = date.str.len_bytes() == len("2020-02")
    return pl.when(is_month).then(first_day(date).dt.month_end()).otherwise(_completed(date, "-12-31"))


def _completed(date: pl.Expr, ending: str) -> pl.Expr:
    """The day of a date, where that is a year or a month the one that its ending makes."""
    day = (date + ending).str.slice(0, DAY_LENGTH).str.to_date("%Y-%m-%d", strict=False)
    return pl.when(date.str.contains(FHIR_DATE_TIME)).then(day)


def shifted(date: pl.Expr, shift_days: pl.Expr) -> pl.Expr:
    """The date moved by whole days, in the precision it had; a dateTime keeps its time of day and its offset.

    Intervals between the days (and between the instants) of one patient stay as they are. A date of a month or a year
    is moved by its first day and cut to its precision again, so two dates stay in the order of their first days as far
    as the coarser precision of both tells it.
    Null without a shift, and outside of the years 0000 to 9999 (9999-12-31 often stands for "no end").
    """
    moved = (first_day(date).cast(pl.Int32) + shift_days).cast(pl.Date).cast(pl.String)
    cut = moved.str.slice(0, date.str.len_bytes().clip(upper_bound=DAY_LENGTH))
    return pl.when(moved.str.len_bytes() == DAY_LENGTH).then(cut + date.str.slice(DAY_LENGTH))
