"""Research datasets of the warehouse: their versions and published cells, and the cohort of a patient.

A dataset is of aggregates, or of records of a project: what its versions hold then is in loaders/research_release.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from db.warehouse import array
from loaders.page import TimePage
from loaders.reader import Reader

BEFORE = """(sort_time < CAST(? AS TIMESTAMP_TZ) OR (sort_time = CAST(? AS TIMESTAMP_TZ) AND id < ?))"""

LISTED = "(SELECT value::VARCHAR FROM TABLE(FLATTEN(input => PARSE_JSON(?))))"
"""Members of one parameter that db.warehouse.array made."""

DATASET = "id, name, title, description, purpose, method, threshold, sort_time"
VERSION = "id, dataset_id, version, sort_time, as_of, row_count, withheld_count, sha256, method"

RESEARCH_DATASETS = f"""/* research_datasets */
SELECT {DATASET}
FROM research_dataset
WHERE {BEFORE}
ORDER BY sort_time DESC, id DESC
LIMIT ?"""

RESEARCH_DATASET_BY_ID = f"""/* research_dataset_by_id */
SELECT {DATASET} FROM research_dataset WHERE id IN {LISTED}"""

VERSION_BY_ID = f"""/* research_dataset_version_by_id */
SELECT {VERSION} FROM research_dataset_version WHERE id IN {LISTED}"""

VERSIONS_OF_DATASETS = f"""/* versions_of_datasets */
SELECT {VERSION}
FROM research_dataset_version
WHERE dataset_id IN {LISTED} AND {BEFORE}
QUALIFY ROW_NUMBER() OVER (PARTITION BY dataset_id ORDER BY sort_time DESC, id DESC) <= ?
ORDER BY sort_time DESC, id DESC"""

AGGREGATES_OF_VERSIONS = f"""/* aggregates_of_versions */
SELECT v.id AS version_id, a.ordinal, a.measure, a.facility_id, a.code_system, a.code, a.code_display, a.sex,
       a.age_band, a.encounter_class, a.calendar_year, a.patient_count, a.event_count
FROM research_aggregate AS a
JOIN research_dataset_version AS v ON v.dataset_id = a.dataset_id AND v.version = a.version
WHERE v.id IN {LISTED}
  AND a.ordinal > ?
  AND (? = 0 OR a.measure IN {LISTED})
  AND (? = 0 OR a.code IN {LISTED})
QUALIFY ROW_NUMBER() OVER (PARTITION BY v.id ORDER BY a.ordinal) <= ?
ORDER BY a.ordinal"""

COHORTS = f"""/* cohorts_of_patients */
SELECT a.sex, a.age_band, a.measure, a.patient_count, v.as_of, a.code_system, a.code, a.code_display
FROM research_aggregate AS a
JOIN research_dataset_version AS v ON v.dataset_id = a.dataset_id AND v.version = a.version
JOIN (
    SELECT dataset_id, MAX(version) AS version FROM research_dataset_version GROUP BY dataset_id
) AS latest ON latest.dataset_id = v.dataset_id AND latest.version = v.version
JOIN research_dataset AS d ON d.id = v.dataset_id
WHERE d.name = 'condition-prevalence'
  AND a.facility_id IS NULL
  AND a.patient_count IS NOT NULL
  AND (a.sex IS NULL OR a.sex IN {LISTED})
