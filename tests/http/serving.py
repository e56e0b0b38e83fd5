"""The HTTP layer over the small graph, served by uvicorn on a free port, and a client that sees every byte."""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from db.caller import Caller
from db.settings import Settings, load
from db.stores import FacilityName
from graph import demo
from graph.access_log import AccessLog
from graph.auth import authenticate, issue
from graph.execution import Engine
from graph.http import GraphQLEndpoint
from tests.http.small_graph import SCHEMA, plan

FACILITY = UUID("00000000-0000-4000-8000-000000000001")


@dataclass
class Served:
    """The running server, what its sessions did, what it logged, and what `held` waits for."""

    port: int
    settings: Settings
    sessions: list[str] = field(default_factory=list[str])
    log: list[str] = field(default_factory=list[str])
    released: threading.Event = field(default_factory=threading.Event)

    def token(self, persona: str = "physician") -> str:
        """A token of the demo issuer."""
        return issue(self.settings, persona, FACILITY, "MAIN")

    def lines(self, count: int) -> list[str]:
        """The log, once it has so many lines: that of a request comes after its answer."""
        self._wait(lambda: len(self.log) >= count)
        return self.log

    def finished(self, request_id: str) -> None:
        """Waits for the line of a request."""
        self._wait(lambda: any(f"request={request_id} operation=" in line for line in self.log))

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.001)


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def media_type(self) -> str:
        """Content-Type without its parameters."""
        return self.headers["content-type"].split(";")[0]

    @property
    def code(self) -> str:
        """Code of the first error."""
        return self.json["errors"][0]["extensions"]["code"]


class Client:
    """Sends one request over a connection of its own; what a test does not say is as it should be."""

    def __init__(self, served: Served) -> None:
        self.served = served

    def send(
        self,
        body: bytes | Iterable[bytes] | None = None,
        method: str = "POST",
        path: str = "/graphql",
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        """Sends bytes, in chunks where there are several; a header that is None is left out."""
        usual = {"content-type": "application/json", "authorization": f"Bearer {self.served.token()}"}
        given = {name: value for name, value in {**usual, **(headers or {})}.items() if value is not None}
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=20)
        try:
            connection.request(method, path, body, given)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(response.status, found, response.read())
            self.served.finished(found["x-request-id"])
            return answer
        finally:
            connection.close()

    def ask(
        self,
        query: str,
        accept: str = "application/graphql-response+json",
        persona: str = "physician",
        **parameters: Any,
    ) -> Answer:
        """Asks by POST, as a persona."""
        headers = {"accept": accept, "authorization": f"Bearer {self.served.token(persona)}"}
        return self.send(json.dumps({"query": query, **parameters}).encode(), headers=headers)


def small_settings() -> Settings:
    """Settings of a demo without any store."""
    url = "postgresql://owner@127.0.0.1/none"
    return load(
        {
            "CAREGRAPH_DATA": "/nonexistent",
            "CAREGRAPH_SECRET": "a secret of the tests, 32 letters",
            **{f"CAREGRAPH_{name}_URL": url for name in ("CLINICAL", "IMAGING", "VITALS")},
            "CAREGRAPH_NOTES_URL": "mongodb://127.0.0.1/none",
            "CAREGRAPH_ARCHIVE_URL": "http://127.0.0.1/none",
            "CAREGRAPH_WAREHOUSE_URL": "snowflake://127.0.0.1/none",
        }
    )


async def facilities() -> list[FacilityName]:
    """The one facility of the small graph."""
    return [FacilityName(FACILITY, "MAIN", "Main Hospital")]


@contextmanager
def serving() -> Generator[Served]:
    """The small graph behind the real layer, in a thread, until the end of the block."""
    running = Served(0, small_settings())

    @asynccontextmanager
    async def session(_caller: Caller) -> AsyncGenerator[threading.Event]:
        running.sessions.append("open")
        try:
            yield running.released
        finally:
            running.sessions.append("closed")

    engine = Engine(SCHEMA._schema, plan, session)  # pyright: ignore[reportPrivateUsage] - no public name for it
    endpoint = GraphQLEndpoint(engine, partial(authenticate, running.settings))
    routes = [Route("/graphql", endpoint), *demo.routes(running.settings, facilities)]
    app = Starlette(routes=routes, middleware=[Middleware(AccessLog)])
    with listening(app, running.log) as running.port:
        yield running


@contextmanager
def listening(app: Starlette, log: list[str]) -> Generator[int]:
    """The port of an application that uvicorn serves in a thread, until the end of the block; keeps what it logs."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    with _logged(log):
        thread.start()
        while not server.started:
            assert thread.is_alive(), log
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True
        thread.join(20)


@contextmanager
def _logged(lines: list[str]) -> Generator[None]:
    """Keeps what any logger says meanwhile, uvicorn's included."""
    handler = _Lines(lines)
    loggers = [logging.getLogger(name) for name in ("caregraph", "uvicorn", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
        logger.removeHandler(handler)


class _Lines(logging.Handler):
    """Keeps every line that is logged."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the line."""
        self._lines.append(self.format(record))
