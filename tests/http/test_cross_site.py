"""Pages of other sites can neither cause a request that is served nor read an answer, unless they are allowed to."""

from __future__ import annotations

import pytest

from db.errors import SettingsError
from db.settings import load
from graph.app import create_app
from graph.http import PREFLIGHT_HEADERS
from tests.http.serving import ALLOWED_ORIGIN, Client, small_environ

GET = "/graphql?query={name}"
EVIL = "https://evil.example"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


@pytest.mark.parametrize("accept", ["*/*", "application/graphql-response+json", "application/json", "image/png,*/*"])
def test_get_that_a_page_can_cause(client: Client, accept: str) -> None:
    """Whatever it accepts: Accept is a header that a page may set without asking."""
    answer = client.send(method="GET", path=GET, headers={"graphql-require-preflight": None, "accept": accept})
    assert (answer.status, answer.code) == (400, "PREFLIGHT_REQUIRED")
    assert client.served.sessions == []


def test_empty_header(client: Client) -> None:
    answer = client.send(method="GET", path=GET, headers={"graphql-require-preflight": ""})
    assert answer.code == "PREFLIGHT_REQUIRED"


@pytest.mark.parametrize("name", PREFLIGHT_HEADERS)
def test_get_with_a_header_that_no_page_can_set(client: Client, name: str) -> None:
    answer = client.send(method="GET", path=GET, headers={"graphql-require-preflight": None, name: "1"})
    assert (answer.status, answer.json["data"]) == (200, {"name": "***"})


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_post_that_a_form_can_cause(client: Client, content_type: str) -> None:
    """Its content types are refused even with the header: a body is JSON."""
    headers = {"content-type": content_type, "graphql-require-preflight": "1"}
    answer = client.send(b'{"query": "{ name }"}', headers=headers)
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_preflight_of_an_allowed_origin(client: Client) -> None:
    answer = client.send(method="OPTIONS", headers={"origin": ALLOWED_ORIGIN, "authorization": None, **PREFLIGHT})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
    assert "access-control-allow-credentials" not in answer.headers
    answered = client.send(b'{"query": "{ name }"}', headers={"origin": ALLOWED_ORIGIN})
    assert answered.headers["access-control-allow-origin"] == ALLOWED_ORIGIN


@pytest.mark.parametrize("origin", [EVIL, "null", ALLOWED_ORIGIN + ".evil.example", ALLOWED_ORIGIN.upper()])
def test_preflight_of_another_origin(client: Client, origin: str) -> None:
    answer = client.send(method="OPTIONS", headers={"origin": origin, "authorization": None, **PREFLIGHT})
    assert answer.status == 400
    assert "access-control-allow-origin" not in answer.headers
    answered = client.send(b'{"query": "{ name }"}', headers={"origin": origin})
    assert "access-control-allow-origin" not in answered.headers


def test_closed_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the setting the application has no preflight answer at all; the setting takes origins, no patterns."""
    for name, value in small_environ().items():
        monkeypatch.setenv(name, value)
    assert load().allowed_origins == frozenset()
    [endpoint] = [middleware.args[0] for middleware in create_app().user_middleware if middleware.args]
    assert type(endpoint).__name__ == "GraphQLEndpoint"
    monkeypatch.setenv("CAREGRAPH_ALLOWED_ORIGINS", f"{ALLOWED_ORIGIN}, http://127.0.0.1:3000")
    assert load().allowed_origins == {ALLOWED_ORIGIN, "http://127.0.0.1:3000"}


@pytest.mark.parametrize(
    "origins", ["*", "null", "https://*.example.org", f"{EVIL}/", "ehr.example.org", "https://A.b"]
)
def test_origins_that_are_none(origins: str) -> None:
    with pytest.raises(SettingsError, match="CAREGRAPH_ALLOWED_ORIGINS"):
        load({**small_environ(), "CAREGRAPH_ALLOWED_ORIGINS": origins})
