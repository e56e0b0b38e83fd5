"""The patients of a release: what the registry says of them, and what the method leaves of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import polars as pl

from db.policy import Phi
from db.research import Reading
from db.research_method import Method
from graph.datatype import Address
from graph.patient import Patient
from workers.research.ages import lived_until
from workers.research.fields import field, kinds
from workers.research.job import Job
from workers.research.reading import Rate, Types, read
from workers.research.rules import Rule, Terms, Use, expression

# The home address first, else whichever stands first.
PEOPLE: LiteralString = """/* research_people */
SELECT m.research_id, m.partition, s.shift_days, p.gender, p.birth_sex, p.birth_date, p.deceased, p.deceased_date_time,
    p.race, p.ethnicity, p.multiple_birth, home ->> 'state' AS state, home ->> 'city' AS city,
    home ->> 'postalCode' AS postal_code, home ->> 'country' AS country
FROM (
    SELECT DISTINCT research_id, partition, patient_id FROM vault.member WHERE extraction_id = $1::uuid
) AS m
JOIN vault.surrogate AS s ON s.project_id = $2::uuid AND s.patient_id = m.patient_id
JOIN clinical.patient AS p ON p.id = m.patient_id
LEFT JOIN LATERAL (
    SELECT one FROM jsonb_array_elements(p.address) WITH ORDINALITY AS listed (one, place)
    ORDER BY one ->> 'use' = 'home' DESC NULLS LAST, place LIMIT 1
) AS a (home) ON true"""

TYPES: Types = {
    "research_id": pl.Int64,
    "partition": pl.Int32,
    "shift_days": pl.Int32,
    "gender": pl.String,
    "birth_sex": pl.String,
    "birth_date": pl.String,
    "deceased": pl.Boolean,
    "deceased_date_time": pl.String,
    "race": pl.String,
    "ethnicity": pl.String,
    "multiple_birth": pl.Int32,
    "state": pl.String,
    "city": pl.String,
    "postal_code": pl.String,
    "country": pl.String,
}


@dataclass(frozen=True, slots=True)
class Known:
    """A column of the patients table: its name in a release, what it is made of, and the graph's field."""

    name: str
    source: str
    type: Any
    field: str
    use: Use | None = None


KNOWN: Sequence[Known] = (
    Known("gender", "gender", Patient, "gender"),
    Known("birth_sex", "birth_sex", Patient, "birth_sex"),
    Known("birth_date", "birth_date", Patient, "birth_date", Use.BIRTH),
    Known("age", "lived_until", Patient, "age", Use.AGE),
    Known("deceased", "deceased", Patient, "deceased"),
    Known("death", "deceased_date_time", Patient, "deceased_date_time"),
    Known("race", "race", Patient, "race"),
    Known("ethnicity", "ethnicity", Patient, "ethnicity"),
    Known("multiple_birth", "multiple_birth", Patient, "multiple_birth"),
    Known("state", "state", Address, "state", Use.STATE),
    Known("city", "city", Address, "city", Use.CITY),
    Known("postal_code", "postal_code", Address, "postal_code", Use.POSTAL_CODE),
)
"""Columns that the patients table may have; which it has, the rules say, and under Safe Harbor the hierarchies too."""

RENAMED = {
    (Rule.YEAR, "death"): ("death_year", "Year of death"),
    (Rule.BIRTH_YEAR, "birth_date"): ("birth_year", "Year of birth, where it says no more than the age band"),
    (Rule.AGE_BAND, "age"): (
        "age_band",
        "Band of years of the age when the release was made, or at death; from 90 on one",
    ),
    (Rule.ZIP3, "postal_code"): ("zip3", "First three digits of the ZIP code, 000 where few people live"),
    (Rule.ZIP5, "postal_code"): ("zip5", "First five digits of the ZIP code"),
}
"""Names and descriptions of columns that a rule makes something else of."""


@dataclass(frozen=True, slots=True)
class Made:
    """A column as a release has it, by its rule."""

    name: str
    known: Known
    rule: Rule
    kinds: tuple[Phi, ...]
    description: str


def made_columns(job: Job, hierarchies: Sequence[str]) -> Sequence[Made]:
    """Columns of the patients table; under Safe Harbor those alone that can be generalised (`hierarchies`)."""
    found: list[Made] = []
    for known in KNOWN:
        declared = kinds(known.type, known.field)
        rule = job.rule(declared, known.use)
        if rule is None or rule is Rule.SCRUB:
            continue
        described = field(known.type, known.field).description or ""
        name, description = RENAMED.get((rule, known.name), (known.name, described))
        if job.definition.method is not Method.SAFE_HARBOR or name in hierarchies:
            found.append(Made(name, known, rule, declared, description))
    return found


async def read_people(reading: Reading, rate: Rate, job: Job, terms: Terms) -> pl.DataFrame:
    """The registry's columns of all members, with `lived_until`. Raises StoreError."""
    people = await read(reading, rate, TYPES, PEOPLE, job.id, job.project_id)
    until = lived_until(pl.col("deceased"), pl.col("deceased_date_time"), terms.release)
    return people.with_columns(until.alias("lived_until"))


def made(people: pl.DataFrame, columns: Sequence[Made], terms: Terms) -> pl.DataFrame:
    """Partition, research id and the columns after their rules."""
    expressions = [expression(one.rule, one.known.source, terms).alias(one.name) for one in columns]
    return people.select("partition", "research_id", *expressions)
