"""Access log: a request id and one line for each request, without anything that a client wrote."""

from __future__ import annotations

import logging
import time
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph.errors import internal_error
from graph.http import json_response

_log = logging.getLogger("caregraph.access")


def _quotes_no_url(record: logging.LogRecord) -> bool:
    return "WebSocket %s" not in str(record.msg)


class AccessLog:
    """ASGI middleware: sets `request.state.request_id` and X-Request-Id, logs, and answers what nobody caught.

    The line has the operation's name, which is a GraphQL name, and no URL: a URL may hold a query.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # This one takes the place of uvicorn's, whose lines quote URLs; those of WebSockets are among its others.
        logging.getLogger("uvicorn.access").disabled = True
        logging.getLogger("uvicorn.error").addFilter(_quotes_no_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = uuid4().hex
        state = scope.setdefault("state", {})
        state.update(request_id=request_id, operation=None)
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        # The last frame of ours: beyond it a server would log the exception's text, which may quote a value.
        except Exception as error:
            formatted = internal_error(error, request_id)
            if status is not None:
                raise ConnectionAbortedError("a response ended early, see caregraph.errors") from None
            await json_response({"errors": [formatted]}, 500)(scope, receive, send_with_id)
        finally:
            milliseconds = (time.perf_counter() - started) * 1000
            operation = state["operation"] or "-"
            _line("request=%s operation=%s status=%s ms=%.1f", request_id, operation, status or "-", milliseconds)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a WebSocket on; its operations have lines of their own, see graph.websocket."""
        started = time.perf_counter()
        socket_id = uuid4().hex
        scope.setdefault("state", {}).update(request_id=socket_id)
        try:
            await self._app(scope, receive, send)
        # As above: the server would log the exception's text.
        except Exception as error:
            internal_error(error, socket_id)
            raise ConnectionAbortedError("a socket ended early, see caregraph.errors") from None
        finally:
            _line("socket=%s ms=%.1f", socket_id, (time.perf_counter() - started) * 1000)


def _line(form: str, *parts: object) -> None:
    """Logs a line without looking for the place in the code that it comes from, which would cost more than the rest."""
    if _log.isEnabledFor(logging.INFO):
        _log.handle(logging.LogRecord(_log.name, logging.INFO, __file__, 0, form, parts, None))
