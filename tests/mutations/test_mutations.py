"""The list of mutations fits the tree, and the runner tells a guard that is tested from one that is not."""

from __future__ import annotations

import subprocess

import pytest

from tests.mutations.mutant import ROOT, Mutation, listed, sample
from tests.mutations.trial import Tree, Verdict

GUARD = "def allowed(age: int) -> bool:\n    return age >= 18\n"
TESTS = """
from guard import allowed

def test_held():
    assert not allowed(17)

def test_not_held():
    assert allowed(40)

def test_not_set_up(missing):
    assert not allowed(17)
"""


@pytest.mark.parametrize("mutation", listed(), ids=lambda mutation: mutation.name)
def test_an_entry_fits_the_tree(mutation: Mutation) -> None:
    assert mutation.fault(ROOT) is None
    assert mutation.why.endswith(".")


def test_a_seed_makes_the_same_sample() -> None:
    mutations = listed()
    chosen = sample(mutations, 6, "seed")
    assert chosen == sample(mutations, 6, "seed")
    assert [one.stores for one in chosen] == [False] * 4 + [True] * 2
    assert len({tuple(sample(mutations, 6, str(seed))) for seed in range(10)}) > 1


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A copy of a small tree with one guard."""
    root = tmp_path_factory.mktemp("small")
    (root / "guard.py").write_text(GUARD)
    (root / "test_guard.py").write_text(TESTS)
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return Tree(root, tmp_path_factory.mktemp("trial"))


@pytest.mark.parametrize(
    ("old", "new", "test", "verdict"),
    [
        ("age >= 18", "True", "test_held", Verdict.KILLED),
        ("age >= 18", "True", "test_not_held", Verdict.SURVIVED),
        ("age >= 18", "True", "test_not_set_up", Verdict.NOT_RUN),
        ("age >= 18", "age >=", "test_held", Verdict.NOT_RUN),
        ("age >= 21", "True", "test_held", Verdict.STALE),
        ("age", "year", "test_held", Verdict.STALE),
        ("age >= 18", "True", "test_gone", Verdict.STALE),
    ],
)
def test_verdicts(tree: Tree, old: str, new: str, test: str, verdict: Verdict) -> None:
    mutation = Mutation("age", "guard.py", old, new, (f"test_guard.py::{test}",), "Minors stay out.")
    assert tree.trial(mutation).verdict is verdict
    assert (tree.root / "guard.py").read_text() == GUARD
