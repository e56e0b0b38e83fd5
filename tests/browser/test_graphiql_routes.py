"""What `/graphiql` serves, seen without a browser: headers, caching, and nothing but the files of the bundle."""

from __future__ import annotations

import re
from typing import Protocol

import pytest
from aiohttp import ClientSession
from yarl import URL

from graph.graphiql import CONTENT_SECURITY_POLICY

pytestmark = pytest.mark.asyncio


class Api(Protocol):
    """A running server."""

    @property
    def url(self) -> str:
        """Base URL, without a slash at its end."""
        ...


async def test_page_is_never_stored_and_its_assets_forever(api: Api) -> None:
    """The page is fetched anew each time; what it loads is there, under the same policy, and immutable."""
    async with ClientSession() as http:
        async with http.get(f"{api.url}/graphiql") as page:
            html = await page.text()
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-store"
        loaded: list[str] = re.findall(r'(?:src|href)="([^"]*)"', html)
        assert len(loaded) == 3
        for path in loaded:
            assert path.startswith("/graphiql/assets/")
            async with http.get(f"{api.url}{path}") as asset:
                assert asset.status == 200
            assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
            for response in (page, asset):
                assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
                assert response.headers["x-content-type-options"] == "nosniff"
                assert response.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", ["missing.js", "../index.html", "..%2findex.html", "%2e%2e%2findex.html"])
async def test_only_files_of_the_bundle_are_served(api: Api, name: str) -> None:
    """A name that is not in the bundle, or that climbs out of its folder, does not exist."""
    address = URL(f"{api.url}/graphiql/assets/{name}", encoded=True)
    async with ClientSession() as http, http.get(address) as response:
        assert response.status == 404
