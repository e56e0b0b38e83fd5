"""The audit names whose records were read: every statement gives patient_id, or says why it need not."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import pytest

from db.context import role_password
from db.notes_schema import COLLECTIONS
from db.policy import POLICY, Form, Phi, View
from db.postgres import login_url, statement_name
from db.settings import Settings
from tests.rules.test_sql import SEARCH, STATEMENTS, sql_of

OF_NOBODY = {
    "patients_of_caller": "whose records may be read, not what is in them",
    "research_budgets": "what a project may spend yet",
    "open_projects": "what the caller may see of research, which is about nobody",
    **dict.fromkeys(
        (
            "research_projects",
            "research_project_by_id",
            "facilities_of_research_projects",
            "members_of_research_projects",
            "research_request_by_id",
            "requests_of_research_projects",
            "research_extraction_by_id",
            "extractions_of_research_projects",
            "extractions_of_research_requests",
            "research_reidentification_by_id",
            "reidentifications_of_research_projects",
        ),
        "what researchers ask and are allowed; whom it is about, research_reidentified and research_holdings tell",
    ),
    "department_by_id": "a place",
    "departments_of_facilities": "places",
    "facility_by_id": "a place",
    "lab_test_by_id": "a catalogue",
    "medication_by_id": "a catalogue",
    "provider_by_id": "staff",
    "patient_ids_of_providers": "what is shown of these ids, patient_by_id reads",
    "break_glass": "a grant, which break_glass_grant_by_id reads",
    "review_break_glass": "a grant, which break_glass_grant_by_id reads",
    "participants_of_care_teams": "children of a care team, which was read with its patient",
    "explained": "which rule decides, not what is in a record",
    "explained_for": "which rule decides, not what is in a record",
    "copy_of_lab_results": "up to when a copy is complete",
    **dict.fromkeys(
        ("accesses_of_subject", "accesses_of_release"), "their patients are a list, which the loader notes"
    ),
}
"""Statements without patient_id, and why the audit loses nobody by them."""
VIEWS = list({seen.name: seen for seen in POLICY.views.values()}.values())


@pytest.mark.parametrize("seen", VIEWS, ids=lambda seen: seen.name)
async def test_every_statement_tells_whose_records_it_reads(configured: Settings, seen: View) -> None:
    urls = {"clinical": configured.clinical_url, "imaging": configured.imaging_url, "vitals": configured.vitals_url}
    role = f"caregraph_{seen.profile.value}"
    silent: list[str] = []
    for database, url in urls.items():
        connection = await asyncpg.connect(login_url(url, role, role_password(configured.secret, role)))
        try:
            await connection.execute(f"SET search_path = {seen.name}, public")
            for sql in (sql_of(statement, seen) for owner, statement in STATEMENTS if owner == database):
                if statement_name(sql) in SEARCH and seen.forms[Phi.NAME] is not Form.SHOW:
                    continue
                if "patient_id" not in await _columns(connection, sql):
                    silent.append(statement_name(sql))
        finally:
            await connection.close()
    assert set(silent) <= OF_NOBODY.keys()


async def _columns(connection: asyncpg.Connection, sql: str) -> Sequence[str]:
    prepared = await connection.prepare(sql)
    return [attribute.name for attribute in prepared.get_attributes()]


def test_no_reason_is_left_over() -> None:
    names = {statement_name(sql_of(statement)) for _, statement in STATEMENTS}
    assert OF_NOBODY.keys() <= names


def test_documents_keep_the_patient_that_they_are_about() -> None:
    for collection in COLLECTIONS:
        assert collection.kinds["metadata"] is None, f"{collection.name} may lose its patient to a mask"
