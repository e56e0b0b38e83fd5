"""What a request brings: its parameters, from the URL or a JSON body, read within bounds and checked."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast
from urllib.parse import parse_qsl

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from db.errors import BadRequest
from graph.coding import GZIP_WINDOW_BITS
from graph.media import JSON, media_type
from graph.request import Asked

BODY_BYTES_MAX = 1_000_000
"""Size of a request body, as sent and after decompression."""
PARAMETERS_MAX = 16
"""Parameters of a URL that are looked at; four are known."""

_INEXACT = re.compile(rb"\d[.eE]|\d{19}")
"""Numbers, or what looks like them, that orjson would round: it is ten times as fast as a parser that keeps digits."""
_media_type_of = lru_cache(maxsize=256)(media_type)


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


def asked_in_url(scope: Scope) -> Asked:
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
        return parsed(body)
    except ValueError:
        raise Refusal("BAD_REQUEST", "The body is not JSON in UTF-8.") from None


def parsed(raw: bytes) -> object:
    """What JSON says; a number with a fraction is a Decimal, which keeps the digits. Raises ValueError for no JSON."""
    value = orjson.loads(raw)
    if not _INEXACT.search(raw):
        return value
    try:
        return json.loads(raw, parse_float=Decimal)
    except RecursionError:
        raise ValueError("nested too deep") from None


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
