"""Mixed traffic that a client of its own counts, against what the log says of it afterwards."""

from __future__ import annotations

import http.client
import json
import math
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from support.prediction_log import running
from support.serving import free_port
from support.waiting import wait_until

RATE = 0.2
N_CLIENTS = 8
APP = f"""
import asyncio, os, signal, socket, sys, time
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from flytekitplugins.wbmon.serving import PredictionLogger, PredictionLoggingMiddleware
from flytekitplugins.wbmon.serving import SamplingPolicy
log = PredictionLogger("api", "log", sampling=SamplingPolicy(rate={RATE}))
api = FastAPI()

@api.get("/ready")
def ready():
    return os.getpid()

@api.get("/items/{{n}}")
async def item(n: int):
    await asyncio.sleep(0.001)
    log.log_prediction(features={{"n": n}}, prediction=n % 7)
    return n

@api.get("/threaded/{{n}}")
def threaded(n: int):
    log.log_prediction(prediction=n)
    return n

@api.post("/batch")
async def batch():
    return [log.log_prediction(prediction=i) for i in range(5)]

@api.get("/stream")
async def stream():
    async def chunks():
        for _ in range(3):
            yield b"part"
            await asyncio.sleep(0)
        log.log_prediction(output_text="parts")
    return StreamingResponse(chunks())

@api.get("/forbidden")
def forbidden():
    raise HTTPException(403)

@api.get("/fails")
async def fails():
    raise ValueError("the model died")

app = PredictionLoggingMiddleware(api, log, tenant="x-tenant", exclude=("/ready",))
"""
UVICORN = """
import uvicorn
uvicorn.run("app:app", host="127.0.0.1", port={port}, workers={workers}, log_level="critical")
"""
# the log is made before the fork, as by gunicorn's `preload_app`
PREFORK = """
import os, signal, socket, uvicorn
from app import app, log
log.log_prediction(prediction=-1, route="(before the fork)")
listener = socket.create_server(("127.0.0.1", {port}))
children = []
for _ in range({workers}):
    child = os.fork()
    if child == 0:
        uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listener])
        os._exit(0)
    children.append(child)
def stop(number, _):
    for child in children:
        os.kill(child, number)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
for child in children:
    os.waitpid(child, 0)
log.close()
"""
MODELS: dict[str, tuple[str, int]] = {
    "uvicorn, one process": (UVICORN, 1),
    "uvicorn, 3 workers": (UVICORN, 3),
    "forked, 3 workers": (PREFORK, 3),
}
DEATHS: dict[str, tuple[int, float]] = {
    "SIGTERM": (signal.SIGTERM, 0.0),
    "SIGINT": (signal.SIGINT, 0.0),
    "SIGKILL, a second after the last answer": (signal.SIGKILL, 1.0),
    "SIGKILL, at the last answer": (signal.SIGKILL, 0.0),
}

Key = tuple[str, str, str | None]
"""Route, class of the status, and tenant."""


@dataclass(slots=True)
class Account:
    """What was sent, and what the log says.

    Attributes:
        sent: Requests by route, status and tenant, as the client counted the answers.
        ids: The ids that the answers carried.
        counted: The same of the windows.
        rows: Rows of the requests.
        further: Rows of their further predictions.
        n_torn: Lines that no reader could read.
    """

    sent: Counter[Key]
    ids: set[str]
    counted: Counter[Key] = field(default_factory=Counter)
    rows: list[dict[str, Any]] = field(default_factory=list)
    further: list[dict[str, Any]] = field(default_factory=list)
    n_torn: int = 0

    def weights(self, keep: Callable[[dict[str, Any]], bool] = lambda _: True) -> float:
        """The sum of the weights of rows: an estimate of how many requests there were."""
        return math.fsum(row["sample_weight"] for row in self.rows if keep(row))


