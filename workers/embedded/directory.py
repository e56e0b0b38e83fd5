"""The data directory of one instance: its lock, generated secrets, remembered ports, logs and announcements."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from db.errors import SettingsError
from db.settings import STORES_FILE
from workers.embedded.child import Program, end_leftovers

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Paths and small files under CAREGRAPH_DATA; everything in it belongs to one running instance."""

    path: Path

    def secret(self, name: str) -> str:
        """Generated secret of this name (64 hexadecimal digits), the same on every start."""
        file = self.path / "secrets.json"
        known = _read_json(file)
        if name not in known:
            known[name] = secrets.token_hex(32)
            write_private(file, json.dumps(known, indent=1))
        return known[name]

    def port(self, name: str) -> int:
        """Free TCP port for this server: the one of the last start if it can be had, else another, remembered."""
        file = self.path / "ports.json"
        known = _read_json(file)
        if name not in known or not port_is_free(int(known[name])):
            known[name] = str(_free_port(taken=set(known.values())))
            write_private(file, json.dumps(known, indent=1))
        return int(known[name])

    def pid_file(self, name: str) -> Path:
        """Where the child of this name is recorded while it runs."""
        return self.path / "run" / f"{name}.pid"

    def log(self, name: str) -> Path:
        """Output of the server's latest start."""
        return self.path / "logs" / f"{name}.log"

    def announce(self, env: Mapping[str, str]) -> None:
        """Writes the stores' variables where `db.settings` looks for them; readable by the owner only."""
        write_private(self.path / STORES_FILE, "".join(f"{key}={value}\n" for key, value in env.items()))

    def withdraw(self) -> None:
        """Takes the announcement back: the stores are not running."""
        (self.path / STORES_FILE).unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Generator[DataDirectory, None, None]:
    """The directory, made if missing, with one supervisor at a time. Raises SettingsError when it has one already.

    The kernel drops the lock with the process, so that a crash leaves nothing to clean but children, ended here.
    """
    path = path.resolve()
    try:
        for folder in (path, path / "run", path / "logs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(path / "lock", "w")
    except OSError as error:
        raise SettingsError(f"CAREGRAPH_DATA: {path} can't be used: {error.strerror}.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"CAREGRAPH_DATA: {path} is in use by another Caregraph; stop it or set another directory."
            ) from None
        directory = DataDirectory(path)
        directory.withdraw()
        end_leftovers(path / "run")
        yield directory


def python_program(module: str, *arguments: str, **environ: str) -> Program:
    """A module of this repository or environment as a process of the same Python, with `environ` on top of ours."""
    return Program([sys.executable, "-m", module, *arguments], os.environ | environ)


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT does not count
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
        return True


def write_private(file: Path, text: str) -> None:
    """Replaces the file in one step, readable by its owner only."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as output:
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    fresh.replace(file)


def _free_port(taken: set[str]) -> int:
    while True:
        with socket.socket() as candidate:
            candidate.bind((HOST, 0))
            port = int(candidate.getsockname()[1])
        if str(port) not in taken:
            return port


def _read_json(file: Path) -> dict[str, str]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
