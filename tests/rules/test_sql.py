"""Every statement of the loaders prepares in every view, and gives the columns that its row takes."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from types import ModuleType

import asyncpg
import pytest

import loaders.writes
from db.context import role_password
from db.policy import VIEWS, Form, Phi, View
from db.postgres import login_url, statement_name
from db.roles import RESEARCH
from db.settings import Settings
from loaders.facts import ByIdBatch, ChildrenBatch, NewestBatch
from loaders.statement import Statement

MODULES = [
    importlib.import_module(f"loaders.{module.name}")
    for module in pkgutil.iter_modules(loaders.__path__)
    if module.name != "write"
]
WRITING = [
    importlib.import_module("loaders.write"),
    *(importlib.import_module(f"loaders.writes.{one.name}") for one in pkgutil.iter_modules(loaders.writes.__path__)),
]
DATABASES = {"imaging_study": "imaging", "lab_series": "vitals", "vital_sign": "vitals"}
"""Loader modules that do not read the clinical database."""
OTHER_DIALECTS = {"research_dataset", "research_release"}
"""Loader modules whose SQL is Snowflake's: tests/warehouse runs it."""
SEARCH = {"patients_by_search"}
FOR_RESEARCH = {"research_cohort", "research_cohort_count", "research_histogram"}
"""Statements that the login of research sends, and nobody else can."""


def found() -> Iterator[tuple[str, Statement | str]]:
    """(database, statement) of every statement with which a PostgreSQL loader reads."""
    yield from statements(MODULES)


def statements(modules: Sequence[ModuleType]) -> Iterator[tuple[str, Statement | str]]:
    """(database, statement) of every statement of these modules."""
    for module in modules:
        stem = module.__name__.rpartition(".")[2]
        if stem in OTHER_DIALECTS:
            continue
        database = DATABASES.get(stem, "clinical")
        for name, value in vars(module).items():
            is_sql = name.isupper() and isinstance(value, str) and value.lstrip().startswith("/* ")
            if is_sql or isinstance(value, Statement):
                yield database, value


def sql_of(statement: Statement | str, seen: View | None = None) -> str:
    """Text of a statement as a view's callers send it; without a view, of whoever sees all columns."""
    if isinstance(statement, str):
        return statement
    return statement.for_view(seen) if seen else statement.sql


WRITES = list(statements(WRITING))
ALL = sorted(set(found()), key=lambda pair: statement_name(sql_of(pair[1])))
STATEMENTS = [pair for pair in ALL if statement_name(sql_of(pair[1])) not in FOR_RESEARCH]
BATCHES = {
    f"{module.__name__}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, NewestBatch | ChildrenBatch | ByIdBatch)
}


@pytest.mark.parametrize("seen", VIEWS, ids=lambda seen: seen.name)
async def test_statements_prepare_in_every_view(configured: Settings, seen: View) -> None:
    urls = {"clinical": configured.clinical_url, "imaging": configured.imaging_url, "vitals": configured.vitals_url}
    role = f"caregraph_{seen.profile.value}"
    for database, url in urls.items():
        connection = await asyncpg.connect(login_url(url, role, role_password(configured.secret, role)))
        try:
            await connection.execute(f"SET search_path = {seen.name}, public")
            for sql in (sql_of(statement, seen) for owner, statement in STATEMENTS if owner == database):
                if statement_name(sql) in SEARCH and seen.forms[Phi.NAME] is not Form.SHOW:
                    continue  # prepared, it may not be executed: tests of the search show that
                await connection.prepare(sql)
        finally:
            await connection.close()


async def test_what_writes_prepares_as_a_writer(configured: Settings) -> None:
    urls = {"clinical": configured.clinical_url, "imaging": configured.imaging_url, "vitals": configured.vitals_url}
    role = "caregraph_clinician"
    for database, url in urls.items():
        connection = await asyncpg.connect(login_url(url, role, role_password(configured.secret, role)))
        try:
            await connection.execute(f"SET ROLE {role}_writer; SET search_path = {database}, public")
            for sql in (sql_of(statement) for owner, statement in WRITES if owner == database):
                await connection.prepare(sql)
        finally:
            await connection.close()


async def test_what_research_reads_prepares_as_its_login(configured: Settings) -> None:
    found = [sql_of(statement) for _, statement in ALL if statement_name(sql_of(statement)) in FOR_RESEARCH]
    assert len(found) == len(FOR_RESEARCH)
    connection = await asyncpg.connect(
        login_url(configured.research_url, RESEARCH, role_password(configured.secret, RESEARCH))
    )
    try:
        for sql in found:
            await connection.prepare(sql)
    finally:
        await connection.close()


@pytest.mark.parametrize("name", BATCHES)
async def test_rows_take_the_columns_of_their_statement(configured: Settings, name: str) -> None:
    batch = BATCHES[name]
    url = {
        "loaders.imaging_study": configured.imaging_url,
        "loaders.vital_sign": configured.vitals_url,
    }.get(name.rpartition(".")[0], configured.clinical_url)
    role = "caregraph_clinician"
    connection = await asyncpg.connect(login_url(url, role, role_password(configured.secret, role)))
    try:
        prepared = await connection.prepare(batch.statement.sql)
        columns = [attribute.name for attribute in prepared.get_attributes()][1:]
    finally:
        await connection.close()
    assert dataclasses.is_dataclass(batch.row)
    assert columns == [field.name for field in dataclasses.fields(batch.row)]


def test_names_are_unique() -> None:
    names = [statement_name(sql_of(statement)) for _, statement in [*ALL, *WRITES]]
    assert len(names) == len(set(names))
    assert len(names) > 40
