"""The ASGI application: `uvicorn --factory graph.app:create_app`."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from db.audit import AuditLog
from db.caller import Caller
from db.context import derive
from db.settings import Settings, load
from db.stores import Stores
from graph import demo, graphiql, trusted
from graph.access_log import AccessLog
from graph.admission import Quota
from graph.auth import Authenticator
from graph.cross_origin import cross_origin
from graph.execution import Engine
from graph.http import GraphQLEndpoint, json_response
from graph.metrics import Metrics
from graph.plan import plan
from graph.schema import schema
from graph.trail import Trail
from graph.trusted import Documents
from graph.websocket import GraphQLSockets
from loaders.reader import Reader
from resolvers.context import Context

COLLECTED_AFTER = (5_000, 20, 100)
"""Objects that are new, and collections of the younger generation, after which the garbage collector looks."""


def create_app() -> Starlette:
    """The API with the settings of the environment. Raises SettingsError naming the variable that is wrong."""
    configured = load()
    process = _Process(configured)
    _log_to_stderr()
    trail = Trail(process.audit, schema._schema)  # pyright: ignore[reportPrivateUsage] - no public name for it
    engine = Engine(
        schema._schema,  # pyright: ignore[reportPrivateUsage] - no public name for it
        plan,
        process.session,
        trail.witness,
        deadline_s=configured.request_deadline_s,
        # GraphiQL of the demo reads the schema, whoever it asks as, and writes documents of its own.
        documents=Documents(trusted.load(), open_to_all=configured.demo),
    )
    quota = Quota(configured.requests_per_minute)
    endpoint = GraphQLEndpoint(engine, process.authenticator, quota, trail.refused)
    sockets = GraphQLSockets(engine, process.authenticator, quota, configured.allowed_origins, trail.refused)
    routes: list[BaseRoute] = [
        Route("/", _to_graphiql),
        WebSocketRoute("/graphql", sockets),
        Route("/healthz", _alive),
        Route("/readyz", process.ready),
        Route("/metrics", process.metrics.text),
        *graphiql.routes(),
    ]
    if configured.demo:
        routes += demo.routes(configured, process.stores)
    graphql = Middleware(_GraphQLFirst, cross_origin(endpoint, configured.allowed_origins))
    app = Starlette(routes=routes, middleware=[Middleware(AccessLog), graphql], lifespan=process.lifespan)
    app.router.redirect_slashes = False  # the address would be made of the Host that a client sent
    return app


class _GraphQLFirst:
    """ASGI middleware: what most requests ask for is not looked for among the routes."""

    def __init__(self, app: ASGIApp, graphql: ASGIApp) -> None:
        self._app = app
        self._graphql = graphql

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on."""
        is_graphql = scope["type"] == "http" and scope["path"] == "/graphql"
        await (self._graphql if is_graphql else self._app)(scope, receive, send)


class _Process:
    """The stores of this process; each connects when first asked."""

    def __init__(self, settings: Settings) -> None:
        self.stores = Stores(settings)
        self.metrics = Metrics(self.stores)
        self.authenticator = Authenticator(settings)
        self.audit = AuditLog(
            settings.clinical_direct_url, settings.secret, settings.store_timeout_s, lambda: self.stores.under_way
        )
        self._cursor_key = derive(settings.secret, "cursor")

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncGenerator[None]:
        """Closes the stores, and the connections to the issuer, at the end."""
        _calm_collector()
        try:
            yield
        finally:
            await self.audit.close()
            await self.authenticator.close()
            await self.stores.close()

    @asynccontextmanager
    async def session(self, caller: Caller) -> AsyncGenerator[Context]:
        """The context of one operation; its snapshots end with it."""
        async with self.stores.place(caller):
            reader = Reader(self.stores, caller)
            try:
                yield Context(reader, self._cursor_key)
            finally:
                await reader.close()

    async def ready(self, _request: Request) -> Response:
        """State of each store: READY or a code; and how far the copies are behind.

        503 without the clinical store, the authority for everything.
        """
        states = await self.stores.ready()
        status = 200 if states["clinical"] is None else 503
        stores = {name: code or "READY" for name, code in states.items()}
        return json_response({"stores": stores, "sync": await self.metrics.sync()}, status)


async def _alive(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _to_graphiql(_request: Request) -> Response:
    return RedirectResponse("/graphiql")


def _calm_collector() -> None:
    """Takes what start-up made out of the garbage collector's sight, and lets it look more seldom.

    Requests leave few cycles: reference counts free almost all of what they made, and a full collection of the schema
    and the modules would be a pause for nothing (docs/decisions/0013 has the figures).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


def _log_to_stderr() -> None:
    """Sends this application's lines to stderr; those of libraries stay out, because they may quote values."""
    # Threads, processes and tasks of a line are not printed, and finding them out is not free.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    log = logging.getLogger("caregraph")
    log.setLevel(logging.INFO)
    log.propagate = False
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        log.addHandler(handler)
