"""Stage PLAN: what k-anonymity costs the release, decided once over the whole cohort, before a fact is read.

Which quasi-identifiers are generalised how far, which patients stay out, which diagnoses are withheld of whom.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, LiteralString

import polars as pl

from db.research_method import Method
from loaders.research_cohort import in_days
from workers.research.anonymity import PATIENT_HIERARCHIES, SENSITIVE, anonymise, generalised, left_out
from workers.research.job import Job, terms_of
from workers.research.partition import PATIENTS, WITHHELD
from workers.research.people import made, made_columns, read_people
from workers.research.rare import rare_codes
from workers.research.reading import Types, read
from workers.research.sources import Sources, staged_key
from workers.research.tables import TABLES

CONDITIONS = TABLES["conditions"]
HIERARCHY_NAMES = tuple(one.column for one in PATIENT_HIERARCHIES)
SUPPRESSED_MAX = 0.02
"""Share of patients that may stay out before quasi-identifiers are generalised further."""
COMBINED = 2
"""Diagnoses that an adversary is taken to know of somebody at most (k^m-anonymity)."""

DIAGNOSES: LiteralString = f"""/* research_diagnoses */
SELECT m.research_id, f.code_system AS system, f.code
FROM vault.member AS m
{CONDITIONS.joined}
WHERE m.extraction_id = $1::uuid AND f.code IS NOT NULL AND {CONDITIONS.real} AND {in_days("$2", "$3")}"""
DIAGNOSIS_TYPES: Types = {"research_id": pl.Int64, "system": pl.String, "code": pl.String}
TOKEN = pl.concat_str("system", "code", separator="|", ignore_nulls=True)
"""A code with its system."""

RULES = ("rules.py", "ages.py", "dates.py", "places.py", "anonymity.py", "rare.py", "plan.py")


async def make_plan(sources: Sources, job: Job) -> Mapping[str, Any]:
    """Stages the patients who stay and what is withheld of them, by partition; gives what is noted of it.

    Raises StoreError.
    """
    async with sources.clinical.project(job.project_id) as reading:
        terms = await terms_of(reading, job)
        people = await read_people(reading, sources.rate, job, terms)
        diagnoses = pl.DataFrame(schema=dict(DIAGNOSIS_TYPES))
        if "conditions" in job.definition.tables:
            listed = await read(reading, sources.rate, DIAGNOSIS_TYPES, DIAGNOSES, job.id, *job.range)
            diagnoses = await asyncio.to_thread(listed.unique)  # here, where charts do not wait for the sort
    patients = made(people, made_columns(job, HIERARCHY_NAMES), terms)
    if job.definition.method is Method.SAFE_HARBOR:
        kept, withheld, facts = await asyncio.to_thread(private, patients, diagnoses, job.k, job.l)
    else:
        kept, withheld, facts = patients, diagnoses.clear(), {"levels": {}, "loss": 0.0, "rounds": 0}
    assert job.partitions is not None
    partition_of = patients.select("research_id", "partition")
    for number in range(job.partitions):
        mine = partition_of.filter(pl.col("partition") == number)
        of_partition = [
            frame.join(mine.select("research_id"), on="research_id", how="semi") for frame in (kept, withheld)
        ]
        await sources.put(staged_key(job.id, PATIENTS, number), of_partition[0].drop("partition").sort("research_id"))
        await sources.put(staged_key(job.id, WITHHELD, number), of_partition[1])
    share = withheld.height / diagnoses.height if diagnoses.height else 0.0
    return {**facts, "withheld_diagnoses": withheld.height, "withheld_diagnoses_share": round(share, 6)}


def private(
    patients: pl.DataFrame,
    diagnoses: pl.DataFrame,
    k: int,
    l: int,  # noqa: E741 - the name of l-diversity
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Patients who stay, generalised; (research_id, system, code) that are withheld; and what was decided.

    Whoever is left out takes diagnoses along, which may make others rare, and what is withheld may leave a class less
    diverse: so both are done again for those who stay, at the levels of the first round, until nothing changes. Each
    round leaves fewer of both.
    """
    hierarchies = [one for one in PATIENT_HIERARCHIES if one.column in patients.columns]
    pairs = _without_rare(diagnoses, k)
    decided = anonymise(patients, hierarchies, k, SUPPRESSED_MAX, _diversity(l, pairs), sensitive_of(pairs))
    kept, leaving, rounds = patients, decided.suppressed, 1
    while leaving.height:
        rounds += 1
        kept = kept.join(leaving, on="research_id", how="anti")
        pairs = _without_rare(pairs.join(kept.select("research_id"), on="research_id", how="semi"), k)
        leaving = left_out(kept, hierarchies, decided.levels, k, _diversity(l, pairs), sensitive_of(pairs))
    kept = generalised(kept, hierarchies, decided.levels)
    withheld = diagnoses.join(kept.select("research_id"), on="research_id", how="semi").join(
        pairs, on=diagnoses.columns, how="anti", nulls_equal=True
    )
    return kept, withheld, {"levels": dict(decided.levels), "loss": decided.loss, "rounds": rounds}


def _diversity(l: int, pairs: pl.DataFrame) -> int:  # noqa: E741
    """Where no diagnosis is released none can be inferred from a class."""
    return l if pairs.height else 1


def _without_rare(pairs: pl.DataFrame, k: int) -> pl.DataFrame:
    coded = pairs.with_columns(TOKEN.alias("token"))
    rare = rare_codes(coded.select("research_id", pl.col("token").alias("code")), k, COMBINED)
    return coded.join(rare.rename({"code": "token"}), on=["research_id", "token"], how="anti").select(pairs.columns)


def sensitive_of(diagnoses: pl.DataFrame) -> pl.DataFrame:
    """Of each patient with a diagnosis the one that fewest have (columns research_id and SENSITIVE)."""
    counted = diagnoses.with_columns(TOKEN.alias(SENSITIVE)).with_columns(pl.len().over(SENSITIVE).alias("patients"))
    rarest = counted.sort("patients", SENSITIVE).group_by("research_id", maintain_order=True).first()
    return rarest.select("research_id", SENSITIVE)


@cache
def rules_version() -> str:
    """Digest of the rules: what two releases of the same version did alike."""
    digest = hashlib.sha256()
    for name in RULES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:16]
