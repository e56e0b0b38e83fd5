"""Snowflake: research datasets and aggregates, over the connections of db.snowflake.

Every caller reads through VISIBLE, which stands before each statement with the caller's profile, open projects and
facility as bound parameters: loaders name `research_dataset`, `research_dataset_version`, `research_aggregate` and,
of one release, `release_rows`, never the tables behind.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from db.caller import Caller
from db.errors import SettingsError
from db.guard import Guard
from db.policy import Form, Phi, form
from db.postgres import Record, statement_name
from db.release_files import checked
from db.seen import Seen
from db.settings import Settings

if TYPE_CHECKING:
    from db.snowflake import Snowflake

Row: TypeAlias = tuple[Any, ...]
AskOpen: TypeAlias = Callable[[], Awaitable[Sequence[str]]]
"""Tells what is open to a caller now: each as the id of a project, a space, and a method (db.research_method)."""

MIGRATIONS = Path(__file__).with_name("migrations") / "warehouse"
REAL_ONLY = "-- real server only"
"""First line of a migration whose DDL the embedded warehouse does not know."""

POOL_MAX = 4
"""Connections of this process; each runs one query at a time."""

NETWORK_TIMEOUT_S = 8
"""Seconds for which the connector itself tries again at most: it does so on every HTTP 500 and refused connection."""

LOAD_ROWS = 5000
"""Rows of one INSERT: as one JSON parameter they stay well under the 16 MB of a VARIANT."""

STORED = "stored_"
"""How the names of the tables behind VISIBLE begin."""

VISIBLE = f"""WITH research_dataset AS (
    SELECT d.*
    FROM {STORED}dataset AS d
    JOIN {STORED}dataset_profile AS p ON p.dataset_id = d.id
    WHERE p.profile = ? AND d.project_id IS NULL
    UNION ALL
    SELECT d.*
    FROM {STORED}dataset AS d
    WHERE d.project_id || ' ' || d.method IN (SELECT value::VARCHAR FROM TABLE(FLATTEN(input => PARSE_JSON(?))))
), research_dataset_version AS (
    SELECT v.*, d.method
    FROM {STORED}dataset_version AS v
    JOIN research_dataset AS d ON d.id = v.dataset_id
), research_aggregate AS (
    SELECT a.*
    FROM {STORED}aggregate AS a
    JOIN research_dataset_version AS v ON v.dataset_id = a.dataset_id AND v.version = a.version
    WHERE (a.facility_id IS NULL OR a.facility_id = ?) AND ? = '{Form.SHOW.value}'
)
"""
"""What a caller may see: datasets of aggregates of the profile (first parameter), datasets of records of the projects
that are open to the caller (second), their registered versions, and of those the cells of the caller's facility (third)
and of the network, if the policy shows the profile clinical facts (fourth)."""
SEEN_VERSION = "/* seen_version */ SELECT id FROM research_dataset_version WHERE id = ?"

RECORDED = "SELECT name, sha256 FROM caregraph_migration"
RECORD = """INSERT INTO caregraph_migration (name, sha256)
SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM caregraph_migration WHERE name = ?)"""
RECORDS = "CREATE TABLE IF NOT EXISTS caregraph_migration (name VARCHAR(200) NOT NULL, sha256 VARCHAR(64) NOT NULL)"


def release_table(release_id: UUID, table: str) -> str:
    """Where the rows of a release's table are. Raises ValueError for what is no name of a table."""
    return f"{STORED}release_{release_id.hex}_{checked(table)}"


def array(values: Sequence[object]) -> str:
    """A list as one parameter, for `TABLE(FLATTEN(input => PARSE_JSON(?)))`: one statement serves any length."""
    return json.dumps(values)


class Warehouse:
    """One schema of Snowflake, whose connector is imported, and its connections opened, when first used."""

    def __init__(self, name: str, url: str, timeout_s: float) -> None:
        self.name = name
        self.guard = Guard(name, timeout_s, POOL_MAX)
        login_s = max(1, min(NETWORK_TIMEOUT_S, int(timeout_s / 2)))
        retry_s = max(1, min(NETWORK_TIMEOUT_S, int(timeout_s / 4)))  # the connector overruns it, but not the deadline
        self._login: dict[str, Any] = _login(url) | {"login_timeout": login_s, "network_timeout": retry_s}
        self._opening = asyncio.Lock()
        self._snowflake: Snowflake | None = None

    def session(
        self, caller: Caller, record: Record, ask_open: AskOpen | None = None, seen: Seen | None = None
    ) -> Session:
        """What one caller may read; without `ask_open` no project is open to the caller."""
        return Session(self, caller, record, ask_open, seen or Seen())

    async def ready(self) -> None:
        """Returns when the warehouse answers and is migrated. Raises StoreError."""
        await self.query(f"{VISIBLE}SELECT id FROM research_dataset LIMIT 0", ("", "[]", "", ""), again=True)

    async def close(self) -> None:
        """Closes the idle connections."""
        if self._snowflake:
            await self._snowflake.close()

    async def worker_execute(self, sql: LiteralString, *params: object) -> Sequence[Row]:
        """Rows of one statement over all facilities: for processes, never for a caller. Raises StoreError."""
        return await self.query(sql, params, again=False)

    async def worker_load(
        self, table: LiteralString, columns: Mapping[LiteralString, LiteralString], rows: Sequence[Row]
    ) -> None:
        """Appends rows, in the order of `columns` (name → Snowflake type). Values are JSON's: text, numbers, None.

        An INSERT from one JSON parameter needs no stage and no file, and takes 0.1 s for thousands of rows.
        """
        values = ", ".join(f"value[{place}]::{kind}" for place, kind in enumerate(columns.values()))
        source = "TABLE(FLATTEN(input => PARSE_JSON(?)))"
        sql = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {source}"
        for start in range(0, len(rows), LOAD_ROWS):
            await self.query(sql, (array(rows[start : start + LOAD_ROWS]),), again=False)

    async def query(self, sql: str, params: Sequence[object], *, again: bool) -> Sequence[Row]:
        """Rows of one statement under this store's guard; once more on a new connection where `again` allows it and
        an idle connection was of a server that has restarted since. Raises StoreError without the driver's text."""

        async def asked() -> Sequence[Row]:
            return await (await self._opened()).rows(sql, params, again=again)

        return await self.guard.run(asked)

    async def is_real(self) -> bool:
        """Whether this is Snowflake itself: the embedded warehouse says of every session that its role is duckdb."""
        [(role,)] = await self.worker_execute("SELECT CURRENT_ROLE()")
        return str(role).lower() != "duckdb"

    async def _opened(self) -> Snowflake:
        async with self._opening:
            if self._snowflake is None:
                self._snowflake = await asyncio.to_thread(_connections, self.name, self._login)
            return self._snowflake


