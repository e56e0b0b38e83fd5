"""PgBouncer of this machine, and what it can do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
"""The program, where it is installed."""


def keeps_statements() -> bool:
    """Whether it knows `max_prepared_statements`, as 1.21 and later do: Debian 12 has 1.18, Debian 13 has 1.24."""
    said = subprocess.run([str(PGBOUNCER), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"PgBouncer (\d+)\.(\d+)", said)
    assert found, said
    return (int(found[1]), int(found[2])) >= (1, 21)
