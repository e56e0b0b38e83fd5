"""Nobody sees another facility's readings or their aggregates, whichever table is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import SimpleNamespace
from uuid import UUID, uuid4

import asyncpg
import pytest

from db.caller import Patients, Profile
from db.context import role_password, sign, sign_patients
from db.postgres import login_url, statement_name
from loaders.page import FIRST_TIME, LAST_ID, LAST_TIME
from loaders.vital_sign import (
    LAST_POSITION,
    LATEST_VITAL_SIGNS_OF_PATIENTS,
    TRENDS,
    VITAL_SIGNS_OF_ENCOUNTERS,
    VITAL_SIGNS_OF_PATIENTS,
    VITAL_SIGNS_OF_PATIENTS_BY_CODE,
    VitalBucket,
)
from resolvers import vital_sign
from tests.callers import EVERYBODY, caller_of
from tests.vitals.conftest import Vitals
from tests.vitals.readings import HEART_RATE, NOON, Before, as_login, reading, write
from workers.rollup import rollup

TABLES = ("vital_sign", "vital_sign_hourly", "vital_sign_daily")

BENEATH = """
SELECT format('%I.%I', n.nspname, c.relname) AS name
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('vitals', '_timescaledb_internal') AND c.relkind IN ('r', 'p', 'v', 'm')
"""
"""Tables, partitions, chunks, materialised hypertables and aggregates that the profiles' views rest on."""


def profile_url(vitals: Vitals, profile: Profile = Profile.CLINICIAN) -> str:
    """URL with which a profile logs in."""
    role = f"caregraph_{profile.value}"
    return login_url(vitals.settings.vitals_url, role, role_password(vitals.settings.secret, role))


def context_of(
    vitals: Vitals, facility: UUID, expires: int | None = None, patients: Patients | None = EVERYBODY, first: str = ""
) -> Before:
    """Statements that set the signed context of a clinician, and whose records it opens."""
    caller, secret = caller_of(Profile.CLINICIAN, facility), vitals.settings.secret

    def before(pid: int) -> str:
        told = f"; SET LOCAL app.patients = '{sign_patients(secret, patients, pid)}'" if patients else ""
        return f"{first}SET LOCAL app.context = '{sign(secret, caller, pid, expires)}'{told}"

    return before


async def counts(vitals: Vitals, before: Before = lambda pid: "SELECT") -> Sequence[int]:
    """Rows that a clinician sees of each table after a statement."""
    url = profile_url(vitals)
    return [(await as_login(url, f"SELECT count(*) FROM clinician.{name}", before))[0][0] for name in TABLES]


async def test_other_facility_never_comes(vitals: Vitals, facility: UUID) -> None:
    """The same patient is treated in two facilities; each sees its own readings, raw, rolled up and by id."""
    patient, other = uuid4(), uuid4()
    ours, theirs = reading(facility, patient, "60"), reading(other, patient, "180")
    await write(vitals, [ours, theirs])
    await rollup(vitals.settings)
    for seen, row in ((facility, ours), (other, theirs)):
        async with vitals.request(seen) as context:
            parents = [SimpleNamespace(id=patient)]
            [page] = await vital_sign.of_patients(context, parents, first=10, after=None)
            [latest] = await vital_sign.latest(context, parents)
            assert page.rows == latest == [row]
            assert await vital_sign.one(context, id=f"VitalSign/{ours.key}") == (ours if seen == facility else None)
            for bucket in VitalBucket:
                [[trend]] = await vital_sign.trend(
                    context, parents, code=[HEART_RATE], start="2021-03-04", end="2021-03-04", bucket=bucket
                )
                assert [(point.min, point.max, point.count) for point in trend.points] == [(row.value, row.value, 1)]


async def test_without_context_no_rows(vitals: Vitals, facility: UUID) -> None:
    """Who has the database's password but no signed context, or an expired or foreign one, sees nothing."""
    await write(vitals, [reading(facility, uuid4(), "60")])
    await rollup(vitals.settings)
    assert await counts(vitals, context_of(vitals, facility)) == [1, 1, 1]
    assert await counts(vitals) == [0, 0, 0]
    assert await counts(vitals, context_of(vitals, facility, expires=int(NOON.timestamp()))) == [0, 0, 0]
    good = context_of(vitals, facility)
    assert await counts(vitals, lambda pid: good(pid).replace(str(facility), str(uuid4()))) == [0, 0, 0]
    assert await counts(vitals, lambda pid: good(pid + 1)) == [0, 0, 0]


