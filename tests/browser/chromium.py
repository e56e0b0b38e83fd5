"""Headless Chromium driven over the Chrome DevTools Protocol, with aiohttp's websocket as the only driver."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

EXECUTABLE = shutil.which("chromium") or shutil.which("chromium-browser")
"""Path of the browser, or None on a machine without one."""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1440,900",
    "--remote-debugging-port=0",
)

_DEADLINE_S = 30
"""How long a page may take for anything a test waits for, on a loaded machine."""

_RECORD_VIOLATIONS = """
window.cspViolations = [];
document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sourceFile, lineNumber }) =>
  cspViolations.push(`${violatedDirective} ${blockedURI} ${sourceFile}:${lineNumber}`));
"""


class PageError(Exception):
    """The page threw while a script of the test ran in it, or refused a protocol command."""


@dataclass(slots=True)
class Page:
    """One tab, with what went wrong in it and the URLs it asked for since it opened."""

    socket: ClientWebSocketResponse
    errors: list[str] = field(default_factory=list[str])
    requests: list[str] = field(default_factory=list[str])
    _answers: dict[int, asyncio.Future[dict[str, Any]]] = field(
        default_factory=dict[int, "asyncio.Future[dict[str, Any]]"]
    )
    _commands_sent: int = 0

    async def send(self, method: str, **params: object) -> dict[str, Any]:
        """Result of one protocol command; raises PageError when the browser refuses it."""
        self._commands_sent += 1
        answer = asyncio.get_running_loop().create_future()
        self._answers[self._commands_sent] = answer
        await self.socket.send_json({"id": self._commands_sent, "method": method, "params": params})
        message: dict[str, Any] = await asyncio.wait_for(answer, _DEADLINE_S)
        if "error" in message:
            raise PageError(f"{method}: {message['error']['message']}")
        return message["result"]

    async def evaluate(self, script: str) -> object:
        """Value of a JavaScript expression, awaited when it is a promise."""
        result = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise PageError(result["exceptionDetails"]["exception"].get("description", "thrown value"))
        return result["result"].get("value")

    async def wait_for(self, script: str) -> object:
        """First truthy value of a JavaScript expression; raises PageError when it stays falsy."""
        deadline = asyncio.get_running_loop().time() + _DEADLINE_S
        while asyncio.get_running_loop().time() < deadline:
            if value := await self.evaluate(script):
                return value
            await asyncio.sleep(0.05)
        raise PageError(f"stayed falsy: {script}")

    async def click(self, selector: str) -> None:
        """Presses the left button of the mouse in the middle of an element, once nothing lies over it."""
        middle = await self.wait_for(
            f"""(() => {{
              const element = document.querySelector({json.dumps(selector)});
              const box = element?.getBoundingClientRect();
              const middle = box && {{x: box.x + box.width / 2, y: box.y + box.height / 2}};
              return middle && element.contains(document.elementFromPoint(middle.x, middle.y)) && middle;
            }})()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            position = cast(dict[str, float], middle)
            await self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **position)

    async def violations(self) -> object:
        """Everything that the content security policy refused on this page."""
        return await self.evaluate("cspViolations")

    async def open(self, url: str) -> None:
        """Navigates, recording policy violations from the first byte."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")
        await self.send("Page.addScriptToEvaluateOnNewDocument", source=_RECORD_VIOLATIONS)
        await self.send("Page.navigate", url=url)

    async def listen(self) -> None:
        """Hands answers to their commands and keeps the events that tests ask about, until the socket closes."""
        async for received in self.socket:
            if received.type is not WSMsgType.TEXT:
                continue
            message: dict[str, Any] = json.loads(received.data)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
            else:
                self._keep(message["method"], message["params"])

    def _keep(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(json.dumps(params["args"]))


async def _page_address(process: asyncio.subprocess.Process, profile: Path, http: ClientSession) -> str:
    """Websocket address of the first tab, once the browser has written its port into the profile."""
    port_file = profile / "DevToolsActivePort"
    async with asyncio.timeout(_DEADLINE_S):
        while not (port_file.exists() and port_file.read_text()):
            if process.returncode is not None:
                raise PageError(f"chromium ended with exit code {process.returncode} before it listened")
            await asyncio.sleep(0.05)
        port = port_file.read_text().split()[0]
        while True:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as response:
                targets: list[dict[str, str]] = await response.json()
            if pages := [target for target in targets if target["type"] == "page"]:
                return pages[0]["webSocketDebuggerUrl"]
            await asyncio.sleep(0.05)


@asynccontextmanager
async def open_page(url: str) -> AsyncGenerator[Page]:
    """A tab of a browser of its own, with a new profile that goes with it; raises PageError without EXECUTABLE."""
    if EXECUTABLE is None:
        raise PageError("no Chromium on this machine")
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            EXECUTABLE,
            *_FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with ClientSession() as http:
                address = await _page_address(process, Path(profile), http)
                async with http.ws_connect(address, max_msg_size=0) as socket:
                    page = Page(socket)
                    listener = asyncio.create_task(page.listen())
                    try:
                        await page.open(url)
                        yield page
                    finally:
                        listener.cancel()
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
