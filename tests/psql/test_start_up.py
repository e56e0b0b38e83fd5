"""`python -m workers psql`: a psql that signs its own session, with no secret where `ps` shows it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from db.context import role_password
from db.settings import Settings
from tests.served import ROOT
from workers.embedded.postgres import programs

SHOW = "\\set QUIET 1\n\\pset tuples_only on\n\\pset format unaligned\n"
COMMAND = (sys.executable, "-m", "workers", "psql")
START_S = 60


@pytest.fixture(scope="module")
def environ(network: Settings) -> dict[str, str]:
    """What a shell of somebody who runs Caregraph has: the data directory, and a psql on its path."""
    path = f"{programs()}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "CAREGRAPH_DATA": str(network.data), "PATH": path}


def asked(environ: dict[str, str], *arguments: str, typed: str) -> Sequence[str]:
    """Lines that psql prints for what is typed into it."""
    command = [*COMMAND, *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environ,
        input=SHOW + typed,
        capture_output=True,
        text=True,
        timeout=START_S,
    )
    print(typed, done.stdout, done.stderr)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("database", "table"), [("clinical", "patient"), ("imaging", "imaging_study"), ("vitals", "vital_sign")]
)
def test_a_session_is_signed(environ: dict[str, str], database: str, table: str) -> None:
    typed = f"SELECT session_user, count(*) > 0 FROM {table};\n"
    assert asked(environ, "nurse", "--database", database, typed=typed)[-1] == "caregraph_nurse|t"


def test_what_was_signed_is_of_no_use_elsewhere(environ: dict[str, str]) -> None:
    """A context names the session that asked for it; after a reconnection psql sees nothing."""
    typed = "SELECT count(*) > 0 FROM patient;\n\\c\nSELECT count(*) FROM patient;\n"
    lines = asked(environ, "nurse", typed=typed)
    assert [lines[0], lines[-1]] == ["t", "0"]


def test_no_secret_on_the_command_line_or_in_the_environment(environ: dict[str, str], network: Settings) -> None:
    known = {network.secret.decode(), role_password(network.secret, "caregraph_nurse")}
    command, pipe = [*COMMAND, "nurse"], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe) as running:
        try:
            psql = _child(running.pid)
            for what in ("cmdline", "environ"):
                text = Path(f"/proc/{psql}/{what}").read_bytes().decode()
                assert "psqlrc" in text or what == "cmdline"
                assert not any(secret in text for secret in known)
                assert "PGPASSWORD" not in text
                assert "v2|" not in text
            folder = next(part for part in text.split("\0") if part.startswith("PSQLRC="))[7:]
            assert Path(folder).stat().st_mode & 0o077 == 0
        finally:
            running.communicate(b"\\q\n", timeout=START_S)
    assert not Path(folder).exists()


def _child(parent: int) -> int:
    """Process id of the psql that a process started, once it runs."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if Path(f"/proc/{pid}/comm").read_text().strip() == "psql":
                return int(pid)
        time.sleep(0.1)
    raise AssertionError("psql did not start")


def test_there_is_a_psql() -> None:
    assert shutil.which("psql") or (programs() / "psql").exists()
