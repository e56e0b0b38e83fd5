"""Bulk writes of the workers: COPY into a temporary table, then one upsert that touches only rows that differ.

SQL identifiers come from TABLES alone; values are COPY data or parameters.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, LiteralString

import asyncpg
import orjson

from db.context import role_password
from db.errors import AppError, StoreUnavailable
from db.postgres import DOWN, login_url
from db.roles import WORKER
from db.settings import Settings

Values = Mapping[str, Any]
Key = tuple[Any, ...]

WORDINGS = ("code_display", "code_text")
"""Columns in which rows of the same concept may differ."""

ACTOR = f"{WORKER} of uid {os.getuid()}"
"""Who writes, in the record of changes: the login, and whose process it is."""

REFUSALS = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)
"""What the server says of a row that it can't hold."""


class Refused(AppError):
    """The database can't take these rows."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that workers write: its database (which is its schema too), columns and key."""

    database: str
    columns: tuple[str, ...]
    key: tuple[str, ...] = ("id",)
    owner: tuple[str, ...] = ()
    """Columns of the key that name the resource: its rows that are not in the batch are stale and go."""
    fixed: frozenset[str] = frozenset()
    """Columns that an existing row keeps."""
    merged: bool = False
    """A catalogue row of a concept: of several wordings the least stays, whatever the order of imports."""
    name: str = ""
    """Table, where it is not the entry's own name."""


def _table(
    database: str,
    columns: str,
    key: str = "id",
    owner: str = "",
    fixed: str = "",
    *,
    merged: bool = False,
    name: str = "",
) -> Table:
    listed, keys, owners = (tuple(text.split()) for text in (columns, key, owner))
    return Table(database, listed, keys, owners, frozenset(fixed.split()), merged, name)


_FACT = "id facility_id patient_id encounter_id "
_LABELLED = _FACT + "security "
_CODE = "code_system code code_display code_text code_translation "
_VALUE = (
    "value_number value_comparator value_unit value_code value_system value_concept value_text value_date_time "
    "data_absent_reason component member_id interpretation reference_range note sort_time"
)
_MEDICATION = "id " + _CODE + "form ingredient"

TABLES: dict[str, Table] = {
    "facility": _table("clinical", "id code name type address telecom", fixed="code"),
    "department": _table("clinical", "id facility_id parent_id code name type physical_type"),
    "provider": _table("clinical", "id npi family given prefix gender qualification telecom active"),
    "practitioner_role": _table("clinical", "id facility_id provider_id department_id role specialty"),
    "patient": _table(
        "clinical",
        "id active gender birth_date deceased deceased_date_time marital_status multiple_birth race ethnicity "
        "birth_sex address telecom contact communication",
    ),
    "patient_name": _table(
        "clinical", "patient_id position use family given prefix suffix text", "patient_id position", "patient_id"
    ),
    "patient_identifier": _table(
        "clinical", "patient_id position kind type system value", "patient_id position", "patient_id"
    ),
    "patient_source": _table("clinical", "patient_id mrn facility_id", "patient_id"),
    "resource_identifier": _table("clinical", "resource_type system value resource_id", "resource_type value system"),
    "encounter": _table(
        "clinical",
        "id facility_id patient_id security department_id provider_id part_of_id status class_code "
        + _CODE
        + "period_start period_end sort_time end_time details",
    ),
    "condition": _table(
        "clinical",
        _LABELLED
        + "clinical_status verification_status category severity "
        + _CODE
        + "body_site onset abatement recorded_date note sort_time",
    ),
    "procedure": _table(
        "clinical",
        _LABELLED
        + "provider_id status "
        + _CODE
        + "reason reason_condition_id body_site performed_start performed_end sort_time",
    ),
    "allergy_intolerance": _table(
        "clinical",
        _LABELLED
        + "clinical_status verification_status type category criticality "
        + _CODE
        + "no_known_allergy onset recorded_date reaction note sort_time",
    ),
    "immunization": _table(
        "clinical",
        _LABELLED + "status " + _CODE + "occurrence occurrence_text primary_source lot_number dose_quantity sort_time",
    ),
    "medication": _table("clinical", _MEDICATION),
    "medication_concept": _table("clinical", _MEDICATION, merged=True, name="medication"),
    "medication_request": _table(
        "clinical",
        _LABELLED + "medication_id provider_id status intent priority authored_on reason reason_condition_id dosage "
        "dispense sort_time",
    ),
    "medication_administration": _table(
        "clinical",
        _LABELLED + "medication_id medication_request_id status effective_start effective_end dosage sort_time",
    ),
    "care_team": _table("clinical", _FACT + "status name category period_start period_end sort_time"),
    "care_team_participant": _table(
        "clinical",
        "care_team_id facility_id position provider_id member role",
        "facility_id care_team_id position",
        "care_team_id",
    ),
    "consent": _table("clinical", "id facility_id patient_id status scope category date_time provision sort_time"),
    "appointment": _table(
        "clinical",
        "id facility_id patient_id provider_id department_id status "
        + _CODE
        + "description start_date_time end_date_time sort_time end_time",
    ),
    "lab_test": _table("clinical", "id code_system code code_display code_text", merged=True),
    "diagnostic_report": _table("clinical", _LABELLED + "status category " + _CODE + "effective issued sort_time"),
    "report_result": _table("clinical", "report_id result_id", "report_id result_id", "report_id"),
    "lab_result": _table(
        "clinical",
        _LABELLED + "lab_test_id diagnostic_report_id status effective issued specimen " + _VALUE,
        "id sort_time",
    ),
    "observation": _table("clinical", _LABELLED + "status category " + _CODE + "effective issued " + _VALUE),
    "observation_place": _table("clinical", "resource_id place sort_time", "resource_id"),
    "deferred_resource": _table(
        "clinical", "resource_type resource_id waits_for written resource", "resource_type resource_id"
    ),
    "unresolved_reference": _table(
        "clinical",
        "resource_type resource_id element reference target_type target_id system value",
        "resource_type resource_id element reference",
    ),
    "vital_sign": _table(
        "vitals",
        "id position facility_id patient_id encounter_id device_id status code_system code code_display panel_code "
        "value value_unit value_code data_absent_reason effective sort_time",
        "id position sort_time",
        "id sort_time",
    ),
    "imaging_study": _table(
        "imaging",
        _FACT + "study_uid accession_number status started modality description procedure body_site number_of_series "
        "number_of_instances sort_time",
    ),
    "imaging_series": _table(
        "imaging",
        "id facility_id imaging_study_id series_uid number modality body_site description started number_of_instances",
    ),
    "imaging_instance": _table("imaging", "id facility_id imaging_series_id instance_uid sop_class number title"),
}
"""Every table that workers fill in bulk, in an order in which foreign keys hold."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the rows of one upsert, by key."""

    changed: frozenset[Key]
    refused: Mapping[Key, str]
    """Rows that the database does not take, and the constraint that says so."""


