"""`python -m workers psql PERSONA [--facility CODE] [--database NAME]`: psql as a persona sees a database, for an hour.

A context is good for one session of the server, whose process id is known only once psql is connected: so psql asks
for it then, through a private start-up file that runs this command again with `--sign PID`. Neither the role's
password nor a context is ever on a command line or in the environment, where `ps` would show them.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from os import devnull, environ
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from db.caller import Caller
from db.context import role_password, sign, sign_patients
from db.policy import view_of
from db.settings import Settings, load
from db.stores import Stores
from graph.auth import PERSONAS, Authenticator
from loaders.reader import Reader
from workers.embedded.directory import write_private
from workers.embedded.postgres import programs
from workers.token import token

TTL_S = 3600
"""Seconds for which the session's context is good."""

ROOT = Path(__file__).parents[1]
DATABASES = ("clinical", "imaging", "vitals")

START_UP = """\\set QUIET 1
SELECT pg_backend_pid() AS pid \\gset
\\set signed `{command} --sign :pid`
SELECT set_config('app.context', split_part(:'signed', ' ', 1), false),
    set_config('app.patients', split_part(:'signed', ' ', 2), false) \\gset _
\\unset signed
\\unset _set_config
SET search_path = {schema}, public;
\\unset QUIET
"""
"""What psql runs before its first prompt; {command} is this command line again."""


async def caller_of(settings: Settings, persona: str, code: str | None) -> Caller:
    """The caller that a token of the persona would make, at the facility of a code or at the first one.

    Raises InvalidArgument, StoreError.
    """
    authenticator = Authenticator(settings)
    try:
        caller = await authenticator.caller({"authorization": f"Bearer {await token(settings, persona, code)}"})
    finally:
        await authenticator.close()
    return replace(caller, subject=f"psql-{persona}")


async def signed(settings: Settings, caller: Caller, database: str, pid: int) -> str:
    """Context of a caller and, beside the clinical database, the patients whom it may see: for one session, an hour."""
    expires = int(time.time()) + TTL_S
    context = sign(settings.secret, caller, pid, expires)
    if database == "clinical":
        return context
    stores = Stores(settings)
    reader = Reader(stores, caller)
    try:
        patients = await reader.patients()
    finally:
        await reader.close()
        await stores.close()
    return f"{context} {sign_patients(settings.secret, patients, pid, expires)}"


def run(settings: Settings, caller: Caller, database: str, command: Sequence[str]) -> int:
    """Exit status of psql, which gets `command` to have its session signed."""
    role = f"caregraph_{caller.profile.value}"
    parts = urlsplit(getattr(settings, f"{database}_url"))
    url = urlunsplit(parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}"))
    with tempfile.TemporaryDirectory(prefix="caregraph-psql-") as folder:
        start_up, passwords = Path(folder) / "psqlrc", Path(folder) / "pgpass"
        again = f"cd {shlex.quote(str(ROOT))} && {shlex.join(command)}"
        schema = view_of(caller).name
        write_private(start_up, START_UP.format(command=again, schema=schema))
        write_private(passwords, f"*:*:*:{role}:{role_password(settings.secret, role)}\n")
        # A history would keep what was typed about patients.
        private = {"PSQLRC": str(start_up), "PGPASSFILE": str(passwords), "PSQL_HISTORY": devnull}
        signal.signal(signal.SIGINT, lambda *_: None)  # psql's to heed; a new process starts without our handler
        return subprocess.run(  # noqa: S603 - psql, with a URL from the settings
            [shutil.which("psql") or str(programs() / "psql"), url],
            env={**environ, **private, "CAREGRAPH_DATA": str(settings.data.resolve())},
            check=False,
        ).returncode


def main(argv: list[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m workers psql", description="psql as a persona sees a database.")
    parser.add_argument("persona", choices=sorted(PERSONAS))
    parser.add_argument("--facility", metavar="CODE", help="code of a facility; the first one by code unless given")
    parser.add_argument("--database", choices=DATABASES, default="clinical")
    parser.add_argument("--sign", type=int, metavar="PID", help="print what the session of this process id needs")
    asked = parser.parse_args(argv)
    settings = load()
    caller = asyncio.run(caller_of(settings, asked.persona, asked.facility))
    if asked.sign is not None:
        print(asyncio.run(signed(settings, caller, asked.database, asked.sign)))
        return 0
    return run(settings, caller, asked.database, [sys.executable, "-m", "workers", "psql", *argv])
