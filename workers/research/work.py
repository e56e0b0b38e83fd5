"""Jobs of an extraction in the queue: begin (SELECT, PLAN), one for some partitions (EXTRACT), finish (LOAD, VALIDATE).

Each can be done again, by any worker, with the same result: what a killed worker has begun another does anew, and
partitions that are made stay made.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import LiteralString
from uuid import UUID

from db.disclosure import THRESHOLD
from db.errors import StoreError
from db.queue import Queue
from db.research_method import IN_FORCE, Method
from db.settings import Settings
from workers.research.job import Ended, Job, Jobs, Stage, State
from workers.research.partition import make_partition
from workers.research.plan import make_plan
from workers.research.reading import Rate
from workers.research.release import make_release
from workers.research.selection import estimate, select, vault_position
from workers.research.sources import Sources
from workers.research.spill import groups, spilled

OPEN_PROJECTS: LiteralString = f"""/* open_research_projects */
SELECT p.id, method
FROM clinical.research_project AS p CROSS JOIN LATERAL unnest(p.methods) AS method
WHERE p.status = 'APPROVED' AND {IN_FORCE}"""
TELL_S = 30.0
"""Seconds between two looks at which projects are open."""
BEGIN, GROUP, FINISH = "research.begin", "research.group", "research.finish"


class Work:
    """Does the jobs of a queue with one set of stores."""

    def __init__(self, sources: Sources, queue: Queue) -> None:
        self._sources = sources
        self._queue = queue
        queue.job(BEGIN, self.begin, self._given_up)
        queue.job(GROUP, self.group, self._given_up)
        queue.job(FINISH, self.finish, self._given_up)

    @property
    def _jobs(self) -> Jobs:
        return self._sources.jobs

    async def begin(self, extraction: str) -> None:
        """Selects the members, makes the plan, and puts the partitions into the queue."""
        await self._go_on(extraction, self._begin)

    async def _begin(self, job: Job) -> None:
        await self._jobs.start(job)
        if job.stage in (Stage.SELECT, Stage.PLAN):
            job = await self._planned(job)
        assert job.partitions is not None
        done = await self._jobs.done(job)
        for place, group in enumerate(groups(job.partitions)):
            if not done.issuperset(group):
                await self._queue.put(GROUP, f"{job.id} {place}", extraction=str(job.id), group=place)
        if len(done) == job.partitions:
            await self._put_finish(job)

    async def _planned(self, job: Job) -> Job:
        sources = self._sources
        async with sources.clinical.project(job.project_id) as source, self._jobs.primary.notes() as vault:
            patients, partitions = await select(job, source, vault)
            rows = await estimate(source, job, patients)
        async with self._jobs.primary.notes() as vault:  # after the members are committed
            position = await vault_position(vault)
        if patients < THRESHOLD:
            raise Ended(State.FAILED, "TOO_FEW_PATIENTS")
        facts = {"seed": job.plan.get("seed", secrets.randbits(48)), "position": position, "patients": patients}
        await self._jobs.enter(job, Stage.PLAN, facts, partitions, rows)
        job = await self._jobs.job(job.id)
        await sources.caught_up(position)
        await self._jobs.enter(job, Stage.EXTRACT, await make_plan(sources, job))
        return await self._jobs.job(job.id)

    async def group(self, extraction: str, group: int) -> None:
        """Makes a group of partitions; who makes the last one puts what finishes the extraction into the queue."""
        await self._go_on(extraction, lambda job: self._group(job, group))

    async def _group(self, job: Job, group: int) -> None:
        assert job.partitions is not None
        done = await self._jobs.done(job)
        is_last = len(done) == job.partitions
        if missing := [partition for partition in groups(job.partitions)[group] if partition not in done]:
            await self._sources.caught_up(job.plan["position"])
            async with spilled(self._sources, job, missing) as rows:
                for partition in missing:
                    facts = await make_partition(self._sources, job, partition, rows)
                    is_last = await self._jobs.keep(job, partition, facts)
        if is_last:
            await self._put_finish(job)

    async def finish(self, extraction: str) -> None:
        """Loads, validates and publishes, or puts into quarantine."""
        await self._go_on(extraction, self._finish)

    async def _finish(self, job: Job) -> None:
        await self._jobs.enter(job, Stage.LOAD, {})
        await make_release(self._sources, job)

    async def _put_finish(self, job: Job) -> None:
        await self._queue.put(FINISH, f"{job.id} finish", extraction=str(job.id))

    async def _go_on(self, extraction: str, do: Callable[[Job], Awaitable[None]]) -> None:
        """Does something for an extraction that shall go on. What ends it is noted; for a store that is down the queue
        tries again."""
        id = UUID(extraction)
        try:
            await do(await self._jobs.job(id))
        except Ended as ended:
            if ended.code != "OVER":
                await self._jobs.end(id, ended.state, error=ended.code)
            await self._sources.clear(id)
        except StoreError:
            raise
        except Exception as error:
            await self._jobs.end(id, State.FAILED, error=type(error).__name__)
            await self._sources.clear(id)
            raise

    async def _given_up(self, extraction: str, **_: int) -> None:
        """Notes that a store was not to be reached for too long; if that is the archive, what it has stays there."""
        await self._jobs.end(UUID(extraction), State.FAILED, error="STORE_UNAVAILABLE")
        with suppress(StoreError):
            await self._sources.clear(UUID(extraction))


async def tell_what_is_open(sources: Sources) -> None:
    """Keeps telling the warehouse which projects are open, for people who log in to it themselves.

    A caller of the graph does not wait for that: of those PostgreSQL is asked at each request.
    """
    while True:
        with suppress(StoreError):
            async with sources.jobs.primary.notes() as reading:
                rows = await reading.fetch(OPEN_PROJECTS)
            await sources.releases.set_open_projects({(row[0], Method(row[1])) for row in rows})
        await asyncio.sleep(TELL_S)


async def work(settings: Settings, *, at_once: int, bytes_per_s: float | None, until_empty: bool = False) -> None:
    """Works on the extractions of the queue, until it is cancelled or, with `until_empty`, until none waits."""
    sources = Sources(settings, Rate(bytes_per_s))
    queue = Queue(settings)
    Work(sources, queue)
    telling = asyncio.create_task(tell_what_is_open(sources))
    try:
        await queue.work(at_once, until_empty=until_empty)
    finally:
        telling.cancel()
        await asyncio.wait([telling])
        await sources.close()
