"""A PostgreSQL server of these tests' own, which they kill and of which they rewrite what it holds; and a writer to the
network's audit."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from db.audit import AuditLog, Event, EventKind
from db.caller import Profile
from db.migrate import migrate
from db.settings import Settings
from tests.callers import caller_of
from workers.embedded.stores import Stores, stores

SECRET = b"the secret of the audit's own tests"
FACILITY = UUID(int=1)
ELSEWHERE = {f"CAREGRAPH_{name}_URL": "unused" for name in ("NOTES", "ARCHIVE", "WAREHOUSE", "IMAGING", "VITALS")}
"""Stores that are not started here."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A clinical database that is nobody else's, and its owner's URL."""

    server: Stores
    url: str

    def log(self, timeout_s: float = 10) -> AuditLog:
        """A writer; who opens it closes it."""
        return AuditLog(self.url, SECRET, timeout_s)

    async def owner(self) -> asyncpg.Connection:
        """A superuser's connection."""
        return await asyncpg.connect(self.url)


def event(number: int = 0, facility_id: UUID = FACILITY, patients: int = 1) -> Event:
    """An event of a clinician who saw some patients."""
    caller = caller_of(Profile.CLINICIAN, facility_id, f"subject-{number}")
    seen = frozenset(UUID(int=1000 + number + n) for n in range(patients))
    return Event(EventKind.QUERY, "OK", f"request-{number}", caller, "ab" * 32, patients=seen, client_ip="127.0.0.1")


@pytest.fixture(scope="session")
def server() -> Iterator[Stores]:
    """A PostgreSQL server alone."""
    with tempfile.TemporaryDirectory(prefix="caregraph-audit-") as data, stores(Path(data), ELSEWHERE) as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def template(server: Stores) -> str:
    """Name of a migrated database that is copied for each test."""
    connection = await asyncpg.connect(server.env["CAREGRAPH_CLINICAL_URL"])
    await connection.execute("CREATE DATABASE template")
    await connection.close()
    await migrate("clinical", _database(server, "template"), SECRET)
    return "template"


@pytest_asyncio.fixture
async def ledger(server: Stores, template: str) -> Ledger:
    """A new, migrated database."""
    name = f"ledger_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(server.env["CAREGRAPH_CLINICAL_URL"])
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    await connection.close()
    return Ledger(server, _database(server, name))


@pytest_asyncio.fixture
async def log(network: Settings) -> AsyncIterator[AuditLog]:
    """A writer to the network's own audit."""
    log = AuditLog(network.clinical_url, network.secret, 30)
    yield log
    await log.close()


def _database(server: Stores, name: str) -> str:
    return urlunsplit(urlsplit(server.env["CAREGRAPH_CLINICAL_URL"])._replace(path=f"/{name}"))
