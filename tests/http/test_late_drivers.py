"""What a process of the API does not pay for at its start: drivers that it may never need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LATE = ("snowflake.connector", "numpy", "aioboto3", "aiobotocore", "httpx", "opendp", "polars")
"""Drivers of the warehouse and of the archive, the largest of what they import, and what makes noise."""
LOADED = "import sys, {module}; print(*(name for name in {names} if name in sys.modules))"


def loaded(module: str) -> list[str]:
    """Which of LATE a new process has after an import."""
    command = [sys.executable, "-c", LOADED.format(module=module, names=LATE)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("module", ["graph.app", "graph.server"])
def test_drivers_of_the_warehouse_and_of_the_archive_come_with_the_first_request(module: str) -> None:
    assert loaded(module) == []


def test_the_warehouse_brings_its_own() -> None:
    """A rename of a package would leave the test above with nothing to find."""
    assert "snowflake.connector" in loaded("db.snowflake")
    assert "aioboto3" in loaded("aioboto3")
