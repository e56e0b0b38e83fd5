"""Where changes are exported to: files of a directory, or a topic of Kafka. What was put is kept for good."""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import importlib.util
import os
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from db.errors import SettingsError, StoreTimeout, StoreUnavailable

NAME = "export"
"""What an error calls the sink."""
FILE_BYTES_MAX = 256 * 1024 * 1024
"""Size from which on a file is set aside and another one begun."""
BLOCK = 65536
PUT_S = 60.0
"""Seconds until Kafka is given up."""


@dataclass(frozen=True, slots=True)
class Message:
    """A change: `key` and `value` are JSON. What has the same `group` (a patient) stays in order."""

    group: str
    key: bytes
    value: bytes


class Sink(Protocol):
    """Takes changes."""

    async def put(self, messages: Sequence[Message]) -> None:
        """Returns once all of them are kept, in this order. Raises StoreError: then some may be."""
        ...

    async def close(self) -> None:
        """Ends what is open."""
        ...


class File:
    """One file of lines `{"key": …, "value": …}` (NDJSON), for its owner alone (0600); a full one is named by the time.

    The whole state is in the directory: a line that a crash tore is cut off before the next one is written.
    """

    def __init__(self, directory: Path, name: str, bytes_max: int = FILE_BYTES_MAX) -> None:
        self._directory = directory
        self._path = directory / f"{name}.ndjson"
        self._bytes_max = bytes_max

    def check(self) -> None:
        """Raises OSError where nothing can be written."""
        self._append(b"")

    async def put(self, messages: Sequence[Message]) -> None:
        """See Sink."""
        lines = b"".join(b'{"key":%b,"value":%b}\n' % (one.key, one.value) for one in messages)
        try:
            await asyncio.to_thread(self._append, lines)
        except OSError:
            raise StoreUnavailable(NAME) from None

    async def close(self) -> None:
        """See Sink."""

    def _append(self, lines: bytes) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)  # a process that lost the lease may not have noticed yet
            if self._path.exists() and self._path.stat().st_size >= self._bytes_max:
                self._path.rename(self._path.with_stem(f"{self._path.stem}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"))
            with os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                file.seek(_end(file.fileno()))
                file.truncate()
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            os.fsync(directory)
        finally:
            os.close(directory)


def _end(file: int) -> int:
    """Where the last whole line of a file ends."""
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - BLOCK)
        last = os.pread(file, end - start, start).rfind(b"\n")
        if last >= 0:
            return start + last + 1
        end = start
    return 0


class Kafka:
    """A topic. Its key is the group, so that a patient's changes are in one partition; the row's key is a header.

    Written by an idempotent producer to all replicas in sync. aiokafka is imported when it is needed.
    """

    def __init__(self, server: str, topic: str, *, tls: bool) -> None:
        self._server = server
        self._topic = topic
        self._tls = tls
        self._producer: Any = None

    async def put(self, messages: Sequence[Message]) -> None:
        """See Sink."""
        errors: Any = importlib.import_module("aiokafka.errors")
        try:
            async with asyncio.timeout(PUT_S):
                producer = self._producer = self._producer or await self._started()
                sent = [
                    await producer.send(self._topic, one.value, one.group.encode(), headers=[("key", one.key)])
                    for one in messages
                ]
                await asyncio.gather(*sent)
        except TimeoutError:
            await self.close()
            raise StoreTimeout(NAME) from None
        except (errors.KafkaError, OSError):
            await self.close()
            raise StoreUnavailable(NAME) from None

    async def close(self) -> None:
        """See Sink."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(PUT_S):
                    await producer.stop()

    async def _started(self) -> Any:
        producer: Any = importlib.import_module("aiokafka").AIOKafkaProducer(
            bootstrap_servers=self._server,
            acks="all",
            enable_idempotence=True,
            security_protocol="SSL" if self._tls else "PLAINTEXT",
            ssl_context=ssl.create_default_context() if self._tls else None,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer


def sink_of(url: str, name: str) -> Sink:
    """Where CAREGRAPH_EXPORT_URL says that the changes of a database go. Raises SettingsError."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        file = File(Path(unquote(parts.path)), name)
        try:
            file.check()
        except OSError as error:
            raise SettingsError(
                f"CAREGRAPH_EXPORT_URL must name a directory to write files to: {error.strerror}."
            ) from None
        return file
    if importlib.util.find_spec("aiokafka") is None:
        raise SettingsError("CAREGRAPH_EXPORT_URL of Kafka needs aiokafka (dependency group `kafka`).")
    return Kafka(parts.netloc, parts.path[1:], tls=parts.scheme == "kafka+tls")
