"""A request that is cancelled takes its statements with it, and leaves the connection as good as new."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from db.caller import Profile
from db.errors import StoreError
from db.postgres import CLOSE_S, Session
from db.settings import Settings, load
from db.stores import Stores
from graph.app import create_app
from loaders.reader import Reader
from tests.asking import Graph
from tests.callers import caller_of
from tests.http.serving import Client, Served, listening
from workers.embedded.stores import Stores as Embedded

SLOW = "/* slow_statement */ SELECT pg_sleep(600)"
WHO = "/* who_asks */ SELECT pg_backend_pid(), current_setting('app.context'), access.facility_id()"
TIMEOUT = "/* timeout */ SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'"
RUNNING = """
SELECT count(*) FROM pg_stat_activity
WHERE state = 'active'
  AND (query LIKE '/* slow_statement */%' OR usename = 'caregraph_registrar' AND wait_event_type = 'Lock')"""
FACILITIES = (UUID(int=1), UUID(int=2))
ASK = "{ patients(first: 1) { nodes { id } } }"


@pytest_asyncio.fixture
async def owner(configured: Settings) -> AsyncIterator[asyncpg.Connection]:
    """A connection that sees what runs."""
    connection = await asyncpg.connect(configured.clinical_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def stores(configured: Settings) -> AsyncIterator[Stores]:
    """Stores with connections of their own."""
    opened = Stores(configured)
    yield opened
    await opened.close()


async def until(owner: asyncpg.Connection, count: int) -> None:
    """Waits until so many statements run."""
    for _ in range(2_000):
        if await owner.fetchval(RUNNING) == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never {count} statements")


def session_of(stores: Stores, facility: int) -> Session:
    """A session at a facility, which need not be there."""
    caller = caller_of(Profile.NURSE, FACILITIES[facility])
    return stores.clinical.session(caller, lambda store, statement: None)


async def test_statement_ends_with_its_session(stores: Stores, owner: asyncpg.Connection) -> None:
    """The connection is not dropped: the next session, of another facility, has it with a context of its own."""
    first = session_of(stores, 0)
    [(pid, context, _)] = await first.fetch(WHO)
    running = asyncio.create_task(first.fetch(SLOW))
    await until(owner, 1)
    running.cancel()
    await asyncio.wait([running])
    with pytest.raises(StoreError):
        await first.fetch(WHO)
    await first.close()
    assert await owner.fetchval(RUNNING) == 0
    second = session_of(stores, 1)
    [(again, other, facility)] = await second.fetch(WHO)
    await second.close()
    assert (again, facility) == (pid, FACILITIES[1])
    assert other != context


async def test_nothing_is_read_after_the_end(stores: Stores) -> None:
    """What a request left behind can't open a connection that nobody would give back."""
    session = session_of(stores, 0)
    await session.close()
    with pytest.raises(StoreError):
        await session.fetch(WHO)


async def test_the_server_gives_up_by_itself(stores: Stores, configured: Settings) -> None:
    """`statement_timeout` is a second guard, for a process that dies before it can cancel."""
    session = session_of(stores, 0)
    [(timeout,)] = await session.fetch(TIMEOUT)
    await session.close()
    assert timeout == (configured.store_timeout_s + CLOSE_S) * 1000


async def test_batch_ends_with_its_reader(stores: Stores, owner: asyncpg.Connection) -> None:
    """A batch runs in a task of its own, which the cancelling of a request does not reach by itself."""

    ended: list[type[BaseException]] = []

    async def slow(reader: Reader, keys: object) -> dict[int, int]:
        try:
            await reader.clinical.fetch(SLOW)
        except BaseException as error:
            ended.append(type(error))
            raise
        return {}

    reader = Reader(stores, caller_of(Profile.NURSE, FACILITIES[0]))
    loading = asyncio.create_task(reader.load_many(slow, [1, 2]))
    await until(owner, 1)
    loading.cancel()
    await asyncio.wait([loading])
    assert await owner.fetchval(RUNNING) == 1
    await reader.close()
    assert await owner.fetchval(RUNNING) == 0
    assert ended == [asyncio.CancelledError], "not by the deadline of the store"


@contextmanager
def application(embedded: Embedded, settings: Settings, deadline_s: int) -> Generator[Client]:
    """A client of the application, with a deadline for requests and none that matters for stores."""
    environ = {
        **embedded.env,
        "CAREGRAPH_DATA": str(settings.data),
        "CAREGRAPH_STORE_TIMEOUT_S": "600",
        "CAREGRAPH_REQUEST_DEADLINE_S": str(deadline_s),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        app, configured = create_app(), load()
    log: list[str] = []
    with listening(app, log) as port:
        yield Client(Served(port, configured, log=log))


@asynccontextmanager
async def locked(settings: Settings) -> AsyncGenerator[None]:
    """Nobody can read patients meanwhile."""
    connection = await asyncpg.connect(settings.clinical_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE clinical.patient IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def asked(client: Client, graph: Graph) -> Any:
    """The answer to a registrar's question."""
    token = client.served.token("registrar", graph.facilities[0].id)
    body = json.dumps({"query": ASK}).encode()
    return await asyncio.to_thread(client.send, body, headers={"authorization": f"Bearer {token}"})


async def test_deadline_cancels_in_the_store(embedded: Embedded, graph: Graph, owner: asyncpg.Connection) -> None:
    with application(embedded, graph.settings, 3) as client:
        async with locked(graph.settings):
            asking = asyncio.create_task(asked(client, graph))
            await until(owner, 1)
            answer = await asking
            assert (answer.status, answer.code) == (504, "DEADLINE_EXCEEDED")
            assert await owner.fetchval(RUNNING) == 0
        assert (await asked(client, graph)).json["data"]["patients"]["nodes"]


async def test_client_that_leaves_cancels_in_the_store(
    embedded: Embedded, graph: Graph, owner: asyncpg.Connection
) -> None:
    with application(embedded, graph.settings, 600) as client:
        async with locked(graph.settings):
            connection = http.client.HTTPConnection("127.0.0.1", client.served.port, timeout=20)
            token = client.served.token("registrar", graph.facilities[0].id)
            headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
            await asyncio.to_thread(connection.request, "POST", "/graphql", json.dumps({"query": ASK}), headers)
            await until(owner, 1)
            connection.close()
            await until(owner, 0)
        assert (await asked(client, graph)).json["data"]["patients"]["nodes"]
