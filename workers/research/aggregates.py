"""`python -m workers research`: publishes aggregates of the clinical database as research datasets of the warehouse.

Counts only, and none of few patients (db/disclosure.py). A dataset gets a new version when its content has
changed; versions stay. The cells are loaded before the version is registered, so that no reader sees half of one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, LiteralString
from uuid import NAMESPACE_URL, UUID, uuid5

from db import settings
from db.caller import Profile
from db.disclosure import THRESHOLD, Cell, Key, withheld
from db.postgres import Postgres
from db.warehouse import Warehouse, array
from loaders.research_dataset import ENCOUNTERS, LAB_RESULTS, POPULATION, PREVALENCE

EXTRACT_TIMEOUT_S = 600.0
"""Seconds that one statement of the extraction may take."""

READERS = (Profile.CLINICIAN, Profile.NURSE, Profile.CDS, Profile.ANALYST, Profile.PRIVACY_OFFICER)
"""Profiles that see the datasets; whether they see the counts is for db/policy.toml (CLINICAL) to say."""

# Calendar age on $1, as loaders.research_dataset.age_band: a partial date of birth has a band only when all its days
# agree. Living patients only: an age at death next to other facts says more than a band should.
PERSON = """WITH born AS (
    SELECT r.facility_id, p.id, coalesce(p.gender, 'unknown') AS sex,
           (p.birth_date || substr('0001-01-01', length(p.birth_date) + 1))::date AS first_day,
           CASE length(p.birth_date) WHEN 4 THEN interval '1 year' WHEN 7 THEN interval '1 month'
               ELSE interval '1 day' END AS precision
    FROM clinical.registration AS r
    JOIN clinical.patient AS p ON p.id = r.patient_id
    WHERE NOT coalesce(p.deceased, false) AND p.deceased_date_time IS NULL
), aged AS (
    SELECT facility_id, id, sex, first_day + precision > $1::date + interval '1 day' AS unborn,
           date_part('year', age($1::date, first_day))::int AS oldest,
           date_part('year', age($1::date, (first_day + precision - interval '1 day')::date))::int AS youngest
    FROM born
), person AS (
    SELECT facility_id, id, sex,
           CASE WHEN unborn OR oldest IS NULL THEN 'unknown'
                WHEN youngest >= 90 THEN '90+'
                WHEN oldest >= 90 OR oldest / 10 <> youngest / 10 THEN 'unknown'
                ELSE format('%s-%s', oldest / 10 * 10, oldest / 10 * 10 + 9) END AS age_band
    FROM aged
)"""

POPULATION_CELLS = f"""/* research_population */
{PERSON}
SELECT NULL::text, NULL::text, NULL::text, facility_id::text, sex, age_band, count(DISTINCT id), NULL::bigint
FROM person
GROUP BY CUBE (facility_id, sex, age_band)"""

PREVALENCE_CELLS = f"""/* research_condition_prevalence */
{PERSON}
SELECT c.code_system, c.code, min(min(c.code_display)) OVER (PARTITION BY c.code_system, c.code),
       person.facility_id::text, person.sex, person.age_band, count(DISTINCT person.id), NULL::bigint
FROM person
JOIN clinical.condition AS c ON c.facility_id = person.facility_id AND c.patient_id = person.id
WHERE c.code IS NOT NULL AND coalesce(c.verification_status, '') NOT IN ('refuted', 'entered-in-error')
GROUP BY c.code_system, c.code, CUBE (person.facility_id, person.sex, person.age_band)"""

YEAR = "CASE WHEN sort_time < '1800-01-01' THEN 'unknown' ELSE to_char(sort_time AT TIME ZONE 'UTC', 'YYYY') END"

ENCOUNTER_CELLS = f"""/* research_encounters */
WITH fact AS (
    SELECT facility_id, patient_id, coalesce(class_code, 'unknown') AS class, {YEAR} AS year
    FROM clinical.encounter
    WHERE status NOT IN ('cancelled', 'entered-in-error', 'planned')
)
SELECT NULL::text, NULL::text, NULL::text, facility_id::text, class, year, count(DISTINCT patient_id), count(*)
FROM fact
GROUP BY CUBE (facility_id, class, year)"""

LAB_RESULT_CELLS = f"""/* research_lab_results */
WITH fact AS (
    SELECT r.facility_id, r.patient_id, t.code_system, t.code, t.code_display, {YEAR} AS year
    FROM clinical.lab_result AS r
    JOIN clinical.lab_test AS t ON t.id = r.lab_test_id
    WHERE t.code IS NOT NULL AND r.status NOT IN ('cancelled', 'entered-in-error')
)
SELECT code_system, code, min(min(code_display)) OVER (PARTITION BY code_system, code), facility_id::text, year,
       count(DISTINCT patient_id), count(*)
