"""GraphQL over HTTP, by its draft at spec.graphql.org: requests in, answers in one piece or in parts out."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, cast
from urllib.parse import parse_qsl

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from db.caller import Caller
from db.errors import AppError, BadRequest, InsufficientScope, LimitError, Unauthenticated
from graph.admission import Deadline, Quota
from graph.coding import CODED_FROM, GZIP_WINDOW_BITS, Coding, coding_for, compressed
from graph.errors import FormattedError, described
from graph.execution import Engine
from graph.media import GRAPHQL_JSON, JSON, MULTIPART, PARTS_FORMAT, Accepted, accepted, media_type
from graph.request import Asked, Authenticator, Refusals, note, request_info

BODY_BYTES_MAX = 1_000_000
"""Size of a request body, as sent and after decompression."""
PARAMETERS_MAX = 16
"""Parameters of a URL that are looked at; four are known."""

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


class Refusal(BadRequest):
    """An HTTP request that is not one for GraphQL; has its own code and the headers that explain it."""

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self._code = code
        self.headers = dict(headers or {})
        super().__init__(message)

    @property
    def code(self) -> str:
        """BAD_REQUEST, or the name of the status that it is answered with."""
        return self._code


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; every refusal is a GraphQL-shaped error, and an answer under way breaks off."""
        headers = headers_of(scope)
        takes = Accepted(JSON, parts=False)
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
                caller, _ = await self._authenticator.session(headers)
                self._quota.take(caller)
                is_get = scope["method"] == "GET"
                asked = _asked_in_url(scope) if is_get else asked_in(await read_json(receive, headers))
                coding = coding_for(headers.get("accept-encoding", ""))
                await _while_connected(receive, self._answer(scope, sending, asked, caller, takes, coding))
        except AppError as error:
            if begun:
                raise
            error = await note(self._refusals, caller, error, request_info(scope))
            await refused(error, takes.whole or JSON)(scope, receive, send)
        except ClientDisconnect:
            return

    async def _answer(
        self, scope: Scope, send: Send, asked: Asked, caller: Caller, takes: Accepted, coding: Coding | None
    ) -> None:
        operation = self._engine.requested(asked, caller)
        info = request_info(scope)
        writing = partial(_whole, media_type=takes.whole or JSON, coding=coding)
        if isinstance(operation, list):
            if self._refusals:
                await self._refusals(caller, operation[0]["extensions"]["code"], None, info)
            await _send(send, writing({"errors": operation}))
            return
        # Not its name: a client chooses that, and may put a patient into it.
        scope["state"]["operation"] = operation.document.digest[:12]
        if operation.is_subscription:
            raise Refusal("BAD_REQUEST", "Subscriptions are served over WebSocket.")
        if scope["method"] == "GET" and not operation.is_query:
            raise Refusal("METHOD_NOT_ALLOWED", "Only queries may use GET.", {"Allow": "POST"})
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


def encoded(content: object) -> bytes:
    """JSON in UTF-8; decimals keep every digit. Raises TypeError for a value that has no form in JSON."""
    # A dataclass is a row that a resolver let through: orjson would write all of it out.
    return orjson.dumps(content, _decimal, orjson.OPT_PASSTHROUGH_DATACLASS)


