"""Asking the graph in process, through the engine that the API runs, and counting what the stores were asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from db.caller import Caller, Profile
from db.settings import Settings
from db.stores import FacilityName, Stores
from graph.auth import PERSONAS
from graph.execution import Engine
from graph.plan import plan
from graph.schema import schema
from loaders.reader import Reader
from resolvers.context import Context

CURSOR_KEY = b"cursors of tests are the same in every run"

PURPOSES = {persona.profile: persona.purpose for persona in PERSONAS.values()}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its data, errors and extensions, and the statements that it took by (store, name)."""

    data: Any
    errors: list[dict[str, Any]]
    extensions: dict[str, Any]
    statements: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    @property
    def codes(self) -> list[str]:
        """Codes of the errors."""
        return [error["extensions"]["code"] for error in self.errors]


class Graph:
    """The schema over running stores, asked as any caller."""

    def __init__(self, settings: Settings, stores: Stores, facilities: list[FacilityName]) -> None:
        self.settings = settings
        self.stores = stores
        self.facilities = facilities
        self._statements: Counter[tuple[str, str]] = Counter()
        self._engine = Engine(schema._schema, plan, self._session)  # pyright: ignore[reportPrivateUsage] - as graph.app

    def caller(self, profile: Profile = Profile.CLINICIAN, facility: int | FacilityName = 0) -> Caller:
        """A caller of a profile at one of the facilities, by place or by itself."""
        at = self.facilities[facility] if isinstance(facility, int) else facility
        return Caller(f"test-{profile.value}", profile, at.id, PURPOSES[profile])

    async def ask(
        self, query: str, profile: Profile = Profile.CLINICIAN, facility: int | FacilityName = 0, **variables: Any
    ) -> Answer:
        """The whole answer of one operation. Raises AppError where the request is refused before it runs."""
        operation = self._engine.prepare(query, None)
        if isinstance(operation, list):
            return Answer(None, list(operation), {})  # pyright: ignore[reportArgumentType] - typed dicts
        self._statements = Counter()
        run = self._engine.run(operation, variables, self.caller(profile, facility), "test", incremental=False)
        [payload] = [one async for one in run]
        return Answer(
            payload.get("data"), payload.get("errors", []), payload.get("extensions", {}), Counter(self._statements)
        )

    @asynccontextmanager
    async def _session(self, caller: Caller) -> AsyncGenerator[Context]:
        reader = Reader(self.stores, caller)
        try:
            yield Context(reader, CURSOR_KEY)
        finally:
            self._statements = reader.statements
            await reader.close()
