"""What bounds a connection before there is a request: options of uvicorn, and its protocol with a bound on the head."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from graph.websocket import MESSAGE_BYTES_MAX

HEAD_BYTES_MAX = 65_536
"""Size of a request line with its headers; what came with the read that passed it is not counted."""

OPTIONS = ("--http", "graph.server:BoundedHttp", "--ws-max-size", str(MESSAGE_BYTES_MAX), "--no-server-header")
"""Arguments of the uvicorn command that serves graph.app."""


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
