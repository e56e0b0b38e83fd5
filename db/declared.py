"""PHI kinds of the columns, as the migrations declare them: by them the loaders leave hidden columns out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from db.policy import View
from db.views import Column, hides

MIGRATIONS = Path(__file__).with_name("migrations")
DECLARATION = re.compile(r"^\s*(?:SELECT|PERFORM) access\.declare\('(\w+)',\s*'([^']*)'\)", re.MULTILINE)
"""A call of `access.declare`; one in a comment does not stand at the start of its line."""

FORMED = ("text", "jsonb")
"""Types for which every form is defined; a declaration does not name the type of its column."""


@cache
def tables() -> Mapping[str, Mapping[str, str]]:
    """Kinds by column, by table, of every PostgreSQL database; of two declarations of a column the later counts."""
    declared: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for path in sorted(MIGRATIONS.glob("*/*.sql")):
        for table, listed in DECLARATION.findall(path.read_text(encoding="utf-8")):
            declared[table] |= dict(entry.split() for entry in listed.strip(" \n,").split(","))
    return dict(declared)


def kinds(table: str) -> Mapping[str, str]:
    """Declared kind of each column of a table: a Phi, NONE, or a kind of parts (see db.views). Raises KeyError."""
    return tables()[table]


def hidden(view: View, table: str) -> frozenset[str]:
    """Columns of a table of which a view shows nothing."""
    return frozenset(
        name
        for name, kind in kinds(table).items()
        if all(hides(view, Column(table, name, type_, kind)) for type_ in FORMED)
    )
