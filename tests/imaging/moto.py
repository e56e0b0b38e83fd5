"""An S3 server with all that Amazon's has, in memory: moto."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

from workers.embedded.directory import HOST
from workers.embedded.server import http_status


@contextmanager
def moto_server(bucket: str) -> Generator[str]:
    """URL of a bucket at a server of its own, for CAREGRAPH_ARCHIVE_URL; the bucket is the caller's to make."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(process, port)
            _slow_restores(port)
            yield f"http://key:secret@{HOST}:{port}/{bucket}?region=us-east-1"
        finally:
            process.terminate()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(300):
        assert process.poll() is None
        if http_status(port, "GET", "/moto-api/data.json") == 200:
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    raise AssertionError("moto did not start")


def _slow_restores(port: int) -> None:
    """Restores stay under way for one look at the object."""
    transition = {"model_name": "s3::keyrestore", "transition": {"progression": "manual", "times": 1}}
    path = "/moto-api/state-manager/set-transition"
    assert http_status(port, "POST", path, json.dumps(transition).encode()) == 201