class Session:
    """One caller's reads."""

    def __init__(
        self, warehouse: Warehouse, caller: Caller, record: Record, ask_open: AskOpen | None, seen: Seen
    ) -> None:
        self._warehouse = warehouse
        self._caller = caller
        self._record = record
        self._ask_open = ask_open
        self._seen = seen

    async def fetch(self, sql: LiteralString, *params: object) -> Sequence[Row]:
        """Rows of one `/* name */ SELECT …` over what the caller may see. Raises StoreError."""
        return await self._fetch("", sql, params)

    async def fetch_release(self, version_id: UUID, table: str, sql: LiteralString, *params: object) -> Sequence[Row]:
        """Rows of one statement that names `release_rows`: a table of a release, empty to who does not see it.

        Raises StoreError, also where no release has such a table.
        """
        visible = f""", release_rows AS (
    SELECT * FROM {release_table(version_id, table)} WHERE EXISTS (SELECT 1 FROM research_dataset_version WHERE id = ?)
)
"""
        rows = await self._fetch(visible, sql, (str(version_id), *params))
        if rows:
            self._seen.releases([version_id])
        return rows

    async def sees(self, version_id: UUID) -> bool:
        """Whether the caller sees a version of a dataset. Raises StoreError."""
        return bool(await self.fetch(SEEN_VERSION, str(version_id)))

    async def _fetch(self, more: str, sql: LiteralString, params: Sequence[object]) -> Sequence[Row]:
        name = statement_name(sql)
        if STORED in sql.lower():
            raise ValueError("A caller's statement reads what VISIBLE shows, not the tables behind it.")
        caller = self._caller
        opened = array(await self._ask_open() if self._ask_open else ())
        self._record(self._warehouse.name, name)
        clinical = form(caller.profile, caller.purpose, Phi.CLINICAL).value
        visible = (caller.profile.value, opened, str(caller.facility_id), clinical)
        _, _, select = sql.partition("*/")
        return await self._warehouse.query(f"/* {name} */ {VISIBLE}{more}{select}", (*visible, *params), again=True)


async def migrate_warehouse(configured: Settings) -> Sequence[str]:
    """Brings the warehouse up to date; names of the files applied.

    Raises SettingsError when a file that was applied has changed since, StoreError when the warehouse refuses one.
    """
    warehouse = Warehouse("warehouse", configured.warehouse_url, 60)
    try:
        return await _migrate(warehouse)
    finally:
        await warehouse.close()


async def _migrate(warehouse: Warehouse) -> Sequence[str]:
    await warehouse.worker_execute(RECORDS)
    done = {str(name): str(sha256) for name, sha256 in await warehouse.worker_execute(RECORDED)}
    real = await warehouse.is_real()
    applied: list[str] = []
    for path in sorted(MIGRATIONS.glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        if path.name in done:
            if done[path.name] != checksum:
                raise SettingsError(f"Migration warehouse/{path.name} was applied and has changed since.")
        elif real or not text.startswith(REAL_ONLY):
            for statement in text.split(";\n"):
                if statement.strip():
                    await warehouse.query(statement, (), again=False)
            await warehouse.worker_execute(RECORD, path.name, checksum, path.name)
            applied.append(path.name)
    return applied


def _login(url: str) -> dict[str, Any]:
    """Connection parameters of snowflake://user:password@host:port/database/schema?account=…&warehouse=…&protocol=…"""
    parts = urlsplit(url)
    place = parts.path.strip("/").split("/")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if len(place) != 2 or "account" not in query:
        raise SettingsError("CAREGRAPH_WAREHOUSE_URL must name /database/schema and ?account=….")
    return query | {
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "host": parts.hostname,
        "port": parts.port or (80 if query.get("protocol") == "http" else 443),
        "database": place[0],
        "schema": place[1],
        "paramstyle": "qmark",  # bound by the server, never written into the statement
        "disable_ocsp_checks": True,  # would ask third parties; certificates are verified all the same
        "session_parameters": {"CLIENT_TELEMETRY_ENABLED": False, "TIMEZONE": "UTC", "QUERY_TAG": "caregraph"},
    }


def _connections(name: str, login: Mapping[str, Any]) -> Snowflake:
    """Connections of the connector, whose import takes a third of the memory and of the start of a process.

    In a thread: most processes never ask the warehouse, and one that does serves others meanwhile.
    """
    from db.snowflake import Snowflake

    return Snowflake(name, login)
