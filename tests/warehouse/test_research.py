"""Research datasets from the clinical database to the graph: right, versioned, batched; absent when the store is."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest
import pytest_asyncio
import strawberry
from strawberry.schema.config import StrawberryConfig

from db.caller import Profile
from db.disclosure import THRESHOLD
from db.errors import InvalidArgument, InvalidCursor
from db.postgres import Postgres
from db.settings import Settings
from db.stores import Stores
from db.warehouse import Warehouse
from graph.connection import Connection
from graph.datatype import SCALARS
from graph.field import PAGE, REQUIRED, arg, field
from graph.research_dataset import CohortSummary, ResearchDataset
from loaders.element import take
from loaders.page import TimePage
from loaders.reader import Reader
from loaders.research_dataset import MEASURES, age_band, research_datasets, versions_of_datasets
from resolvers import research_dataset
from resolvers.context import Context
from tests.warehouse.conftest import caller
from tests.warehouse.network import DAY, FACILITIES, MORE_ENCOUNTERS, PATIENTS, Person
from workers.embedded.stores import Stores as Embedded
from workers.research.aggregates import DATASETS, POPULATION_CELLS, Dataset, extract, publish

QUERY = """query {
  researchDatasets(first: 50) {
    nodes {
      name title threshold
      latestVersion { version asOf rowCount suppressedCount
        aggregates(measure: ["population"], first: 100) {
          nodes { measure scope suppressed patientCount strata { dimension value } code { code } }
          pageInfo { hasNextPage }
        } }
      versions { nodes { version sha256 released } }
    }
  }
  patients { cohort { sex ageBand patientCount topConditions { code { system code } patientCount } } }
}"""


async def persons(context: Context) -> list[Person]:
    """Stands for the patients of a chart."""
    return [person for person in PATIENTS if person.gender][-200:]


@strawberry.type
class Patient:
    """A patient with nothing but a cohort."""

    cohort: CohortSummary | None = field("x", phi=None, batch=research_dataset.cohorts_of_patients)


@strawberry.type
class Query:
    """The roots of research."""

    research_datasets: Connection[ResearchDataset] | None = field("x", phi=None, root=research_dataset.page, args=PAGE)
    research_dataset: ResearchDataset | None = field(
        "x", phi=None, root=research_dataset.one, args=(arg("id", strawberry.ID, "x", phi=None, default=REQUIRED),)
    )
    patients: list[Patient] = field("x", phi=None, root=persons)


SCHEMA = strawberry.Schema(query=Query, config=StrawberryConfig(default_resolver=take, scalar_map=SCALARS))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stores(configured: Settings) -> AsyncIterator[Stores]:
    """The stores, with the first extraction in the warehouse."""
    assert await extract(configured, DAY) == {dataset.name: 1 for dataset in DATASETS}
    opened = Stores(configured)
    yield opened
    await opened.close()


def context(stores: Stores, profile: Profile = Profile.ANALYST, facility: int = 0) -> Context:
    """A request of a caller."""
    return Context(Reader(stores, caller(profile, facility)), b"k" * 32)


async def stored(stores: Stores, what: str, where: str = "true") -> Any:
    """What the warehouse holds, over all facilities."""
    return await stores.warehouse.query(f"SELECT {what} FROM stored_aggregate WHERE {where}", (), again=True)


async def test_no_cell_of_few_patients_is_stored(stores: Stores) -> None:
    names = ", ".join(f"'{name}'" for name in MEASURES)
    [(cells, smallest, halves, hidden)] = await stored(
        stores,
        "COUNT(*), MIN(patient_count), COUNT(CASE WHEN patient_count IS NULL THEN event_count END),"
        " COUNT(CASE WHEN patient_count IS NULL THEN 1 END)",
        f"patient_count IS NULL OR patient_count > 0 AND measure IN ({names})",
    )
    assert cells > 200
    assert hidden > 50
    assert smallest >= THRESHOLD
    assert halves == 0


async def test_published_counts_are_those_of_the_clinical_database(configured: Settings, stores: Stores) -> None:
    clinical = Postgres("clinical", configured.clinical_url, configured.secret, 5)
    counted = await clinical.worker_fetch(
        "SELECT facility_id::text, class_code, to_char(sort_time, 'YYYY'), count(DISTINCT patient_id), count(*) "
        "FROM clinical.encounter GROUP BY 1, 2, 3"
    )
    await clinical.close()
    truth = {(row[0], row[1], row[2]): (row[3], row[4]) for row in counted}
    published = {
        (row[0], row[1], row[2]): (row[3], row[4])
        for row in await stored(
            stores,
            "facility_id, encounter_class, calendar_year, patient_count, event_count",
            "measure = 'encounters' AND facility_id IS NOT NULL AND encounter_class IS NOT NULL"
            " AND calendar_year IS NOT NULL",
        )
    }
    assert published.keys() == truth.keys()
    shown = {key: counts for key, counts in published.items() if counts[0] is not None}
    assert shown == {key: truth[key] for key in shown}
    assert all(shown.get(key) is None for key, (patients, _) in truth.items() if patients < THRESHOLD)
    assert 0 < len(shown) < len(truth)


@pytest.mark.parametrize("day", [DAY, DAY - timedelta(days=1), DAY + timedelta(days=1), date(2024, 2, 29)])
async def test_age_bands_are_the_same_in_sql_and_in_python(configured: Settings, stores: Stores, day: date) -> None:
    clinical = Postgres("clinical", configured.clinical_url, configured.secret, 5)
    rows = await clinical.worker_fetch(POPULATION_CELLS, day)
    await clinical.close()
    counted = {row[5]: row[6] for row in rows if row[3] is None and row[4] is None and row[5] is not None}
    assert counted == Counter(age_band(person.birth_date, day) or "unknown" for person in PATIENTS)


@pytest.mark.parametrize(
    ("birth_date", "day", "band"),
    [
        ("1936-03-02", date(2026, 3, 1), "80-89"),
        ("1936-03-02", date(2026, 3, 2), "90+"),
        ("1900-01-01", date(2026, 3, 2), "90+"),
        ("1936-02-29", date(2026, 2, 28), "80-89"),
        ("1936-02-29", date(2026, 3, 1), "90+"),
        ("1936", date(2026, 6, 1), None),
        ("1935", date(2026, 6, 1), "90+"),
        ("1950", date(2026, 6, 1), "70-79"),
        ("2026-03-01", date(2026, 3, 1), "0-9"),
        ("2026-03-02", date(2026, 3, 1), None),
        (None, date(2026, 3, 1), None),
    ],
)
def test_an_age_band_is_by_calendar_and_never_straddles_90(birth_date: str | None, day: date, band: str | None) -> None:
    assert age_band(birth_date, day) == band


async def test_versions_appear_with_changes_only_and_stay(configured: Settings, stores: Stores) -> None:
    assert await extract(configured, DAY) == {dataset.name: None for dataset in DATASETS}
    first = await stored(stores, "*", "version = 1 ORDER BY dataset_id, ordinal")
    asyncpg: Any = importlib.import_module("asyncpg")
    connection = await asyncpg.connect(configured.clinical_url)
    await connection.execute(f"SET search_path = clinical, public; {MORE_ENCOUNTERS}")
    await connection.close()
    assert await extract(configured, DAY) == {"condition-prevalence": None, "encounters": 2, "lab-results": None}
    assert await stored(stores, "*", "version = 1 ORDER BY dataset_id, ordinal") == first
    reader = context(stores).reader
    [dataset] = [row for row in await research_datasets(reader, TimePage(50)) if row.name == "encounters"]
    found = await versions_of_datasets(reader, [dataset.id], TimePage(50))
    assert [version.version for version in found[dataset.id]] == [2, 1]


async def test_the_graph_shows_datasets_cells_and_cohorts(stores: Stores) -> None:
    asked = context(stores, facility=1)
    answer = await SCHEMA.execute(QUERY, context_value=asked)
    assert answer.errors is None
    assert answer.data
    by_name = {node["name"]: node for node in answer.data["researchDatasets"]["nodes"]}
    assert by_name.keys() >= {"condition-prevalence", "encounters", "lab-results"}
    cells = by_name["condition-prevalence"]["latestVersion"]["aggregates"]["nodes"]
    assert {cell["scope"] for cell in cells} == {"network", "facility"}
    assert all(cell["suppressed"] is (cell["patientCount"] is None) for cell in cells)
    totals = [cell["patientCount"] for cell in cells if not cell["strata"]]
    assert totals == [600, 200]
    cohorts = [patient["cohort"] for patient in answer.data["patients"]]
    assert all(cohort["patientCount"] >= THRESHOLD for cohort in cohorts)
    assert any(cohort["ageBand"] and cohort["topConditions"] for cohort in cohorts)
    assert asked.reader.statements == {
        ("warehouse", name): 1
        for name in (
            "research_datasets",
            "aggregates_of_versions",
            "cohorts_of_patients",
        )
    } | {("warehouse", "versions_of_datasets"): 2}


async def test_a_policy_that_hides_clinical_facts_hides_the_cells(stores: Stores) -> None:
    answer = await SCHEMA.execute(QUERY, context_value=context(stores, Profile.PRIVACY_OFFICER))
    assert answer.data
    versions = [node["latestVersion"] for node in answer.data["researchDatasets"]["nodes"]]
    assert len(versions) >= len(DATASETS)
    assert all(version["aggregates"] is None for version in versions)


async def test_pages_of_cells_have_no_gap_and_forged_cursors_are_refused(stores: Stores) -> None:
    asked = context(stores)
    [dataset] = [row for row in await research_datasets(asked.reader, TimePage(50)) if row.name == "lab-results"]
    [version] = await research_dataset.latest_version(asked, [dataset])
    assert version
    seen: list[int] = []
    after: str | None = None
    while True:
        [page] = await research_dataset.aggregates(asked, [version], measure=None, code=None, first=40, after=after)
        seen += [row.ordinal for row in page.rows]
        if not page.has_next:
            break
        after = page.cursor(page.rows[-1])
    everything = await stored(
        stores,
        "ordinal",
        f"dataset_id = '{dataset.id}' AND version = 1 AND (facility_id IS NULL OR facility_id = '{FACILITIES[0][0]}') "
        "ORDER BY ordinal",
    )
    assert seen == [row[0] for row in everything]
    assert len(seen) > 40
    foreign = context(stores, facility=1)
    for wrong in ("", "AAAA", after):
        with pytest.raises(InvalidCursor):
            await research_dataset.aggregates(foreign, [version], measure=None, code=None, first=1, after=wrong)
    with pytest.raises(InvalidArgument, match="measure"):
        await research_dataset.aggregates(asked, [version], measure=["x"], code=None, first=1, after=None)


async def test_the_number_of_parents_does_not_change_the_number_of_statements(stores: Stores) -> None:
    many = [Dataset(f"many-{number}", "t", "d", ()) for number in range(25)]
    row = ("population", *[None] * 8, 11, None)
    for dataset in many:
        await publish(stores.warehouse, dataset, [row], DAY)
    datasets = [d for d in await research_datasets(context(stores).reader, TimePage(99)) if d.name.startswith("many-")]
    assert len(datasets) == 25
    counts: list[Counter[tuple[str, str]]] = []
    for parents in (datasets[:1], datasets):
        asked = context(stores)
        versions = [v for v in await research_dataset.latest_version(asked, parents) if v]
        assert len(versions) == len(parents)
        cells = await research_dataset.aggregates(asked, versions, measure=None, code=None, first=5, after=None)
        assert [[cell.patient_count for cell in page.rows] for page in cells] == [[11]] * len(parents)
        pages: Any = await research_dataset.versions(asked, parents, first=5, after=None)
        assert [len(page.rows) for page in pages] == [1] * len(parents)
        await research_dataset.cohorts_of_patients(asked, PATIENTS[1 : len(parents) + 1])
        counts.append(asked.reader.statements)
    assert counts[0] == counts[1]


async def test_the_deceased_and_those_of_unknown_sex_are_in_no_cohort(stores: Stores) -> None:
    asked = context(stores)
    nobody = [
        Person(PATIENTS[0].id, "male", "1950-01-01", deceased=True),
        Person(PATIENTS[0].id, "male", "1950-01-01", deceased_date_time="2020"),
        Person(PATIENTS[0].id, None, "1950-01-01"),
    ]
    assert await research_dataset.cohorts_of_patients(asked, nobody) == [None, None, None]
    assert not asked.reader.statements


async def test_a_stopped_warehouse_costs_its_own_fields_only(running: Embedded, stores: Stores) -> None:
    running.stop("warehouse")
    try:
        answer = await SCHEMA.execute(QUERY, context_value=context(stores))
    finally:
        running.start("warehouse")
    assert answer.data
    assert answer.data["researchDatasets"] is None
    assert {patient["cohort"] for patient in answer.data["patients"]} == {None}
    assert {error.path[0] for error in answer.errors or () if error.path} == {"researchDatasets", "patients"}


async def test_a_version_is_seen_when_it_is_registered_and_a_crashed_load_leaves_nothing(configured: Settings) -> None:
    warehouse = Warehouse("warehouse", configured.warehouse_url, 5)
    dataset, row = Dataset("crashed", "t", "d", ()), ("population", *[None] * 8, 12, None)
    columns: Any = {
        "dataset_id": "VARCHAR",
        "version": "NUMBER(9, 0)",
        "ordinal": "NUMBER(18, 0)",
        "measure": "VARCHAR",
    }
    await warehouse.worker_load("stored_aggregate", columns, [(str(dataset.id), 1, 7, "left over")])
    assert await publish(warehouse, dataset, [row], DAY) == 1
    kept = await warehouse.worker_execute(
        "SELECT ordinal, measure FROM stored_aggregate WHERE dataset_id = ?", str(dataset.id)
    )
    await warehouse.close()
    assert kept == [(1, "population")]
