"""Cross-origin requests (CORS, Fetch standard): closed, but for the origins that the settings name."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from graph.claims import FACILITY_HEADER, PURPOSE_HEADER, ROLE_HEADER
from graph.http import PREFLIGHT_HEADERS

REQUEST_HEADERS = ("Authorization", "Content-Type", PREFLIGHT_HEADERS[0], ROLE_HEADER, FACILITY_HEADER, PURPOSE_HEADER)
RESPONSE_HEADERS = ("X-Request-Id", "Retry-After")


def cross_origin(endpoint: ASGIApp, origins: frozenset[str]) -> ASGIApp:
    """The endpoint, open to pages of these origins; without any it answers no preflight and allows nothing."""
    if not origins:
        return endpoint
    return CORSMiddleware(
        endpoint,
        allow_origins=sorted(origins),
        allow_methods=("GET", "POST"),
        allow_headers=REQUEST_HEADERS,
        expose_headers=RESPONSE_HEADERS,
    )
