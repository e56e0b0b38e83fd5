"""`python -m tests.bench.capacity measure|simulate|pooler`: what 85,000 clinicians cost, measured and then simulated.

`measure` starts stores and the API, asks each kind of request at one connection and writes tests/bench/capacity.toml.
`simulate` reads that file, and prints the tables of docs/scale.md; with `--write` it puts them into their places there.
`pooler` compares answers through PgBouncer with those without.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from tests.bench.capacity.documents import ROOT
from tests.bench.capacity.measured import FILE, dump, load
from tests.bench.capacity.report import report
from tests.bench.capacity.workload import Workload

DOC = ROOT / "docs" / "scale.md"
REQUESTS = 60


def measured(requests: int, data: Path | None) -> None:
    """Measures, in a directory that is kept where one is named."""
    # Imported now: a simulation needs no driver of any store.
    from tests.bench.capacity.measuring import measure

    with tempfile.TemporaryDirectory(prefix="caregraph-") as fresh:
        dump(asyncio.run(measure(data or Path(fresh), requests)))
    print(FILE.read_text("utf-8"), end="")


def pooled(data: Path | None) -> None:
    """Prints what comes through PgBouncer."""
    from tests.bench.capacity.pooler import compared

    with tempfile.TemporaryDirectory(prefix="caregraph-") as fresh:
        print(asyncio.run(compared(data or Path(fresh))))


def simulated(only: Collection[str], *, write: bool) -> None:
    """Prints the tables, or writes each between its marks `<!-- NAME -->` and `<!-- /NAME -->`."""
    found: dict[str, str] = {}
    for name, lines in report(load(), Workload(), lambda line: print(line, file=sys.stderr, flush=True), only):
        found[name] = lines
        if not write:
            print(f"### {name}\n\n{lines}\n", flush=True)
    if write:
        # Read at the end: others write sections of their own.
        DOC.write_text(placed(DOC.read_text("utf-8"), found), "utf-8")


def placed(text: str, found: Mapping[str, str]) -> str:
    """A page with each table between its marks. Raises AssertionError where one has no place."""
    for name, lines in found.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found_start, rest = text.partition(start)
        _, found_end, after = rest.partition(end)
        assert found_start, f"docs/scale.md has no place for {name}"
        assert found_end, f"docs/scale.md has a place for {name} that does not end"
        text = f"{before}{start}\n{lines}\n\n{end}{after}"
    return text


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.capacity")
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--requests", type=int, default=REQUESTS, help="requests of each kind")
    simulating = commands.add_parser("simulate")
    simulating.add_argument("--write", action="store_true", help="write the tables into docs/scale.md")
    simulating.add_argument("--only", nargs="*", default=(), metavar="NAME", help="of the simulated tables, these")
    pooling = commands.add_parser("pooler")
    for command in (measuring, pooling):
        command.add_argument("--data", type=Path, help="data directory that is kept, with its demo, for the next time")
    asked = parser.parse_args()
    if asked.command == "measure":
        measured(asked.requests, asked.data)
    elif asked.command == "pooler":
        pooled(asked.data)
    else:
        simulated(asked.only, write=asked.write)


if __name__ == "__main__":
    main()
