"""Process of the embedded warehouse: fakesnow's server over database files that stay, with a password."""

from __future__ import annotations

import gzip
import json
import logging
import os
import secrets
import sys
from pathlib import Path

import fakesnow.server
import uvicorn
from fakesnow.instance import FakeSnow
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from workers.embedded.directory import HOST
from workers.embedded.warehouse import PASSWORD_VARIABLE

LOGIN_PATH = "/session/v1/login-request"


async def login(request: Request) -> JSONResponse:
    """Logs in with the right password only; fakesnow takes any."""
    body = await request.body()
    if request.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    given = str(json.loads(body)["data"].get("PASSWORD", ""))
    if not secrets.compare_digest(given.encode(), os.environ[PASSWORD_VARIABLE].encode()):
        message = "Incorrect username or password was specified."
        return JSONResponse({"data": None, "code": "390100", "message": message, "success": False}, 403)
    return await fakesnow.server.login_request(request)


def main(port: int, folder: Path) -> None:
    """Serves the folder until SIGTERM."""
    fakesnow.server.shared_fs = FakeSnow(db_path=folder)
    logging.getLogger("fakesnow.server").setLevel(logging.CRITICAL)  # its errors quote statements with their values
    others = [route for route in fakesnow.server.routes if route.path != LOGIN_PATH]
    app = Starlette(routes=[Route(LOGIN_PATH, login, methods=["POST"]), *others])
    uvicorn.run(app, host=HOST, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
