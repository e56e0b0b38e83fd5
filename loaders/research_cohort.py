"""Whose records a cohort means, within what a project may read; see loaders.research_definition for its parts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, LiteralString
from uuid import UUID

from db.research import Reading
from loaders.research_definition import Cohort


def in_days(first: LiteralString, last: LiteralString) -> LiteralString:
    """Condition on facts of the days from one parameter to another, both included; null is no bound."""
    return f"""({first}::date IS NULL OR sort_time >= {first}::date::timestamp AT TIME ZONE 'UTC')
    AND ({last}::date IS NULL OR sort_time < ({last}::date + 1)::timestamp AT TIME ZONE 'UTC')"""


IN_RANGE = in_days("$11", "$12")
HERE: LiteralString = "(cardinality($10::uuid[]) = 0 OR facility_id = ANY ($10::uuid[]))"

# Ages are calendar ages, as loaders.research_dataset.age_band: who was born on 29 February is a year older on 1 March
# of common years; of a partial date every day must fit. Age 90 stands for 90 or older; of the deceased the age at death
# counts.
COHORT: LiteralString = f"""token AS MATERIALIZED (
    SELECT * FROM unnest($1::int[], $2::text[], $3::boolean[], $4::text[], $5::text[])
        AS t (entry, kind, excluded, system, code)
), wanted AS MATERIALIZED (
    SELECT entry, kind, system, code FROM token
    UNION
    SELECT t.entry, t.kind, t.system, d.descendant
    FROM token AS t JOIN clinical.code_descendant AS d ON (d.system, d.code) = (t.system, t.code)
    WHERE $6::boolean
    UNION
    SELECT t.entry, t.kind, t.system, known.code
    FROM token AS t
    CROSS JOIN LATERAL (
        SELECT DISTINCT code FROM clinical.condition
        WHERE t.kind = 'condition' AND code_system = t.system AND starts_with(code, t.code)
    ) AS known
    WHERE $6::boolean AND t.system = 'http://hl7.org/fhir/sid/icd-10-cm'
), matched AS (
    SELECT w.entry, f.patient_id
    FROM clinical.condition AS f JOIN wanted AS w ON (w.kind, w.system, w.code) = ('condition', f.code_system, f.code)
    WHERE coalesce(f.verification_status, '') NOT IN ('refuted', 'entered-in-error') AND {HERE} AND {IN_RANGE}
    UNION
    SELECT w.entry, f.patient_id
    FROM clinical.procedure AS f JOIN wanted AS w ON (w.kind, w.system, w.code) = ('procedure', f.code_system, f.code)
    WHERE f.status NOT IN ('not-done', 'entered-in-error') AND {HERE} AND {IN_RANGE}
    UNION
    SELECT w.entry, f.patient_id
    FROM clinical.medication_request AS f
    JOIN clinical.medication AS m ON m.id = f.medication_id
    JOIN wanted AS w ON (w.kind, w.system, w.code) = ('medication', m.code_system, m.code)
    WHERE f.status <> 'entered-in-error' AND {HERE} AND {IN_RANGE}
    UNION
    SELECT w.entry, f.patient_id
    FROM clinical.lab_result AS f
    JOIN clinical.lab_test AS t ON t.id = f.lab_test_id
    JOIN wanted AS w ON (w.kind, w.system, w.code) = ('lab_result', t.code_system, t.code)
    WHERE f.status NOT IN ('cancelled', 'entered-in-error') AND {HERE} AND {IN_RANGE}
), met AS (
    SELECT m.patient_id, count(DISTINCT m.entry) FILTER (WHERE NOT e.excluded) AS entries,
        bool_or(e.excluded) AS excluded
    FROM matched AS m JOIN (SELECT DISTINCT entry, excluded FROM token) AS e USING (entry)
    GROUP BY m.patient_id
), person AS (
    SELECT id, gender, race, ethnicity, address,
        (birth_date || substr('0001-01-01', length(birth_date) + 1))::date AS first_day,
        (birth_date || substr('0001-01-01', length(birth_date) + 1))::date + CASE length(birth_date)
            WHEN 4 THEN interval '1 year' WHEN 7 THEN interval '1 month' ELSE interval '1 day' END
            - interval '1 day' AS last_day,
        least($14::date, (left(deceased_date_time, 10)
            || substr('0001-12-28', length(left(deceased_date_time, 10)) + 1))::date) AS at_day
    FROM clinical.patient
), aged AS (
    SELECT id, gender, race, ethnicity, address, last_day > at_day AS unborn,
        date_part('year', age(at_day, first_day))::int AS oldest,
        date_part('year', age(at_day, last_day::date))::int AS youngest
    FROM person
), cohort AS MATERIALIZED (
    SELECT r.facility_id, r.patient_id, p.gender, p.race, p.ethnicity, p.address, p.oldest, p.youngest, p.unborn
    FROM clinical.registration AS r
    JOIN aged AS p ON p.id = r.patient_id
    LEFT JOIN met ON met.patient_id = r.patient_id
    WHERE {HERE.replace("facility_id", "r.facility_id")}
        AND (cardinality($7::text[]) = 0 OR coalesce(p.gender, 'unknown') = ANY ($7::text[]))
        AND ($8::int IS NULL OR NOT p.unborn AND p.youngest >= $8::int)
        AND ($9::int IS NULL OR NOT p.unborn AND ($9::int >= 90 OR p.oldest <= $9::int))
        AND coalesce(met.entries, 0) = (SELECT count(DISTINCT entry) FROM token WHERE NOT excluded)
        AND NOT coalesce(met.excluded, false)
        AND ($11::date IS NULL AND $12::date IS NULL AND cardinality($13::text[]) = 0 OR EXISTS (
            SELECT FROM clinical.encounter AS e
            WHERE e.facility_id = r.facility_id AND e.patient_id = r.patient_id AND {IN_RANGE}
                AND (cardinality($13::text[]) = 0 OR e.class_code = ANY ($13::text[]))
                AND e.status NOT IN ('cancelled', 'entered-in-error', 'planned')))
)"""
"""CTEs up to `cohort`, a row for each registration of its patients; with the arguments of `arguments`."""

MEMBERS = f"""/* research_cohort */
WITH {COHORT}
SELECT facility_id, patient_id FROM cohort ORDER BY patient_id, facility_id"""

COUNT = f"""/* research_cohort_count */
WITH {COHORT}
SELECT count(DISTINCT patient_id) FROM cohort"""


def arguments(cohort: Cohort, as_of: date) -> Sequence[Any]:
    """Arguments of COHORT, $1 to $14; ages are those of a day."""
    wanted = list(zip(*cohort.wanted(), strict=True)) or [()] * 5
    return [
        *map(list, wanted),
        cohort.below,
        list(cohort.sex),
        cohort.age_from,
        cohort.age_to,
        list(cohort.facility_ids),
        cohort.start,
        cohort.end,
        list(cohort.encounter_class),
        as_of,
    ]


async def members(reading: Reading, cohort: Cohort, as_of: date) -> Sequence[tuple[UUID, UUID]]:
    """Facility and patient of every registration in a cohort, ordered. Raises StoreError."""
    return [(row[0], row[1]) for row in await reading.fetch(MEMBERS, *arguments(cohort, as_of))]


async def count(reading: Reading, cohort: Cohort, as_of: date) -> int:
    """Patients of a cohort: for the machinery, never shown as it is. Raises StoreError."""
    return int((await reading.fetch(COUNT, *arguments(cohort, as_of)))[0][0])
