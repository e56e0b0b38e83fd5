"""psql transcripts: the writer role of a login shows and takes nothing to who has no proof of the application."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import asyncpg
import pytest

from db.caller import Caller, Profile
from db.policy import POLICY
from db.settings import Settings
from tests.psql.transcript import psql

DENIED = "42501"
At = Callable[[Profile, int], Caller]

OPENED = "SELECT tablename FROM pg_policies WHERE policyname = 'writer_select' AND schemaname = $1 ORDER BY 1"
GRANTED = """
SELECT table_name FROM information_schema.role_table_grants
WHERE grantee = $1 AND table_schema = $2 AND privilege_type = $3 ORDER BY 1"""


async def _opened(network: Settings) -> list[str]:
    owner = await asyncpg.connect(network.clinical_url)
    try:
        return [row[0] for row in await owner.fetch(OPENED, "clinical")]
    finally:
        await owner.close()


@pytest.mark.parametrize("profile", [Profile.CLINICIAN, Profile.REGISTRAR, Profile.ANALYST])
async def test_a_login_with_a_context_sees_no_base_table(network: Settings, at: At, profile: Profile) -> None:
    tables = await _opened(network)
    assert {"patient", "encounter", "consent"} <= set(tables)
    async with psql(network, at(profile, 0)) as session:
        assert (await session.say("SELECT count(*) FROM patient")).value != 0
        await session.say(f"SET ROLE caregraph_{profile.value}_writer")
        for table in tables:
            said = await session.say(f"SELECT count(*) FROM clinical.{table}")
            assert said.value == 0, table


async def test_a_login_with_a_context_writes_nothing(network: Settings, at: At) -> None:
    async with psql(network, at(Profile.REGISTRAR, 0)) as session:
        await session.say("SET ROLE caregraph_registrar_writer")
        facility = (await session.say("SELECT access.facility_id()")).value
        said = await session.say(
            f"INSERT INTO clinical.registration (facility_id, patient_id, mrn) VALUES ('{facility}', '{uuid4()}', 'x')"
        )
        assert said.sqlstate == DENIED
        said = await session.say("UPDATE clinical.patient SET active = active RETURNING 1")
        assert (said.rows, said.sqlstate) == ([], None)
        said = await session.say("UPDATE clinical.condition SET note = note")
        assert said.sqlstate == DENIED, "not what registrars write"


async def test_a_profile_is_granted_what_the_policy_lists(network: Settings) -> None:
    owner = await asyncpg.connect(network.clinical_url)
    try:
        opened = {row[0] for row in await owner.fetch(OPENED, "clinical")}
        for profile in Profile:
            for verb in ("INSERT", "UPDATE"):
                rows = await owner.fetch(GRANTED, f"caregraph_{profile.value}_writer", "clinical", verb)
                assert {row[0] for row in rows} == POLICY.writes[profile] & opened, profile
    finally:
        await owner.close()
