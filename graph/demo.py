"""The demo's persona picker: who one can be, and a token for it; only where the demo is on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from db.errors import AppError, InvalidArgument
from db.settings import Settings
from db.stores import FacilityName
from graph.auth import PERSONAS, issue, persona_of
from graph.body import read_json
from graph.http import json_response, refused


class Directory(Protocol):
    """Knows the demo's facilities and who is there."""

    async def facilities(self) -> Sequence[FacilityName]:
        """All facilities. Raises StoreError."""
        ...

    async def stand_in(self, claim: str, facility_id: UUID) -> UUID | None:
        """The provider, department or patient of a facility for whom a persona stands. Raises StoreError."""
        ...


def routes(settings: Settings, directory: Directory) -> list[BaseRoute]:
    """Routes of `GET /demo/personas` and `POST /demo/token` {persona, facility}; failures are GraphQL-shaped errors."""

    async def personas(_request: Request) -> Response:
        try:
            known = await directory.facilities()
        except AppError as error:
            return refused(error)
        return json_response(
            {
                "facilities": [{"code": facility.code, "name": facility.name} for facility in known],
                "personas": [{"name": persona.name, "display": persona.display} for persona in PERSONAS.values()],
            }
        )

    async def token(request: Request) -> Response:
        try:
            asked = await read_json(request.receive, request.headers)
            wanted = cast("dict[str, Any]", asked) if isinstance(asked, dict) else {}
            facility = chosen(await directory.facilities(), wanted.get("facility"))
            return json_response({"token": await token_of(settings, directory, wanted.get("persona"), facility)})
        except AppError as error:
            return refused(error)

    return [
        Route("/demo/personas", personas, methods=["GET"]),
        Route("/demo/token", token, methods=["POST"]),
    ]


async def token_of(settings: Settings, directory: Directory, persona: object, facility: FacilityName) -> str:
    """A demo token of a persona at a facility. Raises InvalidArgument where it can't be played, StoreError."""
    known = persona_of(settings, persona)
    stands_for = await directory.stand_in(known.claim, facility.id) if known.claim else None
    return issue(settings, known.name, facility.id, stands_for)


def chosen(facilities: Sequence[FacilityName], code: object) -> FacilityName:
    """The facility of this code. Raises InvalidArgument when there is none."""
    for facility in facilities:
        if facility.code == code:
            return facility
    raise InvalidArgument("facility", "is not the code of a facility")
