"""The notes store: secantusdb, which speaks MongoDB's protocol, with authentication and a sync on every commit."""

from __future__ import annotations

import shutil
import socket
import struct
from collections.abc import Mapping
from typing import TypeAlias

from workers.embedded.child import Program
from workers.embedded.directory import HOST, DataDirectory, python_program
from workers.embedded.server import START_TIMEOUT_S, Server

USER = "caregraph"
DATABASE = "caregraph"
_OP_MSG = 2013

Value: TypeAlias = str | int | list[str]
"""What the two commands sent from here hold."""


class Notes(Server):
    """A GPL program: run as a process, never imported, spoken to through its wire protocol alone."""

    def __init__(self, directory: DataDirectory) -> None:
        super().__init__("notes", directory)
        self._password = directory.secret("notes")

    def prepare(self) -> None:
        """Creates the user before the first start, in a server without authentication that nobody knows of yet."""
        if self.folder.exists():
            return
        fresh = self.folder.with_suffix(".new")  # renamed when whole: an interrupted first start begins again
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        port = self.directory.port(self.name)
        child = self._spawn(python_program("secantus", *_arguments(port, str(fresh))))
        try:
            if not (
                child.wait_until(lambda: self.answers(port), START_TIMEOUT_S)
                and _succeeds(port, {"createUser": USER, "pwd": self._password, "roles": ["root"], "$db": "admin"})
            ):
                raise self.failed()
        finally:
            child.stop()
        fresh.rename(self.folder)

    def program(self, port: int) -> Program:
        """The server; without --sync-on-commit a kill -9 loses acknowledged writes."""
        return python_program("secantus", *_arguments(port, str(self.folder)), "--auth")

    def answers(self, port: int) -> bool:
        """Whether the server greets a client."""
        return _succeeds(port, {"hello": 1, "$db": "admin"})

    def env(self) -> Mapping[str, str]:
        """A direct connection: the server calls itself a replica set of one."""
        query = "authSource=admin&directConnection=true"
        return {"CAREGRAPH_NOTES_URL": f"mongodb://{USER}:{self._password}@{HOST}:{self.port}/{DATABASE}?{query}"}


def _arguments(port: int, folder: str) -> list[str]:
    return [
        *("--host", HOST, "--port", str(port), "--storage-path", folder),
        *("--sync-on-commit", "--cache-size", "256M", "--log-level", "WARNING"),
    ]


def _succeeds(port: int, command: Mapping[str, Value]) -> bool:
    """Whether the server answers this command with ok: 1; one OP_MSG of the wire protocol, without a driver."""
    body = struct.pack("<iB", 0, 0) + _bson(command)
    message = struct.pack("<iiii", 16 + len(body), 1, 0, _OP_MSG) + body
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            connection.sendall(message)
            with connection.makefile("rb") as stream:
                length = struct.unpack("<i", stream.read(4))[0]
                reply = stream.read(length - 4)
    except (OSError, struct.error):
        return False
    return b"\x01ok\0" + struct.pack("<d", 1.0) in reply


def _bson(document: Mapping[str, Value]) -> bytes:
    """The document in BSON, of the few types that commands need (bsonspec.org)."""
    elements = b"".join(_element(name.encode() + b"\0", value) for name, value in document.items())
    return struct.pack("<i", len(elements) + 5) + elements + b"\0"


def _element(name: bytes, value: Value) -> bytes:
    if isinstance(value, str):
        text = value.encode() + b"\0"
        return b"\x02" + name + struct.pack("<i", len(text)) + text
    if isinstance(value, int):
        return b"\x10" + name + struct.pack("<i", value)
    return b"\x04" + name + _bson({str(index): item for index, item in enumerate(value)})
