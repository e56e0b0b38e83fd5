"""docs/security.md names only what is there: files, tests and mutations; and every mutation is in it."""

from __future__ import annotations

import re

import pytest

from tests.mutations.mutant import ROOT, defined, listed

TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
CODE = sorted(set(re.findall(r"`([^`\n]+)`", TEXT)))
PATHS = [code for code in CODE if re.fullmatch(r"[\w./-]+/[\w.-]+\.(py|sql|toml|md|yaml)(::\w+)?", code)]
ROWS = [[cell.strip() for cell in row.split("|")[1:-1]] for row in TEXT.splitlines() if row.startswith("| ")]
GUARDS = [row for row in ROWS if len(row) == 4 and row[0] != "threat"]


@pytest.mark.parametrize("path", PATHS)
def test_what_is_named_is_there(path: str) -> None:
    assert defined(ROOT, path)


@pytest.mark.parametrize("row", GUARDS, ids=lambda row: row[0][:60])
def test_every_guard_has_a_file_and_a_test(row: list[str]) -> None:
    _, guard, tests, _ = row
    assert any(f"`{path}`" in guard for path in PATHS)
    assert any(f"`{path}`" in tests and path.startswith("tests/") for path in PATHS)


def test_mutations_are_those_of_the_list() -> None:
    named = {name for row in GUARDS for name in re.findall(r"`([^`]+)`", row[3])}
    assert named == {mutation.name for mutation in listed()}
