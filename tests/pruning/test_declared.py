"""What Python reads of the migrations is what they declare in PostgreSQL; what it leaves out is what the views hide."""

from __future__ import annotations

from collections import defaultdict

import asyncpg
import pytest

from db.declared import hidden, tables
from db.migrate import DECLARED_COLUMNS
from db.policy import View
from db.settings import Settings
from db.views import Column, hides
from tests.rules.test_sql import VIEWS

KINDS = "SELECT table_name, column_name, kind FROM access.column_kind"


def urls(settings: Settings) -> dict[str, str]:
    """Administrator's URL of each database."""
    return {"clinical": settings.clinical_url, "imaging": settings.imaging_url, "vitals": settings.vitals_url}


async def test_kinds_are_those_of_the_databases(configured: Settings) -> None:
    declared: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for url in urls(configured).values():
        connection = await asyncpg.connect(url)
        for table, column, kind in await connection.fetch(KINDS):
            declared[table][column] = kind
        await connection.close()
    assert dict(declared) == tables()


@pytest.mark.parametrize("seen", VIEWS, ids=lambda seen: seen.name)
async def test_hidden_columns_are_those_of_the_views(configured: Settings, seen: View) -> None:
    """By the types of the database, which a declaration does not name."""
    compared = 0
    for database, url in urls(configured).items():
        connection = await asyncpg.connect(url)
        columns = [Column(*row) for row in await connection.fetch(DECLARED_COLUMNS, database)]
        await connection.close()
        for column in columns:
            assert (column.name in hidden(seen, column.table)) == hides(seen, column), column
            compared += 1
    assert compared > 200
