"""Where alerts arrive in tests: a web hook and a mail server on the loopback device."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hook:
    """A web hook that keeps what it is sent.

    Attributes:
        url: Its apprise URL; the password and the path are secrets.
        status: What it answers with.
        delay_s: How long it takes to answer.
        fault: `hang` never answers; `reset` closes without an answer; `drip` sends a byte of its
            answer every tenth of a second; `late reset` takes the message before it closes;
            `redirect` sends the client elsewhere, where every GET is answered with 200.
        n_faulty: How many requests meet the fault, or the status; None for all.
        n_requests: How many came.
        on_message: Called with each message that it takes, before it answers.
    """

    url: str = ""
    status: int = 200
    delay_s: float = 0.0
    fault: str = ""
    n_faulty: int | None = None
    n_requests: int = 0
    received: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    on_message: Callable[[], None] = lambda: None

    @property
    def titles(self) -> list[str]:
        """The titles of what arrived, in order."""
        return [message["title"] for message in self.received]

    def heal(self) -> None:
        """No fault from now on."""
        self.status, self.delay_s, self.fault = 200, 0.0, ""


class _HookHandler(BaseHTTPRequestHandler):
    hook: Hook
    closing: threading.Event

    def do_GET(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        hook = self.hook
        hook.n_requests += 1
        is_faulty = hook.n_faulty is None or hook.n_requests <= hook.n_faulty
        fault, status = (hook.fault, hook.status) if is_faulty else ("", 200)
        time.sleep(hook.delay_s)
        if status < 300 and fault in ("", "late reset", "drip"):
            hook.received.append(body)
            hook.headers.append(dict(self.headers))
            hook.on_message()
        if fault == "hang":
            self.closing.wait(60)
        elif fault == "drip":
            self._drip()
        elif fault == "redirect":
            self._answer(301, Location="/elsewhere")
        elif "reset" not in fault:
            self._answer(status, **({"Retry-After": "1"} if status == 429 else {}))

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _drip(self) -> None:
        for byte in b"HTTP/1.0 200 OK\r\n" + b"X-Long: " + b"x" * 600:
            if self.closing.wait(0.1):
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""


class _HookServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that is gone, or was killed, is no error here."""


@contextmanager
def web_hook() -> Iterator[Hook]:
    """A web hook that understands apprise's `json://`."""
    hook = Hook()
    closing = threading.Event()

    handler = type("Handler", (_HookHandler,), {"hook": hook, "closing": closing})
    server = _HookServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    hook.url = f"json://user:sekretpassword@127.0.0.1:{server.server_port}/T0KENT0KEN"
    try:
        yield hook
    finally:
        closing.set()
        server.shutdown()
        server.server_close()


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    """A mail server that takes every message; yields its port and what arrived."""
    mails: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 loopback")
            while line := self.rfile.readline().decode().strip():
                command = line.partition(" ")[0].upper()
                if command == "DATA":
                    self._say("354 go on")
                    mails.append(self._message())
                self._say("221 bye" if command == "QUIT" else "250 ok")
                if command == "QUIT":
                    return

        def _message(self) -> str:
            lines: list[str] = []
            while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                lines.append(line)
            return "\n".join(lines)

        def _say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server.server_address[1], mails
        finally:
            server.shutdown()
