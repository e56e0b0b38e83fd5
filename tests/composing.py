"""Statements that the graph composes of a document's relations: they stand in no list, so they are caught when sent."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from unittest.mock import patch

from db.postgres import Session, statement_name
from tests.bench.engines.questions import FOLDER

ENDING = "_graph"
"""How names of composed statements end (loaders/composed.py)."""
QUESTIONS: Mapping[str, Path] = {name: FOLDER / f"{name}.graphql" for name in ("chart", "ward", "table")}
"""The benchmark's documents that are mostly relations of the clinical database."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A composed statement, and what was sent with it."""

    name: str
    sql: str
    arguments: Sequence[Any]


@contextmanager
def composed() -> Generator[list[Sent]]:
    """The composed statements that PostgreSQL is sent meanwhile, in their order."""
    found: list[Sent] = []
    send = Session.fetch

    async def fetch(self: Session, sql: LiteralString, *args: object) -> Sequence[Any]:
        name = statement_name(sql)
        if name.endswith(ENDING):
            found.append(Sent(name, sql, args))
        return await send(self, sql, *args)

    with patch.object(Session, "fetch", fetch):
        yield found
