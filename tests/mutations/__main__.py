"""`python -m tests.mutations [--sample N --seed S | NAME…]`: takes guards out, one at a time, and demands a red test.

First every entry of the list is compared with the tree, then the tests of the chosen ones run with all guards in, where
each must pass (those that need stores have `make test` for that); then each mutation is tried. Status 1 when a mutant
survives, a test does not run, or an entry is stale.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mutations.mutant import ROOT, Mutation, listed, sample
from tests.mutations.trial import Outcome, Tree, Verdict


def chosen(argv: Sequence[str]) -> Sequence[Mutation]:
    """Entries that a command line asks for; exits with status 2 for a name that is not on the list."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description="Takes guards out, one at a time.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="names of entries; all unless given")
    parser.add_argument("--sample", type=int, metavar="N", help="N entries instead, chosen by the seed")
    parser.add_argument(
        "--seed", default="", metavar="S", help="any text, such as a commit: the same one, the same sample"
    )
    asked = parser.parse_args(argv)
    mutations = listed()
    known = {mutation.name: mutation for mutation in mutations}
    if unknown := [name for name in asked.names if name not in known]:
        parser.error(f"no mutation is called {unknown[0]}")
    if asked.names:
        return sorted((known[name] for name in asked.names), key=lambda mutation: mutation.cost)
    return mutations if asked.sample is None else sample(mutations, asked.sample, asked.seed)


def stale(mutations: Sequence[Mutation]) -> Sequence[str]:
    """One line for each entry that no longer fits the tree."""
    faults = [(mutation.name, mutation.fault(ROOT)) for mutation in mutations]
    return [f"{name}: {fault}" for name, fault in faults if fault]


def try_all(mutations: Sequence[Mutation], folder: Path) -> bool:
    """Tries each mutation in a copy under the folder, and prints a line for each; whether all were killed."""
    tree = Tree(ROOT, folder)
    cheap = sorted({test for mutation in mutations if not mutation.stores for test in mutation.tests})
    if cheap:
        verdict, detail = tree.run(cheap, {})
        if verdict is not Verdict.SURVIVED:
            print(f"With every guard in: {verdict.value}, {detail}")
            return False
    outcomes: list[Outcome] = []
    for mutation in mutations:
        outcome = tree.trial(mutation)
        outcomes.append(outcome)
        print(f"{mutation.name:44} {outcome.verdict.value:8} {outcome.seconds:6.1f} s  {outcome.detail}", flush=True)
    killed = sum(outcome.verdict is Verdict.KILLED for outcome in outcomes)
    print(f"{killed} of {len(outcomes)} mutants killed in {sum(outcome.seconds for outcome in outcomes):.0f} s")
    return killed == len(outcomes)


def main(argv: Sequence[str]) -> int:
    """Exit status of the command."""
    mutations = chosen(argv)
    if lines := stale(listed()):
        print("\n".join(lines))
        return 1
    with tempfile.TemporaryDirectory(prefix="caregraph-mutants-", ignore_cleanup_errors=True) as folder:
        return 0 if try_all(mutations, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
