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
from typing import Any
from uuid import UUID

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute

from db.caller import Caller
from db.errors import AppError, Unauthenticated
from db.settings import Settings, load
from db.stores import FacilityName
from graph import demo
from graph.access_log import AccessLog
from graph.admission import Quota
from graph.auth import Authenticator, issue
from graph.cross_origin import cross_origin
from graph.execution import Engine, Operation
from graph.http import GraphQLEndpoint
from graph.request import RequestInfo
from graph.server import BoundedHttp
from graph.trusted import Documents
from graph.websocket import MESSAGE_BYTES_MAX, GraphQLSockets
from tests.http.small_graph import SCHEMA, Context, plan

FACILITY = UUID("00000000-0000-4000-8000-000000000001")
STAND_IN = UUID("00000000-0000-4000-8000-000000000002")
"""Provider, department or patient that a persona is or works for."""
DEADLINE_S = 2
"""What one operation of the small graph may take."""
INIT_TIMEOUT_S = 1.0
ALLOWED_ORIGIN = "https://ehr.example.org"


@dataclass
class Served:
    """The running server, what its sessions did, what it logged, and what `held` waits for.

    `witnessed`: payloads that were about to leave, by subject; `refusals`: requests refused as a whole, by subject,
    code and reason; `unwitnessed`: what the audit raises, if anything; `revoked`: whether no token is good any more.
    """

    port: int
    settings: Settings
    sessions: list[str] = field(default_factory=list[str])
    log: list[str] = field(default_factory=list[str])
    released: threading.Event = field(default_factory=threading.Event)
    witnessed: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])
    refusals: list[tuple[str | None, str, str | None]] = field(default_factory=list[tuple[str | None, str, str | None]])
    requests: list[RequestInfo] = field(default_factory=list[RequestInfo])
    unwitnessed: AppError | None = None
    revoked: bool = False

    def clear(self) -> None:
        """Forgets what happened so far."""
        for kept in (self.log, self.sessions, self.witnessed, self.refusals, self.requests):
            kept.clear()
        self.released.clear()
        self.unwitnessed = None
        self.revoked = False

    def token(self, persona: str = "physician", facility_id: UUID = FACILITY) -> str:
        """A token of the demo issuer."""
        return issue(self.settings, persona, facility_id, STAND_IN)

    async def witness(
        self,
        operation: Operation,
        caller: Caller,
        context: Any,
        payload: Mapping[str, Any],
        request: RequestInfo,
        first: bool,
    ) -> None:
        """Stands for the audit of answers."""
        assert "open" in self.sessions
        self.witnessed.append((caller.subject, first))
        self.requests.append(request)
        if self.unwitnessed:
            raise self.unwitnessed

    async def refused(self, caller: Caller | None, code: str, reason: str | None, request: RequestInfo) -> None:
        """Stands for the audit of refusals."""
        self.refusals.append((caller.subject if caller else None, code, reason))
        self.requests.append(request)
        if self.unwitnessed:
            raise self.unwitnessed

    def lines(self, count: int) -> list[str]:
        """The log, once it has so many lines: that of a request comes after its answer."""
        self._wait(lambda: len(self.log) >= count)
        return self.log

    def finished(self, request_id: str) -> None:
        """Waits for the line of a request."""
        self.logged(f"request={request_id} operation=")

    def logged(self, part: str) -> list[str]:
        """The lines with a part, once there is one."""
        self._wait(lambda: any(part in line for line in self.log))
        return [line for line in self.log if part in line]

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
        kind = "graphql-require-preflight" if method == "GET" else "content-type"
        usual = {kind: "application/json", "authorization": f"Bearer {self.served.token()}"}
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
    return load(small_environ())


def small_environ() -> dict[str, str]:
    """The same as variables."""
    url = "postgresql://owner@127.0.0.1/none"
    return {
        "CAREGRAPH_DATA": "/nonexistent",
        "CAREGRAPH_SECRET": "a secret of the tests, 32 letters",
        **{f"CAREGRAPH_{name}_URL": url for name in ("CLINICAL", "IMAGING", "VITALS")},
        "CAREGRAPH_NOTES_URL": "mongodb://127.0.0.1/none",
        "CAREGRAPH_ARCHIVE_URL": "http://127.0.0.1/none",
        "CAREGRAPH_WAREHOUSE_URL": "snowflake://u:p@127.0.0.1/d/s?account=a",
    }


class _Revocable(Authenticator):
    """The authenticator of the API, and an issuer who can take every token back."""

    def __init__(self, served: Served) -> None:
        super().__init__(served.settings)
        self._served = served

    async def session(self, headers: Mapping[str, str]) -> tuple[Caller, float]:
        """As the API, until the tokens are taken back."""
        if self._served.revoked:
            raise Unauthenticated("REVOKED")
        return await super().session(headers)


class Directory:
    """Who is at the one facility of the small graph."""

    async def facilities(self) -> list[FacilityName]:
        """The facility."""
        return [FacilityName(FACILITY, "MAIN", "Main Hospital")]

    async def stand_in(self, claim: str, facility_id: UUID) -> UUID | None:
        """Whom a persona stands for."""
        return STAND_IN


@contextmanager
def serving(per_minute: int = 100_000) -> Generator[Served]:
    """The small graph behind the real layer, in a thread, until the end of the block."""
    running = Served(0, small_settings())

    @asynccontextmanager
    async def session(caller: Caller) -> AsyncGenerator[Context]:
        running.sessions.append("open")
        try:
            yield Context(running.released, caller)
        finally:
            running.sessions.append("closed")

    schema = SCHEMA._schema  # pyright: ignore[reportPrivateUsage] - no public name for it
    engine = Engine(schema, plan, session, running.witness, DEADLINE_S, Documents(open_to_all=True))
    authenticator, quota = _Revocable(running), Quota(per_minute)
    endpoint = GraphQLEndpoint(engine, authenticator, quota, running.refused)
    origins = frozenset({ALLOWED_ORIGIN})
    sockets = GraphQLSockets(engine, authenticator, quota, origins, running.refused, INIT_TIMEOUT_S)
    routes = [
        Route("/graphql", cross_origin(endpoint, origins)),
        WebSocketRoute("/graphql", sockets),
        *demo.routes(running.settings, Directory()),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(AccessLog)])
    app.router.redirect_slashes = False
    with listening(app, running.log) as running.port:
        yield running


@contextmanager
def listening(app: Starlette, log: list[str]) -> Generator[int]:
    """The port of an application that uvicorn serves in a thread, until the end of the block; keeps what it logs."""
    # Twice what the API's server takes, so that the API's own bound is seen too.
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, http=BoundedHttp, ws_max_size=2 * MESSAGE_BYTES_MAX
    )
    server = uvicorn.Server(config)
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