def traffic(n: int, seed: int) -> list[tuple[str, str, str, int, str | None]]:
    """Method, path, route, status and tenant of each request."""
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    made = []
    for i in range(n):
        method, path, route, status = rng.choices(
            [
                ("GET", f"/items/{i}", "/items/{n}", 200),
                ("GET", f"/threaded/{i}", "/threaded/{n}", 200),
                ("POST", "/batch", "/batch", 200),
                ("GET", "/stream", "/stream", 200),
                ("GET", "/forbidden", "/forbidden", 403),
                ("GET", "/fails", "/fails", 500),
                ("GET", f"/nowhere/{i}", "(unmatched)", 404),
            ],
            weights=[60, 10, 5, 10, 5, 5, 5],
        )[0]
        made.append((method, path, route, status, rng.choice(["acme", "beta", None])))
    return made


def account(model: str, death: str, home: Path, *, n: int = 600, seed: int = 0) -> Account:
    """Serve the traffic, let the server die, compact its log, and read what it says."""
    program, workers = MODELS[model]
    how, after_s = DEATHS[death]
    (home / "app.py").write_text(APP)
    port = free_port()
    code = program.format(port=port, workers=workers)
    with running(code, home=home) as process:
        wait_until(lambda: _answers(process, port))
        found = _sent(port, traffic(n, seed))
        time.sleep(after_s)
        if how == signal.SIGKILL:
            os.killpg(process.pid, how)
        else:
            process.send_signal(how)
        process.wait(30)
        with suppress(ProcessLookupError):
            # workers outlive the one that started them by a moment
            _wait_for_group(process.pid)
    _read(found, home / "log")
    return found


def _answers(process: subprocess.Popen[str], port: int) -> bool:
    assert process.poll() is None, "the server ended before it answered"
    try:
        return _ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/ready", None)[0] == 200
    except OSError:
        return False


def _wait_for_group(group: int) -> None:
    for _ in range(100):
        os.killpg(group, 0)
        time.sleep(0.05)


def _sent(port: int, requests: Iterable[tuple[str, str, str, int, str | None]]) -> Account:
    requests = list(requests)

    def client(part: list[tuple[str, str, str, int, str | None]]) -> tuple[Counter[Key], set[str]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        seen, ids = Counter[Key](), set[str]()
        for method, path, route, status, tenant in part:
            answered, name = _ask(connection, method, path, tenant)
            assert answered == status, (path, answered)
            seen[route, f"{status // 100}xx", tenant] += 1
            ids.add(name)
        connection.close()
        return seen, ids

    with ThreadPoolExecutor(N_CLIENTS) as pool:
        parts = list(pool.map(client, [requests[i::N_CLIENTS] for i in range(N_CLIENTS)]))
    total = Account(Counter(), set())
    for seen, ids in parts:
        total.sent += seen
        total.ids |= ids
    assert len(total.ids) == len(requests)
    return total


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, tenant: str | None
) -> tuple[int, str]:
    connection.request(method, path, headers={"x-tenant": tenant} if tenant else {})
    answer = connection.getresponse()
    answer.read()
    if answer.status == 500:
        # the server ends the connection behind an exception, and the next request opens another
        connection.close()
    return answer.status, answer.headers.get("x-request-id", "")


def _read(found: Account, log: Path) -> None:
    later = datetime.now(timezone.utc) + timedelta(days=2)
    found.n_torn = compact_prediction_log(str(log), "api", now=later).n_torn
    for row in _table(log / "serving_window"):
        assert sum(count for _, count in row["status"]) == row["requests"]
        for status, count in row["status"]:
            found.counted[row["route"], status, row["tenant"]] += count
    for row in _table(log / "prediction_log"):
        (found.further if row["parent_request_id"] else found.rows).append(row)
    before = [row for row in found.rows if row["route"] == "(before the fork)"]
    found.rows = [row for row in found.rows if row not in before]
    found.counted = Counter(
        {key: n for key, n in found.counted.items() if key[0] != "(before the fork)"}
    )


def _table(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ds.dataset(folder, partitioning=None).to_table().to_pylist()
    return rows


def as_json(found: Account) -> str:
    """For a message: what was sent and is not counted, and the other way round."""
    missing, more = found.sent - found.counted, found.counted - found.sent
    return json.dumps({"missing": list(missing.items()), "more": list(more.items())})
