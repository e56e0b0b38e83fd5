"""`pooler`: every kind of request through PgBouncer in transaction mode, compared with what it answers without.

Needs `pgbouncer` on the path (Debian: apt-get install pgbouncer), 1.21 or later for prepared statements. It gets fewer
connections to the server than requests are asked at once, so that each transaction is on another one.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from db.audit import AuditLog, Event, EventKind
from db.caller import Profile
from db.context import role_password
from db.errors import AuditUnavailable
from db.postgres import STATEMENTS_MAX
from db.roles import AUDIT, WORKER
from db.settings import Pooler, Settings, load
from db.stores import Stores
from tests.asking import Graph
from tests.bench.capacity.documents import DOCUMENTS, Document, chosen
from tests.bench.capacity.measuring import MINUTES, POPULATION, PROFILES, variables_of
from tests.bench.capacity.tables import table
from tests.processes.pgbouncer import PGBOUNCER, keeps_statements
from workers.demo import load as load_demo
from workers.embedded.stores import stores
from workers.migrate import migrate_all

AT_ONCE, ROUNDS = 16, 5
CONNECTIONS = 6
CONFIGURATION = """[databases]
clinical = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 3
max_db_connections = {connections}
{prepared}
ignore_startup_parameters = {ignored}
"""
NOBODY = "nobody"
"""Who runs PgBouncer where we are root, which it refuses to be."""


@contextmanager
def pooled(settings: Settings, folder: Path, ignored: str) -> Generator[str]:
    """URL of the clinical database through PgBouncer, which stops at the end. `ignored`: start-up parameters."""
    roles = [WORKER, AUDIT, *(f"caregraph_{profile.value}" for profile in Profile)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    users, configuration = folder / "users", folder / "pgbouncer.ini"
    users.write_text("".join(f'"{role}" "{role_password(settings.secret, role)}"\n' for role in roles))
    server = urlsplit(settings.clinical_url).port
    values = {"server": server, "port": port, "users": users, "connections": CONNECTIONS, "ignored": ignored}
    values["prepared"] = f"max_prepared_statements = {STATEMENTS_MAX}" if keeps_statements() else ""
    configuration.write_text(CONFIGURATION.format(**values))
    command = [str(PGBOUNCER), "-q", str(configuration)]
    if os.geteuid() == 0:
        for path in (folder, users, configuration):
            shutil.chown(path, NOBODY)
        command += ["-u", NOBODY]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        parts = urlsplit(settings.clinical_url)
        host = parts.netloc.rpartition(":")[0]
        yield urlunsplit(parts._replace(netloc=f"{host}:{port}"))
    finally:
        running.terminate()
        running.wait(5)


def comparable(value: Any) -> Any:
    """An answer without its URLs, which are signed anew each time."""
    if isinstance(value, dict):
        return {key: inner is not None if key == "presignedUrl" else comparable(inner) for key, inner in value.items()}
    return [comparable(inner) for inner in value] if isinstance(value, list) else value


async def same(graph: Graph, document: Document, variables: Mapping[str, Any], expected: Any) -> str:
    """How many of the answers are as they should be, and the codes of the others."""
    right, codes = 0, set[str]()
    for _ in range(ROUNDS):
        asked = (
            graph.ask(document.text, PROFILES[document.persona], **chosen(document, variables)) for _ in range(AT_ONCE)
        )
        for answer in await asyncio.gather(*asked):
            right += comparable(answer.data) == expected and not answer.errors
            codes.update(answer.codes)
    return f"{right} of {AT_ONCE * ROUNDS}" + (f", {', '.join(sorted(codes))}" if codes else "")


async def audited(settings: Settings, url: str, graph: Graph) -> str:
    """Whether the audit's writer gets through."""
    log = AuditLog(url, settings.secret, settings.store_timeout_s)
    try:
        await log.append(Event(EventKind.QUERY, "OK", "pooler", graph.caller()))
    except AuditUnavailable as error:
        return error.code
    finally:
        await log.close()
    return "1 of 1"


async def compared(data: Path) -> str:
    """A table of requests by how the API is told of the pooler."""
    with stores(data, {}, separate=("imaging", "vitals")) as running, tempfile.TemporaryDirectory() as folder:
        settings = load({**running.env, "CAREGRAPH_DATA": str(data)})
        await migrate_all(settings)
        await load_demo(settings, population=POPULATION, minutes=MINUTES, progress=lambda line: None)
        direct = Stores(settings)
        first = min(await direct.facilities(), key=lambda facility: facility.code)
        graph = Graph(settings, direct, [first])
        variables = (await variables_of(graph))[0]
        rows: dict[str, list[str]] = {}
        modes = [pooler for pooler in Pooler if pooler is not Pooler.PREPARED or keeps_statements()]
        with pooled(settings, Path(folder), "synchronous_commit") as url:
            for pooler in modes:
                # The other databases are reached directly: what the API sends is the same.
                through = replace(settings, clinical_url=url, pooler=pooler)
                opened = Stores(through)
                asked = Graph(through, opened, [first])
                for document in DOCUMENTS:
                    profile = PROFILES[document.persona]
                    expected = await graph.ask(document.text, profile, **chosen(document, variables))
                    answered = await same(asked, document, variables, comparable(expected.data))
                    rows.setdefault(f"`{document.kind}`", []).append(answered)
                await opened.close()
                rows.setdefault("audit, parameter ignored", []).append(await audited(settings, url, graph))
        with pooled(settings, Path(folder), "extra_float_digits") as url:
            rows["audit, as PgBouncer is installed"] = [await audited(settings, url, graph)] * len(modes)
        await direct.close()
    head = ("request", *(f"CAREGRAPH_POOLER={pooler.value}" for pooler in modes))
    return table(head, ([name, *answers] for name, answers in rows.items()))
