"""The facts of one partition of a release: read, put under the rules, without what the plan withholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from db.policy import Phi
from db.research import Reading
from workers.research.fields import kinds
from workers.research.job import Job
from workers.research.numbering import numbered
from workers.research.reading import Rate, Types, read
from workers.research.rules import Rule, Terms, expression
from workers.research.tables import TABLES, Column, Kind, Table

READ_AS: Mapping[Kind, type[pl.DataType]] = {
    Kind.TEXT: pl.String,
    Kind.DATE: pl.String,
    Kind.NUMBER: pl.Float64,
    Kind.INTEGER: pl.Int64,
    Kind.BOOLEAN: pl.Boolean,
}

KEYS = ("research_id", "encounter_id")
ENCOUNTERS_MAX = 10**9
"""Numbers of encounters that a partition has for itself."""


@dataclass(frozen=True, slots=True)
class Ruled:
    """A column of a table and its rule; `name` is what a release calls it."""

    column: Column
    rule: Rule

    @property
    def name(self) -> str:
        """A year is not to be taken for a date."""
        return f"{self.column.name}_year" if self.rule is Rule.YEAR else self.column.name


@dataclass(frozen=True, slots=True)
class Declared:
    """A column of what another store has: the field of the graph that it is made of, or is like."""

    type: Any
    field: str
    description: str

    @property
    def kinds(self) -> tuple[Phi, ...]:
        """PHI kinds of the field."""
        return kinds(self.type, self.field)


@dataclass(frozen=True, slots=True)
class Frame:
    """A table of a partition: rows under the rules, how many were read, what became of the values of each column."""

    rows: pl.DataFrame
    read: int
    changes: Mapping[str, Mapping[str, Any]]


def ruled(job: Job, table: Table) -> Sequence[Ruled]:
    """Columns that a release may have, by the rules of its method; what has none is not even read."""
    found: list[Ruled] = []
    for column in table.columns:
        rule = job.rule(column.kinds)
        if rule is not None and rule is not Rule.SCRUB:
            found.append(Ruled(column, rule))
    return found


def rules_of(job: Job, columns: Mapping[str, Declared]) -> Mapping[str, Rule]:
    """Rules of those of these columns that a release may have."""
    rules = {name: job.rule(column.kinds) for name, column in columns.items()}
    return {name: rule for name, rule in rules.items() if rule is not None}


def tables_of(job: Job) -> Sequence[Table]:
    """Tables of facts that an extraction asks for, encounters first: they number what the others refer to."""
    asked = [table for name, table in TABLES.items() if name in job.definition.tables]
    return asked if TABLES["encounters"] in asked else [TABLES["encounters"], *asked]


async def read_table(reading: Reading, rate: Rate, job: Job, table: Table, partitions: Sequence[int]) -> pl.DataFrame:
    """Rows of some partitions as they are in the source: research id, encounter, columns. Raises StoreError."""
    columns = [one.column for one in ruled(job, table)]
    types: Types = {"research_id": pl.Int64, "encounter": pl.String}
    types = {**types, **{column.name: READ_AS[column.kind] for column in columns}}
    return await read(reading, rate, types, table.sql(columns), job.id, list(partitions), *job.range)


def encounter_numbers(encounters: pl.DataFrame, seed: int, partition: int) -> pl.DataFrame:
    """Number of each encounter of a partition (columns encounter, encounter_id), random and of this release alone."""
    numbers = numbered(encounters, "encounter", seed + partition, partition * ENCOUNTERS_MAX + 1)
    return numbers.rename({"number": "encounter_id"})


def under_rules(
    source: pl.DataFrame, job: Job, table: Table, patients: pl.DataFrame, encounters: pl.DataFrame, terms: Terms
) -> Frame:
    """A table after the rules, of the patients (research_id, shift_days) who stay, sorted by what it shows.

    Sorted, so that the order of the source says nothing and a partition made twice is the same.
    """
    columns = ruled(job, table)
    joined = source.join(patients, on="research_id", how="inner").join(encounters, on="encounter", how="left")
    rows = joined.select(*KEYS, *(expression(one.rule, one.column.name, terms).alias(one.name) for one in columns))
    changes = {one.name: change(one.rule, joined[one.column.name], rows[one.name]) for one in columns}
    return Frame(rows.sort(rows.columns), source.height, changes)


def change(rule: Rule, given: pl.Series, kept: pl.Series) -> Mapping[str, Any]:
    """What a report says of a column: its rule, and how many values it had before and has after it."""
    return {"rule": rule.value, "given": given.count(), "kept": kept.count()}


def without(frame: Frame, withheld: pl.DataFrame) -> Frame:
    """A table without the rows whose patient and code (research_id, system, code) the plan withholds."""
    rows = frame.rows.join(withheld, on=["research_id", "system", "code"], how="anti", nulls_equal=True)
    changes = {**frame.changes, "code": {**frame.changes["code"], "withheld": frame.rows.height - rows.height}}
    return Frame(rows, frame.read, changes)
