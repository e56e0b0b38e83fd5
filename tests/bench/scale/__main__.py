"""`python -m tests.bench.scale [load|plans|search|serve|goals] --keep DIR`: the stores at the size of a network.

- load (what is done without a word): fills empty embedded stores under DIR, which keeps them;
- plans: every PostgreSQL statement of the loaders on that data, as Markdown;
- search: the patient search's percentiles by what is typed, as Markdown;
- serve: the embedded stores and the API on that data, until Ctrl-C;
- goals: starts them, asks the API at 16 connections, and prints percentiles beside what was promised.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path

from tests.bench.scale.goals import measure_goals
from tests.bench.scale.load import load
from tests.bench.scale.plans import measure_plans
from tests.bench.scale.searches import measure_search
from tests.bench.scale.serving import kept, serve
from tests.bench.scale.sizes import Sizes

MEASURES = {"plans": measure_plans, "search": measure_search}


def say(line: str) -> None:
    """Prints at once: a load takes minutes."""
    print(line, flush=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale")
    parser.add_argument("what", nargs="?", choices=["load", "serve", "goals", *MEASURES], default="load")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="directory of the stores; a temporary one by default")
    for size in fields(Sizes):
        parser.add_argument(f"--{size.name}", type=int, default=size.default, help=f"by default {size.default}")
    asked = parser.parse_args()
    sizes = Sizes(**{size.name: getattr(asked, size.name) for size in fields(Sizes)})
    if asked.what != "load" and asked.keep is None:
        parser.error(f"{asked.what} needs --keep DIR of a load")
    with (
        nullcontext(asked.keep) if asked.keep else tempfile.TemporaryDirectory() as folder,
        kept(Path(folder)) as store,
    ):
        if asked.what == "load":
            asyncio.run(load(store.settings, sizes, say))
        elif asked.what == "serve":
            serve(store)
        elif asked.what == "goals":
            say(measure_goals(store))
        else:
            say(asyncio.run(MEASURES[asked.what](store.settings)))


if __name__ == "__main__":
    main()
