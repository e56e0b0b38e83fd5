"""`python -m workers psql PERSONA [--facility CODE]`: prints a shell line that opens psql as a profile for an hour."""

from __future__ import annotations

import asyncio
import shlex
import time
from urllib.parse import urlsplit

from db.caller import Caller
from db.context import role_password, sign
from db.settings import Settings, load
from db.stores import FacilityName
from graph.auth import PERSONAS
from workers.token import arguments, facility_of

TTL_S = 3600
"""Seconds for which the session's context is good."""


def command(settings: Settings, persona: str, facility: FacilityName) -> str:
    """The line: what libpq reads from the environment, where `ps` does not show it, then psql."""
    known = PERSONAS[persona]
    caller = Caller(f"psql-{persona}", known.profile, facility.id, known.purpose)
    role = f"caregraph_{known.profile.value}"
    server = urlsplit(settings.clinical_url)
    environment = {
        "PGHOST": server.hostname or "",
        "PGPORT": str(server.port or 5432),
        "PGDATABASE": server.path.lstrip("/"),
        "PGUSER": role,
        "PGPASSWORD": role_password(settings.secret, role),
        "PGOPTIONS": f"-c app.context={sign(settings.secret, caller, expires=int(time.time()) + TTL_S)}",
    }
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in environment.items()), "psql"])


def main(argv: list[str]) -> int:
    """Entry point; `eval "$(python -m workers psql nurse)"` runs what it prints."""
    persona, code = arguments("psql", argv)
    settings = load()
    print(command(settings, persona, asyncio.run(facility_of(settings, code))))
    return 0
