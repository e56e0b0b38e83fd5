"""`python -m workers token PERSONA [--facility CODE]`: prints a demo token of 8 hours."""

from __future__ import annotations

import argparse
import asyncio

from db.errors import InvalidArgument
from db.settings import Settings, load
from db.stores import FacilityName, Stores
from graph.auth import PERSONAS, issue
from graph.demo import chosen


def arguments(name: str, argv: list[str]) -> tuple[str, str | None]:
    """Persona and facility code of a command line."""
    parser = argparse.ArgumentParser(prog=f"python -m workers {name}")
    parser.add_argument("persona", choices=sorted(PERSONAS))
    parser.add_argument("--facility", metavar="CODE", help="code of a facility; the first one by code unless given")
    asked = parser.parse_args(argv)
    return asked.persona, asked.facility


async def facility_of(settings: Settings, code: str | None) -> FacilityName:
    """Facility of a code, or the first one by code. Raises InvalidArgument where there is none, StoreError."""
    stores = Stores(settings)
    try:
        known = await stores.facilities()
    finally:
        await stores.close()
    if not known:
        raise InvalidArgument("facility", "can't be chosen: there is none yet")
    return chosen(known, code or min(facility.code for facility in known))


def main(argv: list[str]) -> int:
    """Entry point."""
    persona, code = arguments("token", argv)
    settings = load()
    facility = asyncio.run(facility_of(settings, code))
    print(issue(settings, persona, facility.id, facility.code))
    return 0
