"""`python -m workers token PERSONA [--facility CODE]`: prints a demo token of 8 hours."""

from __future__ import annotations

import argparse
import asyncio

from db.errors import InvalidArgument
from db.settings import Settings, load
from db.stores import FacilityName, Stores
from graph.auth import PERSONAS
from graph.demo import chosen, token_of


async def facility_of(settings: Settings, code: str | None) -> FacilityName:
    """Facility of a code, or the first one by code. Raises InvalidArgument where there is none, StoreError."""
    stores = Stores(settings)
    try:
        return await _facility(stores, code)
    finally:
        await stores.close()


async def token(settings: Settings, persona: str, code: str | None) -> str:
    """A demo token at the facility of a code, or at the first one. Raises InvalidArgument, StoreError."""
    stores = Stores(settings)
    try:
        return await token_of(settings, stores, persona, await _facility(stores, code))
    finally:
        await stores.close()


async def _facility(stores: Stores, code: str | None) -> FacilityName:
    known = await stores.facilities()
    if not known:
        raise InvalidArgument("facility", "can't be chosen: there is none yet")
    return chosen(known, code or min(facility.code for facility in known))


def main(argv: list[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m workers token")
    parser.add_argument("persona", choices=sorted(PERSONAS))
    parser.add_argument("--facility", metavar="CODE", help="code of a facility; the first one by code unless given")
    asked = parser.parse_args(argv)
    print(asyncio.run(token(load(), asked.persona, asked.facility)))
    return 0
