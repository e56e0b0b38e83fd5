"""Asking the graph in process, through the engine that the API runs, and counting what the stores were asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from db.audit import AuditLog
from db.caller import Caller, Profile
from db.settings import Settings
from db.stores import FacilityName, Stores
from graph.encoding import encoded
from graph.execution import Engine
from graph.plan import plan
from graph.request import RequestInfo, Transport
from graph.schema import schema
from graph.trail import Trail
from loaders.reader import Reader
from resolvers.context import Context
from tests.callers import caller_of

REQUEST = RequestInfo("test", Transport.HTTP)
CURSOR_KEY = b"cursors of tests are the same in every run"


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

    def __init__(
        self, settings: Settings, stores: Stores, facilities: list[FacilityName], audit: AuditLog | None = None
    ) -> None:
        self.settings = settings
        self.stores = stores
        self.facilities = facilities
        self._statements: Counter[tuple[str, str]] = Counter()
        core = schema._schema  # pyright: ignore[reportPrivateUsage] - as graph.app
        # Without an audit log nothing is recorded: most tests ask for other things.
        self._engine = Engine(core, plan, self._session, Trail(audit, core).witness if audit else None)

    def caller(self, profile: Profile = Profile.CLINICIAN, facility: int | FacilityName = 0) -> Caller:
        """A caller of a profile's usual role at one of the facilities, by place or by itself."""
        at = self.facilities[facility] if isinstance(facility, int) else facility
        return caller_of(profile, at.id, f"test-{profile.value}")

    async def ask(
        self, query: str, profile: Profile = Profile.CLINICIAN, facility: int | FacilityName = 0, **variables: Any
    ) -> Answer:
        """The whole answer of one operation. Raises AppError where the request is refused before it runs."""
        return await self.ask_as(self.caller(profile, facility), query, **variables)

    async def ask_as(self, caller: Caller, query: str, **variables: Any) -> Answer:
        """The same for any caller."""
        operation = self._engine.prepare(query, None)
        if isinstance(operation, list):
            return Answer(None, list(operation), {})  # pyright: ignore[reportArgumentType] - typed dicts
        self._statements = Counter()
        run = self._engine.run(operation, variables, caller, REQUEST, incremental=False)
        [payload] = [one async for one in run]
        return self._answer(payload)

    async def subscribe_as(self, caller: Caller, query: str, **variables: Any) -> AsyncGenerator[Answer]:
        """Each message of a subscription."""
        operation = self._engine.prepare(query, None)
        assert not isinstance(operation, list)
        async with aclosing(self._engine.subscribe(operation, variables, caller, REQUEST)) as payloads:
            async for payload in payloads:
                yield self._answer(payload)

    def _answer(self, payload: dict[str, Any]) -> Answer:
        data = json.loads(encoded(payload.get("data")), parse_float=Decimal)  # as it is sent
        return Answer(data, payload.get("errors", []), payload.get("extensions", {}), Counter(self._statements))

    @asynccontextmanager
    async def _session(self, caller: Caller) -> AsyncGenerator[Context]:
        reader = Reader(self.stores, caller)
        try:
            yield Context(reader, CURSOR_KEY)
        finally:
            self._statements = reader.statements
            await reader.close()
