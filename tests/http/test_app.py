"""The whole application while no store can be reached: it starts, says so, and fails field by field."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.settings import load
from graph.app import create_app
from tests.http.serving import Client, Served, listening

ROOT = Path(__file__).parents[2]
STORES = {"clinical", "imaging", "vitals", "notes", "archive", "warehouse"}


def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def nowhere() -> dict[str, str]:
    """Settings of stores that are not there."""
    host = f"127.0.0.1:{closed_port()}"
    return {
        "CAREGRAPH_DATA": "/nonexistent",
        "CAREGRAPH_SECRET": "a secret of the tests, 32 letters",
        **{f"CAREGRAPH_{name}_URL": f"postgresql://o:p@{host}/none" for name in ("CLINICAL", "IMAGING", "VITALS")},
        "CAREGRAPH_NOTES_URL": f"mongodb://u:p@{host}/none",
        "CAREGRAPH_ARCHIVE_URL": f"http://k:s@{host}/none?region=us-east-1",
        "CAREGRAPH_WAREHOUSE_URL": f"snowflake://u:p@{host}/d/s?account=a&warehouse=w&protocol=http",
        "CAREGRAPH_STORE_TIMEOUT_S": "2",
    }


@pytest.fixture(scope="module")
def alone(nowhere: dict[str, str]) -> Iterator[Client]:
    """A client of the application, as uvicorn starts it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in nowhere.items():
            patch.setenv(name, value)
        app, settings = create_app(), load()
    log: list[str] = []
    with listening(app, log) as port:
        yield Client(Served(port, settings, log=log))


def test_alive(alone: Client) -> None:
    assert alone.send(method="GET", path="/healthz").status == 200


def test_not_ready(alone: Client) -> None:
    answer = alone.send(method="GET", path="/readyz")
    assert answer.status == 503
    assert answer.json == {"stores": dict.fromkeys(STORES, "STORE_UNAVAILABLE"), "sync": []}


def test_no_answer_without_audit(alone: Client) -> None:
    """The audit is in the clinical database: what can't be recorded does not leave, be it only a type's name."""
    answer = alone.ask("{ __typename facility { name } }")
    assert (answer.status, answer.code) == (503, "AUDIT_UNAVAILABLE")
    assert "data" not in answer.json


def test_page(alone: Client) -> None:
    root = alone.send(method="GET", path="/")
    assert (root.status, root.headers["location"]) == (307, "/graphiql")
    assert alone.send(method="GET", path="/graphiql").status == 200


def test_host_is_not_believed(alone: Client) -> None:
    """A slash too many is no address: where to go instead would be told by the Host that a client sent."""
    answer = alone.send(b"{}", path="/graphql/", headers={"host": "evil.example"})
    assert answer.status == 404
    assert "location" not in answer.headers


def test_picker_without_facilities(alone: Client) -> None:
    answer = alone.send(method="GET", path="/demo/personas")
    assert (answer.status, answer.code) == (503, "STORE_UNAVAILABLE")


def test_token_command_without_facilities(nowhere: dict[str, str]) -> None:
    """One line says why, and there is no token."""
    command = [sys.executable, "-m", "workers", "token", "nurse"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "caregraph token: This store can't be reached now: clinical."