QUALIFY ROW_NUMBER() OVER (PARTITION BY a.sex, a.age_band, a.measure ORDER BY a.patient_count DESC, a.code) <= ?
ORDER BY a.patient_count DESC, a.code"""

POPULATION = "population"
PREVALENCE = "condition-prevalence"
ENCOUNTERS = "encounters"
LAB_RESULTS = "lab-results"
MEASURES = (POPULATION, PREVALENCE, ENCOUNTERS, LAB_RESULTS)
"""Measures of the cells: patients; patients with a condition; encounters; laboratory results."""

CohortKey: TypeAlias = tuple[str | None, str | None]
"""Sex and age band; None is all."""

TOP_CONDITIONS = 5
"""Conditions that a cohort names."""

LAST_BAND = 90
"""Age from which there is one band, "90+" (45 CFR 164.514(b)(2)(i)(C))."""


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One dataset, in the order of DATASET.

    No cell of it counts 1 to `threshold` - 1 patients; of records, so many patients at least share what identifies.
    """

    id: UUID
    name: str
    title: str
    description: str
    purpose: str
    method: str
    threshold: int
    sort_time: datetime


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version, in the order of VERSION: released at `sort_time`, with the facts of the day `as_of`."""

    id: UUID
    dataset_id: UUID
    version: int
    sort_time: datetime
    as_of: str
    row_count: int
    withheld_count: int
    sha256: str
    method: str


@dataclass(frozen=True, slots=True)
class AggregateRow:
    """One cell; a dimension that is None is a total over it; counts are None where the cell is withheld."""

    ordinal: int
    measure: str
    facility_id: UUID | None
    code_system: str | None
    code: str | None
    code_display: str | None
    sex: str | None
    age_band: str | None
    encounter_class: str | None
    calendar_year: str | None
    patient_count: int | None
    event_count: int | None


@dataclass(frozen=True, slots=True)
class CohortConditionRow:
    """A condition of a cohort, and how many of its patients have it."""

    patient_count: int
    code_system: str | None
    code: str
    code_display: str | None


@dataclass(frozen=True, slots=True)
class CohortRow:
    """Patients of one sex and age band over the network; None is all of them."""

    sex: str | None
    age_band: str | None
    patient_count: int
    as_of: str
    conditions: Sequence[CohortConditionRow]


def age_band(birth_date: str | None, on: date) -> str | None:
    """Ten-year band of the calendar age on a day, '90+' from 90; None where a partial or missing date leaves it open.

    Who was born on 29 February is a year older on 1 March of common years.
    """
    if not birth_date:
        return None
    first = date.fromisoformat(birth_date + "0001-01-01"[len(birth_date) :])
    last = first
    if len(birth_date) == 4:
        last = first.replace(month=12, day=31)
    elif len(birth_date) == 7:
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    bands = {_band(_age(born, on)) for born in (first, last)}
    return bands.pop() if len(bands) == 1 else None


def _age(born: date, on: date) -> int:
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def _band(age: int) -> str | None:
    if age < 0:
        return None
    return f"{LAST_BAND}+" if age >= LAST_BAND else f"{age // 10 * 10}-{age // 10 * 10 + 9}"


def _dataset(row: Sequence[Any]) -> DatasetRow:
    return DatasetRow(UUID(row[0]), *row[1:])


def version_row(row: Sequence[Any]) -> VersionRow:
    """A version of a row of VERSION."""
    return VersionRow(UUID(row[0]), UUID(row[1]), *row[2:])


def _before(page: TimePage) -> tuple[str, str, str]:
    time = page.before_time.isoformat()
    return time, time, str(page.before_id)


def ids_parameter(ids: Iterable[UUID]) -> str:
    """Ids as the parameter of LISTED."""
    return array([str(each) for each in ids])


async def research_datasets(reader: Reader, page: TimePage) -> Sequence[DatasetRow]:
    """Datasets that the caller may see, newest first, one more than the page has."""
    rows = await reader.warehouse.fetch(RESEARCH_DATASETS, *_before(page), page.first + 1)
    return [_dataset(row) for row in rows]


async def research_dataset_by_id(reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, DatasetRow]:
    """Datasets by id."""
    rows = await reader.warehouse.fetch(RESEARCH_DATASET_BY_ID, ids_parameter(ids))
    return {found.id: found for found in map(_dataset, rows)}


async def version_by_id(reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, VersionRow]:
    """Versions by id."""
    rows = await reader.warehouse.fetch(VERSION_BY_ID, ids_parameter(ids))
    return {found.id: found for found in map(version_row, rows)}


async def versions_of_datasets(
    reader: Reader, ids: Sequence[UUID], page: TimePage
) -> Mapping[UUID, Sequence[VersionRow]]:
    """Versions of each dataset, newest first, one more than the page has."""
    found: dict[UUID, list[VersionRow]] = {dataset_id: [] for dataset_id in ids}
    rows = await reader.warehouse.fetch(VERSIONS_OF_DATASETS, ids_parameter(found), *_before(page), page.first + 1)
    for version in map(version_row, rows):
        found[version.dataset_id].append(version)
    return found


async def aggregates_of_versions(
    reader: Reader,
    ids: Sequence[UUID],
    *,
    limit: int,
    after: int,
    measures: Sequence[str] | None,
    codes: Sequence[str] | None,
) -> Mapping[UUID, Sequence[AggregateRow]]:
    """Up to `limit` cells of each version after an ordinal, in the order of publication."""
    found: dict[UUID, list[AggregateRow]] = {version_id: [] for version_id in ids}
    filters = [value for each in (measures, codes) for value in (len(each or ()), array(each or ()))]
    for row in await reader.warehouse.fetch(AGGREGATES_OF_VERSIONS, ids_parameter(found), after, *filters, limit):
        facility_id = UUID(row[3]) if row[3] else None
        found[UUID(row[0])].append(AggregateRow(row[1], row[2], facility_id, *row[4:]))
    return found


async def cohorts(reader: Reader, sexes: Sequence[str]) -> Mapping[CohortKey, CohortRow]:
    """Published cohorts of these sexes and of all together, each with its most frequent conditions; one statement."""
    rows = await reader.warehouse.fetch(COHORTS, array(sorted(set(sexes))), TOP_CONDITIONS)
    conditions: dict[CohortKey, list[CohortConditionRow]] = {}
    for row in rows:
        if row[2] == PREVALENCE:
            conditions.setdefault((row[0], row[1]), []).append(CohortConditionRow(row[3], *row[5:]))
    return {
        (row[0], row[1]): CohortRow(row[0], row[1], row[3], row[4], conditions.get((row[0], row[1]), []))
        for row in rows
        if row[2] == POPULATION
    }
