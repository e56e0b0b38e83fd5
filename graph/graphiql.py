"""GraphiQL: the bundled page and its assets, served under a content security policy without exceptions."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

DIST = Path(__file__).parent / "graphiql" / "dist"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def routes() -> list[BaseRoute]:
    """Routes of `/graphiql` and `/graphiql/assets/*`, whose files are read once, here: no request names a path."""
    html = (DIST / "index.html").read_bytes()
    assets = {file.name: (file.read_bytes(), _MEDIA_TYPES[file.suffix]) for file in (DIST / "assets").iterdir()}

    async def page(_request: Request) -> Response:
        headers = {**_SECURITY_HEADERS, "Cache-Control": "no-store"}
        return Response(html, media_type="text/html", headers=headers)

    async def asset(request: Request) -> Response:
        name: str = request.path_params["name"]
        if name not in assets:
            raise HTTPException(404)
        body, media_type = assets[name]
        # A name carries the hash of its content, so a cached copy never goes stale.
        headers = {**_SECURITY_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
        return Response(body, media_type=media_type, headers=headers)

    return [Route("/graphiql", page), Route("/graphiql/assets/{name}", asset)]
