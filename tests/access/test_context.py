"""PostgreSQL as psql shows it: masked views of one facility for a profile's login, nothing without a signed context."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
import pytest

from db.caller import Caller, Profile
from db.context import role_password, sign
from db.policy import ROLES, Form, Phi, form
from db.postgres import login_url
from db.settings import Settings
from tests.asking import Graph
from tests.callers import PURPOSES, STAFF

Signer: TypeAlias = Callable[[int], str | None]
"""From the process id of a session to what it says of itself."""

COUNT = "SELECT count(*) FROM patient"
NAMED = "SELECT count(*) FROM encounter WHERE details ? 'participants'"
"""Encounters whose details show more than their coded parts."""


@asynccontextmanager
async def psql(settings: Settings, profile: Profile, sign_for: Signer) -> AsyncGenerator[asyncpg.Connection]:
    """A session as somebody with the profile's password would open it, with a context for its process id."""
    role = f"caregraph_{profile.value}"
    connection = await asyncpg.connect(login_url(settings.clinical_url, role, role_password(settings.secret, role)))
    try:
        context = sign_for(connection.get_server_pid())
        if context is not None:
            await connection.execute("SELECT set_config('app.context', $1, false)", context)
        yield connection
    finally:
        await connection.close()


def signed(graph: Graph, caller: Caller) -> Signer:
    """Good contexts of a caller."""
    return lambda pid: sign(graph.settings.secret, caller, pid)


def with_part(graph: Graph, caller: Caller, place: int, value: str) -> Signer:
    """A good context with one part exchanged, under the same signature."""

    def sign_for(pid: int) -> str:
        parts = sign(graph.settings.secret, caller, pid).split("|")
        assert parts[place] != value
        return "|".join([*parts[:place], value, *parts[place + 1 :]])

    return sign_for


def contexts(graph: Graph, caller: Caller) -> Mapping[str, Signer]:
    """What must not work for this caller, by name."""
    secret = graph.settings.secret
    return {
        "missing": lambda pid: None,
        "empty": lambda pid: "",
        "nonsense": lambda pid: "v2|a|b",
        "expired": lambda pid: sign(secret, caller, pid, expires=int(time.time()) - 1),
        "replayed from another session": lambda pid: sign(secret, caller, pid + 1),
        "another facility, same signature": with_part(graph, caller, 1, str(graph.facilities[1].id)),
        "another reach, same signature": with_part(graph, caller, 6, "EXCHANGE"),
        "further labels, same signature": with_part(graph, caller, 10, "ETH"),
        "another session, same signature": with_part(graph, caller, 12, "1"),
        "longer life, same signature": with_part(graph, caller, 13, str(int(time.time()) + 3600)),
        "signature cut": lambda pid: sign(secret, caller, pid)[:-1],
        "signature of another key": lambda pid: sign(b"x" * 32, caller, pid),
        "another profile's": lambda pid: sign(secret, replace(caller, role=ROLES["physician"]), pid),
        "no such facility": lambda pid: sign(secret, replace(caller, facility_id=uuid4()), pid),
        "the old version": lambda pid: sign(secret, caller, pid).replace("v2", "v1", 1),
    }


async def test_a_good_context_shows_one_facility(graph: Graph) -> None:
    counts: list[Any] = []
    for place in (0, 1):
        caller = graph.caller(Profile.NURSE, place)
        async with psql(graph.settings, Profile.NURSE, signed(graph, caller)) as connection:
            counts.append(await connection.fetchval(COUNT))
            facilities = await connection.fetch("SELECT DISTINCT facility_id FROM encounter")
            assert [row[0] for row in facilities] == [caller.facility_id]
    total = await graph.stores.clinical.worker_fetch("SELECT count(*) FROM clinical.patient")
    assert all(0 < count < total[0][0] for count in counts)


async def test_a_bad_context_shows_no_row(graph: Graph) -> None:
    for name, context in contexts(graph, graph.caller(Profile.NURSE)).items():
        async with psql(graph.settings, Profile.NURSE, context) as connection:
            assert await connection.fetchval(COUNT) == 0, name
            assert await connection.fetchval("SELECT count(*) FROM encounter") == 0, name
            assert await connection.fetchval("SELECT count(*) FROM provider") == 0, name


async def test_base_tables_and_other_schemas_are_closed(graph: Graph) -> None:
    context = signed(graph, graph.caller(Profile.NURSE))
    async with psql(graph.settings, Profile.NURSE, context) as connection:
        for statement in (
            "SELECT 1 FROM clinical.patient",
            "SELECT 1 FROM clinician.patient",
            "SELECT 1 FROM access.context_key",
            "COPY clinical.patient TO STDOUT",
            "INSERT INTO patient (id) VALUES (gen_random_uuid())",
            "UPDATE patient SET gender = 'male'",
            "DELETE FROM encounter",
            "SET ROLE caregraph_view",
            "SELECT pg_read_file('PG_VERSION')",
        ):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute(statement)
            assert refused.value.sqlstate in ("42501", "42809", "55000"), statement  # pyright: ignore[reportAttributeAccessIssue]


def _shows(profile: Profile, *kinds: Phi) -> bool:
    return all(form(profile, PURPOSES[profile], kind) is Form.SHOW for kind in kinds)


async def test_masks_are_in_the_views(graph: Graph) -> None:
    """What the policy hides is not in the view, for every profile; what it shows is."""
    for profile in STAFF:
        context = signed(graph, graph.caller(profile))
        async with psql(graph.settings, profile, context) as connection:
            names = await connection.fetchval("SELECT count(family) FROM patient_name")
            assert bool(names) == (form(profile, PURPOSES[profile], Phi.NAME) is Form.SHOW), profile
            births = [row[0] for row in await connection.fetch("SELECT birth_date FROM patient WHERE birth_date <> ''")]
            wanted = {Form.SHOW: 10, Form.YEAR: 4, Form.HIDE: 0}[form(profile, PURPOSES[profile], Phi.DATE)]
            assert {len(birth) for birth in births} == ({wanted} if wanted else set()), profile
            numbers = await connection.fetchval("SELECT count(mrn) FROM registration")
            assert bool(numbers) == (form(profile, PURPOSES[profile], Phi.MEDICAL_RECORD_NUMBER) is Form.SHOW), profile
            named = await connection.fetchval(NAMED)
            assert bool(named) == _shows(profile, Phi.DATE, Phi.FREE_TEXT, Phi.CLINICAL), profile
            conditions = await connection.fetchval("SELECT count(*) FROM condition")
            assert bool(conditions) == (form(profile, PURPOSES[profile], Phi.CLINICAL) is Form.SHOW), profile


async def test_search_runs_only_for_who_may_read_names(graph: Graph) -> None:
    ask = "SELECT count(*) FROM access.search_patients(ARRAY['a'], NULL, 2, gen_random_uuid(), 10)"
    for profile in STAFF:
        context = signed(graph, graph.caller(profile))
        async with psql(graph.settings, profile, context) as connection:
            if form(profile, PURPOSES[profile], Phi.NAME) is Form.SHOW:
                await connection.fetchval(ask)
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetchval(ask)


async def test_search_needs_a_context_too(graph: Graph) -> None:
    async with psql(graph.settings, Profile.NURSE, lambda pid: None) as connection:
        found = await connection.fetchval(
            "SELECT count(*) FROM access.search_patients(ARRAY['a'], NULL, 2, gen_random_uuid(), 10)"
        )
        assert found == 0
