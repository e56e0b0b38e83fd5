"""What is known of the patients of partitions: by it the rows that leave are scanned, and never kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

import polars as pl

from db.research import Reading
from workers.research.job import Job
from workers.research.reading import Rate, Types, read

IDENTIFIERS: LiteralString = """/* research_identifiers */
WITH m AS MATERIALIZED (
    SELECT DISTINCT research_id, patient_id FROM vault.member
    WHERE extraction_id = $1::uuid AND partition = ANY ($2::int[])
), p AS (
    SELECT m.research_id, p.* FROM m JOIN clinical.patient AS p ON p.id = m.patient_id
), contact AS (
    SELECT research_id, one FROM p CROSS JOIN LATERAL jsonb_array_elements(p.contact) AS one
), place AS (
    SELECT research_id, one FROM p CROSS JOIN LATERAL jsonb_array_elements(p.address) AS one
    UNION ALL SELECT research_id, one -> 'address' FROM contact WHERE one ? 'address'
), reached AS (
    SELECT research_id, one FROM p CROSS JOIN LATERAL jsonb_array_elements(p.telecom) AS one
    UNION ALL SELECT research_id, t FROM contact CROSS JOIN LATERAL jsonb_array_elements(contact.one -> 'telecom') AS t
)
SELECT m.research_id, 'NAME' AS kind, concat_ws(' ', array_to_string(n.given, ' '), n.family) AS value
FROM m JOIN clinical.patient_name AS n ON n.patient_id = m.patient_id
UNION ALL
SELECT research_id, 'NAME',
    coalesce(one #>> '{name,text}', concat_ws(' ', one #>> '{name,given,0}', one #>> '{name,family}'))
FROM contact
UNION ALL
SELECT m.research_id, 'MEDICAL_RECORD_NUMBER', r.mrn
FROM m JOIN clinical.registration AS r ON r.patient_id = m.patient_id
UNION ALL
SELECT m.research_id, i.kind, i.value FROM m JOIN clinical.patient_identifier AS i ON i.patient_id = m.patient_id
UNION ALL
SELECT research_id, CASE one ->> 'system' WHEN 'email' THEN 'EMAIL' ELSE 'PHONE' END, one ->> 'value' FROM reached
UNION ALL
SELECT research_id, 'GEOGRAPHY', line
FROM place CROSS JOIN LATERAL jsonb_array_elements_text(place.one -> 'line') AS line
UNION ALL
SELECT research_id, 'GEOGRAPHY', part
FROM place CROSS JOIN LATERAL unnest(ARRAY[one ->> 'city', one ->> 'district', one ->> 'postalCode']) AS part
UNION ALL
SELECT research_id, 'DATE', birth_date FROM p WHERE length(birth_date) = 10"""
TYPES: Types = {"research_id": pl.Int64, "kind": pl.String, "value": pl.String}


async def read_identifiers(reading: Reading, rate: Rate, job: Job, partitions: Sequence[int]) -> pl.DataFrame:
    """Identifiers of the patients of partitions: research_id, kind (of db.policy.Phi), value. Raises StoreError."""
    known = await read(reading, rate, TYPES, IDENTIFIERS, job.id, list(partitions))
    return known.drop_nulls().filter(pl.col("value") != "").unique()
