"""Stage SELECT: whose records. Each patient gets the project's random research id, and the members their partitions."""

from __future__ import annotations

from db.research import Reading
from loaders.research_cohort import members
from workers.research.job import Job
from workers.research.tables import TABLES

MEMBERS_OF_PARTITION = 10_000
"""Patients of a partition, about: what one worker holds in memory at a time."""
BATCH = 20_000
"""Members of one statement."""

ADD_SURROGATES = """/* add_surrogates */
INSERT INTO vault.surrogate (project_id, patient_id, research_id, shift_days)
SELECT $1::uuid, patient_id, vault.random_id(), vault.random_shift()
FROM unnest($2::uuid[]) AS known (patient_id)
WHERE NOT EXISTS (SELECT FROM vault.surrogate AS s WHERE s.project_id = $1::uuid AND s.patient_id = known.patient_id)
ON CONFLICT DO NOTHING"""

ADD_MEMBERS = """/* add_research_members */
INSERT INTO vault.member (extraction_id, partition, facility_id, patient_id, research_id)
SELECT $2::uuid, (s.research_id % $3::int)::int, r.facility_id, r.patient_id, s.research_id
FROM unnest($4::uuid[], $5::uuid[]) AS r (facility_id, patient_id)
JOIN vault.surrogate AS s ON s.project_id = $1::uuid AND s.patient_id = r.patient_id"""
CLEAR_MEMBERS = "/* clear_research_members */ DELETE FROM vault.member WHERE extraction_id = $1::uuid"
COUNT_MEMBERS = """/* count_research_members */
SELECT count(DISTINCT research_id) FROM vault.member WHERE extraction_id = $1::uuid"""
ESTIMATE = """/* estimate_research_rows */
SELECT (SELECT coalesce(sum(c.reltuples), 0) FROM pg_class AS c
    WHERE c.relnamespace = 'clinical'::regnamespace AND c.relkind = 'r'
        AND regexp_replace(c.relname, '^lab_result_.*', 'lab_result') = ANY ($1::text[]))
    / greatest((SELECT reltuples FROM pg_class WHERE oid = 'clinical.patient'::regclass), 1) * $2::bigint"""


async def select(job: Job, source: Reading, vault: Reading) -> tuple[int, int]:
    """Notes the members of an extraction; the number of its patients and of its partitions. Again it does the same.

    `source` reads, `vault` keeps. An id that chance gives twice (one in 2^63) is drawn again by the next attempt.
    Raises StoreError.
    """
    found = await members(source, job.definition.cohort, job.as_of)
    await vault.fetch(CLEAR_MEMBERS, job.id)
    partitions = job.partitions or partitions_for(len(found))
    for start in range(0, len(found), BATCH):
        facilities, patients = zip(*found[start : start + BATCH], strict=True)
        await vault.fetch(ADD_SURROGATES, job.project_id, list(dict.fromkeys(patients)))
        await vault.fetch(ADD_MEMBERS, job.project_id, job.id, partitions, list(facilities), list(patients))
    return int((await vault.fetch(COUNT_MEMBERS, job.id))[0][0]), partitions


def partitions_for(registrations: int) -> int:
    """Number of partitions for as many registrations."""
    return max(1, -(-registrations // MEMBERS_OF_PARTITION))


async def estimate(source: Reading, job: Job, patients: int) -> int:
    """Rows that the tables of the clinical database have of so many patients, by the planner's statistics.

    Vitals and notes, of other databases, are not among them. Raises StoreError.
    """
    facts = [TABLES[name].facts for name in job.definition.tables if name in TABLES]
    return max(0, int((await source.fetch(ESTIMATE, facts, patients))[0][0])) + patients


async def vault_position(vault: Reading) -> str:
    """Place in the write-ahead log behind which a replica knows the members."""
    return str((await vault.fetch("/* vault_position */ SELECT pg_current_wal_insert_lsn()::text"))[0][0])
