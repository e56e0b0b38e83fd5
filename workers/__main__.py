"""`python -m workers NAME …`: starts one of the processes beside the API."""

from __future__ import annotations

import importlib
import sys

from db.errors import AppError

WORKERS = {
    "run": "workers.run",
    "migrate": "workers.migrate",
    "import": "workers.import_fhir",
    "demo": "workers.demo",
    "token": "workers.token",
    "psql": "workers.psql",
    "summarize": "workers.summarize",
    "sweep_notes": "workers.sweep_notes",
    "sync": "workers.sync.main",
    "reconcile": "workers.reconcile",
    "rollup": "workers.rollup",
    "monitors": "workers.monitors",
    "ingest": "workers.ingest",
    "lifecycle": "workers.lifecycle",
    "sweep": "workers.sweep",
    "research": "workers.research.main",
    "audit": "workers.audit",
}
"""Module of each name; it has `main(argv) -> int` and is imported only when asked for."""

USAGE = f"usage: python -m workers {{{'|'.join(WORKERS)}}} …"


def main(argv: list[str]) -> int:
    """Exit status of the worker named first; 2 for an unknown name, 1 with one line for an error of ours."""
    if not argv or argv[0] not in WORKERS:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        return importlib.import_module(WORKERS[argv[0]]).main(argv[1:])
    except AppError as error:
        print(f"caregraph {argv[0]}: {error.message}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