async def test_only_patients_whose_records_are_open(vitals: Vitals, facility: UUID) -> None:
    """Nobody is seen unless the application said who may be, none beyond that, and none who is denied."""
    one, other = uuid4(), uuid4()
    await write(vitals, [reading(facility, one, "60"), reading(facility, other, "61")])
    await rollup(vitals.settings)
    for patients, seen in (
        (EVERYBODY, 2),
        (None, 0),
        (Patients(reached=frozenset()), 0),
        (Patients(reached=frozenset({one, uuid4()})), 1),
        (Patients(denied=frozenset({one})), 1),
        (Patients(reached=frozenset({one}), denied=frozenset({one})), 0),
    ):
        assert await counts(vitals, context_of(vitals, facility, patients=patients)) == [seen] * 3, patients
    good = context_of(vitals, facility, patients=Patients(reached=frozenset({one})))
    assert await counts(vitals, lambda pid: good(pid).replace(str(one), str(other))) == [0, 0, 0]


async def test_what_lies_beneath_is_closed(vitals: Vitals, facility: UUID) -> None:
    """No profile reads a table, chunk or materialised row that lies beneath its views, context or not."""
    await write(vitals, [reading(facility, uuid4(), "60")])
    await rollup(vitals.settings)
    names = [row["name"] for row in await as_login(vitals.settings.vitals_url, BENEATH)]
    assert len(names) > 10
    for name in names:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await as_login(profile_url(vitals), f"SELECT * FROM {name}", context_of(vitals, facility))


PAGE = (21, LAST_TIME, LAST_ID, LAST_POSITION, FIRST_TIME, LAST_TIME)
SPAN = ([HEART_RATE], NOON, NOON + timedelta(days=1), NOON + timedelta(hours=12), timedelta(hours=1))
STATEMENTS: Mapping[str, tuple[object, ...]] = {
    VITAL_SIGNS_OF_PATIENTS.sql: PAGE,
    VITAL_SIGNS_OF_PATIENTS_BY_CODE.sql: (*PAGE, [HEART_RATE]),
    VITAL_SIGNS_OF_ENCOUNTERS.sql: (*PAGE, None),
    LATEST_VITAL_SIGNS_OF_PATIENTS.sql: (None,),
    **dict.fromkeys(TRENDS.values(), SPAN),
}
"""Every statement by parents, with its arguments after them."""


@pytest.mark.parametrize("sql", STATEMENTS, ids=statement_name)
async def test_policies_stay_on_indexes(vitals: Vitals, facility: UUID, sql: str) -> None:
    """The caller's facility is a condition of an index in every partition or chunk that a statement reads."""
    await write(vitals, [reading(facility, uuid4(), "60")])
    await rollup(vitals.settings)
    before = context_of(vitals, facility, first="SET LOCAL search_path = clinician; SET LOCAL enable_seqscan = off; ")
    explained = await as_login(profile_url(vitals), f"EXPLAIN {sql}", before, [uuid4()], *STATEMENTS[sql])
    plan = "\n".join(row[0] for row in explained)
    conditions = [line for line in plan.splitlines() if "Index Cond:" in line]
    assert "Seq Scan" not in plan
    assert conditions
    assert all("facility_id = " in line for line in conditions), plan


async def test_profiles_are_masked(vitals: Vitals, facility: UUID) -> None:
    """A registrar sees no clinical value, an analyst only the year and no device, as the policy says."""
    patient = uuid4()
    await write(vitals, [reading(facility, patient, "60")])
    seen = {}
    for profile in (Profile.NURSE, Profile.REGISTRAR, Profile.ANALYST):
        async with vitals.request(facility, profile) as context:
            [page] = await vital_sign.of_patients(context, [SimpleNamespace(id=patient)], first=10, after=None)
            [row] = page.rows
            seen[profile] = (row.code, row.device_id, row.effective)
    assert seen == {
        Profile.NURSE: (HEART_RATE, "monitor-7", NOON.isoformat()),
        Profile.REGISTRAR: (None, None, NOON.isoformat()),
        Profile.ANALYST: (HEART_RATE, None, "2021"),
    }
