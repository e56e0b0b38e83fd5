"""Mutations: guards of the tree, each with what breaks it and the tests that must then go red (mutations.toml)."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutations.toml")


@dataclass(frozen=True, slots=True)
class Mutation:
    """One guard taken out: in `file` the text `old`, which must be there exactly once, becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """pytest node ids, of which at least one must fail."""
    why: str
    """What the guard keeps from happening."""
    stores: bool = False
    """Whether the tests start the embedded stores: some twenty seconds each instead of some two."""

    @property
    def fresh(self) -> bool:
        """Whether the stores must be made anew: a database that was migrated before refuses a changed migration."""
        return self.stores and self.file.endswith(".sql")

    @property
    def cost(self) -> tuple[bool, bool]:
        """What to sort by, so that the cheap ones run first."""
        return self.stores, self.fresh

    def fault(self, root: Path) -> str | None:
        """Why the entry no longer fits the tree; None where it does."""
        path = root / self.file
        if not path.is_file():
            return f"{self.file} is not there"
        found = path.read_text(encoding="utf-8").count(self.old)
        if found != 1 or self.old == self.new:
            return f"`old` occurs {found} times in {self.file}"
        missing = [test for test in self.tests if not defined(root, test)]
        return f"{missing[0]} is not there" if missing or not self.tests else None


def defined(root: Path, test: str) -> bool:
    """Whether a pytest node id names a file of the tree and a test function in it."""
    file, _, function = test.partition("::")
    path = root / file
    name = function.partition("[")[0]
    return path.is_file() and (not name or f"def {name}(" in path.read_text(encoding="utf-8"))


def listed(path: Path = LIST) -> Sequence[Mutation]:
    """Every entry of the list, the cheap ones first. Raises ValueError for two of one name."""
    with path.open("rb") as file:
        entries: list[dict[str, Any]] = tomllib.load(file)["mutation"]
    mutations = [Mutation(tests=tuple(entry.pop("tests")), **entry) for entry in entries]
    names = [mutation.name for mutation in mutations]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"Two mutations are called {min(repeated)}.")
    return sorted(mutations, key=lambda mutation: mutation.cost)


def sample(mutations: Sequence[Mutation], number: int, seed: str) -> Sequence[Mutation]:
    """Some entries, the same for the same seed: a third of them from those that need stores, which take long."""
    chance = random.Random(seed)
    cheap, dear = ([one for one in mutations if one.stores is stores] for stores in (False, True))
    of_dear = min(len(dear), number // 3)
    chosen = chance.sample(cheap, min(len(cheap), number - of_dear)) + chance.sample(dear, of_dear)
    return sorted(chosen, key=lambda mutation: mutation.cost)
