"""Load on one server: answers a second, times and CPU of a few seconds; and single answers for the check."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import orjson

from db.errors import AppError
from tests.bench.engines.servers import Running, cpu_ms, tree, wrk

SCRIPT = Path(__file__).with_name("post.lua")
TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Measured:
    """A few seconds of one server, one question and one number of connections."""

    rate: float
    """Answers a second."""
    p50_ms: float
    p99_ms: float
    server_ms: float
    """CPU of the server's process for each answer."""
    postgres_ms: float
    """CPU of PostgreSQL's processes for each answer, the audit's writing among them."""

    def __str__(self) -> str:
        return (
            f"{self.rate:8.1f}/s  p50 {self.p50_ms:7.1f} ms  p99 {self.p99_ms:7.1f} ms  "
            f"CPU {self.server_ms:6.2f} + {self.postgres_ms:6.2f} ms"
        )


def ask(url: str, body: bytes, authorization: str) -> Any:
    """`data` of one answer. Raises AppError for an answer with errors."""
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Authorization": authorization}
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        answer = orjson.loads(response.read())
    if answer.get("errors"):
        raise AppError(f"{url} answered with {answer['errors'][0]}.")
    return answer["data"]


def measure(
    running: Running,
    bodies: Sequence[bytes],
    connections: int,
    seconds: float,
    authorization: str,
    postgres: int,
    folder: Path,
) -> Measured:
    """Asks for so many seconds over so many connections. Raises AppError where an answer failed."""
    file = folder / "bodies"
    file.write_bytes(b"\n".join(bodies) + b"\n")
    program = wrk()
    if program:
        options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s"]
        command = [
            program,
            *options,
            "--timeout",
            f"{TIMEOUT_S}s",
            "--script",
            str(SCRIPT),
            running.url,
            "--",
            str(file),
        ]
    else:
        command = [
            sys.executable,
            "-m",
            "tests.bench.engines.client",
            running.url,
            str(connections),
            str(seconds),
            str(file),
        ]
    before = cpu_ms([running.pid]), cpu_ms(tree(postgres))
    done = subprocess.run(
        command, env=os.environ | {"BENCH_AUTHORIZATION": authorization}, capture_output=True, text=True
    )
    after = cpu_ms([running.pid]), cpu_ms(tree(postgres))
    if done.returncode:
        raise AppError(f"The load generator failed: {(done.stderr or done.stdout)[-500:]}")
    found = orjson.loads(done.stdout.splitlines()[-1])
    answers = found["requests"]
    if found["failed"]:
        raise AppError(f"{running.server.label}: {found['failed']} of {answers} answers failed.")
    if not answers:  # slower than the time that it was given
        return Measured(0, inf, inf, inf, inf)
    server, database = ((late - early) / answers for early, late in zip(before, after, strict=True))
    return Measured(answers / found["seconds"], found["p50_ms"], found["p99_ms"], server, database)
