"""GraphQL over HTTP, by its draft at spec.graphql.org: requests in, answers in one piece or in parts out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import lru_cache, partial
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from db.caller import Caller
from db.errors import AppError, InsufficientScope, LimitError, Unauthenticated
from graph.admission import Deadline, Quota
from graph.body import Refusal, asked_in, asked_in_url, read_json
from graph.coding import CODED_FROM, Coding, coding_for, compressed
from graph.encoding import encoded
from graph.errors import FormattedError, described, internal_error
from graph.execution import Engine, Operation
from graph.media import EVENT_STREAM, GRAPHQL_JSON, JSON, MULTIPART, PARTS_FORMAT, Accepted, accepted
from graph.request import Asked, Authenticator, Refusals, RequestInfo, note, request_info
from graph.sse import EventStreams

PREFLIGHT_HEADERS = ("graphql-require-preflight", "apollo-require-preflight", "x-requested-with")
"""A GET request needs one of them: a page of another site can't set it without asking first (docs/decisions/0008)."""

WATCH_AFTER_S = 0.05
"""Seconds of work after which it is looked whether the client is still there."""

BOUNDARY = "-"

_STATUS = {
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "PHI_FILTER_FORBIDDEN": 403,
    "INSUFFICIENT_SCOPE": 403,
    "INTROSPECTION_DISABLED": 403,
    "DOCUMENT_NOT_TRUSTED": 403,
    "METHOD_NOT_ALLOWED": 405,
    "NOT_ACCEPTABLE": 406,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "RATE_LIMITED": 429,
    "STORE_UNAVAILABLE": 503,
    "ISSUER_UNAVAILABLE": 503,
    "AUDIT_UNAVAILABLE": 503,
    "OVERLOADED": 503,
    "DEADLINE_EXCEEDED": 504,
    "INTERNAL": 500,
}
"""Status of an answer without data by the code of its first error; 400 for every other code."""

_WHOLE_HEADERS = ((b"cache-control", b"no-store"), (b"vary", b"Accept-Encoding"))
"""No cache keeps an answer, because it may hold PHI."""


