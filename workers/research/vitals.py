"""Vital signs of a partition: of each encounter, code and unit the lowest, highest and mean value, and their number.

No time and no device: of a bedside monitor's readings the aggregates of a stay are what leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

import polars as pl

from db.research import Reading
from graph.vital_sign import VitalSign
from loaders.research_cohort import in_days
from workers.research.facts import KEYS, Declared, Frame, change, rules_of
from workers.research.job import Job
from workers.research.reading import Rate, Types, read
from workers.research.rules import Terms, expression

NAME = "vitals"

VITALS: LiteralString = f"""/* research_vitals */
SELECT patient_id::text AS patient, encounter_id::text AS encounter, code_system AS system, code,
    coalesce(value_code, value_unit) AS unit, min(value) AS lowest, max(value) AS highest, avg(value) AS mean,
    count(*) AS readings
FROM vitals.vital_sign
WHERE patient_id = ANY ($1::uuid[]) AND facility_id = ANY ($2::uuid[])
    AND coalesce(status, '') NOT IN ('cancelled', 'entered-in-error') AND value IS NOT NULL
    AND {in_days("$3", "$4")}
GROUP BY 1, 2, 3, 4, 5"""
TYPES: Types = {
    "patient": pl.String,
    "encounter": pl.String,
    "system": pl.String,
    "code": pl.String,
    "unit": pl.String,
    "lowest": pl.Float64,
    "highest": pl.Float64,
    "mean": pl.Float64,
    "readings": pl.Int64,
}
COLUMNS = {
    "system": Declared(VitalSign, "code", "System of the code"),
    "code": Declared(VitalSign, "code", "What was measured"),
    "unit": Declared(VitalSign, "value_quantity", "Unit of the values, UCUM code where the source has one"),
    "lowest": Declared(VitalSign, "value_quantity", "Lowest value of the encounter"),
    "highest": Declared(VitalSign, "value_quantity", "Highest value of the encounter"),
    "mean": Declared(VitalSign, "value_quantity", "Mean of the values of the encounter"),
    "readings": Declared(VitalSign, "value_quantity", "Number of values of the encounter"),
}


async def read_vitals(
    reading: Reading, rate: Rate, job: Job, patients: Sequence[UUID], facilities: Sequence[UUID]
) -> pl.DataFrame:
    """Aggregates of these patients at these facilities, by patient and encounter. Raises StoreError."""
    return await read(reading, rate, TYPES, VITALS, list(patients), list(facilities), *job.range)


def made_vitals(
    source: pl.DataFrame, job: Job, patients: pl.DataFrame, encounters: pl.DataFrame, terms: Terms
) -> Frame:
    """The table of a release, of the patients (patient, research_id) who stay, sorted by what it shows."""
    joined = source.join(patients, on="patient", how="inner").join(encounters, on="encounter", how="left")
    rules = rules_of(job, COLUMNS)
    rows = joined.select(*KEYS, *(expression(rule, name, terms).alias(name) for name, rule in rules.items()))
    changes = {name: change(rule, joined[name], rows[name]) for name, rule in rules.items()}
    return Frame(rows.sort(rows.columns), source.height, changes)
