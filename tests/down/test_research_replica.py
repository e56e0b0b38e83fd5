"""An extraction that reads a replica waits until that has what the primary knew, and reads nothing on the primary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest_asyncio

from db.research_method import Method
from db.settings import Settings
from tests.apart import apart
from tests.bench import research_data
from tests.down.standby import Standby, following, until
from tests.research.extractions import Network, approved
from workers.embedded.stores import Stores as Embedded

PATIENTS = 60
READ = "SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0) FROM pg_stat_user_tables WHERE relname = 'encounter'"
"""Scans of a table that an extraction reads and nobody else does meanwhile."""


@pytest_asyncio.fixture
async def replicated(configured: Settings, embedded: Embedded) -> AsyncIterator[tuple[Network, Standby]]:
    """A network whose research reads a replica of its clinical database."""
    own = await apart(configured, "replicated")
    await research_data.make(own.clinical_url, own.vitals_url, PATIENTS)
    net = await approved(own)
    with following(embedded.directory, own.clinical_url) as standby:
        await standby.caught_up()
        yield Network(replace(own, research_url=standby.url), net.project), standby


async def test_an_extraction_waits_for_its_replica_and_leaves_the_primary_alone(
    replicated: tuple[Network, Standby],
) -> None:
    net, standby = replicated
    replica = await asyncpg.connect(standby.url)
    try:
        await replica.execute("SELECT pg_wal_replay_pause()")
        before = await net.fetch(READ)
        dataset = await net.dataset(Method.LIMITED, ("patients", "encounters"))
        made = await net.extraction(dataset)
        working = asyncio.create_task(net.work())
        await net.until(made, "stage = 'PLAN'")
        await asyncio.sleep(1)
        [(stage, done)] = await net.fetch(
            "SELECT stage, partitions_done FROM clinical.research_extraction WHERE id = $1", made
        )
        assert (stage, done) == ("PLAN", 0), "members are selected, which the replica does not know yet"
        assert not working.done()
        await replica.execute("SELECT pg_wal_replay_resume()")
        await working
        assert (await net.ended(made)).state == "PUBLISHED"
        assert (await net.table(made, "encounters")).height > PATIENTS
        await until(replica, "SELECT pg_is_in_recovery()")
        assert await net.fetch(READ) == before
    finally:
        await replica.close()
