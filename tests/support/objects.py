"""Objects in buckets, and an HTTP server on the loopback device for stand-ins of their stores."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Content(NamedTuple):
    """What an object holds, and which of its versions this is."""

    data: bytes
    version: int
    written_at: float


@dataclass
class Buckets:
    """The objects of all buckets; every write makes a new version."""

    objects: dict[str, dict[str, Content]] = field(default_factory=dict)
    blocks: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    n_versions: int = 1000

    def put(self, bucket: str, name: str, data: bytes) -> Content:
        """Write an object."""
        self.n_versions += 1
        content = Content(data, self.n_versions, time.time())
        self.objects[bucket][name] = content
        return content

    def list(
        self, bucket: str, prefix: str, delimiter: str
    ) -> tuple[dict[str, Content], list[str]]:
        """The objects below a prefix in order, and the folders that a delimiter makes of others."""
        found, folders = dict[str, Content](), set[str]()
        for name, content in sorted(self.objects[bucket].items()):
            if not name.startswith(prefix):
                continue
            below, is_folder, _ = name[len(prefix) :].partition(delimiter or "\0")
            if is_folder:
                folders.add(f"{prefix}{below}{delimiter}")
            else:
                found[name] = content
        return found, sorted(folders)


class StoreHandler(BaseHTTPRequestHandler):
    """Reads requests and writes answers; the stores differ in what they say."""

    protocol_version = "HTTP/1.1"
    buckets: Buckets

    def body(self) -> bytes:
        """The body of the request."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, status: int, data: bytes = b"", headers: Mapping[str, Any] = {}) -> None:
        """Send an answer, without its body where HEAD is asked."""
        self.send_response(status)
        for name, value in {"Content-Length": len(data), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def part(self, data: bytes, asked: str | None, headers: Mapping[str, Any] = {}) -> None:
        """Send an object, or the bytes of it that are asked for."""
        if asked is None:
            self.answer(200, data, headers)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last or len(data) - 1), len(data) - 1)
        if start >= len(data):
            self.answer(416, headers={"Content-Range": f"bytes */{len(data)}"})
            return
        where = f"bytes {start}-{stop}/{len(data)}"
        self.answer(206, data[start : stop + 1], {**headers, "Content-Range": where})

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(kind: type[StoreHandler]) -> Iterator[tuple[str, Buckets]]:
    """Run a stand-in in a thread; its URL and its buckets."""
    buckets = Buckets()
    handler = type(kind.__name__, (kind,), {"buckets": buckets})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", buckets
    finally:
        server.shutdown()
        server.server_close()
