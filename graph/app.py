"""The ASGI application: `uvicorn --factory graph.app:create_app`."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from db.caller import Caller
from db.context import derive
from db.settings import Settings, load
from db.stores import FacilityName, Stores
from graph import demo, graphiql
from graph.access_log import AccessLog
from graph.auth import authenticate
from graph.execution import Engine
from graph.http import GraphQLEndpoint, json_response
from graph.plan import plan
from graph.schema import schema
from loaders.reader import Reader
from resolvers.context import Context


def create_app() -> Starlette:
    """The API with the settings of the environment. Raises SettingsError naming the variable that is wrong."""
    configured = load()
    process = _Process(configured)
    _log_to_stderr()
    engine = Engine(schema._schema, plan, process.session)  # pyright: ignore[reportPrivateUsage] - no public name for it
    routes: list[BaseRoute] = [
        Route("/", _to_graphiql),
        Route("/graphql", GraphQLEndpoint(engine, partial(authenticate, configured))),
        Route("/healthz", _alive),
        Route("/readyz", process.ready),
        *graphiql.routes(),
    ]
    if configured.demo:
        routes += demo.routes(configured, process.facilities)
    return Starlette(routes=routes, middleware=[Middleware(AccessLog)], lifespan=process.lifespan)


class _Process:
    """The stores of this process; each connects when first asked."""

    def __init__(self, settings: Settings) -> None:
        self._stores = Stores(settings)
        self._cursor_key = derive(settings.secret, "cursor")

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncGenerator[None]:
        """Closes the stores at the end."""
        try:
            yield
        finally:
            await self._stores.close()

    @asynccontextmanager
    async def session(self, caller: Caller) -> AsyncGenerator[Context]:
        """The context of one operation; its snapshots end with it."""
        async with self._stores.place(caller):
            reader = Reader(self._stores, caller)
            try:
                yield Context(reader, self._cursor_key)
            finally:
                await reader.close()

    async def facilities(self) -> Sequence[FacilityName]:
        """All facilities, for the persona picker."""
        return await self._stores.facilities()

    async def ready(self, _request: Request) -> Response:
        """State of each store: READY or a code. 503 without the clinical one, the authority for everything."""
        states = await self._stores.ready()
        status = 200 if states["clinical"] is None else 503
        return json_response({"stores": {name: code or "READY" for name, code in states.items()}}, status)


async def _alive(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _to_graphiql(_request: Request) -> Response:
    return RedirectResponse("/graphiql")


def _log_to_stderr() -> None:
    """Sends this application's lines to stderr; those of libraries stay out, because they may quote values."""
    log = logging.getLogger("caregraph")
    log.setLevel(logging.INFO)
    log.propagate = False
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        log.addHandler(handler)