FROM fact
GROUP BY code_system, code, CUBE (facility_id, year)"""


@dataclass(frozen=True, slots=True)
class Measure:
    """One table for each code, or one in all; `sql` gives system, code, display, dimensions, patients, events.

    `disjoint` says of each dimension whether a patient has one value of it only.
    """

    name: str
    sql: LiteralString
    dimensions: Sequence[str]
    disjoint: Sequence[bool]
    takes_day: bool = False


PATIENT_DIMENSIONS = ("facility_id", "sex", "age_band")
ONE_VALUE = (False, True, True)

MEASURES = {
    POPULATION: Measure(POPULATION, POPULATION_CELLS, PATIENT_DIMENSIONS, ONE_VALUE, takes_day=True),
    PREVALENCE: Measure(PREVALENCE, PREVALENCE_CELLS, PATIENT_DIMENSIONS, ONE_VALUE, takes_day=True),
    ENCOUNTERS: Measure(
        ENCOUNTERS, ENCOUNTER_CELLS, ("facility_id", "encounter_class", "calendar_year"), (False, False, False)
    ),
    LAB_RESULTS: Measure(LAB_RESULTS, LAB_RESULT_CELLS, ("facility_id", "calendar_year"), (False, False)),
}


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a dataset is, and the measures that it publishes."""

    name: str
    title: str
    description: str
    measures: Sequence[str]

    @property
    def id(self) -> UUID:
        """The same in every instance."""
        return uuid5(NAMESPACE_URL, f"caregraph:research-dataset:{self.name}")


DATASETS = (
    Dataset(
        "condition-prevalence",
        "Prevalence of conditions",
        "Living patients by facility, sex and ten-year age band, and how many of them have each coded condition.",
        (POPULATION, PREVALENCE),
    ),
    Dataset("encounters", "Encounters by class and year", "Encounters and their patients by facility.", (ENCOUNTERS,)),
    Dataset("lab-results", "Laboratory volumes by year", "Results of each coded test by facility.", (LAB_RESULTS,)),
)

AGGREGATE_COLUMNS: dict[LiteralString, LiteralString] = {
    "dataset_id": "VARCHAR",
    "version": "NUMBER(9, 0)",
    "ordinal": "NUMBER(18, 0)",
    "measure": "VARCHAR",
    "code_system": "VARCHAR",
    "code": "VARCHAR",
    "code_display": "VARCHAR",
    "facility_id": "VARCHAR",
    "sex": "VARCHAR",
    "age_band": "VARCHAR",
    "encounter_class": "VARCHAR",
    "calendar_year": "VARCHAR",
    "patient_count": "NUMBER(18, 0)",
    "event_count": "NUMBER(18, 0)",
}
DIMENSIONS = ("facility_id", "sex", "age_band", "encounter_class", "calendar_year")

ADD_DATASET = """INSERT INTO stored_dataset (id, name, title, description, purpose, method, threshold, sort_time)
SELECT ?, ?, ?, ?, 'HRESCH', 'safe-harbor aggregates', ?, CAST(? AS TIMESTAMP_TZ)
WHERE NOT EXISTS (SELECT 1 FROM stored_dataset WHERE id = ?)"""
REMOVE_PROFILES = """DELETE FROM stored_dataset_profile
WHERE dataset_id = ? AND profile NOT IN (SELECT value::VARCHAR FROM TABLE(FLATTEN(input => PARSE_JSON(?))))"""
ADD_PROFILES = """INSERT INTO stored_dataset_profile (dataset_id, profile)
SELECT ?, value::VARCHAR FROM TABLE(FLATTEN(input => PARSE_JSON(?)))
WHERE value::VARCHAR NOT IN (SELECT profile FROM stored_dataset_profile WHERE dataset_id = ?)"""
LATEST_VERSION = (
    """SELECT version, sha256 FROM stored_dataset_version WHERE dataset_id = ? ORDER BY version DESC LIMIT 1"""
)
REMOVE_UNREGISTERED = "DELETE FROM stored_aggregate WHERE dataset_id = ? AND version = ?"
ADD_VERSION = """INSERT INTO stored_dataset_version
    (id, dataset_id, version, sort_time, as_of, row_count, withheld_count, sha256)
SELECT ?, ?, ?, CAST(? AS TIMESTAMP_TZ), ?, ?, ?, ?"""


@dataclass(frozen=True, slots=True)
class Coded:
    """The cells of one code of a measure, with their events."""

    code: tuple[str | None, str | None, str | None]
    table: Mapping[Key, Cell]
    events: Mapping[Key, int | None]


