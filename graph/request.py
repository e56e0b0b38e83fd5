"""Who asks and from where: what the transports need of authentication and tell to the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol
from uuid import uuid4

from starlette.types import Scope

from db.caller import Caller
from db.errors import AppError, Unauthenticated

USER_AGENT_MAX = 200
"""Characters that are kept of what a client calls itself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Parameters of a GraphQL request."""

    query: str | None
    """Text of the document; None where the request names it."""
    operation_name: str | None
    variables: dict[str, Any]
    extensions: dict[str, Any]
    document_id: str | None = None


class Transport(Enum):
    """How an operation came in."""

    HTTP = "HTTP"
    WEBSOCKET = "WEBSOCKET"


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One request: an operation over HTTP, or one of a WebSocket."""

    request_id: str
    """What the client is told and the log has; in hex."""
    transport: Transport
    client_ip: str | None = None
    """Address of the peer, as the ASGI server gives it."""
    user_agent: str | None = None


class Authenticator(Protocol):
    """Tells who asks."""

    async def session(self, headers: Mapping[str, str]) -> tuple[Caller, float]:
        """The caller that the headers (names in lower case) name, and when the token is over, in Unix seconds.

        Raises Unauthenticated for no token or a bad one, Forbidden for a narrowing that the token does not allow.
        """
        ...


class Refusals(Protocol):
    """Learns of every request that is refused as a whole."""

    async def __call__(self, caller: Caller | None, code: str, reason: str | None, request: RequestInfo) -> None:
        """Returns when the answer may leave; the caller is None until the token was good. Raises AppError.

        `reason` is what the client does not learn: why a token was not good.
        """
        ...


async def note(refusals: Refusals | None, caller: Caller | None, error: AppError, request: RequestInfo) -> AppError:
    """The error to answer with, once the refusal is noted; another one where it can't be."""
    reason = error.reason if isinstance(error, Unauthenticated) else None
    try:
        if refusals:
            await refusals(caller, error.code, reason, request)
    except AppError as unnoted:
        return unnoted
    return error


def request_info(scope: Scope) -> RequestInfo:
    """Of an HTTP request its own id, of each operation of a WebSocket a new one. Needs graph.access_log's id."""
    over_http = scope["type"] == "http"
    client = scope.get("client")
    return RequestInfo(
        request_id=scope["state"]["request_id"] if over_http else uuid4().hex,
        transport=Transport.HTTP if over_http else Transport.WEBSOCKET,
        client_ip=client[0] if client else None,
        user_agent=next((_text(value) for name, value in scope["headers"] if name == b"user-agent" and value), None),
    )


def _text(value: bytes) -> str:
    return value[:USER_AGENT_MAX].decode("latin-1")
