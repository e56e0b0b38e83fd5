"""GraphiQL in a real browser: loads under the strict policy, answers, masks by persona, and keeps nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio

from tests.browser.chromium import EXECUTABLE, Page, open_page

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(EXECUTABLE is None, reason="needs Chromium: Debian's package chromium is not installed"),
]

FIRST_PATIENT = "query FirstPatient { patients(first: 1) { edges { node { id birthDate name { family } } } } }"

EXAMPLE_TABS = ["Chart", "Ward", "Wards", "Trends", "Notes", "Imaging", "Whom", "Charts"]

REASON = "Unconscious in the emergency department"
BREAK_GLASS = f'mutation ($id: ID!) {{ breakGlass(patient: $id, reason: "{REASON}") {{ id }} }}'

_EDITOR = "document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror"
_ANSWER = "document.querySelector('.result-window .CodeMirror').CodeMirror"
_IDLE = "document.querySelector('.graphiql-execute-button').getAttribute('aria-label').startsWith('Execute')"


class Api(Protocol):
    """A running server with demo data."""

    @property
    def url(self) -> str:
        """Base URL, without a slash at its end."""
        ...


@pytest_asyncio.fixture
async def page(api: Api) -> AsyncGenerator[Page]:
    """GraphiQL, loaded and with the schema read."""
    async with open_page(f"{api.url}/graphiql") as page:
        await page.wait_for(f"{_EDITOR.removesuffix('.CodeMirror')}?.CodeMirror.options.lint?.schema && true")
        yield page


async def answer(page: Page) -> dict[str, Any]:
    """The answer on screen, once the operation has ended."""
    return json.loads(str(await page.wait_for(f"{_IDLE} && {_ANSWER}.getValue()")))


async def ask(page: Page, query: str) -> dict[str, Any]:
    """Answer to a query typed into the active tab and run with the button."""
    await page.evaluate(f"void ({_EDITOR}.setValue({json.dumps(query)}), {_ANSWER}.setValue(''))")
    # GraphiQL reads the operation's name a moment after the last key; run sooner, it sends the name of the last query.
    await page.wait_for(f"{json.dumps(query)}.startsWith(`query ${{{_EDITOR}.operationName}} `)")
    await page.click(".graphiql-execute-button")
    answered = await answer(page)
    assert "data" in answered
    return answered


async def choose_persona(page: Page, persona: str) -> None:
    """Chooses in the picker and waits until the choice is signed in."""
    picker = "document.querySelector('select[name=persona]')"
    await page.wait_for(f"!{picker}.disabled")
    await page.evaluate(
        f"void ({picker}.value = {json.dumps(persona)}, {picker}.dispatchEvent(new Event('change', {{bubbles: true}})))"
    )
    await page.wait_for(f"!{picker}.disabled && {picker}.value === {json.dumps(persona)}")


async def assert_undisturbed(page: Page, api: Api) -> None:
    """No policy violation, no error in the console, and no request to another origin so far."""
    assert await page.violations() == []
    assert page.errors == []
    assert {"{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in page.requests} == {api.url}


async def test_page_loads_without_violation_and_stays_on_its_origin(api: Api, page: Page) -> None:
    """The example tabs are there, a physician is signed in, and nothing was refused or fetched from elsewhere."""
    tabs = "[...document.querySelectorAll('.graphiql-tab-button')].map((tab) => tab.textContent)"
    assert await page.evaluate(tabs) == EXAMPLE_TABS
    assert await page.evaluate("document.querySelector('select[name=persona]').value") == "physician"
    await assert_undisturbed(page, api)


async def test_every_panel_and_dialog_opens_under_the_policy(api: Api, page: Page) -> None:
    """Documentation, history, shortcuts, settings, variables and completion style themselves without inline styles."""
    for label, panel in (
        ("Show Documentation Explorer", ".graphiql-doc-explorer"),
        ("Show History", ".graphiql-history"),
        ("Show editor tools", ".graphiql-editor-tool .CodeMirror"),
    ):
        await page.click(f"[aria-label='{label}']")
        await page.wait_for(f"document.querySelector('{panel}')?.offsetParent && true")
    for dialog in ("Open short keys dialog", "Open settings dialog"):
        await page.click(f"[aria-label='{dialog}']")
        await page.wait_for("document.querySelector('[role=dialog]')?.dataset.state === 'open'")
        await page.click(".graphiql-dialog-close")
        await page.wait_for("!document.querySelector('[role=dialog]')")
    await page.evaluate(f"void ({_EDITOR}.setValue('{{ '), {_EDITOR}.focus(), {_EDITOR}.execCommand('goDocEnd'))")
    await page.evaluate(f"void {_EDITOR}.execCommand('autocomplete')")
    await page.wait_for("document.querySelector('.CodeMirror-hints') && true")
    await assert_undisturbed(page, api)


async def test_query_is_answered_on_screen(api: Api, page: Page) -> None:
    """A query that is typed and run shows its data."""
    edges = (await ask(page, FIRST_PATIENT))["data"]["patients"]["edges"]
    assert edges[0]["node"]["birthDate"]
    await assert_undisturbed(page, api)


async def test_persona_decides_what_is_masked(page: Page) -> None:
    """The same query as an analyst is asked again by itself, and the birth date that a physician saw is masked."""
    physician = await ask(page, FIRST_PATIENT)
    await choose_persona(page, "analyst")
    analyst = await answer(page)

    def masked(answered: dict[str, Any]) -> str:
        return json.dumps(answered.get("extensions", {}).get("phi"))

    assert "Patient.birthDate" not in masked(physician)
    assert "Patient.birthDate" in masked(analyst)
    assert physician["data"] != analyst["data"]


async def test_answers_do_not_outlive_their_caller(page: Page) -> None:
    """What a tab in the background showed to a physician is gone once a nurse has signed in."""
    await ask(page, FIRST_PATIENT)
    await page.click(".graphiql-tab:nth-of-type(2) .graphiql-tab-button")
    await page.wait_for(f"{_EDITOR}.getValue().includes('query Ward')")
    await choose_persona(page, "nurse")
    await page.click(".graphiql-tab:nth-of-type(1) .graphiql-tab-button")
    await page.wait_for(f"{_EDITOR}.getValue().includes('query FirstPatient')")
    assert await page.evaluate(f"{_ANSWER}.getValue()") == ""


async def test_nothing_is_kept_and_no_query_is_in_a_url(api: Api, page: Page) -> None:
    """After a query and a choice of theme every store of the browser is empty, and each URL is a bare path."""
    await ask(page, FIRST_PATIENT)
    await page.click("[aria-label='Open settings dialog']")
    await page.click("[data-theme=dark]")
    await page.wait_for("document.body.classList.contains('graphiql-dark')")
    # GraphiQL writes its tabs half a second after the last change: long enough for a write that must not come.
    await page.evaluate("new Promise((resolve) => setTimeout(resolve, 1000))")
    kept = await page.evaluate(
        "(async () => [localStorage.length, sessionStorage.length, document.cookie,"
        " (await indexedDB.databases()).length, (await caches.keys()).length])()"
    )
    assert kept == [0, 0, "", 0, 0]
    assert await page.evaluate("location.href") == f"{api.url}/graphiql"
    assert [url for url in page.requests if urlsplit(url).query or urlsplit(url).fragment] == []


async def test_privacy_officer_watches_the_glass_break(api: Api, page: Page) -> None:
    """A subscription is told, over the page's own socket, of what another caller does meanwhile."""
    await choose_persona(page, "privacy")
    facility = await page.evaluate("document.querySelector('select[name=facility]').value")
    watch = "subscription Watch { breakGlassGrants { grants { reason } } }"
    await page.evaluate(f"void ({_EDITOR}.setValue({json.dumps(watch)}), {_ANSWER}.setValue(''))")
    await page.wait_for(f"{_EDITOR}.operationName === 'Watch'")
    await page.click(".graphiql-execute-button")
    async with aiohttp.ClientSession(api.url) as http:
        async with http.post("/demo/token", json={"persona": "physician", "facility": facility}) as issued:
            http.headers["Authorization"] = f"Bearer {(await issued.json())['token']}"
        async with http.post("/graphql", json={"query": "{ patients(first: 1) { nodes { id } } }"}) as found:
            patient = (await found.json())["data"]["patients"]["nodes"][0]["id"]
        for _ in range(100):  # nobody says when the officer's page listens
            async with http.post("/graphql", json={"query": BREAK_GLASS, "variables": {"id": patient}}) as answered:
                assert "errors" not in await answered.json()
            if REASON in str(await page.evaluate(f"{_ANSWER}.getValue()")):
                break
            await asyncio.sleep(0.2)
    assert REASON in str(await page.evaluate(f"{_ANSWER}.getValue()"))
    assert await page.violations() == []
