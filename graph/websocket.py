"""GraphQL over WebSocket, by the graphql-transport-ws protocol: queries, mutations and subscriptions of one caller."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from db.caller import Caller
from db.errors import AppError, Forbidden, Overloaded, Unauthenticated
from graph.admission import Deadline, Quota
from graph.body import BODY_BYTES_MAX, Refusal, asked_in, parsed
from graph.encoding import encoded
from graph.errors import FormattedError, described, internal_error
from graph.execution import Engine, Operation
from graph.request import Asked, Authenticator, Refusals, RequestInfo, note, request_info

PROTOCOL = "graphql-transport-ws"
INIT_TIMEOUT_S = 10.0
"""Seconds in which a client must send connection_init."""
MESSAGE_BYTES_MAX = BODY_BYTES_MAX
"""Size of a message; the server's own bound on frames (uvicorn's --ws-max-size) keeps a larger one from memory."""
ID_CHARACTERS_MAX = 100
"""Length of the id that a client gives to an operation."""
OPERATIONS_MAX = 20
"""Operations under way on one socket."""
SOCKETS_PER_CALLER_MAX = 10
"""Open sockets of one subject at one facility in this process."""
SOCKETS_PENDING_MAX = 500
"""Open sockets of this process that have not said yet whose they are."""

_log = logging.getLogger("caregraph.access")


class Closed(Exception):
    """The server ends the socket, with a close code of the protocol or of RFC 6455."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class GraphQLSockets:
    """The ASGI endpoint of WebSockets at `/graphql`, and the count of those that are open.

    A page of another site may open a socket without asking first, so the Origin of the handshake must be the API's own
    or one of `allowed_origins`; programs send none.
    """

    def __init__(
        self,
        engine: Engine,
        authenticator: Authenticator,
        quota: Quota,
        allowed_origins: frozenset[str] = frozenset(),
        refusals: Refusals | None = None,
        init_timeout_s: float = INIT_TIMEOUT_S,
    ) -> None:
        self.engine = engine
        self.authenticator = authenticator
        self.quota = quota
        self.refusals = refusals
        self.init_timeout_s = init_timeout_s
        self._allowed_origins = allowed_origins
        self._pending = 0
        self._open: Counter[tuple[str, UUID]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one socket to its end; a handshake that is refused is answered with 403."""
        websocket = WebSocket(scope, receive, send)
        await websocket.receive()
        try:
            self._check_handshake(websocket)
        except AppError as error:
            await note(self.refusals, None, error, request_info(websocket.scope))
            await websocket.close()
            return
        if PROTOCOL not in scope["subprotocols"]:
            await websocket.accept()
            await websocket.close(4406, "Subprotocol not acceptable")
            return
        await websocket.accept(PROTOCOL)
        await _Socket(self, websocket).serve()

    def begin(self) -> None:
        """Counts a socket whose caller is not known yet."""
        self._pending += 1

    def enter(self, caller: Caller) -> None:
        """Counts a socket as the caller's. Raises Closed for one too many."""
        key = (caller.subject, caller.facility_id)
        if self._open[key] >= SOCKETS_PER_CALLER_MAX:
            raise Closed(4429, f"socketsPerCaller is at most {SOCKETS_PER_CALLER_MAX}")
        self._pending -= 1
        self._open[key] += 1

    def leave(self, caller: Caller | None) -> None:
        """Counts a socket no longer."""
        if caller is None:
            self._pending -= 1
            return
        key = (caller.subject, caller.facility_id)
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    def _check_handshake(self, websocket: WebSocket) -> None:
        origin = websocket.headers.get("origin")
        own = websocket.headers.get("host")
        if origin is not None and origin not in self._allowed_origins and urlsplit(origin).netloc != own:
            raise Refusal("ORIGIN_FORBIDDEN", "Pages of this origin may not ask.")
        if self._pending >= SOCKETS_PENDING_MAX:
            raise Overloaded("socketsPending", SOCKETS_PENDING_MAX)


class _Socket:
    """One socket: its caller once it is initialised, and its operations under way by the id that the client gave."""

    def __init__(self, sockets: GraphQLSockets, websocket: WebSocket) -> None:
        self._sockets = sockets
        self._websocket = websocket
        self._headers: Mapping[str, str] = {}
        self._caller: Caller | None = None
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._limit = asyncio.timeout(sockets.init_timeout_s)

    async def serve(self) -> None:
        """Takes messages until the client leaves, breaks the protocol, or its token is over."""
        self._sockets.begin()
        try:
            closed = await self._until_closed()
        finally:
            self._sockets.leave(self._caller)
            await self._cancel(*self._tasks)
        if closed:
            await self._websocket.close(closed.code, closed.reason)

    async def _until_closed(self) -> Closed | None:
        """How the server ends the socket; None where the client did."""
        try:
            async with self._limit:
                while True:
                    await self._take(await self._message())
        except Closed as closed:
            return closed
        except TimeoutError:
            return Closed(4401, "Unauthorized") if self._caller else Closed(4408, "Connection initialisation timeout")
        except WebSocketDisconnect:
            return None

    async def _message(self) -> dict[str, Any]:
        """The next message. Raises Closed for one that is too large or not a JSON object in a text frame."""
        received = await self._websocket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received["code"])
        text = received.get("text")
        if text is None:
            raise Closed(4400, "Invalid message")
        raw = cast("str", text).encode(errors="surrogatepass")
        if len(raw) > MESSAGE_BYTES_MAX:
            raise Closed(1009, f"messageBytes is at most {MESSAGE_BYTES_MAX}")
        try:
            message = parsed(raw)
        except ValueError:
            raise Closed(4400, "Invalid message") from None
        if not isinstance(message, dict):
            raise Closed(4400, "Invalid message")
        return cast("dict[str, Any]", message)

    async def _take(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "connection_init":
                await self._initialise(message.get("payload"))
            case "ping":
                await self._send({"type": "pong"})
            case "pong":
                return
            case "subscribe":
                await self._subscribe(message.get("id"), message.get("payload"))
            case "complete":
                id = message.get("id")
                if not isinstance(id, str):
                    raise Closed(4400, "Invalid message")
                if operation := self._operations.pop(id, None):
                    await self._cancel(operation)
            case _:
                raise Closed(4400, "Invalid message")

    async def _initialise(self, payload: object) -> None:
        """Takes the payload of connection_init as headers: Authorization, and those that narrow what it allows."""
        if self._caller:
            raise Closed(4429, "Too many initialisation requests")
        if payload is not None and not isinstance(payload, dict):
            raise Closed(4400, "Invalid message")
        given = cast("dict[str, object]", payload or {})
        self._headers = {name.lower(): value for name, value in given.items() if isinstance(value, str)}
        try:
            caller, expires_at = await self._sockets.authenticator.session(self._headers)
        except AppError as error:
            error = await note(self._sockets.refusals, None, error, request_info(self._websocket.scope))
            raise _closed_by(error) from None
        self._sockets.enter(caller)
        self._caller = caller
        self._limit.reschedule(asyncio.get_running_loop().time() + expires_at - time.time())
        await self._send({"type": "connection_ack"})

    async def _subscribe(self, id: object, payload: object) -> None:
        """Starts an operation. Raises Closed for a message that is not as the protocol says."""
        if self._caller is None:
            raise Closed(4401, "Unauthorized")
        if not isinstance(id, str) or not 0 < len(id) <= ID_CHARACTERS_MAX:
            raise Closed(4400, "Invalid message")
        try:
            asked = asked_in(payload)
        except Refusal:
            raise Closed(4400, "Invalid message") from None
        if id in self._operations:
            raise Closed(4409, "Subscriber already exists")
        if len(self._operations) >= OPERATIONS_MAX:
            error = Overloaded("operationsPerSocket", OPERATIONS_MAX)
            error = await note(self._sockets.refusals, self._caller, error, request_info(self._websocket.scope))
            await self._send({"id": id, "type": "error", "payload": [described(error)]})
            return
        operation = asyncio.create_task(self._operate(id, asked))
        self._operations[id] = operation
        self._tasks.add(operation)
        operation.add_done_callback(self._tasks.discard)

    async def _operate(self, id: str, asked: Asked) -> None:
        """Runs an operation to its last message; whatever goes wrong is an `error` message that ends it."""
        started = time.perf_counter()
        info = request_info(self._websocket.scope)
        done = _Done()
        try:
            last = await self._last(id, asked, info, done)
            self._operations.pop(id, None)  # before the client learns that the id is free
            await self._send(last)
        except WebSocketDisconnect:
            return
        finally:
            milliseconds = (time.perf_counter() - started) * 1000
            _log.info(
                "request=%s operation=%s status=%s ms=%.1f", info.request_id, done.digest, done.status, milliseconds
            )

    async def _last(self, id: str, asked: Asked, info: RequestInfo, done: _Done) -> dict[str, Any]:
        """The message that ends an operation, once the others are sent."""
        try:
            try:
                errors = await self._run(id, asked, info, done)
            except AppError as error:
                error = await note(self._sockets.refusals, self._caller, error, info)
                if isinstance(error, Unauthenticated) and not self._limit.expired():
                    self._limit.reschedule(asyncio.get_running_loop().time())
                errors = [described(error)]
        except WebSocketDisconnect:
            raise
        # The last frame of ours: an exception's text may quote a value, so only its type is logged.
        except Exception as error:
            errors = [internal_error(error, info.request_id)]
        done.status = errors[0]["extensions"]["code"] if errors else "OK"
        return {"id": id, "type": "error", "payload": errors} if errors else {"id": id, "type": "complete"}

    async def _run(self, id: str, asked: Asked, info: RequestInfo, done: _Done) -> list[FormattedError] | None:
        """Sends a message for each payload; the errors of an operation that can't be executed. Raises AppError."""
        caller, _ = await self._sockets.authenticator.session(self._headers)
        self._sockets.quota.take(caller)
        engine = self._sockets.engine
        operation = engine.requested(asked, caller)
        if isinstance(operation, list):
            if self._sockets.refusals:
                await self._sockets.refusals(caller, operation[0]["extensions"]["code"], None, info)
            return operation
        done.digest = operation.document.digest[:12]
        async with nullcontext() if operation.is_subscription else Deadline(engine.deadline_s):
            async with aclosing(self._payloads(operation, asked, caller, info)) as payloads:
                async for payload in payloads:
                    if "data" not in payload:
                        return payload["errors"]
                    await self._send({"id": id, "type": "next", "payload": payload})
        return None

    def _payloads(
        self, operation: Operation, asked: Asked, caller: Caller, info: RequestInfo
    ) -> AsyncGenerator[dict[str, Any], None]:
        engine = self._sockets.engine
        if operation.is_subscription:
            return engine.subscribe(operation, asked.variables, caller, info)
        return engine.run(operation, asked.variables, caller, info, incremental=False)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._websocket.send_text(encoded(message).decode())

    async def _cancel(self, *operations: asyncio.Task[None]) -> None:
        """Ends operations, what they asked the stores included."""
        for operation in operations:
            operation.cancel()
        if operations:
            await asyncio.wait(operations)


@dataclass(slots=True)
class _Done:
    """What the log says of an operation: its document, once it is known, and the code of its end."""

    digest: str = "-"
    status: str = "CANCELLED"


def _closed_by(error: AppError) -> Closed:
    """How a socket ends whose caller could not be told."""
    if isinstance(error, Unauthenticated):
        return Closed(4401, "Unauthorized")
    if isinstance(error, Forbidden):
        return Closed(4403, "Forbidden")
    return Closed(1013, "Try again later")
