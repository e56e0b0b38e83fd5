"""The audit suite of graphql-http, by the authors of GraphQL over HTTP: all of it passes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.http.serving import Served
from tests.node import installed_node

AUDIT = Path(__file__).parent / "audit"
AUDITS = 61


def test_audit_suite(served: Served) -> None:
    """All 61 audits say ok: the SHOULD and MAY as much as the MUST."""
    environ = os.environ | {"AUDIT_URL": f"http://127.0.0.1:{served.port}/graphql", "AUDIT_TOKEN": served.token()}
    done = subprocess.run(
        [installed_node(AUDIT), "run.mjs"], cwd=AUDIT, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [result for result in results if result["status"] != "ok"] == []
    assert len(results) == AUDITS
