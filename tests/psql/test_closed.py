"""psql transcripts: what a login can't do at all, and ways around row-level security and masks that lead nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import pytest

from db.caller import Caller, Profile
from db.context import role_password
from db.postgres import login_url
from db.roles import EXPORT
from db.settings import Settings
from tests.psql.transcript import psql

At = Callable[[Profile, int], Caller]
DATABASES = ("clinical", "imaging", "vitals")
IN_EVERY_DATABASE = pytest.mark.parametrize("database", DATABASES)

DENIED = "42501"

REFUSED = {
    "temporary table": "CREATE TEMPORARY TABLE mine (id uuid)",
    "temporary view": "CREATE TEMPORARY VIEW mine AS SELECT 1",
    "temporary function": "CREATE FUNCTION pg_temp.leak(v text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "function in public": "CREATE FUNCTION public.leak(v text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "function beside the views": "CREATE FUNCTION nurse.leak(v text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "operator": "CREATE OPERATOR public.<<< (LEFTARG = text, RIGHTARG = text, PROCEDURE = texteq)",
    "type": "CREATE TYPE public.mine AS (v text)",
    "schema": "CREATE SCHEMA mine",
    "extension": "CREATE EXTENSION dblink",
    "code": "DO $$ BEGIN RAISE NOTICE 'x'; END $$",
    "base table of keys": "SELECT * FROM access.context_key",
    "base table of kinds": "SELECT * FROM access.column_kind",
    "record of migrations": "SELECT * FROM public.caregraph_migration",
    "statistics": "SELECT count(*) FROM pg_statistic",
    "statistics of expressions": "SELECT count(*) FROM pg_statistic_ext_data",
    "passwords": "SELECT count(*) FROM pg_authid",
    "activity": "SELECT query FROM pg_stat_activity",
    "activity by function": "SELECT pg_stat_get_backend_activity(1)",
    "ending sessions": "SELECT pg_terminate_backend(pg_backend_pid())",
    "cancelling statements": "SELECT pg_cancel_backend(pg_backend_pid())",
    "snapshot for others": "SELECT pg_export_snapshot()",
    "new large object": "SELECT lo_create(0)",
    "large object from bytes": "SELECT lo_from_bytea(0, 'x')",
    "reading a large object": "SELECT lo_get(1)",
    "opening a large object": "SELECT lo_open(1, 262144)",
    "large object from a file": "SELECT lo_import('/etc/hostname')",
    "large object into a file": "SELECT lo_export(1, '/nowhere/x')",
    "all large objects": "SELECT count(*) FROM pg_largeobject",
    "file": "SELECT pg_read_file('PG_VERSION')",
    "file in bytes": "SELECT pg_read_binary_file('PG_VERSION')",
    "folder": "SELECT pg_ls_dir('.')",
    "log files": "SELECT pg_ls_logdir()",
    "COPY to a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY to a file": "COPY (SELECT 1) TO '/nowhere/x'",
    "SET ROLE to the views' owner": "SET ROLE caregraph_view",
    "SET ROLE to another profile": "SET ROLE caregraph_clinician",
    "session of the owner": "SET SESSION AUTHORIZATION caregraph_owner",
    "raising oneself": "ALTER ROLE caregraph_nurse BYPASSRLS",
    "membership": "GRANT caregraph_view TO caregraph_nurse",
    "server setting": "ALTER SYSTEM SET row_security = off",
    "logging of statements": "SET log_statement = 'all'",
    "logging of parameters": "SET log_min_messages = 'debug5'",
    "library at start": "SET session_preload_libraries = 'auto_explain'",
    "library": "LOAD 'auto_explain'",
    "publication": "CREATE PUBLICATION mine",
    "replication slot": "SELECT pg_create_logical_replication_slot('mine', 'test_decoding')",
    "write-ahead log": "SELECT pg_logical_slot_get_changes('mine', NULL, NULL)",
    "view definition": "CREATE OR REPLACE VIEW nurse.patient AS SELECT 1 AS id",
}
"""What must be refused for want of a privilege in every database, and not for another reason."""

REFUSED_IN_CLINICAL = {
    "base table": "SELECT 1 FROM clinical.patient",
    "view of another profile": "SELECT 1 FROM clinician.patient",
    "COPY of a base table": "COPY clinical.patient TO STDOUT",
    "COPY into a base table": "COPY clinical.patient FROM STDIN",
    "INSERT": "INSERT INTO patient (id) VALUES (gen_random_uuid())",
    "UPDATE": "UPDATE patient SET gender = 'male'",
    "DELETE": "DELETE FROM encounter",
    "row lock": "SELECT 1 FROM patient FOR UPDATE",
    "trigger": "CREATE TRIGGER mine INSTEAD OF UPDATE ON patient EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "XML of a base table": "SELECT table_to_xml('clinical.patient', true, false, '')",
    "size of a base table": "SELECT pg_relation_size('clinical.patient')",
}

NOTHING = {
    "pg_stats": "SELECT tablename FROM pg_stats WHERE tablename !~ '^(sql_|zip3$)' AND schemaname <> 'pg_catalog'",
    "pg_stats_ext": "SELECT tablename FROM pg_stats_ext",
    "pg_stats_ext_exprs": "SELECT tablename FROM pg_stats_ext_exprs",
    "sequences": "SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL",
    "large objects": "SELECT oid FROM pg_largeobject_metadata",
    "prepared transactions": "SELECT gid FROM pg_prepared_xacts",
    "settings of others": "SELECT setconfig FROM pg_db_role_setting WHERE array_to_string(setconfig, ' ') ~ 'app\\.'",
    "comments with a context": "SELECT description FROM pg_description WHERE description ~ 'v2\\|'",
    "channels": "SELECT * FROM pg_listening_channels()",
}
"""What may be asked and has nothing to tell."""

READABLE = """
SELECT n.nspname || '.' || c.relname
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'nurse')
    AND n.nspname !~ '^_?timescaledb' AND has_table_privilege(c.oid, 'SELECT')"""

PRIVILEGED = """
SELECT p.proname, pg_get_function_identity_arguments(p.oid)
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^_?timescaledb'
    AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')"""
