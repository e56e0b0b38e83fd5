"""What every embedded server has in common: prepare once, launch, wait for its protocol to answer, stop."""

from __future__ import annotations

import http.client
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

from db.errors import StoreUnavailable
from workers.embedded.child import Child, Program
from workers.embedded.directory import HOST, DataDirectory

START_TIMEOUT_S = 60.0
ATTEMPTS = 5
"""Launches before giving up: a port may be taken in between, a killed server's children may need a moment to go."""
PAUSE_S = 0.5


class Server(ABC):
    """One embedded server under the data directory, under a name that is also its folder."""

    def __init__(self, name: str, directory: DataDirectory) -> None:
        self.name = name
        self.directory = directory
        self.folder = directory.path / name
        self.port = 0
        self._child: Child | None = None

    @abstractmethod
    def program(self, port: int) -> Program:
        """The server, to listen on this port of the loopback address."""

    @abstractmethod
    def answers(self, port: int) -> bool:
        """Whether the server serves requests of its protocol now (one probe)."""

    @abstractmethod
    def env(self) -> Mapping[str, str]:
        """Variables of db.settings that point at the running server."""

    def prepare(self) -> None:
        """Makes the folder before the first start."""
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def provision(self) -> None:  # noqa: B027 - most servers need nothing
        """Makes what clients expect to find in the running server."""

    @property
    def pid(self) -> int:
        """Process id of the server. Raises StoreUnavailable when it was not started."""
        return self._running_child().process.pid

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self._child is not None and self._child.running

    def launch(self) -> None:
        """Starts the process without waiting for it."""
        self.prepare()
        self.port = self.directory.port(self.name)
        self._child = self._spawn(self.program(self.port))

    def wait_ready(self) -> None:
        """Waits until the server answers, launching it again if it ends. Raises StoreUnavailable naming its log."""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.stop()
                time.sleep(PAUSE_S)
                self.launch()
            if self._running_child().wait_until(lambda: self.answers(self.port), START_TIMEOUT_S):
                self.provision()
                return
            if self.running:
                break  # it hangs: another one would too
        self.stop()
        raise self.failed()

    def ask_to_stop(self) -> None:
        """Sends the stop signal without waiting, so that servers can stop side by side."""
        if self._child is not None:
            self._child.ask_to_stop()

    def stop(self) -> None:
        """Ends the server cleanly; nothing to do when it is not running."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """Ends the server as a crash would."""
        self._running_child().kill()
        self._child = None

    def failed(self) -> StoreUnavailable:
        """Error that says where the server wrote why."""
        return StoreUnavailable(
            self.name, f"Embedded store '{self.name}' did not start; see {self.directory.log(self.name)}."
        )

    def _spawn(self, program: Program) -> Child:
        try:
            return Child(program, self.directory.pid_file(self.name), self.directory.log(self.name))
        except OSError as error:
            raise StoreUnavailable(
                self.name, f"Embedded store '{self.name}' can't be started: {error.strerror}."
            ) from None

    def _running_child(self) -> Child:
        if self._child is None:
            raise StoreUnavailable(self.name, f"Embedded store '{self.name}' is not running.")
        return self._child


def http_status(port: int, method: str, path: str, body: bytes | None = None) -> int:
    """Status of one HTTP request to the loopback address; 0 when nothing answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request(method, path, body)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
