"""The demo's persona picker: who one can be, and a token for it; only where the demo is on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from db.errors import AppError, InvalidArgument
from db.settings import Settings
from db.stores import FacilityName
from graph.auth import PERSONAS, issue
from graph.http import json_response, read_json, refused


def routes(settings: Settings, facilities: Callable[[], Awaitable[Sequence[FacilityName]]]) -> list[BaseRoute]:
    """Routes of `GET /demo/personas` and `POST /demo/token` {persona, facility}; failures are GraphQL-shaped errors."""

    async def personas(_request: Request) -> Response:
        try:
            known = await facilities()
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
            asked = await read_json(request)
            wanted = cast("dict[str, Any]", asked) if isinstance(asked, dict) else {}
            facility = chosen(await facilities(), wanted.get("facility"))
            persona = wanted.get("persona")
            if not isinstance(persona, str):
                raise InvalidArgument("persona")
            return json_response({"token": issue(settings, persona, facility.id, facility.code)})
        except AppError as error:
            return refused(error)

    return [
        Route("/demo/personas", personas, methods=["GET"]),
        Route("/demo/token", token, methods=["POST"]),
    ]


def chosen(facilities: Sequence[FacilityName], code: object) -> FacilityName:
    """The facility of this code. Raises InvalidArgument when there is none."""
    for facility in facilities:
        if facility.code == code:
            return facility
    raise InvalidArgument("facility", "is not the code of a facility")