"""Functions that a login may call and that run with more rights than its own."""
OF_THE_SESSION = {
    "context",
    "facility_id",
    "purpose",
    "by_application",
    "chart_is_open",
    "row_is_open",
    "told_all",
    "told_reached",
    "told_denied",
}
"""Tell what the session itself brought, verified."""
OF_THE_CALLER = {
    *("sees_all", "finds_all", "finds_denied", "clearance", "reached", "denied", "excepted", "opens"),
    *("finds_everybody", "charts_open", "apart"),
    *("research_projects", "research_open", "research_proposed"),
    *("standings", "exchanges", "explained", "explained_for", "patients", "search_patients"),
}
"""Tell whose records the verified caller may see, and why."""
OF_THE_AUDIT = {
    *("accesses_of_patients", "accesses_of_subject", "accesses_of_release"),
    *("break_glass", "break_glass_grants", "break_glass_grants_by_id", "review_break_glass"),
}
"""For privacy officers and patients; two of them write, for the application alone."""


FORCED = """
SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('clinical', 'imaging', 'vitals')
    AND has_table_privilege('caregraph_view', c.oid, 'SELECT') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"""
LOGINS = """
SELECT rolname FROM pg_roles
WHERE rolname = ANY ($1::text[]) AND NOT (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)
    AND NOT EXISTS (SELECT FROM pg_auth_members AS m WHERE m.member = pg_roles.oid
        AND (m.inherit_option OR m.admin_option OR m.roleid::regrole::text <> rolname || '_writer'))"""
MAY_EXPORT = """
SELECT rolname FROM pg_roles
WHERE NOT rolsuper AND rolname ~ '^caregraph_' AND has_schema_privilege(oid, 'feed', 'USAGE')
    AND has_function_privilege(oid, 'feed.changes(bigint[])', 'EXECUTE')"""
OF_A_GRANT = "access.break_glass(uuid,text,integer)"
"""Notifies with two random ids: that of the facility and that of the grant."""
NOTIFYING = """
SELECT p.oid::regprocedure::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname IN ('access', 'clinical', 'imaging', 'vitals') AND p.prosrc ~* 'pg_notify|\\mnotify\\M'"""


@IN_EVERY_DATABASE
async def test_what_a_login_has_no_use_for_is_refused(network: Settings, at: At, database: str) -> None:
    statements = REFUSED | (REFUSED_IN_CLINICAL if database == "clinical" else {})
    async with psql(network, at(Profile.NURSE, 0), database=database) as nurse:
        refused = {name: (await nurse.say(statement)).sqlstate for name, statement in statements.items()}
    assert refused == dict.fromkeys(statements, DENIED)


