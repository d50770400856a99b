"""One variant measured beside the bare app: both are called directly, without a socket.

Blocks of requests to either take turns in one process, so that a change of the machine's speed
meets both. Prints what the variant adds to the median and 99th percentile of the time of a request
in microseconds (samples that the system interrupted are left out), and to the processor time of the
whole process for each request.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.serving_apps import make

BODY = b'{"text": "a note about nothing in particular", "number": 21}'
_BLOCK = 200
_BURST = 50
_WARM_UP = 3


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


async def block(app: Any) -> dict[str, float]:
    """Serve some requests, and measure each of them and the processor time of all.

    It ends when the threads of the variant have done the rest of the work.
    """
    samples = []
    cpu = time.process_time()
    for i in range(_BLOCK):
        switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
        begin = time.perf_counter()
        await request(app)
        spent = time.perf_counter() - begin
        if resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw == switches:
            samples.append(spent * 1e6)
        if i % _BURST == _BURST - 1:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.12)
    cpu = time.process_time() - cpu
    samples.sort()
    return {
        "p50": samples[len(samples) // 2],
        "p99": samples[int(len(samples) * 0.99)],
        "cpu": cpu / _BLOCK * 1e6,
    }


async def measure(app: Any, bare: Any, n_blocks: int) -> dict[str, float]:
    """Medians of what the variant adds to the bare app, and of the bare app itself."""
    for _ in range(_WARM_UP):
        await block(bare)
        await block(app)
    pairs = []
    for i in range(n_blocks):
        # either is first as often
        first, second = (bare, app) if i % 2 else (app, bare)
        done = [await block(first), await block(second)]
        pairs.append(done if i % 2 else done[::-1])
    added = {
        name: statistics.median(one[name] - base[name] for base, one in pairs)
        for name in ("p50", "p99", "cpu")
    }
    levels = {f"bare_{name}": statistics.median(base[name] for base, _ in pairs) for name in added}
    return {**added, **levels}


def main() -> None:
    """Measure the variant that the command line names."""
    with tempfile.TemporaryDirectory() as folder:
        app, close = make(sys.argv[1], folder)
        bare, _ = make("bare", folder)
        print(json.dumps(asyncio.run(measure(app, bare, int(sys.argv[2])))))
        close()


if __name__ == "__main__":
    main()
