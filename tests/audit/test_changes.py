"""Writes to PHI tables are recorded: every row with before and after, by whom, in the statement's transaction."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from db.bulk import Bulk
from db.caller import Profile
from db.context import role_password, sign
from db.postgres import login_url
from db.roles import WORKER
from tests.audit.conftest import FACILITY, SECRET, Ledger
from tests.callers import caller_of

PATIENT = UUID(int=7)
UNWATCHED = {
    "facility": "places hold no PHI",
    "department": "places hold no PHI",
    "provider": "staff, not patients",
    "provider_role": "staff, not patients",
    "practitioner_role": "staff, not patients",
    "medication": "a catalogue",
    "lab_test": "a catalogue",
    "patient_search": "made by trigger from patient_name and registration, which are watched",
    "patient_word": "likewise",
    "name_word": "words of all names, of nobody",
    "resource_identifier": "how references to staff and places resolve",
    "report_result": "ids alone",
    "observation_place": "ids alone",
    "note_text": "digests alone",
    "demo_load": "one row about the demo",
    "chart_presence": "who has a chart open in this minute: nothing of the patient's",
    "code_descendant": "a catalogue",
    "research_charge": "what counts of cohorts cost, and cells that are told; rows are added only",
    "research_extraction": "how far a job is; who asked for it and who ended it, its own columns and the audit tell",
    "research_partition": "a note of the machinery: numbers and digests",
}
"""Tables under row-level security whose writes are not recorded, and why."""
WATCHED = """
SELECT c.relname AS name, count(t.oid) FILTER (WHERE t.tgname LIKE 'audit\\_%') AS triggers
FROM pg_class AS c LEFT JOIN pg_trigger AS t ON t.tgrelid = c.oid
WHERE c.relnamespace = 'clinical'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
GROUP BY c.oid, c.relname"""
CHANGES = "SELECT * FROM audit.change ORDER BY occurred_at, table_name, row_key"


async def changes(ledger: Ledger) -> list[dict[str, Any]]:
    """What was recorded, in order."""
    owner = await ledger.owner()
    rows = [dict(row) for row in await owner.fetch(CHANGES)]
    await owner.close()
    for row in rows:
        row["before"], row["after"] = (json.loads(row[side]) if row[side] else None for side in ("before", "after"))
    return rows


async def worker(ledger: Ledger) -> asyncpg.Connection:
    """A connection of the role that writes."""
    return await asyncpg.connect(login_url(ledger.url, WORKER, role_password(SECRET, WORKER)))


async def test_every_table_with_phi_is_watched(ledger: Ledger) -> None:
    owner = await ledger.owner()
    tables: dict[str, int] = {row["name"]: row["triggers"] for row in await owner.fetch(WATCHED)}
    await owner.close()
    assert {name for name, triggers in tables.items() if triggers == 0} == UNWATCHED.keys()
    assert {triggers for triggers in tables.values() if triggers} == {3}
    assert {"patient", "encounter", "lab_result", "consent_rule", "break_glass_grant"} <= tables.keys()


async def test_each_row_is_recorded_with_before_and_after(ledger: Ledger) -> None:
    connection = await worker(ledger)
    await connection.execute("SET app.actor = 'importer'")
    await connection.execute("INSERT INTO clinical.patient (id, gender) SELECT $1, 'male'", PATIENT)
    await connection.execute("UPDATE clinical.patient SET gender = 'female' WHERE id = $1", PATIENT)
    await connection.execute("UPDATE clinical.patient SET gender = gender")
    await connection.execute("DELETE FROM clinical.patient WHERE id = $1", PATIENT)
    await connection.close()
    inserted, updated, deleted = await changes(ledger)
    assert [inserted["operation"], updated["operation"], deleted["operation"]] == ["INSERT", "UPDATE", "DELETE"]
    assert {one["table_name"] for one in (inserted, updated, deleted)} == {"patient"}
    assert {(one["row_key"], one["actor"], one["login"]) for one in (inserted, updated, deleted)} == {
        (str(PATIENT), "importer", WORKER)
    }
    assert (inserted["before"], inserted["after"]["gender"]) == (None, "male")
    assert (updated["before"]["gender"], updated["after"]["gender"]) == ("male", "female")
    assert (deleted["before"]["gender"], deleted["after"]) == ("female", None)
    assert len({one["transaction_id"] for one in (inserted, updated, deleted)}) == 3


async def test_rows_of_partitions_and_of_compound_keys(ledger: Ledger) -> None:
    connection = await worker(ledger)
    facility, test, result = uuid4(), uuid4(), uuid4()
    await connection.execute("INSERT INTO clinical.facility (id, code, name) VALUES ($1, 'ONE', 'One')", facility)
    await connection.execute("INSERT INTO clinical.patient (id) VALUES ($1)", PATIENT)
    await connection.execute("INSERT INTO clinical.lab_test (id, code) VALUES ($1, 'a')", test)
    await connection.execute(
        "INSERT INTO clinical.lab_result (id, facility_id, patient_id, lab_test_id, status, sort_time) "
        "SELECT $1, $2, $3, $4, 'final', time FROM unnest(ARRAY['1990-01-01', '2020-01-01']::timestamptz[]) AS time",
        *(result, facility, PATIENT, test),
    )
    await connection.execute("UPDATE clinical.lab_result SET sort_time = '2030-01-01' WHERE sort_time < '2000-01-01'")
    await connection.close()
    labs = [one for one in await changes(ledger) if one["table_name"] == "lab_result"]
    assert [one["operation"] for one in labs] == ["INSERT", "INSERT", "UPDATE", "UPDATE"]
    assert {one["row_key"].split("/")[0] for one in labs} == {str(result)}
    # A row that gets another key is one that went and one that came.
    assert sorted((one["before"] is None, one["after"] is None) for one in labs[2:]) == [(False, True), (True, False)]


async def test_a_second_import_of_the_same_writes_nothing(ledger: Ledger) -> None:
    rows = [
        {
            **dict.fromkeys(
                ("active", "birth_date", "deceased", "deceased_date_time", "marital_status", "multiple_birth")
            ),
            **dict.fromkeys(("race", "ethnicity", "birth_sex")),
            **{key: [] for key in ("address", "telecom", "contact", "communication")},
            "id": UUID(int=n),
            "active": True,
            "gender": "other",
        }
        for n in range(50)
    ]
    bulk = Bulk({"clinical": ledger.url}, SECRET)
    try:
        for _ in range(2):
            await bulk.upsert("patient", rows)
            await bulk.commit()
        assert len(await changes(ledger)) == 50
        await bulk.upsert("patient", [{**row, "gender": "male"} for row in rows[:3]])
        await bulk.commit()
    finally:
        await bulk.close()
    recorded = await changes(ledger)
    assert [one["operation"] for one in recorded[50:]] == ["UPDATE"] * 3
    assert len({one["occurred_at"] for one in recorded[:50]}) == 1  # one statement


async def test_a_change_that_is_rolled_back_was_none(ledger: Ledger) -> None:
    connection = await worker(ledger)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO clinical.patient (id) VALUES ($1)", PATIENT)
    await transaction.rollback()
    await connection.close()
    assert await changes(ledger) == []


async def test_the_actor_is_the_verified_caller_or_the_login(ledger: Ledger) -> None:
    owner = await ledger.owner()
    await owner.execute(
        "GRANT INSERT ON clinical.patient TO caregraph_clinician; GRANT USAGE ON SCHEMA clinical TO caregraph_clinician"
    )
    await owner.execute("CREATE POLICY test ON clinical.patient FOR INSERT TO caregraph_clinician WITH CHECK (true)")
    login = login_url(ledger.url, "caregraph_clinician", role_password(SECRET, "caregraph_clinician"))
    connection = await asyncpg.connect(login)
    await connection.execute("SET app.actor = 'somebody else'")
    signed = sign(SECRET, caller_of(Profile.CLINICIAN, FACILITY, "Dr Grün"), connection.get_server_pid())
    await connection.execute(f"SET app.context = '{signed}'")
    await connection.execute("INSERT INTO clinical.patient (id) VALUES ($1)", UUID(int=8))
    await connection.execute("RESET app.context; RESET app.actor")
    await connection.execute("INSERT INTO clinical.patient (id) VALUES ($1)", UUID(int=9))
    await connection.close()
    await owner.close()
    assert [one["actor"] for one in await changes(ledger)] == ["Dr Grün", "caregraph_clinician"]


async def test_emptying_a_watched_table_is_refused(ledger: Ledger) -> None:
    owner = await ledger.owner()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await owner.execute("TRUNCATE clinical.condition")
    await owner.close()