class GraphQLEndpoint:
    """The ASGI endpoint `/graphql`.

    It needs `request_id` in the state of the scope and leaves `operation` there, see graph.access_log.
    """

    def __init__(
        self, engine: Engine, authenticator: Authenticator, quota: Quota, refusals: Refusals | None = None
    ) -> None:
        self._engine = engine
        self._authenticator = authenticator
        self._quota = quota
        self._refusals = refusals
        self._streams = EventStreams()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; every refusal is a GraphQL-shaped error, and an answer under way breaks off."""
        headers = headers_of(scope)
        takes = Accepted(JSON)
        caller: Caller | None = None
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with Deadline(self._engine.deadline_s):
                _check_method(scope["method"], headers)
                takes = _accepted(scope)
                caller, expires_at = await self._authenticator.session(headers)
                self._quota.take(caller)
                is_get = scope["method"] == "GET"
                asked = asked_in_url(scope) if is_get else asked_in(await read_json(receive, headers))
                operation = await self._operation(scope, asked, caller)
                if not _streams(operation, takes):
                    coding = coding_for(headers.get("accept-encoding", ""))
                    otherwise = GRAPHQL_JSON if takes.events else JSON  # with the status that says what is wrong
                    writing = partial(_whole, media_type=takes.whole or otherwise, coding=coding)
                    answering = self._answer(scope, sending, operation, asked, caller, takes, writing)
                    await _while_connected(receive, answering)
            if isinstance(operation, Operation) and _streams(operation, takes):
                streaming = self._stream(scope, sending, operation, asked, caller, expires_at)
                await _while_connected(receive, streaming)
        except AppError as error:
            if begun:
                raise
            error = await note(self._refusals, caller, error, request_info(scope))
            await refused(error, takes.whole or JSON)(scope, receive, send)
        except ClientDisconnect:
            return

    async def _operation(self, scope: Scope, asked: Asked, caller: Caller) -> Operation | list[FormattedError]:
        """The operation that is asked for, or the errors of its document. Raises Refusal for one that GET may not."""
        operation = self._engine.requested(asked, caller)
        if isinstance(operation, list):
            if self._refusals:
                await self._refusals(caller, operation[0]["extensions"]["code"], None, request_info(scope))
            return operation
        # Not its name: a client chooses that, and may put a patient into it.
        scope["state"]["operation"] = operation.document.digest[:12]
        if scope["method"] == "GET" and not operation.is_query:
            raise Refusal("METHOD_NOT_ALLOWED", "Only queries may use GET.", {"Allow": "POST"})
        return operation

    async def _stream(
        self, scope: Scope, send: Send, operation: Operation, asked: Asked, caller: Caller, expires_at: float
    ) -> None:
        """Answers with events: a subscription for as long as it lasts, anything else with its one payload."""
        info = request_info(scope)
        if operation.is_subscription:
            payloads = self._engine.subscribe(operation, asked.variables, caller, info)
        else:
            payloads = self._engine.run(operation, asked.variables, caller, info, incremental=False)
        explain = partial(self._explained, caller, info)
        await self._streams.serve(send, caller, expires_at, payloads, explain)

    async def _explained(self, caller: Caller, info: RequestInfo, error: Exception) -> list[FormattedError]:
        """What a stream ends with; an exception's text may quote a value, so only its type is logged."""
        if isinstance(error, AppError):
            return [described(await note(self._refusals, caller, error, info))]
        return [internal_error(error, info.request_id)]

    async def _answer(
        self,
        scope: Scope,
        send: Send,
        operation: Operation | list[FormattedError],
        asked: Asked,
        caller: Caller,
        takes: Accepted,
        writing: Callable[[dict[str, Any]], Sequence[Message]],
    ) -> None:
        if isinstance(operation, list):
            await _send(send, writing({"errors": operation}))
            return
        if operation.is_subscription:
            raise Refusal("BAD_REQUEST", f"Subscriptions are served over WebSocket and as {EVENT_STREAM}.")
        info = request_info(scope)
        if not takes.parts or (takes.whole and not operation.is_incremental):
            await _send(send, await self._engine.answer(operation, asked.variables, caller, info, writing))
            return
        run = self._engine.run(operation, asked.variables, caller, info, incremental=True)
        async with aclosing(run) as payloads:
            first = await anext(payloads)
            if "hasNext" in first or (takes.whole is None and "data" in first):
                await _send_parts(send, first, payloads)
                return
        await _send(send, writing(first))


def _streams(operation: Operation | list[FormattedError], takes: Accepted) -> bool:
    """Whether an operation is answered with events: what can't be given otherwise, for who takes them.

    Clients such as urql take events beside JSON for every operation; they get JSON where that will do.
    """
    if isinstance(operation, list) or not takes.events:
        return False
    return operation.is_subscription or (takes.whole is None and not takes.parts)


async def _while_connected(receive: Receive, work: Awaitable[None]) -> None:
    """Does the work, whose request was read to its end; cancels it when the client leaves. Raises ClientDisconnect.

    Nobody looks before WATCH_AFTER_S: most answers are out by then, and a task to watch costs as much as some of them.
    """
    loop, working = asyncio.get_running_loop(), asyncio.current_task()
    assert working is not None
    asked_before = working.cancelling()
    watching: asyncio.Task[None] | None = None
    left = False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        working.cancel()

    def begin() -> None:
        nonlocal watching
        watching = loop.create_task(watch())

    timer = loop.call_later(WATCH_AFTER_S, begin)
    try:
        await work
    except asyncio.CancelledError:
        if left and working.uncancel() <= asked_before:
            raise ClientDisconnect from None
        raise
    finally:
        timer.cancel()
        if watching is not None:
            watching.cancel()