@contextmanager
def _mapped(database: str) -> Generator[None]:
    """The driver's failures as errors of ours; its texts may hold values."""
    try:
        yield
    except REFUSALS as error:
        why = getattr(error, "constraint_name", None) or type(error).__name__
        raise Refused(f"the {database} database refuses a value: {why}") from None
    except DOWN:
        raise StoreUnavailable(database) from None


class Bulk:
    """One connection of the worker role to each database, each with at most one transaction."""

    def __init__(self, urls: Mapping[str, str], secret: bytes) -> None:
        self._urls = {name: login_url(url, WORKER, role_password(secret, WORKER)) for name, url in urls.items()}
        self._connections: dict[str, asyncpg.Connection] = {}
        self._open: dict[str, Any] = {}
        self._staged: set[str] = set()

    @classmethod
    def of(cls, configured: Settings) -> Bulk:
        """The three databases of an instance."""
        urls = {
            "clinical": configured.clinical_url,
            "imaging": configured.imaging_url,
            "vitals": configured.vitals_url,
        }
        return cls(urls, configured.secret)

    async def fetch(self, database: str, sql: LiteralString, *args: object) -> Sequence[asyncpg.Record]:
        """Rows of one statement, inside the open transaction. Raises Refused, StoreUnavailable."""
        connection = await self._begun(database)
        with _mapped(database):
            return await connection.fetch(sql, *args)

    async def commit(self) -> None:
        """Ends the transactions: clinical last, because it holds what says that a resource is done."""
        for database in ("vitals", "imaging", "clinical"):
            if transaction := self._open.pop(database, None):
                with _mapped(database):
                    await transaction.commit()

    async def rollback(self) -> None:
        """Drops what is not committed."""
        while self._open:
            database, transaction = self._open.popitem()
            with _mapped(database):
                await transaction.rollback()
        self._staged.clear()

    async def close(self) -> None:
        """Closes the connections; an open transaction is lost."""
        for connection in self._connections.values():
            connection.terminate()

    async def upsert(self, table_name: str, rows: Sequence[Values]) -> Written:
        """Inserts or updates rows; of rows with the same key the last one counts.

        A row that breaks a constraint costs itself only. Raises Refused, StoreUnavailable.
        """
        table = TABLES[table_name]
        unique: dict[Key, Values] = {}
        for row in rows:
            key = tuple(row[column] for column in table.key)
            unique[key] = _least(unique[key], row) if table.merged and key in unique else row
        connection = await self._begun(table.database)
        keys = list(unique)
        refused: dict[Key, str] = {}
        with _mapped(table.database):
            await self._stage(connection, table_name, [tuple(row[c] for c in table.columns) for row in unique.values()])
            if table_name == "lab_result":
                await connection.execute(FILL_REPORTS)
            if table.owner:
                await connection.execute(_prune(table_name, table))
            changed = await self._insert(connection, table_name, keys, range(len(keys)), refused)
        return Written(frozenset(changed), refused)

    async def _insert(
        self, connection: asyncpg.Connection, name: str, keys: Sequence[Key], part: range, refused: dict[Key, str]
    ) -> set[Key]:
        """Upserts a part of the staged rows; where one is refused, halves the part until it stands alone."""
        if not part:
            return set()
        try:
            async with connection.transaction():
                found = await connection.fetch(_upsert(name, TABLES[name]), part.start, part.stop)
            return {tuple(row) for row in found}
        except REFUSALS as error:
            if len(part) == 1:
                refused[keys[part.start]] = getattr(error, "constraint_name", None) or type(error).__name__
                return set()
        middle = (part.start + part.stop) // 2
        left = await self._insert(connection, name, keys, range(part.start, middle), refused)
        return left | await self._insert(connection, name, keys, range(middle, part.stop), refused)

    async def _stage(self, connection: asyncpg.Connection, name: str, records: Sequence[Key]) -> None:
        table, stage = TABLES[name], f"stage_{name}"
        if name in self._staged:
            await connection.execute(f"TRUNCATE {stage}")
        else:
            target = f"{table.database}.{table.name or name}"
            await connection.execute(
                f"CREATE TEMPORARY TABLE {stage} ON COMMIT DELETE ROWS AS SELECT {', '.join(table.columns)}, "
                f"0 AS stage_row FROM {target} WITH NO DATA"  # identifiers of TABLES only
            )
            self._staged.add(name)
        numbered = [(*record, row) for row, record in enumerate(records)]
        await connection.copy_records_to_table(stage, records=numbered, columns=[*table.columns, "stage_row"])

    async def _begun(self, database: str) -> asyncpg.Connection:
        with _mapped(database):
            if database not in self._connections:
                self._connections[database] = await asyncpg.connect(
                    self._urls[database], timeout=30, server_settings={"app.actor": ACTOR}
                )
                await _set_codec(self._connections[database])
            if database not in self._open:
                self._open[database] = self._connections[database].transaction()
                await self._open[database].start()
        return self._connections[database]


