"""One variant measured in a process of its own: the app is called directly, without a socket.

Prints the median and 99th percentile of the time of a request in microseconds (samples that the
system interrupted are left out), and the processor time of the whole process for each request.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.serving_apps import make

BODY = b'{"text": "a note about nothing in particular", "number": 21}'
WARM_UP = 500
_BATCH = 50


def scope(path: str = "/predict") -> dict[str, Any]:
    """A request as a server hands it to the app."""
    headers = [
        (b"host", b"127.0.0.1:8000"), (b"user-agent", b"probe/1"), (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip"), (b"connection", b"keep-alive"),
        (b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode()),
    ]  # fmt: skip
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": "POST", "scheme": "http", "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "state": {},
    }  # fmt: skip


async def request(app: Any) -> None:
    """Serve one request."""
    message = {"type": "http.request", "body": BODY, "more_body": False}

    async def receive() -> Any:
        return message

    async def send(_: Any) -> None:
        return None

    await app(scope(), receive, send)


async def measure(app: Any, n: int) -> dict[str, float]:
    """Time of each request, and processor time of all."""
    for _ in range(WARM_UP):
        await request(app)
    await asyncio.sleep(0.3)
    samples = []
    cpu = time.process_time()
    for i in range(n):
        switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
        begin = time.perf_counter()
        await request(app)
        spent = time.perf_counter() - begin
        if resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw == switches:
            samples.append(spent * 1e6)
        if i % _BATCH == 0:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.3)
    cpu = time.process_time() - cpu
    samples.sort()
    return {
        "p50": samples[len(samples) // 2],
        "p99": samples[int(len(samples) * 0.99)],
        "cpu": cpu / n * 1e6,
        "kept": len(samples) / n,
    }


def main() -> None:
    """Measure the variant that the command line names."""
    with tempfile.TemporaryDirectory() as folder:
        app, close = make(sys.argv[1], folder)
        print(json.dumps(asyncio.run(measure(app, int(sys.argv[2])))))
        close()


if __name__ == "__main__":
    main()
