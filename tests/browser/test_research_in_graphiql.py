"""The way of an analyst through GraphiQL: a project, a dataset, its report, its rows and its files."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.asking import Graph
from tests.browser.chromium import EXECUTABLE, Page
from tests.browser.test_graphiql import Api, answer, assert_undisturbed, choose_persona
from tests.browser.test_graphiql import page as page  # the fixture
from tests.research.people import AGREEMENT, OTHER, officer, settled
from tests.writes.mutating import send, written
from workers.research.work import work

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(EXECUTABLE is None, reason="needs Chromium: Debian's package chromium is not installed"),
]

_EDITOR = "document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror"
_ANSWER = "document.querySelector('.result-window .CodeMirror').CodeMirror"
_TOOL = "document.querySelectorAll('.graphiql-editor-tool .CodeMirror')[1]"
_HEADERS = (
    "[...document.querySelectorAll('.graphiql-editor-tools button')].find((one) => one.textContent === 'Headers')"
)


async def run(page: Page, document: str) -> Any:
    """Data of the one root field of an operation, typed into the active tab and run with the button."""
    named = re.match(r"(?:query|mutation) (\w+)", document)
    assert named
    await page.evaluate(f"void ({_EDITOR}.setValue({json.dumps(document)}), {_ANSWER}.setValue(''))")
    await page.wait_for(f"{_EDITOR}.operationName === '{named[1]}'")
    await page.click(".graphiql-execute-button")
    answered = await answer(page)
    assert "errors" not in answered, answered
    [found] = answered["data"].values()
    return found


async def ask_for_research(page: Page) -> None:
    """Types the purpose of use into the editor of headers."""
    await page.click("[aria-label='Show editor tools']")
    await page.wait_for(f"{_HEADERS} && true")
    await page.evaluate(f"void {_HEADERS}.click()")
    await page.wait_for(f"{_TOOL}?.offsetParent && true")
    await page.evaluate(f"void {_TOOL}.CodeMirror.setValue({json.dumps(json.dumps({'Caregraph-Purpose': 'HRESCH'}))})")


async def test_an_analyst_gets_a_dataset(api: Api, page: Page, graph: Graph) -> None:
    await settled(graph.stores)
    await choose_persona(page, "analyst")
    await ask_for_research(page)
    codes = [facility.code for facility in graph.facilities]
    home = codes.index(str(await page.evaluate("document.querySelector('select[name=facility]').value")))
    other = 0 if home == OTHER else OTHER
    asked = ", ".join(f'"Facility/{graph.facilities[one].id}"' for one in (home, other))
    proposed = await run(
        page,
        f'mutation Propose {{ proposeResearchProject(input: {{idempotencyKey: "browser-1", name: "Browsing", '
        f'aim: "To browse", facilityIds: [{asked}]}}) {{ project {{ id version }} userErrors {{ code }} }} }}',
    )
    project = proposed["project"]
    terms = {**project, "methods": ["LIMITED"], "dataUseAgreement": AGREEMENT}
    written(await send(graph, "approveResearchProject", "project { id }", officer(graph, home), **terms))
    given = {"projectId": project["id"]}
    written(await send(graph, "approveResearchFacility", "project { id }", officer(graph, other), **given))

    requested = await run(
        page,
        f'mutation Request {{ requestDataset(input: {{idempotencyKey: "browser-2", projectId: "{project["id"]}", '
        'name: "Browsing", method: LIMITED, tables: ["patients", "conditions"]}) '
        "{ patientCountText extraction { id state } userErrors { code message } } }",
    )
    assert requested["extraction"]["state"] == "QUEUED"
    await work(graph.settings, at_once=1, bytes_per_s=None, until_empty=True)
    progress = await run(
        page,
        f'query Progress {{ node(id: "{requested["extraction"]["id"]}") {{ ... on ResearchExtraction '
        "{ state error progress { rowsDone partitionsDone partitions } } } }",
    )
    assert (progress["state"], progress["progress"]["partitionsDone"]) == ("PUBLISHED", 1)

    listed = await run(page, "query List { researchDatasets(first: 100) { nodes { id title } } }")
    [dataset] = [one["id"] for one in listed["nodes"] if one["title"] == "Browsing"]
    release = await run(
        page,
        f'query Release {{ researchDataset(id: "{dataset}") {{ version report {{ patientsOut findings }} '
        "tables { name rowCount rows(first: 2) { nodes { researchId values } } "
        "files(first: 1) { nodes { rows presignedUrl(expiresIn: 60) } } } } }",
    )
    assert release["report"]["findings"] == 0
    [patients, conditions] = release["tables"]
    assert patients["rowCount"] == release["report"]["patientsOut"] == patients["files"]["nodes"][0]["rows"]
    assert conditions["rows"]["nodes"][0]["values"]
    await assert_undisturbed(page, api)
