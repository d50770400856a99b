"""A proxy before the S3 on loopback that fails requests as a real store does now and then."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_ERROR = '<?xml version="1.0"?><Error><Code>{}</Code><Message>injected</Message></Error>'
_STATUS = {"InternalError": 500, "ServiceUnavailable": 503, "SlowDown": 503, "AccessDenied": 403}
_HOP_BY_HOP = {"connection", "content-length", "transfer-encoding"}


class FaultyS3(ThreadingHTTPServer):
    """A server that passes requests on to another, but for those that are to fail.

    A fault is a code of S3 (`InternalError`, `SlowDown`, …), `reset` for a connection that breaks
    before the request is served, or `lost` for one that breaks after it was.
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self._lock = threading.Lock()
        self._waiting: dict[str, list[str]] = {}
        self._requests: list[str] = []

    def fail(self, method: str, *faults: str) -> None:
        """Give the next requests of a method these faults, and count anew."""
        with self._lock:
            self._waiting = {method: list(faults)}
            self._requests = []

    def count(self, method: str) -> int:
        """Requests of a method since `fail`."""
        with self._lock:
            return self._requests.count(method)

    def next_fault(self, method: str) -> str:
        """What is to happen to a request that has come; empty for nothing."""
        with self._lock:
            self._requests.append(method)
            waiting = self._waiting.get(method)
            return waiting.pop(0) if waiting else ""

    def handle_error(self, *_: object) -> None:
        """A connection that was broken on purpose is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyS3

    def serve(self) -> None:
        body = self._body()
        fault = self.server.next_fault(self.command)
        if fault in _STATUS:
            self._answer(_STATUS[fault], [], _ERROR.format(fault).encode())
        elif fault == "reset":
            self._break()
        else:
            upstream = http.client.HTTPConnection(self.server.target, timeout=30)
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            if fault == "lost":
                self._break()
            else:
                self._answer(answer.status, answer.getheaders(), content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = serve  # noqa: N815 - as http.server calls them

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _break(self) -> None:
        # with nothing lingering, closing is a reset and no orderly end
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
            elif name.lower() == "content-length" and self.command == "HEAD":
                length = value
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def faulty_s3(target: str) -> Iterator[FaultyS3]:
    """A proxy before the server at the URL `target`, for as long as the block runs."""
    with FaultyS3(target) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
