"""How far a copy is behind: told alike by `/metrics`, `/readyz` and the graph, without a name of a patient."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from db.feed import Feed
from tests.asking import Graph
from tests.people import People
from tests.served import Api

LEAVE = "DELETE FROM feed.consumer WHERE name = $1"
STATUS = "{ syncStatus { database consumer events seconds } }"
CONSUMER = "late_reader"


@pytest_asyncio.fixture
async def late(graph: Graph) -> AsyncIterator[Feed]:
    """A consumer that has not read what has happened since."""
    feed = Feed(graph.stores.clinical)
    await feed.join(CONSUMER)
    await People(graph.stores).patient(graph.facilities[0].id)
    yield feed
    await graph.stores.clinical.worker_fetch(LEAVE, CONSUMER)


async def test_a_late_consumer_is_seen_everywhere(api: Api, graph: Graph, late: Feed) -> None:
    answer = await graph.ask(STATUS)
    [told] = [one for one in answer.data["syncStatus"] if one["consumer"] == CONSUMER]
    assert told["database"] == "clinical"
    assert told["events"] >= 3, "a patient, a name, a registration, two conditions"
    assert told["seconds"] > 0
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{api.url}/readyz") as response:
            [ready] = [one for one in (await response.json())["sync"] if one["consumer"] == CONSUMER]
        async with http.get(f"{api.url}/metrics") as response:
            lines = (await response.text()).splitlines()
    assert ready["events"] >= told["events"]
    [line] = [one for one in lines if one.startswith(f'caregraph_sync_lag_events{{consumer="{CONSUMER}"')]
    assert float(line.rpartition(" ")[2]) >= told["events"]
    assert 'caregraph_store_up{store="clinical"} 1.0' in lines


async def test_who_has_read_everything_is_not_late(graph: Graph, late: Feed) -> None:
    page = await late.read(await late.join(CONSUMER), 1000)
    await late.acknowledge(CONSUMER, page.place)
    answer = await graph.ask(STATUS)
    [told] = [one for one in answer.data["syncStatus"] if one["consumer"] == CONSUMER]
    assert (told["events"], told["seconds"]) == (0, 0)


async def test_a_place_in_the_middle_of_a_page_counts(graph: Graph, late: Feed) -> None:
    page = await late.read(await late.join(CONSUMER), 1)
    assert page.more
    before = {lag.consumer: lag.events for lag in await late.lag()}[CONSUMER]
    await late.acknowledge(CONSUMER, page.place)
    assert {lag.consumer: lag.events for lag in await late.lag()}[CONSUMER] == before - 1
