"""An answer is written while its event is recorded, and is nobody's before that is done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from db.caller import Caller, Profile
from db.errors import AuditUnavailable
from graph.execution import Engine
from graph.request import RequestInfo, Transport
from tests.callers import caller_of
from tests.http.small_graph import SCHEMA, Context, plan

NURSE = caller_of(Profile.NURSE, UUID(int=1))
REQUEST = RequestInfo("r", Transport.HTTP)


class Recording:
    """An engine whose events are recorded when the test says so, and what happened, in its order."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        core = SCHEMA._schema  # pyright: ignore[reportPrivateUsage] - as graph.app
        self._engine = Engine(core, plan, self._session, self._witness)

    async def answer(self, query: str) -> dict[str, Any]:
        """The answer of one operation, which `written` notes."""
        operation = self._engine.prepare(query, None)
        assert not isinstance(operation, list)
        return await self._engine.answer(operation, {}, NURSE, REQUEST, self._written)

    def _written(self, payload: dict[str, Any]) -> dict[str, Any]:
        self.happened.append("written")
        return payload

    def _witness(self, *_of_the_payload: Any, **_named: Any) -> Awaitable[None]:
        self.happened.append("begun")
        return self.recorded

    @asynccontextmanager
    async def _session(self, caller: Caller) -> AsyncGenerator[Context]:
        yield Context(threading.Event(), caller)
        self.happened.append("closed")


@pytest.mark.parametrize("query", ["{ name }", "mutation { touch }", "query ($v: Int!) { record(first: $v) }"])
async def test_an_answer_is_written_meanwhile_and_waits(query: str) -> None:
    """What it was read from is given back before: who waits for the audit holds no connection."""
    recording = Recording()
    answer = asyncio.create_task(recording.answer(query))
    for _ in range(20):
        await asyncio.sleep(0)
    assert recording.happened == ["closed", "begun", "written"]
    assert not answer.done()
    recording.recorded.set_result(None)
    assert await answer


async def test_what_is_written_but_not_recorded_is_nobody_s() -> None:
    recording = Recording()
    answer = asyncio.create_task(recording.answer("{ name }"))
    recording.recorded.set_exception(AuditUnavailable())
    with pytest.raises(AuditUnavailable):
        await answer
    assert recording.happened[-1] == "written"


async def test_who_leaves_does_not_wait_for_the_audit() -> None:
    recording = Recording()
    answer = asyncio.create_task(recording.answer("{ name }"))
    for _ in range(20):
        await asyncio.sleep(0)
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    assert recording.recorded.cancelled()
