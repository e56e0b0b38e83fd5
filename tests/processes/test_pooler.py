"""Behind PgBouncer in transaction mode: contexts verify in whichever session they land, and in no other."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from db.caller import Profile
from db.context import role_password
from db.postgres import STATEMENTS_MAX
from db.roles import WORKER
from db.settings import Pooler, Settings
from db.stores import Stores
from tests.asking import Graph
from tests.processes.pgbouncer import PGBOUNCER, keeps_statements

START_S = 20
SESSIONS = 2
"""Sessions of the server that all clients of a login share."""
PATIENTS = "{ patients(first: 3) { nodes { id mrn encounters(first: 2) { nodes { id } } } } }"
PREPARED = "/* prepared */ SELECT statement FROM pg_prepared_statements WHERE statement LIKE '/* prepared */%'"
STATE = "/* state */ SELECT pg_backend_pid(), current_setting('app.context', true)"

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="PgBouncer is not installed (Debian: apt-get install pgbouncer)"
)


@pytest.fixture(scope="module", params=[Pooler.TRANSACTION, Pooler.PREPARED], ids=lambda pooler: pooler.value)
def pooled(request: pytest.FixtureRequest, network: Settings) -> Iterator[Settings]:
    """Settings that lead through PgBouncer, which has two sessions for each login."""
    pooler: Pooler = request.param
    if pooler is Pooler.PREPARED and not keeps_statements():
        pytest.skip("PgBouncer before 1.21 keeps no prepared statements")
    there = urlsplit(network.clinical_url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    roles = [WORKER, *(f"caregraph_{profile.value}" for profile in Profile)]
    users = "".join(f'"{role}" "{role_password(network.secret, role)}"\n' for role in roles)
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as data:
        folder = Path(data)
        (folder / "users").write_text(users)
        (folder / "ini").write_text(
            f"[databases]\n* = host={there.hostname} port={there.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {folder / 'users'}\n"
            f"pool_mode = transaction\ndefault_pool_size = {SESSIONS}\nlogfile = {folder / 'log'}\n"
            + (f"max_prepared_statements = {STATEMENTS_MAX}\n" if pooler is Pooler.PREPARED else "")
        )
        command = [str(PGBOUNCER), str(folder / "ini")]
        if os.geteuid() == 0:  # which PgBouncer refuses to be
            user = pwd.getpwnam("nobody")
            for path in (folder, *folder.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)
            command += ["--user", user.pw_name]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            listening(port, process)
            url = urlunsplit(there._replace(netloc=f"unused:unused@127.0.0.1:{port}"))
            yield replace(network, clinical_url=url, clinical_direct_url=network.clinical_url, pooler=pooler)
        finally:
            process.terminate()
            process.wait(20)


def listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until PgBouncer takes connections."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "PgBouncer ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("PgBouncer did not start")


async def test_answers_are_the_same(pooled: Settings, graph: Graph) -> None:
    """Of several profiles at once, more than there are sessions."""
    stores = Stores(pooled)
    behind = Graph(pooled, stores, graph.facilities)
    profiles = (Profile.CLINICIAN, Profile.NURSE, Profile.CDS) * 4
    answers = await asyncio.gather(*(behind.ask(PATIENTS, profile) for profile in profiles))
    await stores.close()
    for profile, answer in zip(profiles, answers, strict=True):
        direct = await graph.ask(PATIENTS, profile)
        assert answer.data["patients"]["nodes"]
        assert answer.data == direct.data
        # Charts that other tests have closed are refused behind the pooler as they are without it.
        assert answer.errors == direct.errors


async def test_statements_stay_prepared_where_the_pooler_keeps_them(pooled: Settings) -> None:
    """Once in each session of the server, however many clients send them."""
    stores = Stores(pooled)
    for _ in range(3):
        await stores.clinical.worker_fetch(PREPARED)
    prepared = await stores.clinical.worker_fetch(PREPARED)
    await stores.close()
    assert [row[0] for row in prepared] == ([PREPARED] if pooled.pooler is Pooler.PREPARED else [])


async def test_what_is_said_in_a_session_ends_with_its_transaction(pooled: Settings, graph: Graph) -> None:
    """Requests of one client land in sessions that others have used, and find no context of theirs."""
    stores = Stores(pooled)
    for facility in (0, 1) * 4:
        session = stores.clinical.session(graph.caller(Profile.NURSE, facility), lambda store, statement: None)
        [(pid, context)] = await session.fetch(STATE)
        await session.close()
        await stores.clinical.connections.settled()
        fields = context.split("|")
        assert (fields[1], fields[-3]) == (str(graph.facilities[facility].id), str(pid))
        async with stores.clinical.connections.lent("caregraph_nurse") as connection:
            assert not await connection.fetchval("SELECT current_setting('app.context', true)")
    await stores.close()


async def test_writes_and_notifications_pass(pooled: Settings, graph: Graph) -> None:
    """A broken glass is written through the pooler and heard past it."""
    stores = Stores(pooled)
    behind = Graph(pooled, stores, graph.facilities)
    officer = behind.caller(Profile.PRIVACY_OFFICER)
    told = behind.subscribe_as(officer, "subscription { breakGlassGrants { grants { id } } }")
    telling = asyncio.ensure_future(anext(told))
    [patient] = (await behind.ask("{ patients(first: 1) { nodes { id } } }")).data["patients"]["nodes"]
    grants: list[str] = []
    for _ in range(100):  # nobody says when the officer's source listens
        answer = await behind.ask(
            'mutation ($p: ID!) { breakGlass(patient: $p, reason: "Unconscious in the emergency room") { id } }',
            p=patient["id"],
        )
        grants.append(answer.data["breakGlass"]["id"])
        if (await asyncio.wait([telling], timeout=0.2))[0]:
            break
    assert (await telling).data["breakGlassGrants"]["grants"][0]["id"] in grants
    await told.aclose()
    await stores.close()
