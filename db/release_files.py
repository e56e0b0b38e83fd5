"""Files of releases in the archive: parquet under `research/{extraction}/{table}/{partition}.parquet`.

Beside the prefix of the facilities, so that neither the lifecycle of images nor the sweeper touches them.
"""

from __future__ import annotations

import re
from uuid import UUID

PREFIX = "research/"
CONTENT_TYPE = "application/vnd.apache.parquet"

_TABLE = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)


def checked(name: str) -> str:
    """The name of a table or column, safe in a key and as an identifier of SQL. Raises ValueError for any other."""
    if not _TABLE.fullmatch(name):
        raise ValueError("A table or column of a release is named in lower case, by letters, digits and _.")
    return name


def release_prefix(release_id: UUID) -> str:
    """What the keys of all files of a release begin with, those that are staged for it among them."""
    return f"{PREFIX}{release_id}/"


def staged_prefix(release_id: UUID) -> str:
    """What the keys of what is staged for a release begin with."""
    return f"{release_prefix(release_id)}staged/"


def file_key(release_id: UUID, table: str, partition: int) -> str:
    """Key of the rows that a partition has in a table. Raises ValueError for what is no name of a table."""
    return f"{release_prefix(release_id)}{checked(table)}/{partition:05}.parquet"
