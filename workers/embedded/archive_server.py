"""Process of the embedded archive: nanio's application behind an allow-list of S3 operations.

nanio takes some operations that it does not know for others that it does: to put tags or an ACL overwrites the object,
to delete tags deletes it. Inside one process the request reaches nanio as it was signed, and its body is streamed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.parse import parse_qsl

import uvicorn
from nanio.app import build_app
from nanio.auth.credentials import EnvCredentialResolver
from nanio.config import Settings
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workers.embedded.directory import HOST

OPERATIONS = {
    ("GET", "object", frozenset[str]()): "GetObject",
    ("HEAD", "object", frozenset[str]()): "HeadObject",
    ("PUT", "object", frozenset[str]()): "PutObject",
    ("DELETE", "object", frozenset[str]()): "DeleteObject",
    ("POST", "object", frozenset({"uploads"})): "CreateMultipartUpload",
    ("PUT", "object", frozenset({"partNumber", "uploadId"})): "UploadPart",
    ("GET", "object", frozenset({"uploadId"})): "ListParts",
    ("POST", "object", frozenset({"uploadId"})): "CompleteMultipartUpload",
    ("DELETE", "object", frozenset({"uploadId"})): "AbortMultipartUpload",
    ("GET", "bucket", frozenset({"list-type"})): "ListObjectsV2",
    ("GET", "bucket", frozenset({"uploads"})): "ListMultipartUploads",
    ("HEAD", "bucket", frozenset[str]()): "HeadBucket",
    ("PUT", "bucket", frozenset[str]()): "CreateBucket",
}
"""What passes: method, level of the path, and the query parameters that choose the operation."""

NEUTRAL_PARAMETERS = {"x-id", "prefix", "delimiter", "max-keys", "continuation-token", "start-after", "encoding-type"}
NEUTRAL_PREFIXES = ("X-Amz-", "response-")
"""Query parameters that do not choose an operation: the SDK's own, signatures, pages, headers of the response."""

COPY_SOURCE = b"x-amz-copy-source"
"""Header that makes a PUT copy another object."""

_PARTIAL_OBJECT = re.compile(r"\.tmp\.[0-9a-f]{32}")

_REFUSAL = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>NotImplemented</Code><Message>The embedded archive does not implement this operation.</Message></Error>"""


class AllowList:
    """ASGI application that answers 501 to every S3 operation which is not in OPERATIONS."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on unchanged, or refuses it."""
        app = self._app if scope["type"] != "http" or operation(scope) else Response(_REFUSAL, 501, None, "text/xml")
        await app(scope, receive, send)


def operation(scope: Scope) -> str | None:
    """Name of the S3 operation that this request asks for; None when it is not served."""
    bucket, _, key = scope["path"].lstrip("/").partition("/")
    if not bucket:
        return None
    names = {name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)}
    choosing = frozenset(n for n in names - NEUTRAL_PARAMETERS if not n.startswith(NEUTRAL_PREFIXES))
    found = OPERATIONS.get((scope["method"], "object" if key else "bucket", choosing))
    headers = dict(scope["headers"])
    if COPY_SOURCE not in headers:
        return found
    # Amazon refuses a header of its own that is not signed. nanio would take it: who holds a URL to write one object
    # could copy any other into it.
    signed = re.search(rb"SignedHeaders=([^,\s]*)", headers.get(b"authorization", b""))
    is_signed = signed and COPY_SOURCE in signed[1].split(b";") and not any(n.startswith("X-Amz-") for n in names)
    return "CopyObject" if found == "PutObject" and is_signed else None


def main(port: int, folder: Path) -> None:
    """Serves the folder until SIGTERM, without what a crash left of half-written objects."""
    for path in folder.rglob(".tmp.*"):
        if _PARTIAL_OBJECT.fullmatch(path.name):
            path.unlink()
    settings = Settings(data_dir=folder, host=HOST, port=port, credentials=EnvCredentialResolver())
    uvicorn.run(
        AllowList(build_app(settings)),
        host=HOST,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
