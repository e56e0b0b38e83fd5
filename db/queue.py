"""The queue of long jobs: procrastinate in a schema of the clinical database; the only module that imports it.

Rows are put into the queue by triggers, in the transaction that asks for the job. Who works on it logs in as
caregraph_research, which owns the schema and sees nothing else of the clinical database but what research may.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import asyncpg
import procrastinate
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.schema import SchemaManager

from db.context import role_password
from db.errors import SettingsError, StoreError
from db.postgres import login_url
from db.roles import RESEARCH
from db.settings import Settings

SCHEMA = "queue"
NAME = "queue/procrastinate"
"""Name under which the tables of procrastinate stand among the migrations."""

HEARTBEAT_S, LOST_S = 2, 10
"""Seconds between two signs of life of a worker, and after which without one its jobs are given to others."""
ATTEMPTS, WAIT_S = 5, 3
"""Times that a job is tried which an unavailable store has ended, and seconds between."""

Work = Callable[..., Awaitable[None]]
"""A kind of job: takes the arguments that it was put into the queue with."""

logging.getLogger("procrastinate").setLevel(logging.CRITICAL + 1)  # its records quote arguments and texts of errors


async def migrate_queue(connection: asyncpg.Connection, done: Mapping[str, str]) -> str | None:
    """Makes the tables of procrastinate, once; its name among the migrations if it did.

    Raises SettingsError where they were made by another version.
    """
    text = SchemaManager.get_schema()
    checksum = hashlib.sha256(text.encode()).hexdigest()
    if NAME in done:
        if done[NAME] != checksum:
            raise SettingsError("The queue was made by another version of procrastinate.")
        return None
    async with connection.transaction():
        await connection.execute(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {RESEARCH}")
        await connection.execute(f"SET LOCAL search_path = {SCHEMA}, public; SET LOCAL ROLE {RESEARCH}")
        await connection.execute(text)
        await connection.execute("RESET ROLE")
        await connection.execute(
            "INSERT INTO public.caregraph_migration (name, sha256) VALUES ($1, $2)", NAME, checksum
        )
    return NAME


class Queue:
    """The queue as a worker sees it: kinds of jobs by name, what puts more into it, and the loop that works on it."""

    def __init__(self, settings: Settings) -> None:
        url = login_url(settings.clinical_direct_url, RESEARCH, role_password(settings.secret, RESEARCH))
        connector = procrastinate.PsycopgConnector(conninfo=url, kwargs={"options": f"-c search_path={SCHEMA}"})
        self._app = procrastinate.App(connector=connector)

    def job(self, name: str, work: Work, given_up: Work) -> None:
        """Declares a kind of job. Where `work` raises StoreError it is tried again, at last `given_up` is called."""

        async def attempt(context: procrastinate.JobContext, **arguments: Any) -> None:
            try:
                await work(**arguments)
            except StoreError:
                if context.job.attempts + 1 < ATTEMPTS:
                    raise
                await given_up(**arguments)

        retry = procrastinate.RetryStrategy(max_attempts=ATTEMPTS, wait=WAIT_S, retry_exceptions=[StoreError])
        self._app.task(name=name, queue=SCHEMA, retry=retry, pass_context=True)(attempt)

    async def put(self, name: str, lock: str | None = None, **arguments: Any) -> None:
        """Puts a job into the queue; one with a `lock` only where none of the same lock waits. Inside `opened`."""
        with suppress(AlreadyEnqueued):
            await self._app.configure_task(name, queue=SCHEMA, queueing_lock=lock).defer_async(**arguments)

    async def work(self, at_once: int, *, until_empty: bool = False) -> None:
        """Works on jobs, so many at a time, until it is cancelled, or with `until_empty` until none waits."""
        async with self._app.open_async():
            rescue = asyncio.create_task(self._rescue())
            try:
                waiting = True
                while waiting:
                    await self._app.run_worker_async(
                        queues=[SCHEMA],
                        concurrency=at_once,
                        wait=not until_empty,
                        update_heartbeat_interval=HEARTBEAT_S,
                        stalled_worker_timeout=LOST_S,
                        install_signal_handlers=False,
                        delete_jobs="successful",
                    )
                    # A worker that does not wait leaves what its last jobs have put into the queue.
                    waiting = bool(await self._app.job_manager.list_jobs_async(queue=SCHEMA, status="todo"))
            finally:
                rescue.cancel()
                with suppress(asyncio.CancelledError):
                    await rescue

    async def _rescue(self) -> None:
        """Gives jobs of workers that gave no sign of life to others: a worker that was killed says nothing."""
        while True:
            for job in await self._app.job_manager.get_stalled_jobs(seconds_since_heartbeat=LOST_S):
                await self._app.job_manager.retry_job(job)
            await asyncio.sleep(HEARTBEAT_S)
