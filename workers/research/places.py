"""Places that Safe Harbor lets through, 45 CFR 164.514(b)(2)(i)(B).

These are the state, and three digits of a ZIP code where more than 20,000 people live. Only what is known to be one is
kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import polars as pl

ZIP3_VINTAGE = "2020 Census, population of ZCTAs by three-digit prefix (db/migrations/access/0002_zip3.sql)"
"""Where the allow-list of the database, access.zip3, comes from."""

REFUSED = {
    2020: "036 059 102 202 203 204 205 369 556 692 753 772 821 823 878 879 884 893",
    2010: "036 059 102 203 205 369 556 692 821 823 878 879 884 893",
    2000: "036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893",
}
"""Prefixes of 20,000 people or fewer by Census, counted by ZCTA; those of 2000 are the list in the guidance of the
Office for Civil Rights on de-identification (November 26, 2012)."""

NO_ZIP3 = "000"
ZIP = r"^[0-9]{5}(-[0-9]{4})?$"
COUNTRY = ("US", "USA", "UNITED STATES", "UNITED STATES OF AMERICA")

STATES = {
    "ALABAMA": "AL", "ALASKA": "AK", "ARIZONA": "AZ", "ARKANSAS": "AR", "CALIFORNIA": "CA", "COLORADO": "CO",
    "CONNECTICUT": "CT", "DELAWARE": "DE", "DISTRICT OF COLUMBIA": "DC", "FLORIDA": "FL", "GEORGIA": "GA",
    "HAWAII": "HI", "IDAHO": "ID", "ILLINOIS": "IL", "INDIANA": "IN", "IOWA": "IA", "KANSAS": "KS", "KENTUCKY": "KY",
    "LOUISIANA": "LA", "MAINE": "ME", "MARYLAND": "MD", "MASSACHUSETTS": "MA", "MICHIGAN": "MI", "MINNESOTA": "MN",
    "MISSISSIPPI": "MS", "MISSOURI": "MO", "MONTANA": "MT", "NEBRASKA": "NE", "NEVADA": "NV", "NEW HAMPSHIRE": "NH",
    "NEW JERSEY": "NJ", "NEW MEXICO": "NM", "NEW YORK": "NY", "NORTH CAROLINA": "NC", "NORTH DAKOTA": "ND",
    "OHIO": "OH", "OKLAHOMA": "OK", "OREGON": "OR", "PENNSYLVANIA": "PA", "RHODE ISLAND": "RI",
    "SOUTH CAROLINA": "SC", "SOUTH DAKOTA": "SD", "TENNESSEE": "TN", "TEXAS": "TX", "UTAH": "UT", "VERMONT": "VT",
    "VIRGINIA": "VA", "WASHINGTON": "WA", "WEST VIRGINIA": "WV", "WISCONSIN": "WI", "WYOMING": "WY",
    "AMERICAN SAMOA": "AS", "GUAM": "GU", "NORTHERN MARIANA ISLANDS": "MP", "PUERTO RICO": "PR", "VIRGIN ISLANDS": "VI",
}  # fmt: skip
"""Two letters of each state, district and territory; the military AA, AE and AP are none."""

Prefixes: TypeAlias = frozenset[str]
"""Three-digit prefixes."""


def zip3_allowed(database: Iterable[str], *, strict: bool) -> Prefixes:
    """Prefixes that may be shown: those of access.zip3, `strict`: less those that any of the three vintages refuses."""
    refused = {prefix for vintage in REFUSED.values() for prefix in vintage.split()} if strict else set[str]()
    return frozenset(database) - refused


def zip3(postal_code: pl.Expr, country: pl.Expr, allowed: Prefixes) -> pl.Expr:
    """The prefix of a ZIP or ZIP+4 that is allowed, else 000: blank, foreign, military, malformed, sparse.

    A country that is missing counts as the United States.
    """
    prefix = postal_code.str.slice(0, 3)
    kept = postal_code.str.contains(ZIP) & prefix.is_in(sorted(allowed)) & _domestic(country)
    return pl.when(kept).then(prefix).otherwise(pl.lit(NO_ZIP3))


def zip5(postal_code: pl.Expr) -> pl.Expr:
    """The five digits of a ZIP or ZIP+4, else null."""
    return pl.when(postal_code.str.contains(ZIP)).then(postal_code.str.slice(0, 5))


def state(name: pl.Expr, country: pl.Expr) -> pl.Expr:
    """Two letters of a state by name or letters; null for all else, as a text in that place may be a town."""
    known = STATES | {code: code for code in STATES.values()}
    letters = name.str.strip_chars().str.to_uppercase().replace_strict(known, default=None, return_dtype=pl.String)
    return pl.when(_domestic(country)).then(letters)


def _domestic(country: pl.Expr) -> pl.Expr:
    return country.str.strip_chars().str.to_uppercase().is_in(COUNTRY).fill_null(value=True)
