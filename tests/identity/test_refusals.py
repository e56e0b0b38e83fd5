"""What a client learns of a refusal: a status, a challenge (RFC 6750, section 3) and a message, not the reason."""

from __future__ import annotations

import json

import pytest

from db.errors import AppError, Forbidden, InsufficientScope, IssuerUnavailable, Unauthenticated
from graph.http import refused


@pytest.mark.parametrize(
    ("error", "status", "code", "challenge"),
    [
        (Unauthenticated("NO_TOKEN"), 401, "UNAUTHENTICATED", "Bearer"),
        (Unauthenticated("EXPIRED"), 401, "UNAUTHENTICATED", 'Bearer error="invalid_token"'),
        (Unauthenticated("UNKNOWN_KEY"), 401, "UNAUTHENTICATED", 'Bearer error="invalid_token"'),
        (Forbidden(), 403, "FORBIDDEN", None),
        (InsufficientScope("Goal"), 403, "INSUFFICIENT_SCOPE", 'Bearer error="insufficient_scope"'),
        (IssuerUnavailable(), 503, "ISSUER_UNAVAILABLE", None),
    ],
)
def test_refusals(error: AppError, status: int, code: str, challenge: str | None) -> None:
    response = refused(error)
    assert (response.status_code, response.headers.get("www-authenticate")) == (status, challenge)
    body = json.loads(bytes(response.body))
    assert body == {"errors": [{"message": error.message, "extensions": {"code": code}}]}
    for reason in ("EXPIRED", "UNKNOWN_KEY", "NO_TOKEN"):
        assert reason not in str(body)
