"""Trying a mutation: in a copy of the tree, with exactly its tests, and with stores of its own where they need some."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutations.mutant import Mutation

TIMEOUT_S = 600
"""Seconds that the tests of one mutation may take."""


class Verdict(Enum):
    """What the tests of a mutation said."""

    KILLED = "killed"
    """A test failed: the guard is held by it."""
    SURVIVED = "SURVIVED"
    """Every test passed without the guard."""
    NOT_RUN = "NOT RUN"
    """No test failed, because they could not be collected or set up, or took too long."""
    STALE = "STALE"
    """The entry no longer fits the tree."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Verdict of one mutation, what led to it, and the seconds that it took."""

    verdict: Verdict
    detail: str
    seconds: float


class Tree:
    """A copy of a working tree, with what git does not ignore, and the environment that its tests run in."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = folder / "tree"
        self._folder = folder
        self._template = folder / "template"
        _copy(root, self.root)

    def trial(self, mutation: Mutation) -> Outcome:
        """Outcome of the mutation's tests with the guard taken out; the copy is whole again afterwards."""
        started = time.monotonic()
        fault = mutation.fault(self.root)
        if fault:
            return Outcome(Verdict.STALE, fault, 0)
        path = self.root / mutation.file
        whole = path.read_text(encoding="utf-8")
        with self._data(mutation) as environ:
            path.write_text(whole.replace(mutation.old, mutation.new), encoding="utf-8")
            try:
                verdict, detail = self.run(mutation.tests, environ)
            finally:
                path.write_text(whole, encoding="utf-8")
        return Outcome(verdict, detail, time.monotonic() - started)

    def run(self, tests: Sequence[str], environ: dict[str, str]) -> tuple[Verdict, str]:
        """Verdict of these tests, up to the first that fails, and its name."""
        report = self._folder / "report.xml"
        report.unlink(missing_ok=True)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", f"--junitxml={report}"]
        command = [sys.executable, "-m", "pytest", *options, *tests]
        try:
            done = subprocess.run(
                command, cwd=self.root, env=_environ() | environ, capture_output=True, text=True, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            return Verdict.NOT_RUN, f"not done in {TIMEOUT_S} s"
        if not report.exists():
            return Verdict.NOT_RUN, (done.stderr or done.stdout).strip().splitlines()[-1]
        return _read(report)

    @contextmanager
    def _data(self, mutation: Mutation) -> Generator[dict[str, str]]:
        """Environment of a trial: where its stores are, a copy of the template's unless they must be made anew."""
        if not mutation.stores or mutation.fresh:
            yield {}
            return
        if not self._template.exists():
            command = [sys.executable, "-m", "tests.mutations.template", str(self._template)]
            subprocess.run(command, cwd=self.root, env=_environ(), check=True)
        with TemporaryDirectory(prefix="caregraph-", ignore_cleanup_errors=True) as data:
            # cp keeps the owner: PostgreSQL runs as a user of its own where we are root.
            subprocess.run(["cp", "-a", f"{self._template}/.", data], check=True)
            yield {"CAREGRAPH_TEST_DATA": data}


def _copy(root: Path, target: Path) -> None:
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in sorted({name for name in names if name and (root / name).is_file()}):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)
    if (root / ".venv").exists():
        (target / ".venv").symlink_to((root / ".venv").resolve())


def _environ() -> dict[str, str]:
    """Ours without Caregraph's settings; nothing compiled is kept, since a mutation may come within a clock tick."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CAREGRAPH_", "PYTEST_"))}
    return ours | {"PYTHONDONTWRITEBYTECODE": "1"}


def _read(report: Path) -> tuple[Verdict, str]:
    cases = list(ElementTree.parse(report).iter("testcase"))
    for kind, verdict in (("failure", Verdict.KILLED), ("error", Verdict.NOT_RUN)):
        for case in cases:
            if case.find(kind) is not None:
                return verdict, f"{case.get('classname')}::{case.get('name')}"
    passed = [case for case in cases if case.find("skipped") is None]
    return (Verdict.SURVIVED, f"{len(passed)} tests pass") if passed else (Verdict.NOT_RUN, "every test is skipped")
