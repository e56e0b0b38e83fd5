"""What happens to a column of a release: by its PHI kinds as the graph declares them, the method, and its use.

One table for each method; what it does not have is not exported. Safe Harbor is 45 CFR 164.514(b)(2), the limited data
set 164.514(e)(2), which leaves dates, ages, town, state and ZIP code and takes 16 direct identifiers out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import TypeAlias

import polars as pl

from db.policy import Phi
from db.research_method import APPROVABLE, Method
from workers.research.ages import age_band, birth_year, calendar_age, calendar_ages, year_of
from workers.research.dates import shifted
from workers.research.places import Prefixes, state, zip3, zip5


class Use(Enum):
    """What a column is for, where its kind alone does not decide."""

    BIRTH = "BIRTH"
    """Date of birth."""
    AGE = "AGE"
    """The patient's age: a date up to which the patient ages."""
    CITY = "CITY"
    POSTAL_CODE = "POSTAL_CODE"
    STATE = "STATE"


class Rule(Enum):
    """What a column becomes; see `expression`."""

    KEEP = "KEEP"
    YEAR = "YEAR"
    BIRTH_YEAR = "BIRTH_YEAR"
    AGE_BAND = "AGE_BAND"
    AGE = "AGE"
    SHIFT = "SHIFT"
    ZIP3 = "ZIP3"
    ZIP5 = "ZIP5"
    STATE = "STATE"
    SCRUB = "SCRUB"
    DICOM = "DICOM"
    """An image, by the profile of PS3.15."""


Rules: TypeAlias = Mapping[tuple[Phi | None, Use | None], Rule]

SAFE_HARBOR: Rules = {
    (None, None): Rule.KEEP,
    (None, Use.STATE): Rule.STATE,
    (Phi.DATE, None): Rule.YEAR,
    (Phi.DATE, Use.BIRTH): Rule.BIRTH_YEAR,
    (Phi.DATE, Use.AGE): Rule.AGE_BAND,
    (Phi.GEOGRAPHY, Use.POSTAL_CODE): Rule.ZIP3,
}
LIMITED: Rules = {
    (None, None): Rule.KEEP,
    (None, Use.STATE): Rule.KEEP,
    (Phi.DATE, None): Rule.SHIFT,
    (Phi.DATE, Use.BIRTH): Rule.SHIFT,
    (Phi.DATE, Use.AGE): Rule.AGE,
    (Phi.GEOGRAPHY, Use.CITY): Rule.KEEP,
    (Phi.GEOGRAPHY, Use.POSTAL_CODE): Rule.ZIP5,
    (Phi.FREE_TEXT, None): Rule.SCRUB,
}
RULES: Mapping[Method, Rules] = {Method.SAFE_HARBOR: SAFE_HARBOR, Method.LIMITED: LIMITED, Method.TRUSTED: LIMITED}


def rule_of(
    kinds: Sequence[Phi],
    method: Method,
    use: Use | None = None,
    *,
    shift: bool = False,
    approved: frozenset[Phi] = frozenset(),
) -> Rule | None:
    """Rule for a column of these PHI kinds (none: no identifier); None: not exported.

    `shift` moves the dates of LIMITED and TRUSTED instead of keeping them; `approved` are the kinds that TRUSTED keeps
    as they are, which the other methods disregard. Of several identifying kinds no rule is sure. Raises ValueError for
    a kind that nobody can approve.
    """
    if not approved <= APPROVABLE:
        raise ValueError(f"No approval covers {min(kind.value for kind in approved - APPROVABLE)}.")
    kept = approved if method is Method.TRUSTED else frozenset[Phi]()
    identifying = set(kinds) - {Phi.CLINICAL}
    if len(identifying) > 1:
        return None
    kind = next(iter(identifying), None)
    if kind in kept - {Phi.DATE}:
        return Rule.KEEP
    rule = RULES[method].get((kind, use))
    return Rule.KEEP if rule is Rule.SHIFT and (not shift or Phi.DATE in kept) else rule


@dataclass(frozen=True, slots=True)
class Terms:
    """What all rules of a release share: its day, the width of its age bands in years, the ZIP prefixes it may show."""

    release: date
    width: int
    prefixes: Prefixes


def expression(rule: Rule, column: str, terms: Terms) -> pl.Expr:
    """The column after the rule, under its own name. All are text, and FHIR dates, unless a rule keeps them.

    Rules read these columns beside it: AGE and AGE_BAND `birth_date`; BIRTH_YEAR `lived_until` (see ages.py); SHIFT
    `shift_days` (Int32); ZIP3 and STATE `country`. Raises ValueError for SCRUB and
    DICOM, which are no matter of columns: each text is scrubbed of the names and numbers of its patient (db/scrub).
    """
    value = pl.col(column)
    birth, country = pl.col("birth_date"), pl.col("country")
    match rule:
        case Rule.KEEP:
            return value
        case Rule.YEAR:
            made = year_of(value, terms.release)
        case Rule.BIRTH_YEAR:
            made = birth_year(value, pl.col("lived_until"), terms.release, terms.width)
        case Rule.AGE_BAND:
            made = age_band(calendar_ages(birth, value), terms.width)
        case Rule.AGE:
            made = calendar_age(birth, value)
        case Rule.SHIFT:
            made = shifted(value, pl.col("shift_days"))
        case Rule.ZIP3:
            made = zip3(value, country, terms.prefixes)
        case Rule.ZIP5:
            made = zip5(value)
        case Rule.STATE:
            made = state(value, country)
        case Rule.SCRUB | Rule.DICOM:
            raise ValueError(f"{column}: texts and images are made one by one.")
    return made.alias(column)
