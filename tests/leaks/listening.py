"""The API in this process, and everything that it says beside its answers: log, output and audit."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from starlette.applications import Starlette

from db.caller import Profile, PurposeOfUse, Reach, Role
from db.settings import Settings
from graph.auth import PERSONAS, issue
from tests.leaks.chart import Chart

EVENTS = "SELECT seq, e::text AS written FROM audit.event AS e WHERE seq > $1 ORDER BY seq"
LAST = "SELECT coalesce(max(seq), 0) FROM audit.event"


class Ear(logging.Handler):
    """Keeps what any logger says, with the text of exceptions, at the levels that the application sets."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a record as it is written, and its arguments."""
        self.lines.append(f"{self.format(record)} {record.args!r}")


@dataclass(slots=True)
class Listening:
    """A client of the API, and what the API said since it was last asked for it."""

    settings: Settings
    client: httpx.AsyncClient
    chart: Chart
    ear: Ear
    audit: asyncpg.Connection
    last: int
    tokens: dict[str, str] = field(default_factory=dict[str, str])

    def headers(self, role: Role, purpose: PurposeOfUse) -> dict[str, str]:
        """Headers of a caller of a role and purpose, who reaches the chart."""
        if role.name not in self.tokens:
            persona = next(persona for persona in PERSONAS.values() if persona.role == role)
            self.tokens[role.name] = issue(self.settings, persona.name, self.chart.facility, self._bound(role))
        return {"Authorization": f"Bearer {self.tokens[role.name]}", "Caregraph-Purpose": purpose.value}

    def _bound(self, role: Role) -> UUID | None:
        if role.profile is Profile.PATIENT:
            return self.chart.patient
        return {Reach.DEPARTMENT: self.chart.department, Reach.RELATIONSHIP: self.chart.provider}.get(role.reach)

    async def ask(self, headers: Mapping[str, str], query: str, variables: Mapping[str, Any]) -> httpx.Response:
        """The answer of one request."""
        body = {"query": query, "variables": variables}
        return await self.client.post("/graphql", json=body, headers=dict(headers))

    async def said(self) -> str:
        """Log lines and audit events since the last time, as they are kept."""
        events = await self.audit.fetch(EVENTS, self.last)
        self.last = events[-1]["seq"] if events else self.last
        lines, self.ear.lines = self.ear.lines, []
        return "\n".join([*lines, *(event["written"] for event in events)])


@asynccontextmanager
async def listening(app: Starlette, settings: Settings, chart: Chart) -> AsyncGenerator[Listening]:
    """The application, listened to: the root logger hears the libraries, that of the application is its own."""
    ear, loggers = Ear(), [logging.getLogger(), logging.getLogger("caregraph")]
    audit = await asyncpg.connect(settings.clinical_url)
    for logger in loggers:
        logger.addHandler(ear)
    try:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client:
            yield Listening(settings, client, chart, ear, audit, await audit.fetchval(LAST))
    finally:
        for logger in loggers:
            logger.removeHandler(ear)
        await audit.close()
