"""No statement of a loader names a column that the caller's view hides; what a view shows is still asked for."""

from __future__ import annotations

import re

import pytest

from db.declared import hidden, kinds, tables
from db.policy import Form, Phi, View
from db.postgres import statement_name
from loaders.statement import Columns, Statement
from tests.rules.test_sql import STATEMENTS, VIEWS, sql_of

SELECTED = re.compile(r"\bSELECT\s+(.*?)\s+FROM\b", re.DOTALL)
SOURCES = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)(?:\s+AS\s+(\w+))?")
LITERALS = re.compile(r"'[^']*'|::\w+")
"""Texts and types in a statement: keys of the JSON that it writes, and the type text, are named as columns are."""
KEYS = {
    "patient_id_by_mrn": {"registration.mrn"},
    "latest_vital_signs_of_patients": {"vital_sign.code"},
    "latest_vital_signs_of_charts": {"vital_sign.code"},
}
"""What statements go by, as a filter does; nobody from whom it is hidden sends them (see test_recorded)."""
ROWS = "id"
"""Column whose kind is that of the row's existence: where a view hides it there are no rows."""


def selected(sql: str) -> list[str]:
    """SELECT lists of a statement, inner ones too."""
    lists = SELECTED.findall(sql)
    return lists + [inner for one in lists if "SELECT" in one for inner in selected(one.partition("SELECT")[2])]


def sources(sql: str) -> dict[str, str]:
    """Declared tables that a statement reads, by the name that it calls them."""
    return {alias or table: table for table, alias in SOURCES.findall(sql) if table in tables()}


def named_although_hidden(sql: str, seen: View) -> set[str]:
    """Hidden columns that occur in a SELECT list of a statement, as table.column."""
    sql = LITERALS.sub("''", sql)
    words = {word for one in selected(sql) for word in re.findall(r"[\w.]+", one)}
    read = sources(sql)
    return {
        f"{table}.{column}"
        for called, table in read.items()
        for column in hidden(seen, table)
        if f"{called}.{column}" in words or (column in words and (called == table or len(read) == 1))
    }


def exists(sql: str, seen: View) -> bool:
    """Whether the tables of a statement have rows in a view."""
    return not any(ROWS in hidden(seen, table) for table in sources(sql).values())


@pytest.mark.parametrize("seen", VIEWS, ids=lambda seen: seen.name)
def test_statements_leave_hidden_columns_out(seen: View) -> None:
    looked_at = 0
    for _, statement in STATEMENTS:
        sql = sql_of(statement, seen)
        if exists(sql, seen):
            looked_at += 1
            assert named_although_hidden(sql, seen) <= KEYS.get(statement_name(sql), set()), statement_name(sql)
    assert looked_at > 15


def test_the_search_finds_what_is_not_left_out() -> None:
    """What the test above looks with: the statement of whoever sees all, judged by a view that hides something."""
    [registrar] = [seen for seen in VIEWS if seen.name == "registrar"]
    [cds] = [seen for seen in VIEWS if seen.name == "cds"]
    full = {statement_name(sql_of(statement)): sql_of(statement) for _, statement in STATEMENTS}
    assert "encounter.details" in named_although_hidden(full["encounters_of_patients"], registrar)
    assert named_although_hidden(full["latest_lab_results_of_patients"], cds) == {
        "lab_result.note",
        "lab_result.value_text",
    }
    assert "patient.address" in named_although_hidden(full["patient_by_id"], cds)
    assert "registration.mrn" in named_although_hidden(full["patient_by_id"], cds)
    assert named_although_hidden(full["vital_sign_by_key"], cds) == {"vital_sign.device_id"}


@pytest.mark.parametrize("seen", VIEWS, ids=lambda seen: seen.name)
def test_shown_columns_are_asked_for(seen: View) -> None:
    for _, statement in STATEMENTS:
        if isinstance(statement, Statement):
            for columns in statement.columns:
                gone = hidden(seen, columns.table) - {ROWS}
                words = set(re.findall(r"\w+", columns.without(gone)))
                assert {name for name in columns.names if name not in gone} <= words, columns.table
                assert columns.without(gone).split(", ").count("NULL") == len(gone & set(columns.names))


def test_a_view_has_one_text() -> None:
    """A pool keeps prepared statements by their text."""
    for _, statement in STATEMENTS:
        for seen in VIEWS:
            assert sql_of(statement, seen) is sql_of(statement, seen)


def test_parts_are_hidden_when_all_of_them_are() -> None:
    forms = {kind: Form.SHOW for kind in Phi}

    def gone(table: str, *without: Phi) -> frozenset[str]:
        return hidden(View("test", VIEWS[0].profile, (), forms | dict.fromkeys(without, Form.HIDE)), table)

    assert gone("patient") == frozenset()
    assert gone("patient", Phi.PHONE, Phi.FAX) == frozenset()
    assert gone("patient", Phi.PHONE, Phi.FAX, Phi.EMAIL) == {"telecom"}
    assert gone("patient", Phi.NAME) == {"contact"}
    assert gone("encounter", Phi.FREE_TEXT) == frozenset()
    assert "details" in gone("encounter", Phi.CLINICAL)
    identifiers = (Phi.MEDICAL_RECORD_NUMBER, Phi.SSN, Phi.LICENSE_NUMBER, Phi.HEALTH_PLAN_NUMBER, Phi.ACCOUNT_NUMBER)
    assert gone("patient_identifier", *identifiers) == frozenset()
    assert gone("patient_identifier", *identifiers, Phi.OTHER_IDENTIFIER) == {"value"}


def test_columns_must_be_declared() -> None:
    assert kinds("condition")["note"] == "FREE_TEXT"
    with pytest.raises(KeyError):
        Columns("condition", "id, nothing_of_the_kind")
    with pytest.raises(KeyError):
        Columns("nothing_of_the_kind", "id")