@IN_EVERY_DATABASE
async def test_catalogues_tell_nothing_of_rows(network: Settings, at: At, database: str) -> None:
    async with psql(network, at(Profile.NURSE, 0), database=database) as nurse:
        for name, statement in NOTHING.items():
            outcome = await nurse.say(statement)
            assert (outcome.rows, outcome.sqlstate) == ([], None), name
        assert set((await nurse.say(READABLE)).column) <= {"access.zip3"}


def called(name: str, signature: str, patient_id: UUID) -> str:
    """Statement that calls a function with arguments that fit everybody, and this patient."""
    values = {
        "uuid": f"'{patient_id}'",
        "uuid[]": f"ARRAY['{patient_id}'::uuid]",
        "text": "'a'",
        "text[]": "ARRAY['a']",
        "integer": "100",
        "numeric": "2",
        "boolean": "false",
    }
    arguments = [one.split(" ", 1) for one in signature.split(", ") if one]
    instants = {"since": "'-infinity'"}
    given = ", ".join(values.get(kind) or instants.get(argument, "'infinity'") for argument, kind in arguments)
    return f"SELECT * FROM access.{name}({given})"


@IN_EVERY_DATABASE
async def test_every_privileged_function_is_known_and_tells_its_caller_only(
    network: Settings, at: At, database: str
) -> None:
    nurse = at(Profile.NURSE, 0)
    async with psql(network, at(Profile.NURSE, 1)) as there, psql(network, nurse) as here:
        patients = "SELECT id FROM patient"
        [only_theirs, *_] = set((await there.say(patients)).column) - set((await here.say(patients)).column)
    async with psql(network, nurse, database=database) as session:
        functions = (await session.say(PRIVILEGED)).rows
        assert {name for name, _ in functions} <= OF_THE_SESSION | OF_THE_CALLER | OF_THE_AUDIT
        assert "context" in {name for name, _ in functions}
        for name, signature in functions:
            if "patient" in signature:
                said = await session.say(called(name, signature, only_theirs))
                assert {value for row in said.rows for value in row} <= {None, False}, name
    async with psql(network, nurse, lambda pid: None, database) as stranger:
        for name, signature in functions:
            said = await stranger.say(called(name, signature, only_theirs))
            assert said.sqlstate in (None, DENIED), name
            assert {value for row in said.rows for value in row} <= {None, False}, name


async def test_what_only_the_application_may_ask_is_silent(network: Settings, at: At) -> None:
    async with psql(network, at(Profile.NURSE, 0)) as nurse:
        outcome = await nurse.say("SELECT * FROM access.patients()")
        assert outcome.rows == []


async def test_row_security_can_not_be_turned_off(network: Settings, at: At) -> None:
    async with psql(network, at(Profile.NURSE, 0)) as nurse:
        await nurse.say("SET row_security = off")
        assert (await nurse.say("SELECT count(*) FROM patient")).sqlstate == DENIED


async def test_a_condition_is_asked_about_visible_rows_only(network: Settings, at: At) -> None:
    """set_config keeps what it is given: a condition that leaks, without a function of one's own."""
    keep = "set_config('my.seen', concat(current_setting('my.seen', true), ',', {value}), false) IS NOT NULL"
    nurse = at(Profile.NURSE, 0)
    for table, value in (("patient_name", "patient_id"), ("encounter", "patient_id"), ("patient_name", "family")):
        async with psql(network, nurse) as session:
            visible = set((await session.say(f"SELECT DISTINCT {value}::text FROM {table}")).column)
            await session.say(f"SELECT count(*) FROM {table} WHERE {keep.format(value=value)}")
            seen = set((await session.say("SELECT current_setting('my.seen')")).value.split(",")) - {""}
            assert seen == visible - {None, ""}
    async with psql(network, at(Profile.CDS, 0)) as session:
        await session.say(f"SELECT count(*) FROM patient_name WHERE {keep.format(value='family')}")
        assert set((await session.say("SELECT current_setting('my.seen')")).value) <= {","}


async def test_a_failing_expression_says_nothing_of_rows_that_are_not_seen(network: Settings, at: At) -> None:
    ask = "SELECT count(*) FROM encounter WHERE 1 / (CASE WHEN patient_id = $1 THEN 0 ELSE 1 END) = 1"
    ours, theirs = at(Profile.NURSE, 0), at(Profile.NURSE, 1)
    async with psql(network, ours) as here, psql(network, theirs) as there:
        seen = set((await here.say("SELECT DISTINCT patient_id FROM encounter")).column)
        others = set((await there.say("SELECT DISTINCT patient_id FROM encounter")).column)
        only_theirs = min(others - seen)
        assert (await there.say(ask, only_theirs)).sqlstate == "22012", "the condition does reach rows"
        assert (await here.say(ask, only_theirs)).sqlstate is None


