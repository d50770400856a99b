"""Real servers, real sockets, real signals."""

from __future__ import annotations

import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.prediction_log import read_rows, running, segments, total
from support.serving import free_port
from support.waiting import wait_until

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

APP = """
import asyncio
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from flytekitplugins.wbmon.serving import PredictionLogger, PredictionLoggingMiddleware
from flytekitplugins.wbmon.serving import SamplingPolicy
log = PredictionLogger("api", "log", sampling=SamplingPolicy(rate=1.0))
api = FastAPI()

@api.get("/add/{number}")
async def add(number: int):
    await asyncio.sleep(0.005)
    log.log_prediction(features={"number": number})
    return {"sum": number + 1}

@api.get("/endless")
async def endless():
    async def chunks():
        while True:
            yield b"more"
            await asyncio.sleep(0.01)
    return StreamingResponse(chunks())

@api.get("/breaks")
async def breaks():
    async def chunks():
        yield b"more"
        await asyncio.sleep(0.01)
        raise ConnectionError("the model died")
    return StreamingResponse(chunks())

app = PredictionLoggingMiddleware(api, log, tenant="x-tenant")
"""
PASSES = """
@api.middleware("http")
async def passes(request, call_next):
    return await call_next(request)
"""
RUN = """
import uvicorn
uvicorn.run("app:app", host="127.0.0.1", port={port}, workers={workers}, log_level="warning",
            lifespan="{lifespan}")
"""


class Server:
    """A uvicorn of its own, with `APP` and `more`, in a folder of its own."""

    def __init__(
        self,
        stack: ExitStack,
        home: Path,
        *,
        workers: int = 1,
        lifespan: str = "auto",
        more: str = "",
    ) -> None:
        (home / "app.py").write_text(APP + more)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = home / "log"
        code = RUN.format(port=port, workers=workers, lifespan=lifespan)
        self.process: subprocess.Popen[str] = stack.enter_context(running(code, home=home))
        wait_until(self._answers)

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(30)

    def _answers(self) -> bool:
        assert self.process.poll() is None, "the server ended before it answered"
        try:
            return httpx.get(f"{self.url}/openapi.json", timeout=5).is_success
        except httpx.TransportError:
            return False


def serve_many(server: Server, n: int, tenants: int = 1) -> None:
    with httpx.Client(base_url=server.url) as web, ThreadPoolExecutor(8) as pool:

        def ask(i: int) -> None:
            answer = web.get(f"/add/{i}", headers={"x-tenant": f"t{i % tenants}"}, timeout=30)
            assert answer.json() == {"sum": i + 1}

        list(pool.map(ask, range(n)))


def predictions(server: Server) -> list[dict[str, Any]]:
    """The rows that `/add` logged, in the order of its numbers."""
    rows = [row for row in read_rows(server.log) if row.get("features")]
    return sorted(rows, key=lambda row: row["features"]["number"])


def others(server: Server, route: str) -> list[dict[str, Any]]:
    """The windows of all routes but one."""
    return [row for row in read_rows(server.log, "window") if row["route"] != route]


@pytest.mark.parametrize("lifespan", ["on", "off"])
def test_sigterm_under_load_loses_no_row(tmp_path: Path, lifespan: str) -> None:
    with ExitStack() as stack:
        server = Server(stack, tmp_path, lifespan=lifespan)
        serve_many(server, 300)
        server.stop()

    numbers = [row["features"]["number"] for row in predictions(server)]
    assert numbers == list(range(300))
    assert segments(server.log, "open") == []
    assert total(server.log, "requests") == len(read_rows(server.log))


def test_several_workers_each_write_their_own_and_together_everything(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = Server(stack, tmp_path, workers=2)
        serve_many(server, 200)
        server.stop()

    assert [row["features"]["number"] for row in predictions(server)] == list(range(200))
    assert segments(server.log, "open") == []


def test_sigkill_leaves_whole_rows_and_loses_at_most_the_last_moment(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = Server(stack, tmp_path)
        serve_many(server, 200)
        wait_until(lambda: len(predictions(server)) == 200)
        server.stop(signal.SIGKILL)

    numbers = [row["features"]["number"] for row in predictions(server)]
    assert numbers == list(range(200))
    assert len(segments(server.log, "open")) == 1


@pytest.mark.parametrize("more", ["", PASSES], ids=["bare", "in a middleware"])
def test_a_caller_who_hangs_up_is_a_disconnect(tmp_path: Path, more: str) -> None:
    with ExitStack() as stack:
        server = Server(stack, tmp_path, more=more)
        with httpx.stream("GET", f"{server.url}/endless") as answer:
            assert next(answer.iter_raw())
        wait_until(lambda: any(row["route"] == "/endless" for row in read_rows(server.log)))
        server.stop()

    (row,) = [row for row in read_rows(server.log) if row["route"] == "/endless"]
    assert row["error_type"] == "client_disconnect"
    assert row["sample_reason"] == "rate"
    assert row["time_to_first_chunk_ms"] > 0
    assert total(server.log, "failed") == 0
    assert not any(w.get("time_to_first_chunk") for w in others(server, "/endless"))


def test_an_answer_that_breaks_off_is_a_failure_though_its_status_was_sent(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = Server(stack, tmp_path)
        for _ in range(3):
            with pytest.raises(httpx.TransportError):
                httpx.get(f"{server.url}/breaks")
        server.stop()

    rows = [row for row in read_rows(server.log) if row["route"] == "/breaks"]
    assert [(row["status_code"], row["error_type"]) for row in rows] == [
        (200, "ConnectionError")
    ] * 3
    assert {row["sample_reason"] for row in rows} == {"error"}
    windows = [row for row in read_rows(server.log, "window") if row["route"] == "/breaks"]
    assert sum(row["failed"] for row in windows) == 3


def test_not_one_row_of_many_concurrent_tenants_lands_elsewhere(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = Server(stack, tmp_path)
        serve_many(server, 400, tenants=40)
        server.stop()

    rows = predictions(server)
    assert len(rows) == 400
    for row in rows:
        assert re.fullmatch(r"t\d+", row["tenant"])
        assert int(row["tenant"][1:]) == row["features"]["number"] % 40
    windows = [row for row in read_rows(server.log, "window") if row.get("tenant")]
    assert len({row["tenant"] for row in windows}) == 40
    assert sum(row["requests"] for row in windows) == 400
