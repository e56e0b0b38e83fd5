"""Several processes of the API on one port: each answers, audits into one chain, and hears what others did."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from db.audit_chain import verify
from tests.asking import Graph
from tests.http_graph.test_socket import FIRST, Socket, broken_until_told
from tests.served import Api
from workers.embedded.stores import Stores as Embedded

ROOT = Path(__file__).parents[2]
START_S = 60
"""Seconds that a process may take to start on a busy machine."""
REQUESTS = 200
RECORDED = "SELECT count(DISTINCT id) FROM audit.event WHERE request_id = ANY ($1::text[])"


@dataclass(frozen=True)
class Running:
    """A process of the API, the port that it serves, and its log."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def api(self) -> Api:
        """It, as other tests know one."""
        return Api(f"http://127.0.0.1:{self.port}", self.log)

    @property
    def requests(self) -> set[str]:
        """Ids of the requests that it logged."""
        return set(re.findall(r" request=(\w+) operation=\w{12} ", self.log.read_text("utf-8")))


@pytest.fixture(scope="module")
def running(embedded: Embedded, graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Running]]:
    """Two processes on one port and a third on another."""
    logs = tmp_path_factory.mktemp("processes")
    ports = [free_port(), free_port()]
    processes: list[Running] = []
    try:
        for number, port in enumerate([ports[0], ports[0], ports[1]]):
            log = logs / f"api-{number}.log"
            environ = embedded.env | {
                "CAREGRAPH_DATA": str(graph.settings.data),
                "CAREGRAPH_DEMO": "1",
                "CAREGRAPH_PORT": str(port),
            }
            with log.open("wb") as output:
                command = [sys.executable, "-m", "graph.server"]
                process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environ, stdout=output, stderr=output)
            processes.append(Running(process, port, log))
            listening(process.pid)
        yield processes
    finally:
        for one in processes:
            one.process.terminate()
        assert [one.process.wait(20) for one in processes] == [-signal.SIGTERM] * len(processes)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def listening(pid: int) -> None:
    """Waits until a process listens on some port: of two on one port a request can't tell which one answers."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        sockets: set[str] = set()
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                sockets.add(os.readlink(entry))
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
        if any(fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets for fields in map(str.split, lines)):
            return
        time.sleep(0.1)
    raise AssertionError("a process of the API did not start")


async def test_processes_share_a_port_and_a_chain(running: Sequence[Running], graph: Graph) -> None:
    """Requests of many connections reach both, all at once, and each has its event in the one chain."""
    api, code = running[0].api, graph.facilities[0].code
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=16)) as http:
        async with http.post(f"{api.url}/demo/token", json={"persona": "physician", "facility": code}) as answer:
            headers = {"Authorization": f"Bearer {(await answer.json())['token']}"}

        async def ask() -> str:
            async with http.post(f"{api.url}/graphql", json={"query": FIRST}, headers=headers) as answer:
                assert (await answer.json())["data"]["patients"]["nodes"]
                return answer.headers["x-request-id"]

        asked = set(await asyncio.gather(*(ask() for _ in range(REQUESTS))))
    for _ in range(100):  # the line of the log comes after the answer
        if sum(len(asked & one.requests) for one in running) == REQUESTS:
            break
        await asyncio.sleep(0.1)
    first, second, other = (asked & one.requests for one in running)
    assert (len(first) + len(second), other) == (REQUESTS, set())
    assert first
    assert second
    owner = await asyncpg.connect(graph.settings.clinical_url)
    assert await owner.fetchval(RECORDED, list(asked)) == REQUESTS
    await owner.close()
    assert (await verify(graph.settings.clinical_url, graph.settings.secret)).broken is None


async def test_a_subscription_hears_of_other_processes(running: Sequence[Running], graph: Graph) -> None:
    """The glass is broken in one process, the officer is told by another."""
    code = graph.facilities[0].code
    async with aiohttp.ClientSession() as http:
        officer = await Socket(running[0].api, http).open("privacy", code)
        physician = await Socket(running[2].api, http).open("physician", code)
        _, grants, message = await broken_until_told(officer, physician)
    assert message["payload"]["data"]["breakGlassGrants"]["grants"][0]["id"] in grants