def refused(error: AppError, media_type: str = JSON) -> Response:
    """An error of the request as a whole, as a response without data."""
    headers = error.headers if isinstance(error, Refusal) else {}
    if isinstance(error, Unauthenticated):
        # RFC 6750, section 3: where there was a token, it was not good.
        headers = {"WWW-Authenticate": "Bearer" if error.reason == "NO_TOKEN" else 'Bearer error="invalid_token"'}
    if isinstance(error, InsufficientScope):
        headers = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
    if isinstance(error, LimitError) and error.retry_after_s is not None:
        headers = {"Retry-After": str(error.retry_after_s)}
    return json_response({"errors": [described(error)]}, _STATUS.get(error.code, 400), media_type, headers)


def json_response(
    content: object, status: int = 200, media_type: str = JSON, headers: Mapping[str, str] | None = None
) -> Response:
    """A response in UTF-8 JSON that no cache keeps, because it may hold PHI."""
    # As a header, because Starlette adds a charset to text types only.
    sent = {"Content-Type": f"{media_type}; charset=utf-8", "Cache-Control": "no-store", **(headers or {})}
    return Response(encoded(content), status, sent)


def _whole(payload: dict[str, Any], media_type: str, coding: Coding | None) -> Sequence[Message]:
    """The messages of an answer in one piece, encoded once and compressed where the client takes that.

    As plain JSON a document that can't be executed is still a 200, says the draft.
    """
    status = 200
    if "data" not in payload:
        errors: list[FormattedError] = payload["errors"]
        failed = _STATUS.get(errors[0]["extensions"]["code"], 400)
        status = 200 if failed == 400 and media_type == JSON else failed
    body = encoded(payload)
    headers = [(b"content-type", f"{media_type}; charset=utf-8".encode()), *_WHOLE_HEADERS]
    if coding is not None and len(body) >= CODED_FROM:
        body = compressed(body, coding)
        headers.append((b"content-encoding", coding.value.encode()))
    headers.append((b"content-length", str(len(body)).encode()))
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    return start, {"type": "http.response.body", "body": body}


async def _send(send: Send, messages: Sequence[Message]) -> None:
    for message in messages:
        await send(message)


async def _send_parts(send: Send, first: dict[str, Any], payloads: AsyncGenerator[dict[str, Any], None]) -> None:
    """Sends each payload as a part of `multipart/mixed`."""
    content_type = f'{MULTIPART}; boundary="{BOUNDARY}"; incrementalSpec={PARTS_FORMAT}'
    headers = [(b"content-type", content_type.encode()), (b"cache-control", b"no-store")]
    opening = f"--{BOUNDARY}".encode() + _part({"hasNext": False, **first})
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": opening, "more_body": True})
    async for payload in payloads:
        await send({"type": "http.response.body", "body": _part(payload), "more_body": True})
    await send({"type": "http.response.body", "body": b"--\r\n"})


def _part(payload: dict[str, Any]) -> bytes:
    """A part up to and with the delimiter that ends it, so that a client can use it at once."""
    head = f"\r\nContent-Type: {JSON}; charset=utf-8\r\n\r\n".encode()
    return b"".join((head, encoded(payload), f"\r\n--{BOUNDARY}".encode()))


def _check_method(method: str, headers: Mapping[str, str]) -> None:
    """Raises Refusal for a method that is not served, and for a GET that a page of another site may have caused."""
    if method not in ("GET", "POST"):
        raise Refusal("METHOD_NOT_ALLOWED", "Use GET or POST.", {"Allow": "GET, POST"})
    if method == "GET" and not any(headers.get(name) for name in PREFLIGHT_HEADERS):
        raise Refusal("PREFLIGHT_REQUIRED", "A GET request needs the header GraphQL-Require-Preflight.")


_accepted_of = lru_cache(maxsize=256)(accepted)


def headers_of(scope: Scope) -> Mapping[str, str]:
    """Headers of a request, names in lower case; of one that is repeated the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def _accepted(scope: Scope) -> Accepted:
    takes = _accepted_of(tuple(value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"))
    if takes.whole is None and not takes.parts and not takes.events:
        raise Refusal(
            "NOT_ACCEPTABLE", f"This server answers in {GRAPHQL_JSON}, {JSON}, {MULTIPART} or {EVENT_STREAM}."
        )
    return takes
