"""A replica of the embedded PostgreSQL: a hot standby that streams, and cancels whoever reads what is to be removed."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from workers.embedded.child import Program
from workers.embedded.directory import HOST, DataDirectory
from workers.embedded.postgres import OWNER, Postgres

SETTINGS = ("--max_standby_streaming_delay=0", "--hot_standby_feedback=off")
"""Replay waits for no reader, and the primary is not told what is read (PostgreSQL 18, 26.4.2)."""
COPY_S = 120


class Replica(Postgres):
    """A copy of a running server, made anew at each start."""

    def __init__(self, directory: DataDirectory, primary: int) -> None:
        """`primary`: port of the server that is copied and followed."""
        super().__init__(["replica"], directory)
        self._primary = primary

    def prepare(self) -> None:
        """Copies the primary, with what to follow it by. Raises StoreUnavailable."""
        self.folder.mkdir(mode=0o700)
        if self._user:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        options = ["-h", HOST, "-p", str(self._primary), "-U", OWNER, "-D", str(self.folder)]
        copy = self._program("pg_basebackup", [*options, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
        environ = {**copy.environ, "PGPASSWORD": self._password}
        if self._spawn(Program(copy.command, environ, copy.user, copy.group, copy.cwd)).process.wait(COPY_S) != 0:
            raise self.failed()

    def program(self, port: int) -> Program:
        """The standby."""
        program = super().program(port)
        return Program(
            [*program.command, *SETTINGS],
            program.environ,
            program.user,
            program.group,
            program.cwd,
            program.stop_signal,
        )

    def provision(self) -> None:
        """Nothing: it has what the primary has."""

    def env(self) -> Mapping[str, str]:
        """Nothing of the instance reads from it by itself."""
        return {}


@dataclass(frozen=True, slots=True)
class Standby:
    """A running replica: URLs of a database there and at its primary."""

    url: str
    primary_url: str

    async def caught_up(self) -> None:
        """Returns when the replica shows all that the primary has committed until now."""
        primary, replica = await asyncpg.connect(self.primary_url), await asyncpg.connect(self.url)
        try:
            await primary.execute("SELECT pg_logical_emit_message(true, 'caught_up', '')")  # whose commit flushes
            written = await primary.fetchval("SELECT pg_current_wal_flush_lsn()")
            await until(replica, "SELECT pg_last_wal_replay_lsn() >= $1", written)
        finally:
            await primary.close()
            await replica.close()


async def until(connection: asyncpg.Connection, condition: str, *args: object) -> None:
    """Returns when a query says true."""
    for _ in range(2_000):
        if await connection.fetchval(condition, *args):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never: {condition}")


@contextmanager
def following(directory: DataDirectory, primary_url: str) -> Generator[Standby]:
    """A replica of the server of a database, for the length of a block."""
    parts = urlsplit(primary_url)
    assert parts.port
    replica = Replica(directory, parts.port)
    replica.launch()
    try:
        replica.wait_ready()
        host = parts.netloc.rpartition(":")[0]
        yield Standby(urlunsplit(parts._replace(netloc=f"{host}:{replica.port}")), primary_url)
    finally:
        replica.stop()
        shutil.rmtree(replica.folder)  # for the next one
