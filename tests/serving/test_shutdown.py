"""Requests that go on while their server shuts down: each is counted once, with its outcome."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from flytekitplugins.wbmon.serving import PredictionLogger, PredictionLoggingMiddleware
from flytekitplugins.wbmon.serving.adapters import asgi
from support.prediction_log import read_rows, running, segments
from support.serving import free_port
from support.waiting import wait_until

CANCELLED = {"CancelledError": 1}


class App:
    """One raw ASGI app whose requests go on until they may end, or are cancelled."""

    def __init__(self, log: PredictionLogger) -> None:
        self.log, self.may_end = log, asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})
            return
        path = scope["path"]
        body = {"type": "http.response.body", "body": b"x", "more_body": path != "answered"}
        if path != "waits":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send(body)
        with self.log.request("block") if path == "streams" else nullcontext():
            await self.may_end.wait()
        # nothing breaks in an app that goes on
        if path != "answered":
            await send(body)


async def nothing(*_: Any) -> Any:
    """Receives and sends for a server that has gone."""


def outcomes(folder: Path) -> dict[str, tuple[int, dict[str, int], dict[str, int]]]:
    rows = read_rows(folder, "window")
    assert len({row.get("tenant") or row["route"] for row in rows}) == len(rows)
    return {
        row.get("tenant") or row["route"]: (row["requests"], row["status"], row["errors"])
        for row in rows
    }


def test_what_goes_on_when_the_server_shuts_down_is_counted_once_as_what_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "_GRACE_S", 0.1)
    log = PredictionLogger("api", str(tmp_path))
    found: list[Any] = []

    async def closed(_: Any) -> None:
        # the server may end the process now, so all must be on disk
        found.append(outcomes(tmp_path))

    async def serve() -> None:
        app = App(log)
        logged = PredictionLoggingMiddleware(app, log, tenant=lambda scope: scope["path"])
        tasks = [
            asyncio.create_task(
                logged(
                    {"type": "http", "method": "GET", "path": path, "headers": []}, nothing, nothing
                )
            )
            for path in ("waits", "streams", "answered", "gone")
        ]
        await asyncio.sleep(0.01)
        # as a server does just before; this one comes to its end
        tasks.pop().cancel()
        await logged({"type": "lifespan"}, nothing, closed)
        app.may_end.set()
        await asyncio.gather(*tasks)

    asyncio.run(serve())
    stats = log.close()

    assert (stats.served, stats.in_flight, stats.failed) == (5, 0, 0)
    assert found == [outcomes(tmp_path)]
    assert found[0] == {
        "waits": (1, {"5xx": 1}, CANCELLED),
        "streams": (1, {"2xx": 1}, CANCELLED),
        # what the app itself counts within it
        "block": (1, {"5xx": 1}, CANCELLED),
        "gone": (1, {"2xx": 1}, CANCELLED),
        "answered": (1, {"2xx": 1}, {}),
    }


APP = """
import time
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
from flytekitplugins.wbmon.serving import PredictionLogger, PredictionLoggingMiddleware
log = PredictionLogger("api", "log")

@log.track("words")
def words():
    while True:
        yield b"more"
        time.sleep(0.02)

async def stream(request):
    return StreamingResponse(words())

app = PredictionLoggingMiddleware(Starlette(routes=[Route("/stream", stream)]), log)
"""
SERVE = """
import uvicorn
uvicorn.run("app:app", port={port}, log_level="critical", timeout_graceful_shutdown=0.2)
"""


def test_streams_of_generators_in_threads_that_a_server_cancels_are_counted(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    url = f"http://127.0.0.1:{(port := free_port())}/stream"

    def answers() -> bool:
        try:
            return httpx.get(url.replace("stream", "none")).status_code == 404
        except httpx.TransportError:
            return False

    def read(_: int) -> None:
        with suppress(httpx.TransportError), httpx.stream("GET", url) as answer:
            for _chunk in answer.iter_raw():
                are_read.release()

    are_read = threading.Semaphore(0)
    with running(SERVE.format(port=port), home=tmp_path) as process, ThreadPoolExecutor(4) as pool:
        wait_until(answers)
        streams = pool.map(read, range(4))
        assert all(are_read.acquire(timeout=10) for _ in range(8))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        list(streams)

    windows = read_rows(tmp_path / "log", "window")
    counted = Counter[str]()
    for row in windows:
        counted[row["route"]] += row["requests"]
    assert (counted["/stream"], counted["words"]) == (4, 4)
    assert segments(tmp_path / "log", "open") == []