FILL_REPORTS = """
UPDATE stage_lab_result AS s SET diagnostic_report_id =
    (SELECT r.report_id FROM clinical.report_result AS r WHERE r.result_id = s.id ORDER BY r.report_id LIMIT 1)
"""


def _prune(name: str, table: Table) -> str:
    same_owner = " AND ".join(f"t.{column} = s.{column}" for column in table.owner)
    same_key = " AND ".join(f"t.{column} = s.{column}" for column in table.key)
    return (
        f"DELETE FROM {table.database}.{table.name or name} AS t "
        f"WHERE EXISTS (SELECT FROM stage_{name} AS s WHERE {same_owner}) "
        f"AND NOT EXISTS (SELECT FROM stage_{name} AS s WHERE {same_key})"
    )


def _upsert(name: str, table: Table) -> str:
    columns, keys = ", ".join(table.columns), ", ".join(table.key)
    settable = [c for c in table.columns if c not in table.key and c not in table.fixed]
    if table.merged:
        settable = [c for c in settable if c in WORDINGS]
    new = [f"least(t.{c}, excluded.{c})" if table.merged else f"excluded.{c}" for c in settable]
    update = (
        f"UPDATE SET {', '.join(f'{c} = {value}' for c, value in zip(settable, new, strict=True))} "
        f"WHERE ({', '.join(f't.{c}' for c in settable)}) IS DISTINCT FROM ({', '.join(new)})"
    )
    returned = ", ".join(f"t.{key}" for key in table.key)
    return (
        f"INSERT INTO {table.database}.{table.name or name} AS t ({columns}) "
        f"SELECT {columns} FROM stage_{name} WHERE stage_row >= $1 AND stage_row < $2 ORDER BY stage_row "
        f"ON CONFLICT ({keys}) DO {update if settable else 'NOTHING'} RETURNING {returned}"
    )


def _least(one: Values, other: Values) -> Values:
    """One of two rows of the same concept, with the least of their wordings."""
    found = {name: [row[name] for row in (one, other) if row[name]] for name in WORDINGS}
    return {**other, **{name: min(wordings, default=None) for name, wordings in found.items()}}


async def _set_codec(connection: asyncpg.Connection) -> None:
    """jsonb from and to parsed JSON; a Decimal is written digit by digit."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + exact_json(value),
        decoder=lambda raw: raw[1:],
        format="binary",
    )


def exact_json(value: object) -> bytes:
    """JSON in which a Decimal stands digit by digit."""
    return orjson.dumps(value, default=_exact)


def _exact(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(type(value).__name__)
