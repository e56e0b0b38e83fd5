"""All embedded stores of one instance, started together and stopped together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from workers.embedded.archive import Archive
from workers.embedded.directory import DataDirectory, locked
from workers.embedded.notes import Notes
from workers.embedded.postgres import Postgres
from workers.embedded.server import Server
from workers.embedded.warehouse import Warehouse

SECRET = "CAREGRAPH_SECRET"  # noqa: S105 - the name of a variable
DATABASES = ("clinical", "imaging", "vitals")
NAMES = ("warehouse", "archive", "notes", *DATABASES)


class Stores:
    """The servers by name: warehouse, archive, notes, clinical, and the databases that have a server of their own."""

    def __init__(self, directory: DataDirectory, servers: Collection[Server], secret: Mapping[str, str]) -> None:
        self.directory = directory
        self._servers = {server.name: server for server in servers}
        self._secret = secret

    @property
    def names(self) -> Collection[str]:
        """Names that the methods below take."""
        return self._servers.keys()

    @property
    def env(self) -> dict[str, str]:
        """Variables of db.settings that the environment did not set."""
        env = dict(self._secret)
        for server in self._servers.values():
            env |= server.env()
        return env

    def start(self, *names: str) -> None:
        """Starts these servers, side by side, and waits until all answer. Raises StoreUnavailable."""
        for name in names:
            self._servers[name].launch()
        for name in names:
            self._servers[name].wait_ready()
        self.directory.announce(self.env)

    def stop(self, *names: str) -> None:
        """Stops these servers cleanly, side by side."""
        for name in names:
            self._servers[name].ask_to_stop()
        for name in names:
            self._servers[name].stop()

    def kill(self, name: str) -> None:
        """Ends this server as a crash would (kill -9)."""
        self._servers[name].kill()

    def pid(self, name: str) -> int:
        """Process id of this server."""
        return self._servers[name].pid

    def ended(self) -> Collection[str]:
        """Names of the servers that are not running."""
        return [name for name, server in self._servers.items() if not server.running]


@contextmanager
def stores(
    data: Path,
    environ: Mapping[str, str],
    separate: Collection[str] = (),
    progress: Callable[[str], object] = lambda line: None,
) -> Generator[Stores, None, None]:
    """Starts the stores that `environ` does not point at real servers, and stops them at the end.

    Databases named in `separate` get a PostgreSQL server of their own, so that each can be stopped alone. Raises
    SettingsError when the data directory can't be used, StoreUnavailable when a server does not start.
    """
    wanted = [name for name in NAMES if not environ.get(f"CAREGRAPH_{name.upper()}_URL")]
    with locked(data) as directory:
        secret = {} if environ.get(SECRET) else {SECRET: directory.secret("caregraph")}
        running = Stores(directory, _servers(wanted, separate, directory), secret)
        try:
            progress(f"Starting {', '.join(running.names)} under {directory.path} …")
            running.start(*running.names)
            yield running
        finally:
            directory.withdraw()
            running.stop(*running.names)


def _servers(wanted: Collection[str], separate: Collection[str], directory: DataDirectory) -> list[Server]:
    """The slowest to start first."""
    kinds = {"warehouse": Warehouse, "archive": Archive, "notes": Notes}
    servers: list[Server] = [kind(directory) for name, kind in kinds.items() if name in wanted]
    shared = [name for name in DATABASES if name in wanted and name not in separate]
    groups = [shared, *([name] for name in DATABASES if name in wanted and name in separate)]
    return servers + [Postgres(group, directory) for group in groups if group]
