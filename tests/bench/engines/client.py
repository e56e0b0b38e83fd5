"""`python -m tests.bench.engines.client URL CONNECTIONS SECONDS FILE`: the load where there is no wrk, as post.lua.

A process of its own: one connection asks again as soon as it has its answer.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import orjson

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
OK = b"HTTP/1.1 200"


async def connection(
    host: str, port: int, requests: Iterator[bytes], until: float, times: list[float], sizes: list[int]
) -> int:
    """Asks until a moment; the number of answers that failed."""
    reader, writer = await asyncio.open_connection(host, port, limit=2**26)
    failed = 0
    while (started := time.perf_counter()) < until:
        writer.write(next(requests))
        head = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        if length is None:
            raise SystemExit("an answer came without its length; install wrk")
        await reader.readexactly(int(length[1]))
        times.append(time.perf_counter() - started)
        sizes.append(len(head) + int(length[1]))
        failed += not head.startswith(OK)
    writer.close()
    return failed


async def main(url: str, connections: int, seconds: float, file: Path) -> None:
    """Prints what post.lua prints."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nAuthorization: {os.environ['BENCH_AUTHORIZATION']}\r\n"
    )
    bodies = file.read_bytes().splitlines()
    requests = itertools.cycle(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies)
    times: list[float] = []
    sizes: list[int] = []
    started = time.perf_counter()
    failed = await asyncio.gather(
        *(connection(parts.hostname, parts.port, requests, started + seconds, times, sizes) for _ in range(connections))
    )
    took = time.perf_counter() - started
    ordered = sorted(times)
    found = {
        "requests": len(times),
        "seconds": took,
        "bytes": sum(sizes),
        "failed": sum(failed),
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1000,
    }
    print(orjson.dumps(found).decode())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])))
