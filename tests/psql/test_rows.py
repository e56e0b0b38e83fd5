"""psql transcripts: which rows and which forms of their columns a login gets, by the context that it brings."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg
import pytest

from db.caller import Caller, Patients, Profile
from db.context import sign
from db.policy import ROLES
from db.settings import Settings
from tests.psql.transcript import Signer, psql

At = Callable[[Profile, int], Caller]

CHART = ("encounter", "condition", "lab_result", "medication_request", "appointment", "consent", "care_team")
REGISTRY = ("patient", "patient_name", "patient_identifier", "registration", "provider", "department", "facility")
COUNTS = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in (*CHART, *REGISTRY))
FACILITIES = " UNION ".join(f"SELECT DISTINCT facility_id FROM {table}" for table in (*CHART, "registration"))
SOCIAL_SECURITY = "SELECT value FROM patient_identifier WHERE kind = 'SSN' AND position = 99"
DEPARTMENTS = """
SELECT department_id, count(DISTINCT patient_id) FROM encounter
WHERE department_id IS NOT NULL AND (end_time IS NULL OR end_time > now()) GROUP BY 1 ORDER BY 2 DESC, 1"""
TREATED = "SELECT DISTINCT patient_id FROM encounter WHERE department_id = $1 AND end_time IS NULL"
NUMBER = """
INSERT INTO clinical.patient_identifier (patient_id, position, kind, value) VALUES ($1, 99, 'SSN', '123-45-6789')"""
REACHED_BY = "SELECT one ->> 'system' FROM patient, jsonb_array_elements(telecom) AS one WHERE one ? 'value'"


def bad_contexts(settings: Settings, caller: Caller, other: Caller, captured: str) -> Mapping[str, Signer]:
    """What must show nothing, by name; `captured` is a good context of another session, as somebody saw it."""
    secret, seen = settings.secret, captured.split("|")

    def forged(place: int, value: str) -> Signer:
        def sign_for(pid: int) -> str:
            parts = sign(secret, caller, pid).split("|")
            return "|".join([*parts[:place], value, *parts[place + 1 :]])

        return sign_for

    return {
        "missing": lambda pid: None,
        "empty": lambda pid: "",
        "forged facility": forged(1, str(other.facility_id)),
        "forged department": forged(2, str(uuid4())),
        "forged process id": forged(12, "1"),
        "signed with another key": lambda pid: sign(b"another key" * 4, caller, pid),
        "replayed": lambda pid: captured,
        "replayed with this process id": lambda pid: "|".join([*seen[:12], str(pid), *seen[13:]]),
        "expired": lambda pid: sign(secret, caller, pid, expires=int(time.time()) - 1),
        "another profile's": lambda pid: sign(secret, replace(caller, role=ROLES["physician"]), pid),
        "a facility that is none": lambda pid: sign(secret, replace(caller, facility_id=uuid4()), pid),
    }


async def test_no_row_without_a_good_context(network: Settings, at: At) -> None:
    nurse, other = at(Profile.NURSE, 0), at(Profile.NURSE, 1)
    async with psql(network, nurse) as colleague:
        assert all(count for _, count in (await colleague.say(COUNTS)).rows)
        captured = (await colleague.say("SELECT current_setting('app.context')")).value
        for name, sign_for in bad_contexts(network, nurse, other, captured).items():
            print(f"-- {name}")
            async with psql(network, nurse, sign_for) as session:
                assert {count for _, count in (await session.say(COUNTS)).rows} == {0}, name


@pytest.mark.parametrize("profile", [Profile.CLINICIAN, Profile.NURSE, Profile.BILLING, Profile.CDS])
async def test_only_rows_of_the_facility(network: Settings, at: At, profile: Profile) -> None:
    for place in (0, 1):
        caller = at(profile, place)
        async with psql(network, caller) as session:
            assert (await session.say(FACILITIES)).column == [caller.facility_id]
            assert (await session.say("SELECT id FROM facility")).column == [caller.facility_id]


async def test_a_ward_nurse_sees_the_patients_of_her_department(network: Settings, at: At) -> None:
    async with psql(network, at(Profile.NURSE, 0)) as session:
        departments = (await session.say(DEPARTMENTS)).rows
        every = (await session.say("SELECT count(*) FROM patient")).value
    assert len(departments) >= 2, "the network has patients in several departments"
    ward = replace(at(Profile.NURSE, 0), role=ROLES["ward_nurse"], department_id=departments[0][0])
    async with psql(network, ward) as session:
        seen = set((await session.say("SELECT id FROM patient")).column)
        treated = await session.say(
            "SELECT DISTINCT patient_id FROM encounter WHERE department_id = $1 AND end_time IS NULL",
            ward.department_id,
        )
        assert set(treated.column) <= seen
        assert 0 < len(seen) < every

    def other_department(pid: int) -> str:
        parts = sign(network.secret, ward, pid).split("|")
        return "|".join([*parts[:2], str(departments[1][0]), *parts[3:]])

    async with psql(network, ward, other_department) as session:
        assert {count for _, count in (await session.say(COUNTS)).rows} == {0}


@asynccontextmanager
async def social_security_number(network: Settings, patient_id: UUID) -> AsyncGenerator[None]:
    """Gives a patient one for a while: the network has none."""
    owner = await asyncpg.connect(network.clinical_url)
    await owner.execute(NUMBER, patient_id)
    try:
        yield
    finally:
        await owner.execute("DELETE FROM clinical.patient_identifier WHERE position = 99")
        await owner.close()


async def test_a_nurse_sees_masked_columns(network: Settings, at: At) -> None:
    async with psql(network, at(Profile.NURSE, 0)) as nurse, psql(network, at(Profile.CLINICIAN, 0)) as clinician:
        patient_id = (await nurse.say("SELECT id FROM patient ORDER BY id LIMIT 1")).value
        async with social_security_number(network, patient_id):
            assert (await nurse.say(SOCIAL_SECURITY)).column == [None]
            assert (await clinician.say(SOCIAL_SECURITY)).column == ["***-**-6789"]
        assert set((await nurse.say(REACHED_BY)).column) == {"phone"}
    async with psql(network, at(Profile.CDS, 0)) as cds:
        for column in ("family", "text", "given"):
            assert (await cds.say(f"SELECT count({column}) FROM patient_name")).value == 0
    async with psql(network, at(Profile.ANALYST, 0)) as analyst:
        births = (await analyst.say("SELECT birth_date FROM patient WHERE birth_date IS NOT NULL")).column
        assert {len(birth) for birth in births} == {4}


@pytest.mark.parametrize(("database", "table"), [("imaging", "imaging_study"), ("vitals", "vital_sign")])
async def test_beside_the_clinical_database_only_patients_who_were_told(
    network: Settings, at: At, database: str, table: str
) -> None:
    count, one = f"SELECT count(*) FROM {table}", f"SELECT patient_id FROM {table} ORDER BY 1 LIMIT 1"
    nurse = at(Profile.NURSE, 0)
    async with psql(network, nurse, database=database) as session:
        assert (await session.say(count)).value == 0, "nobody's without app.patients"
    async with psql(network, nurse, database=database, patients=Patients()) as session:
        every, patient_id = (await session.say(count)).value, (await session.say(one)).value
        told = (await session.say("SELECT current_setting('app.patients')")).value
    async with psql(network, nurse, database=database, patients=Patients(denied=frozenset({patient_id}))) as session:
        assert 0 < (await session.say(count)).value < every
        await session.say("SELECT set_config('app.patients', $1, false)", told)
        assert (await session.say(count)).value == 0, "what another session was told"