def publishable(measure: Measure, coded: Coded) -> Sequence[tuple[Any, ...]]:
    """Rows of one table in the order of AGGREGATE_COLUMNS after `ordinal`; withheld counts are None.

    A table that would show nothing is left out: the presence of a rare code is a fact about few patients too.
    """
    hidden = withheld(coded.table, measure.disjoint)
    if hidden.issuperset(coded.table):
        return []
    rows: list[tuple[Any, ...]] = []
    for key in sorted(coded.table, key=lambda key: [value or "" for value in key]):
        values = dict(zip(measure.dimensions, key, strict=True))
        counts = (None, None) if key in hidden else (coded.table[key].patients, coded.events[key])
        rows.append((measure.name, *coded.code, *(values.get(name) for name in DIMENSIONS), *counts))
    return rows


async def tables(clinical: Postgres, measure: Measure, day: date) -> Sequence[Coded]:
    """Every table of a measure, before disclosure control."""
    arguments = (day,) if measure.takes_day else ()
    cells: dict[tuple[str | None, str | None, str | None], dict[Key, tuple[int, int | None]]] = defaultdict(dict)
    for row in await clinical.worker_fetch(measure.sql, *arguments):
        cells[row[0], row[1], row[2]][tuple(row[3:-2])] = (row[-2], row[-1])
    return [
        Coded(
            code,
            {key: Cell(patients) for key, (patients, _) in cells[code].items()},
            {key: events for key, (_, events) in cells[code].items()},
        )
        for code in sorted(cells, key=str)
    ]


async def rows_of(clinical: Postgres, dataset: Dataset, day: date) -> Sequence[tuple[Any, ...]]:
    """Publishable rows of a dataset. A condition's cell also counts who of its population does not have it."""
    rows: list[tuple[Any, ...]] = []
    population: Mapping[Key, Cell] = {}
    for name in dataset.measures:
        for coded in await tables(clinical, MEASURES[name], day):
            if name == POPULATION:
                population = coded.table
            elif name == PREVALENCE:
                table = {key: Cell(c.patients, population[key].patients - c.patients) for key, c in coded.table.items()}
                coded = Coded(coded.code, table, coded.events)
            rows += publishable(MEASURES[name], coded)
    return rows


async def publish(warehouse: Warehouse, dataset: Dataset, rows: Sequence[tuple[Any, ...]], day: date) -> int | None:
    """Number of the new version, or None when the latest has the same content."""
    now = datetime.now(UTC).isoformat()
    key, profiles = str(dataset.id), array([profile.value for profile in READERS])
    described = (dataset.name, dataset.title, dataset.description, THRESHOLD, now)
    await warehouse.worker_execute(ADD_DATASET, key, *described, key)
    await warehouse.worker_execute(REMOVE_PROFILES, key, profiles)
    await warehouse.worker_execute(ADD_PROFILES, key, profiles, key)
    sha256 = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    latest = await warehouse.worker_execute(LATEST_VERSION, key)
    if latest and latest[0][1] == sha256:
        return None
    version = int(latest[0][0]) + 1 if latest else 1
    await warehouse.worker_execute(REMOVE_UNREGISTERED, key, version)
    loaded = [(key, version, ordinal, *row) for ordinal, row in enumerate(rows, 1)]
    await warehouse.worker_load("stored_aggregate", AGGREGATE_COLUMNS, loaded)
    hidden = sum(row[-2] is None for row in rows)
    identity = str(uuid5(dataset.id, str(version)))
    await warehouse.worker_execute(ADD_VERSION, identity, key, version, now, day.isoformat(), len(rows), hidden, sha256)
    return version


async def extract(configured: settings.Settings, day: date | None = None) -> Mapping[str, int | None]:
    """Publishes every dataset as of a day (today, UTC); number of each new version, None where nothing changed."""
    clinical = Postgres("clinical", configured.clinical_url, configured.secret, EXTRACT_TIMEOUT_S)
    warehouse = Warehouse("warehouse", configured.warehouse_url, EXTRACT_TIMEOUT_S)
    as_of = day or datetime.now(UTC).date()
    try:
        return {
            dataset.name: await publish(warehouse, dataset, await rows_of(clinical, dataset, as_of), as_of)
            for dataset in DATASETS
        }
    finally:
        await asyncio.gather(clinical.close(), warehouse.close())


def main(argv: list[str]) -> int:
    """Entry point; takes no arguments."""
    for name, version in asyncio.run(extract(settings.load())).items():
        print(f"{name}: {'unchanged' if version is None else f'version {version}'}", flush=True)
    return 0
