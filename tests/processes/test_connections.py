"""Connections of a process: bounded over all profiles, shared fairly, clean when they come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from db.caller import Profile
from db.connections import Connections
from db.errors import Overloaded
from db.postgres import SPARE
from db.settings import Settings
from db.stores import Stores
from tests.callers import caller_of

FACILITY = UUID(int=1)
WHO = "/* who_asks */ SELECT pg_backend_pid(), current_setting('app.context', true)"
PROCESS = "SELECT pg_backend_pid()"
STATE = "SELECT state FROM pg_stat_activity WHERE pid = $1"


@pytest_asyncio.fixture
async def connections(configured: Settings) -> AsyncIterator[Connections]:
    """Two of them, whichever role asks."""

    async def connect(_role: str) -> asyncpg.Connection:
        return await asyncpg.connect(configured.clinical_url)

    opened = Connections(2, connect)
    yield opened
    await opened.close()
    assert opened.count == 0


async def test_a_role_gets_the_connection_that_it_used_last(connections: Connections) -> None:
    first, second = await connections.acquire("a"), await connections.acquire("a")
    connections.release("a", second)
    connections.release("a", first)
    assert await connections.acquire("a") is first
    assert await connections.acquire("a") is second
    assert connections.count == 2
    for connection in (first, second):
        connections.release("a", connection)


async def test_what_is_idle_makes_room_for_another_role(connections: Connections) -> None:
    old, young = await connections.acquire("a"), await connections.acquire("b")
    connections.release("a", old)
    connections.release("b", young)
    other = await connections.acquire("c")
    assert (old.is_closed(), young.is_closed(), connections.count) == (True, False, 2)
    connections.release("c", other)


async def test_one_more_waits_for_the_end_of_another(connections: Connections) -> None:
    """It gets a connection whose transaction is over, not one in which somebody else still speaks."""
    first, second = await connections.acquire("a"), await connections.acquire("a")
    await first.execute("BEGIN; SET LOCAL app.context = 'of somebody'")
    waiting = asyncio.create_task(connections.acquire("a"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await connections.end("a", first)
    assert await waiting is first
    assert not first.is_in_transaction()
    assert not await first.fetchval("SELECT current_setting('app.context', true)")
    for connection in (first, second):
        connections.release("a", connection)


async def test_who_stops_waiting_leaves_the_connection_to_the_next(connections: Connections) -> None:
    held = [await connections.acquire("a"), await connections.acquire("a")]
    gone, stays = (asyncio.create_task(connections.acquire("b")) for _ in range(2))
    await asyncio.sleep(0)
    connections.release("a", held[0])
    gone.cancel()
    taken = await asyncio.wait_for(stays, 20)
    assert gone.cancelled()
    connections.release("b", taken)
    connections.release("a", held[1])


async def test_a_lost_connection_is_replaced(connections: Connections) -> None:
    lost = await connections.acquire("a")
    lost.terminate()
    await connections.end("a", lost)
    assert connections.count == 0
    fresh = await connections.acquire("a")
    assert await fresh.fetchval(PROCESS)
    connections.release("a", fresh)


async def test_decision_support_is_served_while_analysts_hold_all_they_can(configured: Settings) -> None:
    """Each holds a snapshot of the clinical database; the connections stay within their bound."""
    stores = Stores(replace(configured, connections_max=4, store_timeout_s=1))
    async with AsyncExitStack() as held:
        held.push_async_callback(stores.close)

        async def ask(profile: Profile) -> str:
            caller = caller_of(profile, FACILITY)
            await held.enter_async_context(stores.place(caller))
            session = stores.clinical.session(caller, lambda store, statement: None)
            held.push_async_callback(session.close)
            [(_, context)] = await session.fetch(WHO)
            return context

        for profile in (Profile.ANALYST, Profile.ANALYST, Profile.NURSE):
            assert await ask(profile)
        for profile in (Profile.ANALYST, Profile.NURSE):
            with pytest.raises(Overloaded):
                await ask(profile)
        assert "|cds|" in await ask(Profile.CDS)
        assert stores.clinical.connections.count <= 4 + SPARE


async def test_profiles_share_the_bound(configured: Settings) -> None:
    """One after the other, eight profiles use no more connections than there may be."""
    stores = Stores(replace(configured, connections_max=2))
    counts: set[int] = set()
    for profile in Profile:
        session = stores.clinical.session(caller_of(profile, FACILITY), lambda store, statement: None)
        assert await session.fetch(WHO)
        await session.close()
        counts.add(stores.clinical.connections.count)
    await stores.close()
    assert max(counts) == 2 + SPARE
    assert stores.clinical.connections.count == 0


async def test_statements_stay_prepared_and_are_planned_once(configured: Settings) -> None:
    stores = Stores(configured)
    async with stores.clinical.connections.lent("caregraph_nurse") as connection:
        settings = [await connection.fetchval(f"SHOW {name}") for name in ("plan_cache_mode", "jit")]
        await connection.fetch(PROCESS)
        await connection.fetch(PROCESS)
        [calls] = await connection.fetch(
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1", PROCESS
        )
    await stores.close()
    assert settings == ["force_generic_plan", "off"]
    assert tuple(calls) == (2, 0)


async def test_a_session_ends_on_the_server(configured: Settings) -> None:
    """Its end is waited for by nobody, and comes all the same."""
    stores = Stores(configured)
    session = stores.clinical.session(caller_of(Profile.NURSE, FACILITY), lambda store, statement: None)
    [(pid, _)] = await session.fetch(WHO)
    await session.close()
    await stores.clinical.connections.settled()
    owner = await asyncpg.connect(configured.clinical_url)
    assert await owner.fetchval(STATE, pid) == "idle"
    await owner.close()
    await stores.close()
