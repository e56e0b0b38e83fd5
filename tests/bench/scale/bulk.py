"""Indexes of tables that are filled in bulk: taken away before, and put back as they were."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

# Of partitions the parent's: what is made there is made in each. Keys that others refer to stay.
TAKEN = """
SELECT c.oid::regclass::text AS "table", x.indexrelid::regclass::text AS index, k.conname AS name,
    CASE WHEN k.oid IS NULL THEN replace(pg_get_indexdef(x.indexrelid), ' ON ONLY ', ' ON ')
        ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.oid::regclass, k.conname,
            pg_get_constraintdef(k.oid)) END AS made
FROM pg_index AS x
JOIN pg_class AS c ON c.oid = x.indrelid
LEFT JOIN pg_constraint AS k ON k.conindid = x.indexrelid AND k.contype IN ('p', 'u', 'x')
WHERE c.relnamespace = ANY ($1::text[]::regnamespace[]) AND NOT c.relispartition
    AND NOT EXISTS (SELECT FROM pg_constraint AS f WHERE f.contype = 'f' AND f.conindid = x.indexrelid)
ORDER BY pg_relation_size(c.oid), x.indexrelid"""

LARGEST_FIRST = "lab_result"
"""What is partitioned has no size of its own to go by."""


async def take_indexes(connection: asyncpg.Connection, schemas: Sequence[str]) -> list[str]:
    """Drops every index that no foreign key needs; the statements that make them again."""
    found: Sequence[Any] = await connection.fetch(TAKEN, schemas)
    for row in found:
        if row["name"] is None:
            await connection.execute(f"DROP INDEX {row['index']}")
        else:
            await connection.execute(f'ALTER TABLE {row["table"]} DROP CONSTRAINT "{row["name"]}"')
    return sorted((row["made"] for row in found), key=lambda made: LARGEST_FIRST not in made)


async def make_indexes(connections: Sequence[asyncpg.Connection], statements: Sequence[str]) -> None:
    """Runs these statements, one at a time on each connection; those that alter a table wait for its other indexes."""
    altering = [one for one in statements if one.startswith("ALTER")]
    rest = iter([one for one in statements if one not in altering])

    async def work(connection: asyncpg.Connection) -> None:
        for statement in rest:
            await connection.execute(statement)

    await asyncio.gather(*(work(connection) for connection in connections))
    for statement in altering:
        await connections[0].execute(statement)
