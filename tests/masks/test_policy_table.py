"""The generated table of the policy: as the policy is, and complete."""

from __future__ import annotations

from pathlib import Path

from db.caller import Reach
from db.policy import LABELS, POLICY, ROLES, VIEWS, Form, Phi
from db.policy_table import FORMS, KINDS, REACHES, markdown

TABLE = Path(__file__).parents[2] / "docs" / "policy.md"


def test_the_table_is_that_of_the_policy() -> None:
    assert TABLE.read_text(encoding="utf-8") == markdown(), "run `python -m db.policy_table > docs/policy.md`"


def test_everything_of_the_policy_is_in_the_table() -> None:
    assert (KINDS.keys(), FORMS.keys(), REACHES.keys()) == (set(Phi), set(Form), set(Reach))
    table = markdown()
    for name in [*ROLES, *LABELS, *(view.profile.value for view in POLICY.views.values())]:
        assert name in table, name


def test_each_form_of_a_profile_is_in_its_column() -> None:
    lines = markdown().splitlines()
    views = VIEWS
    for kind in Phi:
        [row] = [line for line in lines if line.startswith(f"| {KINDS[kind]} |")]
        cells = [cell.strip() for cell in row.strip("|").split("|")][1:]
        assert cells == [FORMS[view.forms[kind]][0] for view in views], kind
