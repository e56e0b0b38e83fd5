"""Sessions as somebody with a login's password opens them; what is said and what comes of it is printed (pytest -s)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg

from db.caller import Caller, Patients
from db.context import role_password, sign, sign_patients
from db.policy import view_of
from db.postgres import login_url
from db.settings import Settings

SHOWN_MAX = 100
"""Characters of a statement and of its outcome that a line shows."""

Signer: TypeAlias = Callable[[int], str | None]
"""From the process id of a session to the context that it claims."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one statement: rows, or the SQLSTATE and text of a refusal."""

    rows: Sequence[tuple[Any, ...]]
    sqlstate: str | None = None
    text: str = ""

    @property
    def value(self) -> Any:
        """First value of the first row. Raises IndexError where there is none."""
        return self.rows[0][0]

    @property
    def column(self) -> list[Any]:
        """First value of each row."""
        return [row[0] for row in self.rows]


class Session:
    """One open session of a login."""

    def __init__(self, login: str, connection: asyncpg.Connection) -> None:
        self._login = login
        self._connection = connection

    @property
    def pid(self) -> int:
        """Process id of the server's end."""
        return self._connection.get_server_pid()

    async def say(self, statement: str, *args: object) -> Outcome:
        """Outcome of a statement."""
        try:
            outcome = Outcome([tuple(row) for row in await self._connection.fetch(statement, *args)])
            shown = f"{len(outcome.rows)} rows {outcome.rows[0] if outcome.rows else ''}"
        except asyncpg.PostgresError as error:
            state: str = error.sqlstate  # pyright: ignore[reportAttributeAccessIssue] - the driver has no types
            outcome = Outcome([], state, f"{error} {error.detail or ''}")  # pyright: ignore[reportAttributeAccessIssue]
            shown = f"{state} {error}"
        print(f"{self._login}=> {' '.join(statement.split())[:SHOWN_MAX]}\n    {shown[:SHOWN_MAX]}")
        return outcome


@asynccontextmanager
async def psql(
    settings: Settings,
    caller: Caller,
    sign_for: Signer | None = None,
    database: str = "clinical",
    patients: Patients | None = None,
) -> AsyncGenerator[Session]:
    """A session of the caller's login, with a good context unless `sign_for` makes another."""
    role = f"caregraph_{caller.profile.value}"
    url = login_url(getattr(settings, f"{database}_url"), role, role_password(settings.secret, role))
    connection = await asyncpg.connect(url)
    pid = connection.get_server_pid()
    try:
        context = sign_for(pid) if sign_for else sign(settings.secret, caller, pid)
        if context is not None:
            await connection.execute("SELECT set_config('app.context', $1, false)", context)
        if patients is not None:
            told = sign_patients(settings.secret, patients, pid)
            await connection.execute("SELECT set_config('app.patients', $1, false)", told)
        await connection.execute(f"SET search_path = {view_of(caller).name}, public")
        yield Session(caller.role.name, connection)
    finally:
        await connection.close()
