"""Numbered SQL, applied once, checksummed, safe to run concurrently; then roles, context key and masked views.

A database's files are `db/migrations/access/*.sql` and then `db/migrations/<database>/*.sql`, in order of name. Each
runs in one transaction with its record, unless its first line is `-- no transaction`. A file `….timescaledb.sql` runs
only where that extension was available when the database was first migrated, a file `….plain.sql` only where not.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from pathlib import Path

import asyncpg

from db import roles
from db.context import pads
from db.errors import SettingsError
from db.policy import POLICY, VIEWS
from db.queue import migrate_queue
from db.views import Column, view_ddl

MIGRATIONS = Path(__file__).with_name("migrations")
LOCK = 4_201_337
"""Key of the advisory lock that lets one migrator at a time in."""

ROLE_ATTEMPTS = 10

RECORD = "INSERT INTO caregraph_migration (name, sha256) VALUES ($1, $2)"

DECLARED_COLUMNS = """
SELECT k.table_name, k.column_name, coalesce(format_type(a.atttypid, a.atttypmod), 'text'), k.kind
FROM access.column_kind AS k
LEFT JOIN pg_attribute AS a
    ON a.attrelid = format('%I.%I', $1::text, k.table_name)::regclass AND a.attname = k.column_name
ORDER BY k.table_name, k.position
"""

OPENED_TABLES = "SELECT tablename FROM pg_policies WHERE policyname = 'writer_insert' AND schemaname = $1"
"""Tables that are open to writers: see access.open_to_writers."""

UNDECLARED_COLUMNS = """
SELECT c.table_name || '.' || c.column_name
FROM information_schema.columns AS c
WHERE c.table_schema = $1
  AND c.table_name IN (SELECT table_name FROM access.column_kind)
  AND NOT EXISTS (
      SELECT FROM access.column_kind AS k WHERE k.table_name = c.table_name AND k.column_name = c.column_name)
"""


PLAIN, TIMESCALEDB = ".plain.sql", ".timescaledb.sql"
"""Flavours of a file: endings of its name."""

HAS_TIMESCALEDB = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')"


def files(database: str, other: str = TIMESCALEDB) -> list[Path]:
    """Migrations of a database in the order in which they run, without those of the other flavour."""
    every = [*sorted((MIGRATIONS / "access").glob("*.sql")), *sorted((MIGRATIONS / database).glob("*.sql"))]
    return [path for path in every if not path.name.endswith(other)]


async def _other_flavour(connection: asyncpg.Connection, done: Iterable[str]) -> str:
    """Ending of the files to leave out; a database keeps the flavour that it was made with."""
    if any(name.endswith(PLAIN) for name in done):
        return TIMESCALEDB
    return PLAIN if await connection.fetchval(HAS_TIMESCALEDB) else TIMESCALEDB


async def migrate(database: str, url: str, secret: bytes) -> list[str]:
    """Bring a database (clinical, imaging or vitals) up to date; names of the files applied.

    Raises SettingsError when a file that was applied has changed since.
    """
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        return await _migrate(connection, database, secret)
    finally:
        await connection.close()


async def _migrate(connection: asyncpg.Connection, database: str, secret: bytes) -> list[str]:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS caregraph_migration "
        "(name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    await _make_roles(connection, secret)
    done = {
        row["name"]: row["sha256"] for row in await connection.fetch("SELECT name, sha256 FROM caregraph_migration")
    }
    applied: list[str] = []
    if database == "clinical" and (queue := await migrate_queue(connection, done)):
        applied.append(queue)
    for path in files(database, await _other_flavour(connection, done)):
        name, text = f"{path.parent.name}/{path.name}", path.read_text(encoding="utf-8")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        if name not in done:
            await _apply(connection, name, text, checksum)
            applied.append(name)
        elif done[name] != checksum:
            raise SettingsError(f"Migration {name} was applied to {database} and has changed since.")
    await _set_context_key(connection, secret)
    await _grant_writes(connection, database)
    await _make_views(connection, database)
    return applied


async def _make_roles(connection: asyncpg.Connection, secret: bytes) -> None:
    """Roles belong to the whole server: migrators of its other databases may be at them at this moment."""
    for attempt in range(ROLE_ATTEMPTS):
        try:
            async with connection.transaction():
                for statement in roles.ddl(secret):
                    await connection.execute(statement)
            return
        except (asyncpg.InternalServerError, asyncpg.UniqueViolationError, asyncpg.DuplicateObjectError):
            if attempt + 1 == ROLE_ATTEMPTS:
                raise
            await asyncio.sleep(0.1 * (attempt + 1))


async def _apply(connection: asyncpg.Connection, name: str, text: str, checksum: str) -> None:
    if text.startswith("-- no transaction"):
        for statement in text.split(";\n\n"):
            await connection.execute(statement)
        await connection.execute(RECORD, name, checksum)
        return
    async with connection.transaction():
        await connection.execute(text)
        # Where each file starts, whatever was before it.
        await connection.execute("RESET ROLE; SET search_path = public")
        await connection.execute(RECORD, name, checksum)


async def _set_context_key(connection: asyncpg.Connection, secret: bytes) -> None:
    await connection.execute(
        "INSERT INTO access.context_key (inner_pad, outer_pad) VALUES ($1, $2) "
        "ON CONFLICT (only_row) DO UPDATE SET inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad",
        *pads(secret),
    )


async def _grant_writes(connection: asyncpg.Connection, database: str) -> None:
    """Lets the writer role of each profile insert and update what the policy lists for it, and nothing else."""
    tables: list[str] = [row[0] for row in await connection.fetch(OPENED_TABLES, database)]
    async with connection.transaction():
        for profile, named in POLICY.writes.items():
            role = roles.writer_of(profile)
            for table in tables:
                verb = "GRANT INSERT, UPDATE ON {} TO {}" if table in named else "REVOKE INSERT, UPDATE ON {} FROM {}"
                await connection.execute(verb.format(f'{database}."{table}"', role))


async def _make_views(connection: asyncpg.Connection, database: str) -> None:
    undeclared = await connection.fetchval(UNDECLARED_COLUMNS + " LIMIT 1", database)
    if undeclared:
        raise SettingsError(f"Column {undeclared} of {database} has no declared PHI kind.")
    columns = [Column(*row) for row in await connection.fetch(DECLARED_COLUMNS, database)]
    ddl = {view.name: view_ddl(database, view, columns) for view in VIEWS}
    digest = hashlib.sha256("".join(ddl.values()).encode()).hexdigest()
    made = await connection.fetchval("SELECT sha256 FROM caregraph_migration WHERE name = 'views'")
    if made == digest:
        return
    async with connection.transaction():
        for text in ddl.values():
            await connection.execute(text)
        await connection.execute("DELETE FROM caregraph_migration WHERE name = 'views'")
        await connection.execute(RECORD, "views", digest)