def _decimal(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(format(value, "f"))  # as PostgreSQL writes it: without exponent
    raise TypeError("no form in JSON")


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
_media_type_of = lru_cache(maxsize=256)(media_type)


def headers_of(scope: Scope) -> Mapping[str, str]:
    """Headers of a request, names in lower case; of one that is repeated the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def _accepted(scope: Scope) -> Accepted:
    takes = _accepted_of(tuple(value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"))
    if takes.whole is None and not takes.parts:
        raise Refusal("NOT_ACCEPTABLE", f"This server answers in {GRAPHQL_JSON}, {JSON} or {MULTIPART}.")
    return takes


def _asked_in_url(scope: Scope) -> Asked:
    """Parameters of a GET request. Raises Refusal for malformed or repeated ones."""
    query_string: bytes = scope["query_string"]
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX
        )
        parameters: dict[str, Any] = dict(pairs)
        for name in parameters.keys() & {"variables", "extensions"}:
            parameters[name] = orjson.loads(parameters[name])
    except ValueError:
        raise Refusal("BAD_REQUEST", "Parameters of the URL are malformed.") from None
    if len(parameters) < len(pairs):
        raise Refusal("BAD_REQUEST", "A parameter of the URL is repeated.")
    return asked_in(parameters)


def asked_in(content: object) -> Asked:
    """The parameters of a request, checked. Raises Refusal with 400 naming the one that is not right."""
    if not isinstance(content, dict):
        raise Refusal("BAD_REQUEST", "The body must be a JSON object; batches are not served.")
    parameters = cast("dict[str, object]", content)
    query, name, document_id = (parameters.get(key) for key in ("query", "operationName", "documentId"))
    variables, extensions = parameters.get("variables"), parameters.get("extensions")
    if query is not None and not isinstance(query, str):
        raise Refusal("BAD_REQUEST", "'query' must be a string.")
    if document_id is not None and not isinstance(document_id, str):
        raise Refusal("BAD_REQUEST", "'documentId' must be a string.")
    if name is not None and not isinstance(name, str):
        raise Refusal("BAD_REQUEST", "'operationName' must be a string or null.")
    if variables is not None and not isinstance(variables, dict):
        raise Refusal("BAD_REQUEST", "'variables' must be an object or null.")
    if extensions is not None and not isinstance(extensions, dict):
        raise Refusal("BAD_REQUEST", "'extensions' must be an object or null.")
    return Asked(
        query,
        name,
        cast("dict[str, Any]", variables or {}),
        cast("dict[str, Any]", extensions or {}),
        document_id,
    )


async def read_json(receive: Receive, headers: Mapping[str, str]) -> object:
    """The JSON of a request body. Raises Refusal for another media type, and for a body too large or malformed."""
    content_type = _media_type_of(headers.get("content-type", ""))
    # application/json alone: a form of another site can't send it without asking first (CSRF).
    if content_type is None or content_type.name != JSON or not content_type.is_utf8:
        raise Refusal("UNSUPPORTED_MEDIA_TYPE", f"Content-Type must be {JSON} in UTF-8.", {"Accept-Post": JSON})
    body = await _body(receive, headers)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refusal("BAD_REQUEST", "The body is not JSON in UTF-8.") from None


async def _body(receive: Receive, headers: Mapping[str, str]) -> bytes:
    """The body, decompressed. Raises Refusal as soon as it is too large, before all of it is read or inflated."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        message = "Content-Encoding must be gzip or identity."
        raise Refusal("UNSUPPORTED_MEDIA_TYPE", message, {"Accept-Encoding": "gzip"})
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > BODY_BYTES_MAX:
        raise _too_large()
    received = 0
    body = bytearray()
    inflater = zlib.decompressobj(GZIP_WINDOW_BITS) if encoding == "gzip" else None
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        received += len(chunk)
        try:
            body += inflater.decompress(chunk, BODY_BYTES_MAX + 1 - len(body)) if inflater else chunk
        except zlib.error:
            raise _bad_gzip() from None
        if max(received, len(body)) > BODY_BYTES_MAX:
            raise _too_large()
    if inflater and (not inflater.eof or inflater.unused_data):
        raise _bad_gzip()
    return bytes(body)


def _bad_gzip() -> Refusal:
    return Refusal("BAD_REQUEST", "The body is not one gzip member.")


def _too_large() -> Refusal:
    # The connection stays open: the server reads and drops the rest, and a client that first sends all of it sees this.
    return Refusal("PAYLOAD_TOO_LARGE", f"The body is larger than {BODY_BYTES_MAX} bytes.")
