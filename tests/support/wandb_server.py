"""A W&B server of our own on the loopback device, with faults on demand.

    with WandbServer() as server:
        server.fault = Fault("hang", on=FILE_STREAM)
        ...  # wandb.init(settings=wandb.Settings(base_url=server.url, api_key=KEY))
        server.fault = None
        assert server.run("project", "id").column("loss") == [...]

By hand, to see an outage: `PYTHONPATH=tests python -m support.wandb_server --port 8080`, then
`curl -X POST 127.0.0.1:8080/control/fault -d '{"status": 503}'` and `-d null` to end it;
`curl 127.0.0.1:8080/control/state` shows what arrived.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import gzip
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from support.wandb_backend import Backend
from support.wandb_faults import ALERT, ARTIFACT, FILE_STREAM, GRAPHQL, STORAGE, Fault
from support.wandb_records import (
    Json,
    RefusedError,
    ServedAlert,
    ServedArtifact,
    ServedRun,
    ServedView,
)

__all__ = [
    "ALERT",
    "ARTIFACT",
    "FILE_STREAM",
    "GRAPHQL",
    "KEY",
    "STORAGE",
    "Fault",
    "Request",
    "ServedAlert",
    "ServedArtifact",
    "ServedRun",
    "WandbServer",
]

KEY = "loopback" * 5

_POLL_S = 0.05


@dataclass(frozen=True)
class Request:
    """A request that came in; `status` is 0 if the client got no answer."""

    method: str
    path: str
    operation: str
    n_bytes: int
    api_key: str
    status: int


class WandbServer:
    """A server in threads of this process; processes started by a test can reach it too.

    Args:
        port: 0 for a free one; it stays the same when the server comes back after `stop`.
        entity: Who the keys belong to.
        keys: The API keys that are let in; every key if empty.
    """

    def __init__(self, port: int = 0, entity: str = "ops", keys: Collection[str] = ()) -> None:
        self.lock = threading.RLock()
        self.keys = keys
        self.requests: list[Request] = []
        self._fault: Fault | None = None
        self._listener: _Listener | None = None
        self._port = port
        self.start()
        self.backend = Backend(self.url, entity)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def env(self) -> dict[str, str]:
        """The environment of a process that is to use it."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_ERROR_REPORTING": "false"}

    @property
    def fault(self) -> Fault | None:
        """What is wrong with it now; None for a healthy server."""
        return None if self._fault and self._fault.over else self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self._fault = fault
        if fault and fault.kind == "refuse":
            self.stop()
            if fault.lasting_s is not None:
                timer = threading.Timer(fault.lasting_s, self._recover_from, [fault])
                timer.daemon = True
                timer.start()
        else:
            self.start()

    def start(self) -> None:
        """Listen, if it does not already."""
        with self.lock:
            if self._listener is None:
                self._listener = _Listener(("127.0.0.1", self._port), self)
                self._port = self._listener.server_address[1]
                threading.Thread(
                    target=self._listener.serve_forever, args=(_POLL_S,), daemon=True
                ).start()

    def stop(self) -> None:
        """Die: close the port and cut every open connection; what arrived is kept."""
        with self.lock:
            listener, self._listener = self._listener, None
        if listener:
            listener.shutdown()
            listener.server_close()
            listener.cut_connections()

    def __enter__(self) -> WandbServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._fault = None
        self.stop()

    @property
    def runs(self) -> list[ServedRun]:
        """Every run, oldest first."""
        return self.backend.memory.runs

    @property
    def alerts(self) -> list[ServedAlert]:
        """Every alert that was accepted, in order."""
        return self.backend.memory.alerts

    @property
    def artifacts(self) -> list[ServedArtifact]:
        """Every version of every artifact, committed or not."""
        return self.backend.memory.artifacts

    @property
    def views(self) -> list[ServedView]:
        """Every saved workspace and report."""
        return list(self.backend.memory.views.values())

    @property
    def unknown(self) -> list[str]:
        """Requests for which there is no answer: the client has changed, or a test asks much."""
        return self.backend.unknown

    def run(self, project: str, run_id: str) -> ServedRun:
        """One run.

        Raises:
            AssertionError: If it never arrived.
        """
        run = self.backend.memory.find(project, run_id)
        assert run, f"no run {project}/{run_id} arrived; there are {[r.id for r in self.runs]}"
        return run

    def state(self) -> Json:
        """What arrived, as JSON; contents of files are given by their size."""
        with self.lock:
            return {
                "runs": [{**_plain(run), "history": run.history} for run in self.runs],
                "alerts": [_plain(alert) for alert in self.alerts],
                "artifacts": [_plain(artifact) for artifact in self.artifacts],
                "requests": [_plain(request) for request in self.requests],
                "unknown": self.unknown,
            }

    def _recover_from(self, fault: Fault) -> None:
        if self._fault is fault:
            self.fault = None


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], app: WandbServer) -> None:
        self.app = app
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""

    def cut_connections(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
                connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def handle_any(self) -> None:
        path, body = unquote(urlsplit(self.path).path), self._read_body()
        if path.startswith("/control/"):
            self._control(path, body)
            return
        call = json.loads(body) if path == "/graphql" else {}
        operation = _operation_name(call)
        status = 0
        try:
            status = self._answer_or_fail(path, body, call, operation)
        finally:
            self.server.app.requests.append(
                Request(self.command, path, operation, len(body), self._api_key(), status)
            )

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815 - names of the standard library

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""

    def _answer_or_fail(self, path: str, body: bytes, call: Json, operation: str) -> int:
        app = self.server.app
        fault = app.fault
        if fault and fault.hits(f"{self.command} {path} {operation}"):
            if fault.kind == "delay":
                time.sleep(fault.delay_s)
            else:
                return self._fail(fault)
        if app.keys and not path.startswith(STORAGE) and self._api_key() not in app.keys:
            return self._send(401, {"errors": [{"message": "invalid API key"}]})
        with app.lock:
            try:
                return self._answer(app.backend, path, body, call, operation)
            except RefusedError as error:
                return self._send(400, {"error": str(error)})

    def _answer(self, backend: Backend, path: str, body: bytes, call: Json, operation: str) -> int:
        if path == "/graphql":
            query, variables = call.get("query", ""), call.get("variables") or {}
            return self._send(200, backend.answer(operation, query, variables))
        if stream := re.fullmatch(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", path):
            _, project, run_id = stream.groups()
            answer = backend.stream(project, run_id, json.loads(body))
            return (
                self._send(404, {"error": "no such run"})
                if answer is None
                else self._send(200, answer)
            )
        if path.startswith(STORAGE) and self.command == "PUT":
            backend.put(path, body)
            etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
            return self._send(200, b"", {"ETag": f'"{etag}"'})
        if path.startswith(STORAGE):
            data = backend.get(path)
            return self._send(200, data) if data is not None else self._send(404, b"")
        if path.startswith("/sdk/otel/"):
            return self._send(200, {})
        backend.unknown.append(f"{self.command} {path}")
        return self._send(404, {"error": "not found"})

    def _fail(self, fault: Fault) -> int:
        if fault.kind == "status":
            return self._send(fault.status, {"errors": [{"message": "planned fault"}]})
        if fault.kind == "page":
            return self._send(200, b"<html>log in</html>", {"Content-Type": "text/html"})
        if fault.kind == "cut":
            self.close_connection = True
            return self._send(200, b"{", {"Content-Length": "100"})
        self._leave(fault)
        return 0

    def _leave(self, fault: Fault) -> None:
        """End the connection without an answer: at once, or when the fault is over."""
        while fault.kind == "hang" and self.server.app.fault is fault:
            time.sleep(_POLL_S)
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True

    def _control(self, path: str, body: bytes) -> None:
        if path == "/control/state":
            self._send(200, self.server.app.state())
        elif path == "/control/fault":
            given = json.loads(body)
            fault = None if given is None else Fault(**given)
            if fault and fault.kind == "refuse":  # which cuts this connection too
                self._send(200, {})
                self.server.app.fault = fault
            else:
                self.server.app.fault = fault
                self._send(200, {})
        else:
            self._send(404, {})

    def _api_key(self) -> str:
        given = self.headers.get("Authorization", "")
        if given.startswith("Basic "):
            given = base64.b64decode(given.removeprefix("Basic ")).decode()
        return given.rpartition(":")[2]

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _send(self, status: int, body: Json | bytes, headers: dict[str, str] | None = None) -> int:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        sent = {"Content-Type": "application/json", "Content-Length": len(data), **(headers or {})}
        for name, value in sent.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        return status


def _operation_name(call: Json) -> str:
    """The request's name; that of its first field if it has none."""
    named = re.search(r"(?:\b(?:query|mutation)\s+|\{\s*)(\w+)", call.get("query", ""))
    return str(call.get("operationName") or (named[1] if named else ""))


def _plain(record: Any) -> Json:
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    if "files" in fields:
        fields["files"] = {name: len(data) for name, data in fields["files"].items()}
    return fields


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A W&B server on the loopback device.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--entity", default="ops")
    options = parser.parse_args()
    with WandbServer(options.port, options.entity) as server:
        print(f"export WANDB_BASE_URL={server.url} WANDB_API_KEY={KEY}", flush=True)  # noqa: T201
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
