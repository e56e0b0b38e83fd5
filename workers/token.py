"""`python -m workers token PERSONA [--facility CODE]`: prints a demo token of 8 hours."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from db.errors import InvalidArgument
from db.settings import load
from db.stores import FacilityName, Stores
from graph.auth import PERSONAS, issue
from graph.demo import chosen


def main(argv: list[str]) -> int:
    """Entry point. Raises InvalidArgument for an unknown facility, StoreError when the clinical store is away."""
    parser = argparse.ArgumentParser(prog="python -m workers token", description=__doc__)
    parser.add_argument("persona", choices=sorted(PERSONAS))
    parser.add_argument("--facility", metavar="CODE", help="code of a facility; the first one by code unless given")
    asked = parser.parse_args(argv)
    settings = load()

    async def facilities() -> Sequence[FacilityName]:
        stores = Stores(settings)
        try:
            return await stores.facilities()
        finally:
            await stores.close()

    known = asyncio.run(facilities())
    if not known:
        raise InvalidArgument("facility", "can't be chosen: there is none yet")
    code = asked.facility or min(facility.code for facility in known)
    facility = chosen(known, code)
    print(issue(settings, asked.persona, facility.id, facility.code))
    return 0
