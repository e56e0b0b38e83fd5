"""The signed context that PostgreSQL verifies before it shows a row, and the keys derived from the one secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from functools import lru_cache

from db.caller import Caller, Patients

CONTEXT_TTL_S = 60
"""Seconds that a signed context is good for: longer than any request, too short to be worth stealing."""

_BLOCK = 64


@lru_cache(maxsize=256)
def derive(secret: bytes, purpose: str) -> bytes:
    """Key of 32 bytes for one purpose; keys of different purposes say nothing about each other (RFC 5869's expand)."""
    return hmac.digest(secret, f"caregraph:{purpose}".encode(), hashlib.sha256)


def role_password(secret: bytes, role: str) -> str:
    """Password of a PostgreSQL role, so that no password needs to be stored."""
    return derive(secret, f"role:{role}").hex()


def pads(secret: bytes) -> tuple[bytes, bytes]:
    """Inner and outer padded key of HMAC-SHA-256 (RFC 2104), as `access.context_key` holds them."""
    key = derive(secret, "context").ljust(_BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in key), bytes(byte ^ 0x5C for byte in key)


def sign(secret: bytes, caller: Caller, pid: int, expires: int | None = None) -> str:
    """Context of a caller as `app.context` carries it, for the PostgreSQL session of this process id and no other.

    `expires`: seconds since 1970; by default CONTEXT_TTL_S from now. Every part is made of [0-9A-Za-z_.|-] only, so the
    text is safe inside an SQL literal.
    """
    until = expires if expires is not None else int(time.time()) + CONTEXT_TTL_S
    return _with_mac(secret, f"{_who(caller)}|{pid}|{until}")


@lru_cache(maxsize=1024)
def _who(caller: Caller) -> str:
    """What a context says of a caller: the same for each request."""
    parts = [
        "v2",
        str(caller.facility_id),
        str(caller.department_id or ""),
        caller.profile.value,
        caller.purpose.value,
        _text(caller.subject),
        caller.reach.value,
        str(caller.provider_id or ""),
        str(caller.patient_id or ""),
        str(caller.home_facility_id or ""),
        ".".join(sorted(caller.role.labels)),
        ".".join(sorted(caller.role.lifts)),
    ]
    return "|".join(parts)


def sign_patients(secret: bytes, patients: Patients, pid: int, expires: int | None = None) -> str:
    """Whose records a caller may see, as `app.patients` carries it to the databases beside the clinical one."""
    reached = "*" if patients.reached is None else ".".join(sorted(map(str, patients.reached)))
    until = str(expires if expires is not None else int(time.time()) + CONTEXT_TTL_S)
    return _with_mac(secret, "|".join(["p1", reached, ".".join(sorted(map(str, patients.denied))), str(pid), until]))


def prove(secret: bytes, pid: int) -> str:
    """What `app.proof` carries: that this application asks, and not somebody who logged in as a profile."""
    return _with_mac(secret, f"q1|{pid}|{int(time.time()) + CONTEXT_TTL_S}")


def _text(value: str) -> str:
    return base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")


def _with_mac(secret: bytes, payload: str) -> str:
    mac = hmac.digest(derive(secret, "context"), payload.encode(), hashlib.sha256)
    return f"{payload}|{mac.hex()}"
