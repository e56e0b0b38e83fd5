"""`python -m graph.server`: one process of the API. What bounds a connection before there is a request is here too."""

from __future__ import annotations

import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from db.settings import load
from graph.websocket import MESSAGE_BYTES_MAX

HOST = "127.0.0.1"
GRACE_S = 5
"""Seconds that requests under way have when the process is told to end."""

HEAD_BYTES_MAX = 65_536
"""Size of a request line with its headers; what came with the read that passed it is not counted."""

OPTIONS = ("--http", "graph.server:BoundedHttp", "--ws-max-size", str(MESSAGE_BYTES_MAX), "--no-server-header")
"""Arguments of the uvicorn command that serves graph.app, as `serve` does."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol; httptools itself takes headers without end, and keeps them all."""

    _head_bytes = 0
    _in_head = False

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Reads on, and answers 400 where a head does not end in time."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
                self.send_400_response("Invalid HTTP request received.")


def serve() -> None:
    """Serves graph.app on CAREGRAPH_PORT, beside other processes that do so: the kernel shares out connections.

    Sockets of their own (SO_REUSEPORT, socket(7)) and not one that all accept from: a process that wakes up takes every
    connection that waits there, and the others have none (docs/decisions/0013).
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind((HOST, load().port))
    config = uvicorn.Config(
        "graph.app:create_app",
        factory=True,
        http=BoundedHttp,
        ws_max_size=MESSAGE_BYTES_MAX,
        server_header=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_S,
    )
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    serve()