async def test_a_failing_cast_quotes_no_value_that_is_masked_or_not_seen(network: Settings, at: At) -> None:
    cast = "SELECT sum(family::int) FROM patient_name"
    nurse = at(Profile.NURSE, 0)
    async with psql(network, nurse) as session:
        visible = set((await session.say("SELECT family FROM patient_name")).column)
        said = await session.say(cast)
        quoted = re.search(r'"(.*)"', said.text)
        assert quoted
        assert quoted[1] in visible, "an error may quote what the caller sees anyway"
    async with psql(network, nurse, lambda pid: None) as session:
        assert (await session.say(cast)).sqlstate is None
    async with psql(network, at(Profile.CDS, 0)) as session:
        assert (await session.say(cast)).sqlstate is None
    async with psql(network, at(Profile.ANALYST, 0)) as session:
        said = await session.say("SELECT sum((birth_date || 'x')::int) FROM patient")
        assert re.search(r'"\d{4}x"', said.text), "the year that is shown, not the date"


async def test_an_estimate_does_not_depend_on_a_masked_value(network: Settings, at: At) -> None:
    """EXPLAIN tells what the planner makes of statistics: of a masked column nothing (rest: docs/security.md)."""
    async with psql(network, at(Profile.CLINICIAN, 0)) as clinician:
        common = (await clinician.say("SELECT mode() WITHIN GROUP (ORDER BY family) FROM patient_name")).value
        birth = (await clinician.say("SELECT mode() WITHIN GROUP (ORDER BY birth_date) FROM patient")).value
    for profile, table, column, value in (
        (Profile.CDS, "patient_name", "family", common),
        (Profile.ANALYST, "patient", "birth_date", birth),
    ):
        async with psql(network, at(profile, 0)) as session:
            plans: list[list[str]] = []
            for tried in (value, "Nobody-at-all"):
                said = await session.say(f"EXPLAIN SELECT 1 FROM {table} WHERE {column} = '{tried}'")
                plans.append([line.replace(tried, "?") for line in said.column])
            assert plans[0] == plans[1]


@IN_EVERY_DATABASE
async def test_every_table_behind_a_view_forces_row_security(network: Settings, database: str) -> None:
    owner = await asyncpg.connect(getattr(network, f"{database}_url"))
    try:
        assert await owner.fetch(FORCED) == []
        assert {row[0] for row in await owner.fetch(NOTIFYING)} <= {OF_A_GRANT}, "a notification reaches every login"
    finally:
        await owner.close()


@IN_EVERY_DATABASE
async def test_rows_before_and_after_are_told_to_the_export_alone(network: Settings, database: str) -> None:
    url = getattr(network, f"{database}_url")
    owner = await asyncpg.connect(url)
    export = await asyncpg.connect(login_url(url, EXPORT, role_password(network.secret, EXPORT)))
    try:
        assert {row[0] for row in await owner.fetch(MAY_EXPORT)} == {EXPORT, "caregraph_owner"}
        functions = {row[0] for row in await export.fetch(PRIVILEGED)}
        assert functions - OF_THE_SESSION - OF_THE_CALLER - OF_THE_AUDIT == {"changes"}
        assert {row[0] for row in await export.fetch(READABLE)} <= {"access.zip3"}
        for table in ("audit.change", "feed.event", "feed.consumer"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await export.fetch(f"SELECT 1 FROM {table}")
    finally:
        await export.close()
        await owner.close()


async def test_logins_have_no_attribute_and_inherit_nothing(network: Settings) -> None:
    logins = [EXPORT, *(f"caregraph_{profile.value}" for profile in Profile)]
    owner = await asyncpg.connect(network.clinical_url)
    try:
        assert {row[0] for row in await owner.fetch(LOGINS, logins)} == set(logins)
    finally:
        await owner.close()


@pytest.mark.parametrize("database", ["postgres", "template1"])
async def test_other_databases_of_the_server_are_closed(network: Settings, database: str) -> None:
    """Activity is that of the whole server; what is revoked, is revoked in one database."""
    role = "caregraph_nurse"
    url = urlunsplit(urlsplit(network.clinical_url)._replace(path=f"/{database}"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(login_url(url, role, role_password(network.secret, role)))
